//! All that a run can see, in one place to wait on: objects, flow events, files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher;
use ndra_core::event::{Event, Phase};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::failure::Failure;
use crate::manifest::Kind;
use crate::manifest::kind;

/// What a run has seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    /// Objects by kind, then by `namespace/name`.
    objects: HashMap<&'static str, BTreeMap<String, Value>>,
    /// Flow events as they came in; nearly in order of time.
    pub(crate) flow: Vec<Arc<Event>>,
    /// Steps begun and not ended, by the source that said so.
    open: HashMap<u64, i64>,
}

impl Seen {
    /// Objects of one kind, by `namespace/name`.
    pub(crate) fn objects(&self, kind: &Kind) -> impl Iterator<Item = (&String, &Value)> {
        self.objects.get(kind.kind).into_iter().flatten()
    }

    /// One object.
    pub(crate) fn object(&self, kind: &Kind, key: &str) -> Option<&Value> {
        self.objects.get(kind.kind)?.get(key)
    }

    /// Every step that began has ended, as far as its source lives.
    pub(crate) fn quiet(&self) -> bool {
        self.open.values().all(|open| *open <= 0)
    }
}

/// Shared by everything that sees something and everybody who waits for it.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    seen: Mutex<Seen>,
    version: watch::Sender<u64>,
}

/// How long a watch that failed waits.
const AGAIN: Duration = Duration::from_millis(20);

/// How often a wait looks without being told of anything.
const UNTOLD: Duration = Duration::from_millis(50);

impl Board {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            seen: Mutex::default(),
            version: watch::Sender::new(0),
        }))
    }

    /// Looks at what was seen so far. `look` must not wait for anything.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says that something changed that the board does not hold itself.
    pub(crate) fn nudge(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }

    /// Told of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Adds an event of a source.
    pub(crate) fn event(&self, source: u64, event: Arc<Event>) {
        self.change(|seen| {
            let step = if event.phase == Phase::Begin { 1 } else { -1 };
            *seen.open.entry(source).or_default() += step;
            seen.flow.push(event);
        });
    }

    /// A source is gone: what it began will not end.
    pub(crate) fn source_gone(&self, source: u64) {
        self.change(|seen| {
            seen.open.remove(&source);
        });
    }

    /// Waits until `found` finds something; `None` when that takes longer than `limit`.
    pub(crate) async fn until<T>(
        &self,
        limit: Duration,
        mut found: impl FnMut(&Seen) -> Option<T>,
    ) -> Option<T> {
        let mut version = self.0.version.subscribe();
        let wait = async {
            loop {
                version.mark_unchanged();
                if let Some(found) = self.look(&mut found) {
                    return found;
                }
                // Of the kernel's links nobody tells. The sender lives as long as `self`.
                let _ = tokio::time::timeout(UNTOLD, version.changed()).await;
            }
        };
        tokio::time::timeout(limit, wait).await.ok()
    }

    /// Follows every kind that a run looks at, until the handles are dropped.
    pub(crate) fn follow(
        &self,
        client: &kube::Client,
        classic: bool,
    ) -> Vec<AbortOnDropHandle<()>> {
        let kinds = [
            &kind::POD,
            &kind::DEPLOYMENT,
            &kind::REPLICA_SET,
            &kind::CLAIM,
            &kind::EVENT,
            &kind::SLICE,
        ];
        kinds
            .into_iter()
            .filter(|kind| !classic || *kind != &kind::SLICE)
            .map(|kind| match classic {
                true => kind.classic(),
                false => kind,
            })
            .map(|kind| {
                let board = self.clone();
                let objects = Api::all_with(client.clone(), &kind.resource());
                AbortOnDropHandle::new(tokio::spawn(
                    async move { board.reflect(kind, objects).await },
                ))
            })
            .collect()
    }

    async fn reflect(&self, kind: &'static Kind, objects: Api<DynamicObject>) {
        let mut fresh = BTreeMap::new();
        let mut events = std::pin::pin!(watcher(objects, watcher::Config::default()));
        // The watcher itself begins again after an error.
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Init)) => fresh = BTreeMap::new(),
                Ok(Some(watcher::Event::InitApply(object))) => {
                    fresh.extend(entry(&object));
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    let all = std::mem::take(&mut fresh);
                    self.change(|seen| seen.objects.insert(kind.kind, all));
                }
                Ok(Some(watcher::Event::Apply(object))) => {
                    self.change(|seen| {
                        seen.objects
                            .entry(kind.kind)
                            .or_default()
                            .extend(entry(&object))
                    });
                }
                Ok(Some(watcher::Event::Delete(object))) => {
                    let Some((key, _)) = entry(&object) else {
                        continue;
                    };
                    self.change(|seen| seen.objects.entry(kind.kind).or_default().remove(&key));
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(kind = kind.kind, %error, "watch");
                    // At the end of the program every request fails at once. A task that
                    // never waits could not be ended then, and the program neither.
                    tokio::task::yield_now().await;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Nudges when anything changes under `directory`, until the watcher is dropped. That a file
    /// is read is no change: who waits reads some, and would wake itself for ever.
    pub(crate) fn watch_files(&self, directory: &Path) -> Result<impl Watcher + use<>, Failure> {
        let board = self.clone();
        let fail = |error: notify::Error| {
            Failure::run(
                format!("cannot watch {}: {error}", directory.display()),
                "raise the limit of inotify watches (fs.inotify.max_user_instances)",
            )
        };
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // An error may stand for events that were lost.
                if event.map_or(true, |event| changes(event.kind)) {
                    board.nudge();
                }
            })
            .map_err(fail)?;
        watcher
            .watch(directory, RecursiveMode::Recursive)
            .map_err(fail)?;
        Ok(watcher)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) {
        change(&mut self.0.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.nudge();
    }
}

/// Whether there is something new after it.
fn changes(event: EventKind) -> bool {
    let written = AccessKind::Close(AccessMode::Write);
    !event.is_access() || event == EventKind::Access(written)
}

fn entry(object: &DynamicObject) -> Option<(String, Value)> {
    let name = object.metadata.name.as_deref()?;
    let key = match &object.metadata.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    };
    Some((key, serde_json::to_value(object).ok()?))
}
