//! Events on pods: what `kubectl describe pod` shows.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use tokio::sync::mpsc;

use crate::claim::PodId;
use crate::node::Tasks;

/// Events that wait for the API server. Beyond these, new ones are lost, as the real
/// kubelet's are.
const QUEUE: usize = 1000;
/// Kinds of events that are counted instead of written anew.
const REMEMBERED: usize = 4096;
/// How long a kubelet that stops goes on writing.
const FLUSH: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Severity {
    Normal,
    Warning,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Note {
    namespace: String,
    pod: String,
    uid: String,
    container: Option<String>,
    severity: Severity,
    reason: &'static str,
    message: String,
}

/// Where events are handed in. Never waits.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<Note>);

impl Events {
    /// Starts the task that writes them, for a kubelet on `node`.
    pub(crate) fn start(client: kube::Client, node: &str, tasks: &Tasks) -> Self {
        let (sender, mut notes) = mpsc::channel(QUEUE);
        let mut writer = Writer {
            client,
            node: node.into(),
            written: HashMap::new(),
        };
        let cancel = tasks.cancel.clone();
        tasks.tracker.spawn(async move {
            loop {
                let next = cancel.run_until_cancelled(notes.recv()).await;
                match next {
                    Some(Some(note)) => writer.write(note).await,
                    Some(None) => return,
                    None => break,
                }
            }
            notes.close();
            let flush = async {
                while let Some(note) = notes.recv().await {
                    writer.write(note).await;
                }
            };
            let _ = tokio::time::timeout(FLUSH, flush).await;
        });
        Self(sender)
    }

    /// An event about the pod, or about one of its containers: `spec.containers{c}`.
    pub(super) fn post(
        &self,
        pod: &PodId,
        container: Option<String>,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let note = Note {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            container,
            severity,
            reason,
            message: message.into(),
        };
        if let Err(error) = self.0.try_send(note) {
            tracing::warn!(reason, %error, "event lost");
        }
    }
}

struct Writer {
    client: kube::Client,
    node: String,
    written: HashMap<Note, (String, i32)>,
}

impl Writer {
    async fn write(&mut self, note: Note) {
        let api = kube::Api::<Event>::namespaced(self.client.clone(), &note.namespace);
        let now = Timestamp::now();
        if let Some((name, count)) = self.written.get_mut(&note) {
            *count += 1;
            let again = serde_json::json!({ "count": *count, "lastTimestamp": Time(now) });
            let patch = Patch::Merge(again);
            if api
                .patch(name, &PatchParams::default(), &patch)
                .await
                .is_ok()
            {
                return;
            }
        }
        if self.written.len() >= REMEMBERED {
            self.written.clear();
        }
        let name = format!("{}.{:x}", note.pod, now.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(note.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                namespace: Some(note.namespace.clone()),
                name: Some(note.pod.clone()),
                uid: Some(note.uid.clone()),
                field_path: note.container.clone(),
                ..ObjectReference::default()
            },
            type_: Some(
                match note.severity {
                    Severity::Normal => "Normal",
                    Severity::Warning => "Warning",
                }
                .into(),
            ),
            reason: Some(note.reason.into()),
            message: Some(note.message.clone()),
            source: Some(EventSource {
                component: Some("kubelet".into()),
                host: Some(self.node.clone()),
            }),
            reporting_component: Some("kubelet".into()),
            reporting_instance: Some(self.node.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            ..Event::default()
        };
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                self.written.insert(note, (name, 1));
            }
            Err(error) => tracing::debug!(%error, "an event was not written"),
        }
    }
}
