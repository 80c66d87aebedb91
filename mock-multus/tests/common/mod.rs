//! A node for the tests: an API server that is a map, namespaces that are files, a daemon.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use kube::client::Body;
use ndra_core::cni::{ConfigList, Invocation};
use ndra_core::multus::{Multus as Client, Pod};
use ndra_mock_multus::{Config, Multus};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// Far enough on a busy machine.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Objects by path, and what was written.
#[derive(Clone)]
pub(crate) struct Api {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    writes: watch::Sender<Vec<(String, Value)>>,
}

impl Api {
    fn new() -> Self {
        Self {
            objects: Arc::default(),
            writes: watch::Sender::new(Vec::new()),
        }
    }

    pub(crate) fn put_pod(&self, namespace: &str, name: &str, uid: &str, annotations: Value) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "uid": uid, "annotations": annotations}
        });
        self.objects.lock().unwrap().insert(path, pod);
    }

    pub(crate) fn remove_pod(&self, namespace: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        self.objects.lock().unwrap().remove(&path).unwrap();
    }

    pub(crate) fn put_network(&self, namespace: &str, name: &str, config: &str) {
        let path = format!(
            "/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions/{name}"
        );
        let object = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"namespace": namespace, "name": name}, "spec": {"config": config}
        });
        self.objects.lock().unwrap().insert(path, object);
    }

    /// Waits for a write whose line (`METHOD path`) begins so.
    pub(crate) async fn written(&self, begin: &str) -> Value {
        let mut writes = self.writes.subscribe();
        let found = writes
            .wait_for(|all| all.iter().any(|(line, _)| line.starts_with(begin)))
            .await
            .unwrap();
        let found = found.iter().find(|(line, _)| line.starts_with(begin));
        found.unwrap().1.clone()
    }

    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: http::Request<Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().trim_end_matches("/status").to_owned();
        let body = body.collect().await.unwrap().to_bytes();
        let (code, answer) = if head.method == http::Method::GET {
            match self.objects.lock().unwrap().get(&path) {
                Some(object) => (200, object.clone()),
                None => (404, not_found(&path)),
            }
        } else {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let line = format!("{} {path}", head.method);
            self.writes
                .send_modify(|all| all.push((line, body.clone())));
            let object = self.objects.lock().unwrap().get(&path).cloned();
            (200, object.unwrap_or(body))
        };
        http::Response::builder()
            .status(code)
            .body(Body::from(answer.to_string().into_bytes()))
            .unwrap()
    }
}

fn not_found(path: &str) -> Value {
    let name = path.rsplit('/').next().unwrap();
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{name:?} not found"), "reason": "NotFound", "code": 404
    })
}

/// A node with one daemon, one pod `default/web` (UID `u1`) and its namespace.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) api: Api,
    pub(crate) daemon: Multus,
    pub(crate) client: Client,
}

impl Node {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config, &Path)) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        let api = Api::new();
        api.put_pod("default", "web", "u1", json!({}));
        let socket = dir.path().join("multus.sock");
        let mut config = Config::new(&socket, api.client());
        change(&mut config, dir.path());
        let daemon = Multus::start(config).await.unwrap();
        let node = Self {
            client: Client::new(socket),
            dir,
            api,
            daemon,
        };
        std::fs::write(node.netns(), "").unwrap();
        node
    }

    pub(crate) fn netns(&self) -> PathBuf {
        self.dir.path().join("netns")
    }

    pub(crate) fn invocation(&self, if_name: &str) -> Invocation {
        Invocation {
            container_id: "sandbox1".into(),
            netns: Some(self.netns()),
            if_name: if_name.into(),
            ..Invocation::default()
        }
    }

    /// A text without what differs from run to run.
    pub(crate) fn stable(&self, text: impl ToString) -> String {
        let text = text.to_string();
        text.replace(self.dir.path().to_str().unwrap(), "/node")
    }

    /// The request of one command to `/delegate` or `/cni`.
    pub(crate) fn request(&self, command: &str, config: &Value) -> Value {
        json!({
            "env": {
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": "sandbox1",
                "CNI_NETNS": self.netns(),
                "CNI_IFNAME": "eth0",
                "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1",
                "PATH": "/bin"
            },
            "config": STANDARD.encode(config.to_string())
        })
    }

    /// The status line's code, the headers in lower case, and the body of an answer. Reads
    /// to the end of the connection, which comes only if the daemon closes it.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = UnixStream::connect(self.daemon.socket()).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: dummy\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A daemon that has seen enough may close before all is written.
        let _ = stream.write_all(body).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_lowercase(), body.to_owned())
    }

    /// As [`Node::raw`], for a request that is JSON.
    pub(crate) async fn ask(&self, path: &str, request: &Value) -> (u16, String) {
        let body = request.to_string();
        let (code, _, body) = self.raw("POST", path, body.as_bytes()).await;
        (code, self.stable(body))
    }
}

pub(crate) fn pod() -> Pod {
    Pod {
        namespace: "default".into(),
        name: "web".into(),
        uid: Some("u1".into()),
    }
}

/// A list with one macvlan plugin and this IPAM.
pub(crate) fn macvlan(ipam: Value) -> ConfigList {
    serde_json::from_value(json!({
        "cniVersion": "1.0.0", "name": "m",
        "plugins": [{"type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": ipam}]
    }))
    .unwrap()
}

pub(crate) fn host_local() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.10.1.0/29"}], [{"subnet": "fd00::/64"}]]})
}
