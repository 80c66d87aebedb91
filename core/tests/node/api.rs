//! The API server's stand-in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// An API server that knows what it was given, and remembers what it was told.
#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<ApiState>>);

#[derive(Default)]
struct ApiState {
    objects: BTreeMap<String, Value>,
    written: Vec<(String, Value)>,
    down: bool,
    hold: Option<Arc<Hold>>,
}

/// Holds the next request back.
#[derive(Default)]
pub struct Hold {
    reached: Notify,
    released: Notify,
}

impl Hold {
    /// Waits until a request is held.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    pub fn release(&self) {
        self.released.notify_one();
    }
}

impl Api {
    pub fn put_claim(&self, claim: Value) {
        let name = claim["metadata"]["name"].as_str().unwrap();
        let path = format!("/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/{name}");
        self.0.lock().unwrap().objects.insert(path, claim);
    }

    /// A claim as Kubernetes 1.29 has it.
    pub fn put_classic_claim(&self, claim: Value) {
        let name = claim["metadata"]["name"].as_str().unwrap();
        let path =
            format!("/apis/resource.k8s.io/v1alpha2/namespaces/default/resourceclaims/{name}");
        self.0.lock().unwrap().objects.insert(path, claim);
    }

    pub fn put_pod(&self, pod: Value) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        self.0.lock().unwrap().objects.insert(path, pod);
    }

    /// From now on every request fails as if the server were overloaded.
    pub fn go_down(&self) {
        self.0.lock().unwrap().down = true;
    }

    /// The next request waits until it is released.
    pub fn hold(&self) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        self.0.lock().unwrap().hold = Some(hold.clone());
        hold
    }

    /// Bodies written to paths that end so.
    pub fn written(&self, ending: &str) -> Vec<Value> {
        let state = self.0.lock().unwrap();
        let of = state
            .written
            .iter()
            .filter(|(path, _)| path.ends_with(ending));
        of.map(|(_, body)| body.clone()).collect()
    }

    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let held = api.0.lock().unwrap().hold.take();
                if let Some(hold) = held {
                    hold.reached.notify_one();
                    hold.released.notified().await;
                }
                let (code, answer) = api.answer(&head, &body);
                let response = http::Response::builder()
                    .status(code)
                    .body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, tower::BoxError>(response?)
            }
        });
        kube::Client::new(service, "default")
    }

    fn answer(&self, head: &http::request::Parts, body: &[u8]) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        let failure = |code: u16, reason: &str| {
            (
                code,
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": reason, "message": reason, "code": code }),
            )
        };
        let path = head.uri.path().to_owned();
        if state.down {
            return failure(503, "ServiceUnavailable");
        }
        if head.method == http::Method::GET {
            return match state.objects.get(&path) {
                Some(object) => (200, object.clone()),
                None => failure(404, "NotFound"),
            };
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        state.written.push((path, body.clone()));
        (200, body)
    }
}
