//! From the API server's Pods to workers: one for each pod UID.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::relist::relist;
use super::worker::Worker;
use crate::claim::PodId;
use crate::grpc::rpc_error;
use crate::node::{Doubling, Node};

/// What the API server wants of a pod.
#[derive(Clone)]
pub(super) struct Input {
    /// The newest that was seen; `None` for a pod that only runtime or checkpoint know.
    pub(super) pod: Option<Arc<Pod>>,
    /// It is no longer there.
    pub(super) gone: bool,
}

struct Handle {
    input: watch::Sender<Input>,
    wake: Arc<Notify>,
}

/// The workers by pod UID. A replaced pod of the same name is another UID, so its worker
/// and its predecessor's do not know of each other.
#[derive(Clone, Default)]
pub(super) struct Workers(Arc<Mutex<HashMap<String, Handle>>>);

impl Workers {
    /// Something has happened to this pod in the runtime.
    pub(super) fn wake(&self, uid: &str) {
        if let Some(handle) = self.lock().get(uid) {
            handle.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, node: &Arc<Node>, pod: Pod) {
        let id = PodId::of(&pod);
        if id.uid.is_empty() || id.name.is_empty() {
            return;
        }
        let input = Input {
            pod: Some(Arc::new(pod)),
            gone: false,
        };
        let mut workers = self.lock();
        let Some(handle) = workers.get(&id.uid) else {
            workers.insert(id.uid.clone(), self.spawn(node, id, input));
            return;
        };
        handle.input.send_if_modified(|old| {
            let news = match (&old.pod, &input.pod) {
                (Some(old), Some(new)) => differs(old, new),
                _ => true,
            };
            *old = input;
            news
        });
    }

    fn gone(&self, uid: &str) {
        if let Some(handle) = self.lock().get(uid) {
            handle.input.send_modify(|input| input.gone = true);
        }
    }

    fn all_but(&self, seen: &BTreeSet<String>) -> Vec<String> {
        let workers = self.lock();
        let others = workers.keys().filter(|uid| !seen.contains(*uid));
        others.cloned().collect()
    }

    /// A worker for a pod that only this node remembers; all it does is tear it down.
    fn orphan(&self, node: &Arc<Node>, id: PodId) {
        let mut workers = self.lock();
        if workers.contains_key(&id.uid) {
            return;
        }
        let input = Input {
            pod: None,
            gone: true,
        };
        workers.insert(id.uid.clone(), self.spawn(node, id, input));
    }

    fn spawn(&self, node: &Arc<Node>, id: PodId, input: Input) -> Handle {
        let (input, receiver) = watch::channel(input);
        let wake = Arc::new(Notify::new());
        let uid = id.uid.clone();
        let worker = Worker::new(node.clone(), id, receiver, wake.clone());
        let workers = self.clone();
        node.tasks.spawn(async move {
            Box::pin(worker.run()).await;
            workers.lock().remove(&uid);
        });
        Handle { input, wake }
    }
}

/// Whether a worker has to look again. Most changes are its own status coming back.
fn differs(old: &Pod, new: &Pod) -> bool {
    let claims = |pod: &Pod| {
        let status = pod.status.as_ref();
        status.and_then(|status| status.resource_claim_statuses.clone())
    };
    old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || old.spec != new.spec
        || claims(old) != claims(new)
}

/// Starts to watch pods and the runtime.
pub(crate) fn run(node: &Arc<Node>) {
    let workers = Workers::default();
    node.tasks.spawn(relist(node.clone(), workers.clone()));
    let node = node.clone();
    node.tasks
        .clone()
        .spawn(async move { watch_pods(&node, &workers).await });
}

async fn watch_pods(node: &Arc<Node>, workers: &Workers) {
    let pods =
        kube::Api::<DynamicObject>::all_with(node.client.clone(), &ApiResource::erase::<Pod>(&()));
    let mine = watcher::Config::default().fields(&format!("spec.nodeName={}", node.name));
    let pods = watcher(pods, mine).backoff(Doubling::api(&node.timing));
    let mut events = pin!(pods.map(|event| typed(event?)));
    let mut listed = BTreeSet::new();
    let mut orphans_sought = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(pod)) => workers.apply(node, pod),
            Ok(watcher::Event::Delete(pod)) => {
                workers.gone(pod.metadata.uid.as_deref().unwrap_or_default());
            }
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                listed.extend(pod.metadata.uid.clone());
                workers.apply(node, pod);
            }
            Ok(watcher::Event::InitDone) => {
                for uid in workers.all_but(&listed) {
                    workers.gone(&uid);
                }
                // Only now is it known which pods are gone.
                if !std::mem::replace(&mut orphans_sought, true) {
                    node.tasks
                        .spawn(seek_orphans(node.clone(), workers.clone()));
                }
            }
            Err(error) => tracing::debug!(%error, "watching pods failed, retrying"),
        }
    }
}

/// The event with its pod as today's API has it: until 1.30 a pod named its claims under
/// `source`.
fn typed(event: watcher::Event<DynamicObject>) -> watcher::Result<watcher::Event<Pod>> {
    let pod = |mut object: DynamicObject| {
        let entries = object.data.pointer_mut("/spec/resourceClaims");
        for entry in entries
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            if let Some(Value::Object(source)) = entry.remove("source") {
                entry.extend(source);
            }
        }
        object.try_parse().map_err(|error| {
            let error = serde::de::Error::custom(error);
            watcher::Error::WatchFailed(kube::Error::SerdeError(error))
        })
    };
    Ok(match event {
        watcher::Event::Apply(object) => watcher::Event::Apply(pod(object)?),
        watcher::Event::Delete(object) => watcher::Event::Delete(pod(object)?),
        watcher::Event::InitApply(object) => watcher::Event::InitApply(pod(object)?),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitDone => watcher::Event::InitDone,
    })
}

/// Tears down pods that ended while no kubelet was there to see it.
async fn seek_orphans(node: Arc<Node>, workers: Workers) {
    let snapshot = loop {
        match node.runtime.snapshot().await {
            Ok(snapshot) => break snapshot,
            Err(status) => tracing::debug!(error = rpc_error(&status), "cannot list the pods"),
        }
        tokio::time::sleep(node.timing.error_retry).await;
    };
    for (uid, seen) in snapshot.pods {
        let (namespace, name) = (seen.namespace, seen.name);
        workers.orphan(
            &node,
            PodId {
                namespace,
                name,
                uid,
            },
        );
    }
    for (uid, namespace) in node.claims.pods() {
        let name = String::new();
        workers.orphan(
            &node,
            PodId {
                namespace,
                name,
                uid,
            },
        );
    }
}
