//! Posts Events on pods, so that `kubectl describe pod` shows what a user must see.

use std::collections::HashMap;
use std::time::Duration;

use ::kube::api::{Patch, PatchParams, PostParams};
use ::kube::{Api, Client};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::failure::{Failure, Verdict, call, clipped};
use super::names::{MAX_NAME, is_dns_subdomain};

/// Events that wait to be sent; more are dropped with a log line.
const QUEUE: usize = 256;

/// The longest message that the API server accepts, in bytes.
const MAX_MESSAGE: usize = 1024;

/// How long the same words on the same pod count as one Event.
const SERIES: Duration = Duration::from_secs(600);

/// How many Events are remembered for counting.
const REMEMBERED: usize = 512;

/// How often one Event is tried. Events inform; nothing depends on them.
const TRIES: u32 = 4;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A pod that Events are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; `kubectl describe` asks for Events by it.
    pub uid: String,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whether an Event tells of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Post {
    pod: PodRef,
    kind: EventKind,
    reason: &'static str,
    message: String,
}

/// Sends Events in the background. Dropping it ends the sending; [`EventPoster::stop`]
/// sends first what waits.
pub struct EventPoster {
    queue: mpsc::Sender<Post>,
    stop: CancellationToken,
    kill: CancellationToken,
    task: TaskTracker,
    _guard: DropGuard,
}

impl EventPoster {
    /// Starts the poster. `component` is shown as the Events' source, with `node`.
    pub fn start(client: Client, component: impl Into<String>, node: impl Into<String>) -> Self {
        let (queue, posts) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let kill = CancellationToken::new();
        let worker = Worker {
            client,
            component: component.into(),
            node: node.into(),
            posts,
            stop: stop.clone(),
            sent: HashMap::new(),
        };
        let killed = kill.clone();
        let task = TaskTracker::new();
        task.spawn(async move {
            let _ = killed
                .run_until_cancelled_owned(Box::pin(worker.run()))
                .await;
        });
        Self {
            queue,
            stop,
            kill: kill.clone(),
            task,
            _guard: kill.drop_guard(),
        }
    }

    /// Queues an Event; never waits. `reason` is one CamelCase word. Messages are cut at
    /// 1024 bytes, as the API server demands. The same words on the same pod raise the
    /// count of the Event that is there.
    pub fn post(
        &self,
        pod: PodRef,
        kind: EventKind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let message = clipped(message.into(), MAX_MESSAGE);
        if !is_dns_subdomain(&pod.namespace) || !is_dns_subdomain(&pod.name) {
            tracing::warn!(
                ?pod,
                reason,
                message,
                "Event dropped: no pod can have this name"
            );
            return;
        }
        let post = Post {
            pod,
            kind,
            reason,
            message,
        };
        if let Err(TrySendError::Full(post) | TrySendError::Closed(post)) =
            self.queue.try_send(post)
        {
            tracing::warn!(
                pod = %format_args!("{}/{}", post.pod.namespace, post.pod.name),
                reason = post.reason,
                message = post.message,
                "Event dropped: too many wait for the API server"
            );
        }
    }

    /// Sends what waits, for at most `flush`, and ends.
    pub async fn stop(&self, flush: Duration) {
        self.stop.cancel();
        self.task.close();
        if tokio::time::timeout(flush, self.task.wait()).await.is_err() {
            tracing::warn!(waited = ?flush, "Events were left unsent at the end");
            self.kill.cancel();
            self.task.wait().await;
        }
    }
}

struct Sent {
    name: String,
    count: i32,
    last: Instant,
}

