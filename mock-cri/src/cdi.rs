//! CDI devices for containers, kept as fresh as Go's CDI cache keeps them.
//!
//! containerd and CRI-O share a Go package for CDI, and its cache has ways of its own:
//!
//! - It scans when a file in a watched directory is **written, renamed away or removed**,
//!   and when a missing directory appears; a file that merely *appears* (hard link, rename
//!   from another directory) stays unseen until something else happens.
//! - It takes only the files of the directory, sorted, and passes over bad ones.
//! - Of two devices of one name and equal priority it drops **both**, and even one that a
//!   later directory would put over them.
//!
//! One thing is better than the real thing on purpose: before a look-up, events that the
//! kernel has queued are worked off, so a spec that was renamed into place before the call
//! is always seen. On systems other than Linux the directories are scanned with every
//! look-up, because their events come too late.

mod edits;
mod name;
mod spec;
mod specs;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{Flag, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use oci_spec::runtime::Spec;
use tokio::sync::watch;

use edits::Edits;
use specs::Specs;

/// What the keys of annotations that name devices begin with.
const ANNOTATION: &str = "cdi.k8s.io/";

/// How long a look-up waits for events that are under way before it takes what is there.
const MARK_TIMEOUT: Duration = Duration::from_secs(2);

/// The cache and its watch. The watch ends when this is dropped.
pub(crate) struct Cdi {
    shared: Arc<Shared>,
    watcher: Mutex<RecommendedWatcher>,
    marks: PathBuf,
    marked: AtomicU64,
    seen: watch::Receiver<u64>,
}

struct Shared {
    dirs: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which directories are watched.
    watched: Vec<PathBuf>,
    specs: Specs,
}

impl Cdi {
    /// Watches `dirs`, the later of which win over the earlier. `marks` is a directory of
    /// the mock's own that exists.
    pub(crate) fn start(dirs: Vec<PathBuf>, marks: &Path) -> notify::Result<Self> {
        let shared = Arc::new(Shared {
            dirs,
            state: Mutex::default(),
        });
        let (mark, seen) = watch::channel(0);
        let marks = marks.canonicalize()?;
        let handler = Handler {
            shared: shared.clone(),
            marks: marks.clone(),
            mark,
        };
        let mut watcher = RecommendedWatcher::new(handler, notify::Config::default())?;
        watcher.watch(&marks, RecursiveMode::NonRecursive)?;
        let cdi = Self {
            shared,
            watcher: Mutex::new(watcher),
            marks,
            marked: AtomicU64::new(0),
            seen,
        };
        cdi.watch_missing();
        cdi.shared.refresh();
        Ok(cdi)
    }

    /// Injects `devices`, and those that container annotations name, into `spec`, and gives
    /// their names. The error is what containerd and CRI-O say, `CDI device injection failed`
    /// included.
    pub(crate) async fn inject<'a>(
        &self,
        spec: &mut Spec,
        devices: impl IntoIterator<Item = &'a str>,
        annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Vec<String>, String> {
        let mut asked: Vec<&str> = devices.into_iter().collect();
        let annotations = annotations.into_iter();
        for (_, value) in annotations.filter(|(key, _)| key.starts_with(ANNOTATION)) {
            for name in value.split(',') {
                if !name::is_qualified(name) {
                    return Err(format!(
                        "failed to parse CDI device annotations: invalid CDI device name {name:?}"
                    ));
                }
                asked.push(name);
            }
        }
        let mut names: Vec<String> = Vec::new();
        for name in asked {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            return Ok(names);
        }
        self.catch_up().await;
        let edits = self.edits(&names);
        edits
            .and_then(|edits| {
                let applied = edits.apply(spec);
                applied.map_err(|error| format!("failed to inject devices: {error}"))
            })
            .map_err(|error| format!("CDI device injection failed: {error}"))?;
        Ok(names)
    }

