//! Writes a pod's status to the API server, so that a slow one holds no pod up.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::claim::PodId;
use crate::node::{Doubling, Node};

/// Statuses to write; a newer one takes the place of one that is not written yet.
pub(super) struct StatusWriter {
    wanted: watch::Sender<(u64, Value)>,
    written: watch::Receiver<u64>,
    pub(super) last: PodStatus,
}

impl StatusWriter {
    /// Starts the task that writes; it ends with this handle.
    pub(super) fn start(node: &Node, pod: &PodId, last: PodStatus) -> Self {
        let (wanted, mut news) = watch::channel((0, Value::Null));
        let (done, written) = watch::channel(0);
        let api = kube::Api::<Pod>::namespaced(node.client.clone(), &pod.namespace);
        let pod = pod.clone();
        let timing = node.timing.clone();
        node.tasks.spawn(async move {
            while news.changed().await.is_ok() {
                let mut waits = Doubling::api(&timing);
                loop {
                    let (number, status) = news.borrow_and_update().clone();
                    // The UID: a new pod of the same name must not get it.
                    let patch = json!({ "metadata": { "uid": pod.uid }, "status": status });
                    let params = PatchParams::default();
                    let reply = api
                        .patch_status(&pod.name, &params, &Patch::Merge(patch))
                        .await;
                    let final_answer = match &reply {
                        Ok(_) => true,
                        Err(kube::Error::Api(status)) => {
                            (400..500).contains(&status.code) && status.code != 429
                        }
                        Err(_) => false,
                    };
                    if let Err(error) = &reply {
                        tracing::debug!(pod = pod.name, %error, "the pod's status was not written");
                    }
                    if final_answer {
                        done.send_replace(number);
                        break;
                    }
                    let wait = waits.next().unwrap_or(timing.api_retry);
                    let _ = tokio::time::timeout(wait, news.changed()).await;
                    if news.has_changed().is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            wanted,
            written,
            last,
        }
    }

    /// Hands a status in, unless it is the last one again.
    pub(super) fn publish(&mut self, status: PodStatus) {
        if status == self.last {
            return;
        }
        let value = serde_json::to_value(&status).unwrap_or_default();
        self.wanted.send_modify(|(number, wanted)| {
            *number += 1;
            *wanted = value;
        });
        self.last = status;
    }

    /// Waits until the last status is written, or never will be.
    pub(super) async fn flush(&mut self) {
        let number = self.wanted.borrow().0;
        let _ = self.written.wait_for(|written| *written >= number).await;
    }
}