struct Worker {
    client: Client,
    component: String,
    node: String,
    posts: mpsc::Receiver<Post>,
    stop: CancellationToken,
    sent: HashMap<Post, Sent>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let first = tokio::select! {
                biased;
                post = self.posts.recv() => post,
                () = self.stop.cancelled() => self.posts.try_recv().ok(),
            };
            let Some(first) = first else { return };
            for (post, times) in self.batch(first) {
                self.deliver(post, times).await;
            }
        }
    }

    /// What waits, equal posts counted together, in the order of the first of each.
    fn batch(&mut self, first: Post) -> Vec<(Post, i32)> {
        let mut batch = vec![(first, 1)];
        while let Ok(post) = self.posts.try_recv() {
            match batch.iter_mut().find(|(known, _)| *known == post) {
                Some((_, times)) => *times += 1,
                None => batch.push((post, 1)),
            }
        }
        batch
    }

    async fn deliver(&mut self, post: Post, times: i32) {
        let now = Instant::now();
        self.sent
            .retain(|_, sent| now.duration_since(sent.last) < SERIES);
        let known = self
            .sent
            .get(&post)
            .map(|sent| (sent.name.clone(), sent.count));
        let result = match known {
            Some((name, count)) => match self.raise(&post, &name, count + times).await {
                Err(failure) if failure.verdict == Verdict::NotFound => {
                    self.create(&post, times).await
                }
                result => result,
            },
            None => self.create(&post, times).await,
        };
        match result {
            Ok((name, count)) => self.remember(post, name, count),
            Err(failure) => tracing::warn!(
                pod = %format_args!("{}/{}", post.pod.namespace, post.pod.name),
                reason = post.reason,
                message = post.message,
                error = %words(&failure),
                "Event not posted"
            ),
        }
    }

    fn remember(&mut self, post: Post, name: String, count: i32) {
        if self.sent.len() >= REMEMBERED
            && let Some(oldest) = self
                .sent
                .iter()
                .min_by_key(|(_, sent)| sent.last)
                .map(|(post, _)| post.clone())
        {
            self.sent.remove(&oldest);
        }
        let last = Instant::now();
        self.sent.insert(post, Sent { name, count, last });
    }

    async fn create(&self, post: &Post, count: i32) -> Result<(String, i32), Failure> {
        let event = self.event(post, count);
        let name = event.metadata.name.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &post.pod.namespace);
        let mut tries = 0;
        patiently(|| {
            tries += 1;
            let (api, event, again) = (&api, &event, tries > 1);
            async move {
                match call(REQUEST_TIMEOUT, api.create(&PostParams::default(), event)).await {
                    Ok(_) => Ok(()),
                    // The try before went through, only its answer was lost.
                    Err(failure) if again && failure.verdict == Verdict::Conflict => Ok(()),
                    Err(failure) => Err(failure),
                }
            }
        })
        .await?;
        Ok((name, count))
    }

    async fn raise(&self, post: &Post, name: &str, count: i32) -> Result<(String, i32), Failure> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &post.pod.namespace);
        let patch =
            Patch::Merge(json!({ "count": count, "lastTimestamp": Time(Timestamp::now()) }));
        patiently(|| {
            call(REQUEST_TIMEOUT, async {
                api.patch(name, &PatchParams::default(), &patch).await
            })
        })
        .await?;
        Ok((name.to_owned(), count))
    }

    /// A `core/v1` Event with count and time stamps: `kubectl describe` merges both kinds,
    /// and shows this one's "x5 over 2m".
    fn event(&self, post: &Post, count: i32) -> Event {
        let now = Timestamp::now();
        let suffix = format!(".{:016x}", now.as_nanosecond());
        let mut name = post.pod.name.clone();
        name.truncate(MAX_NAME - suffix.len());
        Event {
            metadata: ObjectMeta {
                name: Some(name + &suffix),
                namespace: Some(post.pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                namespace: Some(post.pod.namespace.clone()),
                name: Some(post.pod.name.clone()),
                uid: Some(post.pod.uid.clone()),
                ..ObjectReference::default()
            },
            type_: Some(post.kind.as_str().into()),
            reason: Some(post.reason.into()),
            message: Some(post.message.clone()),
            count: Some(count),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: Some(self.node.clone()),
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        }
    }
}

/// Tries a few times while the server is away.
async fn patiently<T, F: Future<Output = Result<T, Failure>>>(
    mut request: impl FnMut() -> F,
) -> Result<T, Failure> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut left = TRIES;
    loop {
        left -= 1;
        match request().await {
            Err(failure) if failure.verdict == Verdict::Later && left > 0 => {
                tokio::time::sleep(backoff.next(failure.after)).await;
            }
            result => return result,
        }
    }
}

fn words(failure: &Failure) -> String {
    match failure.verdict {
        Verdict::Forbidden => format!(
            "the driver may not `create` and `patch` `events`; add the verbs to its ClusterRole. The API server says: {failure}"
        ),
        _ => failure.to_string(),
    }
}

#[cfg(test)]
mod tests;
