//! The registry directory: sockets that appear are registered, those that go are not.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::handshake::handshake;
use crate::config::ApiVersion;
use crate::node::{Doubling, Node};

/// The longest wait between two tries of a handshake.
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// Wakes when something in the directory has changed.
pub(crate) struct Changes {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

/// Watches `directory`. Which event came does not matter: each causes a new look.
pub(crate) fn watch_directory(directory: &Path) -> notify::Result<Changes> {
    let changed = Arc::new(Notify::new());
    let wake = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the directory is an event of its own.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            wake.notify_one();
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(Changes {
        changed,
        _watcher: watcher,
    })
}

/// Tells one socket file from a later one of the same name. Of its times, only that of
/// the last write stays when it is renamed or its mode is changed.
type Identity = (u64, u64, i64, i64);

struct Registered {
    identity: Identity,
    cancel: DropGuard,
    task: JoinHandle<()>,
}

/// Keeps the registered plugins in step with the sockets in `directory`.
pub(crate) async fn register_all(
    node: Arc<Node>,
    directory: PathBuf,
    known: Vec<ApiVersion>,
    changes: Changes,
) {
    let known: Arc<[ApiVersion]> = known.into();
    let mut registered = BTreeMap::<PathBuf, Registered>::new();
    loop {
        let present = match sockets(&directory) {
            Ok(present) => present,
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "cannot read the plugin directory");
                BTreeMap::new()
            }
        };
        let gone: Vec<_> = registered
            .iter()
            .filter(|(path, old)| present.get(*path) != Some(&old.identity))
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            if let Some(old) = registered.remove(&path) {
                drop(old.cancel);
                let _ = old.task.await;
                node.plugins.remove(&path);
            }
        }
        for (path, identity) in present {
            registered.entry(path).or_insert_with_key(|path| {
                let cancel = CancellationToken::new();
                let register = register(node.clone(), path.clone(), known.clone());
                let token = cancel.clone();
                Registered {
                    identity,
                    cancel: cancel.drop_guard(),
                    task: node.tasks.tracker.spawn(async move {
                        let _ = token.run_until_cancelled(register).await;
                    }),
                }
            });
        }
        changes.changed.notified().await;
    }
}

async fn register(node: Arc<Node>, socket: PathBuf, known: Arc<[ApiVersion]>) {
    let mut waits = Doubling::new(node.timing.register_retry, LONGEST_RETRY);
    while let Err(error) = handshake(&node, &known, &socket).await {
        tracing::warn!("{error}");
        tokio::time::sleep(waits.next().unwrap_or(LONGEST_RETRY)).await;
    }
}

fn sockets(directory: &Path) -> std::io::Result<BTreeMap<PathBuf, Identity>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // Gone again since the directory was read: a further event tells.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.file_type().is_socket() {
            let identity = (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec());
            found.insert(entry.path(), identity);
        }
    }
    Ok(found)
}