    /// What these devices change: each spec's own part once, before its first device's.
    fn edits(&self, names: &[String]) -> Result<Edits, String> {
        let state = self.shared.lock();
        let mut edits = Edits::default();
        let mut shared: Vec<Arc<Edits>> = Vec::new();
        let mut unknown = Vec::new();
        for name in names {
            let Some(device) = state.specs.device(name) else {
                unknown.push(name.as_str());
                continue;
            };
            if !shared
                .iter()
                .any(|known| Arc::ptr_eq(known, &device.shared))
            {
                edits.append(&device.shared);
                shared.push(device.shared.clone());
            }
            edits.append(&device.edits);
        }
        if unknown.is_empty() {
            return Ok(edits);
        }
        Err(format!("unresolvable CDI devices {}", unknown.join(", ")))
    }

    /// Works off what happened to the directories before now.
    async fn catch_up(&self) {
        if self.watch_missing() || !cfg!(target_os = "linux") {
            self.shared.refresh();
        }
        if !cfg!(target_os = "linux") {
            return;
        }
        // Events of one watch come in order: when that of the mark is there, all that went
        // before it have been handled.
        let number = self.marked.fetch_add(1, Ordering::Relaxed) + 1;
        let mark = self.marks.join(number.to_string());
        let mut seen = self.seen.clone();
        let marked = std::fs::write(&mark, b"");
        let wait = seen.wait_for(|seen| *seen >= number);
        if marked.is_err() || tokio::time::timeout(MARK_TIMEOUT, wait).await.is_err() {
            tracing::warn!("the watch of the CDI directories is late; scanning them");
            self.shared.refresh();
        }
        let _ = std::fs::remove_file(mark);
    }

    /// Watches directories that were missing; says whether one has appeared.
    fn watch_missing(&self) -> bool {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<_> = {
            let state = self.shared.lock();
            let unwatched = |dir: &&PathBuf| !state.watched.contains(dir);
            self.shared.dirs.iter().filter(unwatched).cloned().collect()
        };
        let mut appeared = false;
        for dir in missing {
            if watcher.watch(&dir, RecursiveMode::NonRecursive).is_ok() {
                self.shared.lock().watched.push(dir);
                appeared = true;
            }
        }
        appeared
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self) {
        self.lock().specs.scan(&self.dirs);
    }
}

struct Handler {
    shared: Arc<Shared>,
    marks: PathBuf,
    mark: watch::Sender<u64>,
}

impl notify::EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        let Ok(event) = event else { return };
        if let Some(number) = self.mark_of(&event) {
            self.mark.send_if_modified(|seen| {
                let later = number > *seen;
                *seen = number.max(*seen);
                later
            });
            return;
        }
        if !refreshes(&event) {
            return;
        }
        let mut state = self.shared.lock();
        for path in &event.paths {
            state.specs.forget(path);
            if matches!(event.kind, EventKind::Remove(_)) {
                // A directory that goes is watched again when it comes back.
                state.watched.retain(|dir| dir != path);
            }
        }
        state.specs.scan(&self.shared.dirs);
    }
}

impl Handler {
    /// The number of the mark whose creation this is.
    fn mark_of(&self, event: &Event) -> Option<u64> {
        let path = event.paths.first()?;
        if path.parent() != Some(&self.marks) {
            return None;
        }
        // All events of marks end here; one that is no creation moves nothing.
        let created = matches!(event.kind, EventKind::Create(_));
        let number = path.file_name().and_then(OsStr::to_str)?.parse().ok()?;
        Some(if created { number } else { 0 })
    }
}

/// Whether Go's cache scans again for this event.
fn refreshes(event: &Event) -> bool {
    let is_spec = |path: &PathBuf| {
        matches!(
            path.extension().and_then(OsStr::to_str),
            Some("json" | "yaml")
        )
    };
    if event.flag() == Some(Flag::Rescan) {
        return true;
    }
    match event.kind {
        EventKind::Modify(ModifyKind::Data(_)) => event.paths.iter().any(is_spec),
        // Any file that leaves a name: a temporary one that is renamed into place, too.
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => true,
        _ => false,
    }
}
