//! An API server in memory: as much as the kubelet asks of one.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::bed::wait_for;

type Frame = Result<hyper::body::Frame<Bytes>, Infallible>;

#[derive(Default)]
pub struct Store {
    revision: u64,
    /// By collection, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    history: Vec<(u64, &'static str, String, Value)>,
    /// Deletions of collections: the query.
    pub wipes: Vec<String>,
    /// Deletions of pods: the body.
    pub deletions: Vec<Value>,
    /// Every request is refused.
    pub away: bool,
    /// Bodies of what was refused.
    pub refused: Vec<Value>,
}

#[derive(Clone)]
pub struct Api(pub watch::Sender<Store>);

impl Store {
    fn put(
        &mut self,
        kind: &'static str,
        key: (String, String, String),
        mut object: Value,
    ) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.history
            .push((self.revision, kind, key.0.clone(), object.clone()));
        match kind {
            "DELETED" => self.objects.remove(&key),
            _ => self.objects.insert(key, object.clone()),
        };
        object
    }

    pub fn pod(&self, name: &str) -> Option<&Value> {
        self.objects.get(&key("pods", "ns", name))
    }

    pub fn node(&self, name: &str) -> Option<&Value> {
        self.objects.get(&key("nodes", "", name))
    }

    /// `TYPE REASON xCOUNT fieldPath: message` of each event about this pod.
    pub fn events(&self, pod: &str) -> Vec<String> {
        let mut events: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, event)| key.0 == "events" && event["involvedObject"]["name"] == pod)
            .map(|(_, event)| event)
            .collect();
        events.sort_by_key(|event| event["metadata"]["name"].as_str().map(str::to_owned));
        let line = |event: &&Value| {
            let text = |key: &str| event[key].as_str().unwrap_or_default();
            let path = event["involvedObject"]["fieldPath"]
                .as_str()
                .unwrap_or("pod");
            format!(
                "{} {} {path}: {}",
                text("type"),
                text("reason"),
                text("message")
            )
        };
        events.iter().map(line).collect()
    }
}

fn key(collection: &str, namespace: &str, name: &str) -> (String, String, String) {
    (collection.into(), namespace.into(), name.into())
}

impl Api {
    pub fn new() -> Self {
        Self(watch::Sender::default())
    }

    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    pub fn apply(&self, collection: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.0.send_modify(|store| {
            let key = key(collection, "ns", &name);
            let kind = match store.objects.contains_key(&key) {
                true => "MODIFIED",
                false => "ADDED",
            };
            store.put(kind, key, object);
        });
    }

    /// What `kubectl delete pod` does.
    pub fn delete_pod(&self, name: &str) {
        let mut pod = self.0.borrow().pod(name).unwrap().clone();
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        self.apply("pods", pod);
    }

    /// What `kubectl delete pod --force` does.
    pub fn remove(&self, collection: &str, name: &str) {
        self.0.send_modify(|store| {
            let key = key(collection, "ns", name);
            let object = store.objects[&key].clone();
            store.put("DELETED", key, object);
        });
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&Store) -> bool) {
        wait_for(&self.0, what, condition).await;
    }

    pub async fn until_phase(&self, pod: &str, phase: &str) {
        let has = |store: &Store| {
            store
                .pod(pod)
                .is_some_and(|p| p["status"]["phase"] == phase)
        };
        self.until(&format!("{pod} {phase}"), has).await;
    }

    pub async fn until_event(&self, pod: &str, part: &str) {
        let has = |store: &Store| store.events(pod).iter().any(|event| event.contains(part));
        self.until(&format!("event {part}"), has).await;
    }

    async fn answer(
        &self,
        request: Request<kube::client::Body>,
    ) -> Response<StreamBody<BoxStream<'static, Frame>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path: Vec<_> = parts.uri.path().split('/').skip(1).collect();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let path = match path.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            other => panic!("{other:?}"),
        };
        if self.0.borrow().away {
            self.0.send_modify(|store| store.refused.push(body));
            return reply(
                503,
                failure(503, "ServiceUnavailable", "the server is away"),
            );
        }
        match (&parts.method, path) {
            (&Method::GET, [collection]) if query.contains("watch=true") => {
                self.stream(collection, &query)
            }
            (&Method::GET, [collection]) => {
                let store = self.0.borrow();
                let items = store.objects.iter().filter(|(key, _)| key.0 == *collection);
                let items: Vec<_> = items.map(|(_, object)| object.clone()).collect();
                let meta = json!({ "resourceVersion": store.revision.to_string() });
                reply(
                    200,
                    json!({ "apiVersion": "v1", "kind": "PodList", "metadata": meta, "items": items }),
                )
            }
            (&Method::GET, ["namespaces", namespace, collection, name]) => {
                let store = self.0.borrow();
                match store.objects.get(&key(collection, namespace, name)) {
                    Some(object) => reply(200, object.clone()),
                    None => reply(404, not_found(collection, name)),
                }
            }
            (&Method::POST, ["namespaces", namespace, collection]) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                let mut stored = Value::Null;
                self.0.send_modify(|store| {
                    stored = store.put("ADDED", key(collection, namespace, &name), body);
                });
                reply(201, stored)
            }
            (&Method::POST, [collection]) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                let key = key(collection, "", &name);
                let mut stored = None;
                self.0.send_if_modified(|store| {
                    let free = !store.objects.contains_key(&key);
                    if free {
                        stored = Some(store.put("ADDED", key, body));
                    } else {
                        store.refused.push(body);
                    }
                    true
                });
                match stored {
                    Some(object) => reply(201, object),
                    None => reply(409, failure(409, "AlreadyExists", "it is there")),
                }
            }
            (&Method::PATCH, ["namespaces", namespace, collection, name, ..]) => {
                let mut answer = None;
                self.0.send_if_modified(|store| {
                    let key = key(collection, namespace, name);
                    let Some(mut object) = store.objects.get(&key).cloned() else {
                        return false;
                    };
                    let uid = &body["metadata"]["uid"];
                    if !uid.is_null() && *uid != object["metadata"]["uid"] {
                        answer = Some(reply(409, failure(409, "Conflict", "another UID")));
                        return false;
                    }
                    merge(&mut object, &body);
                    answer = Some(reply(200, store.put("MODIFIED", key, object)));
                    true
                });
                answer.unwrap_or_else(|| reply(404, not_found(collection, name)))
            }
            (&Method::DELETE, ["namespaces", namespace, collection, name]) => {
                let mut answer = None;
                self.0.send_modify(|store| {
                    store.deletions.push(body.clone());
                    let key = key(collection, namespace, name);
                    let Some(object) = store.objects.get(&key).cloned() else {
                        return;
                    };
                    if body["preconditions"]["uid"] != object["metadata"]["uid"] {
                        answer = Some(reply(409, failure(409, "Conflict", "another UID")));
                        return;
                    }
                    answer = Some(reply(200, store.put("DELETED", key, object)));
                });
                answer.unwrap_or_else(|| reply(404, not_found(collection, name)))
            }
            (&Method::DELETE, ["resourceslices"]) => {
                self.0.send_modify(|store| store.wipes.push(query.clone()));
                let list = json!({
                    "apiVersion": "resource.k8s.io/v1",
                    "kind": "ResourceSliceList",
                    "metadata": {},
                    "items": [],
                });
                reply(200, list)
            }
            other => panic!("{other:?}"),
        }
    }

    fn stream(
        &self,
        collection: &str,
        query: &str,
    ) -> Response<StreamBody<BoxStream<'static, Frame>>> {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let from: u64 = from.unwrap().parse().unwrap();
        let collection = collection.to_owned();
        let state = (self.0.subscribe(), from);
        let events = futures::stream::unfold(state, move |(mut store, last)| {
            let collection = collection.clone();
            async move {
                let newer = |store: &Store| {
                    let mut history = store.history.iter();
                    let newer = history.find(|entry| entry.0 > last && entry.2 == collection)?;
                    Some((newer.0, json!({ "type": newer.1, "object": newer.3 })))
                };
                let seen = store
                    .wait_for(|s| s.away || newer(s).is_some())
                    .await
                    .ok()?;
                let (revision, event) = newer(&seen)?;
                drop(seen);
                let line = Bytes::from(format!("{event}\n"));
                Some((Ok(hyper::body::Frame::data(line)), (store, revision)))
            }
        });
        Response::new(StreamBody::new(events.boxed()))
    }
}

fn reply(code: u16, body: Value) -> Response<StreamBody<BoxStream<'static, Frame>>> {
    let frame = Ok(hyper::body::Frame::data(Bytes::from(body.to_string())));
    let body = StreamBody::new(futures::stream::iter([frame]).boxed());
    Response::builder().status(code).body(body).unwrap()
}

fn not_found(collection: &str, name: &str) -> Value {
    let group = match collection {
        "resourceclaims" => "resourceclaims.resource.k8s.io",
        other => other,
    };
    failure(404, "NotFound", &format!("{group} \"{name}\" not found"))
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// JSON merge patch, RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => {
                object.as_object_mut().unwrap().remove(key);
            }
            value => merge(&mut object[key], value),
        }
    }
}
