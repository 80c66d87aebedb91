//! The record on disk: what was prepared and attached, so that a new instance can go on
//! and everything can be undone from here alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::error;

use super::{Orphan, Place, PreparedClaim, State};

/// Version of the file's form. A higher one is refused: a newer driver wrote it.
const VERSION: u32 = 1;

/// The file's name in the state directory.
pub const FILE: &str = "record.json";

/// What the lock's file says when its holder is about to end.
const LEFT: &[u8] = b"left\n";

/// The longest record that is read, in bytes. What may grow without end is bounded well
/// below: claims by the devices of a node, orphans by [`MAX_ORPHANS`].
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// The most orphans that are kept, each of at most some 15 KiB.
const MAX_ORPHANS: usize = 2048;

/// How long a write that failed waits for the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Everything the driver must not forget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Prepared claims by UID.
    pub claims: BTreeMap<String, PreparedClaim>,
    /// Attachments whose claim is gone and whose DEL has not succeeded yet.
    pub orphans: Vec<Orphan>,
    /// Where namespaces are kept beyond their sandbox, or may be.
    #[serde(default)]
    pub pins: BTreeSet<PathBuf>,
}

impl Record {
    /// Where interfaces are or may be, orphans included.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        let claimed = self.claims.values().flat_map(PreparedClaim::places);
        claimed.chain(self.orphans.iter().map(|orphan| &orphan.place))
    }

    /// Adds to the orphans. When there are too many the oldest are given up: a record that
    /// grows without end would stop the driver for every pod.
    pub(crate) fn adopt(&mut self, orphans: impl IntoIterator<Item = Orphan>) {
        self.orphans.extend(orphans);
        let surplus = self.orphans.len().saturating_sub(MAX_ORPHANS);
        for given_up in self.orphans.drain(..surplus) {
            error!(claim = %given_up.claim.uid, place = ?given_up.place,
                last_error = given_up.last_error, "orphan given up: more than {MAX_ORPHANS} wait");
        }
    }

    /// Nothing prepared and nothing left to undo.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.orphans.is_empty() && self.pins.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: u32,
    driver: String,
    boot_id: String,
    #[serde(flatten)]
    record: Record,
}

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system refused.
    #[error("cannot {action} the record {}: {reason}", path.display())]
    Io {
        /// `read`, `write` or `lock`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file is not a record.
    #[error(
        "the record {} cannot be understood: {reason}; it says which interfaces exist, so \
         nothing was changed: restore it, or move it away and release its attachments by hand",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A newer driver wrote it.
    #[error(
        "the record {} has version {found}, this driver knows {VERSION}: a newer ndra wrote it; \
         go on with that one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It belongs to another driver.
    #[error(
        "the record {} belongs to the driver {found}, not to {expected}: give each driver a \
         state directory of its own",
        path.display()
    )]
    OtherDriver {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// Another process works with it.
    #[error(
        "the record {} is in use by another process: stop it, or give this driver a state \
         directory of its own",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a record without taking it over: for people and tests. A missing file is an
/// empty record.
pub fn load(state_dir: &Path, driver: &str) -> Result<Record, RecordError> {
    Ok(read(&state_dir.join(FILE), driver)?
        .map(|file| file.record)
        .unwrap_or_default())
}

fn read(path: &Path, driver: &str) -> Result<Option<File>, RecordError> {
    let io_error = |error: io::Error| RecordError::Io {
        action: "read",
        path: path.into(),
        reason: crate::socket::io_text(&error),
    };
    let unreadable = |reason: String| RecordError::Unreadable {
        path: path.into(),
        reason,
    };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error)?,
    };
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut text)
        .map_err(io_error)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(unreadable(format!("it is larger than {MAX_SIZE} bytes")));
    }
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = serde_json::from_slice(&text).map_err(|e| unreadable(e.to_string()))?;
    if head.version > VERSION {
        return Err(RecordError::Newer {
            path: path.into(),
            found: head.version,
        });
    }
    let file: File = serde_json::from_slice(&text).map_err(|e| unreadable(e.to_string()))?;
    if file.driver != driver {
        return Err(RecordError::OtherDriver {
            path: path.into(),
            found: file.driver,
            expected: driver.into(),
        });
    }
    Ok(Some(file))
}

/// The record, owned: held under a lock until dropped, and written by a task of its own,
/// so that changes made at the same time share one fsync.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    driver: String,
    boot_id: String,
    state: Mutex<Versioned>,
    /// Generation that should be on disk.
    wanted: watch::Sender<u64>,
    /// Generation that is on disk, or why it is not.
    written: watch::Sender<Written>,
    lock: fs::File,
}

#[derive(Default)]
struct Versioned {
    record: Record,
    generation: u64,
}

#[derive(Clone, Default)]
struct Written {
    generation: u64,
    attempts: u64,
    /// Why the last attempt failed.
    failed: Option<String>,
}

impl Store {
    /// Takes the record in `state_dir` over, making both if they are not there.
    ///
    /// Interfaces of an earlier boot are gone with their namespaces, but their addresses
    /// may still be taken: such attachments become orphans, to be released. Blocks for
    /// the time of a few file operations.
    pub fn open(state_dir: &Path, driver: &str, boot_id: &str) -> Result<Self, RecordError> {
        let path = state_dir.join(FILE);
        let io_error = |action| {
            let path = path.clone();
            move |error: io::Error| RecordError::Io {
                action,
                path,
                reason: crate::socket::io_text(&error),
            }
        };
        fs::create_dir_all(state_dir).map_err(io_error("write"))?;
        let lock = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(state_dir.join("lock"))
            .map_err(io_error("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(RecordError::InUse { path }),
            Err(fs::TryLockError::Error(error)) => return Err(io_error("lock")(error)),
        }
        // What the holder before wrote of its end.
        lock.set_len(0).map_err(io_error("lock"))?;
        let mut record = Record::default();
        if let Some(file) = read(&path, driver)? {
            record = file.record;
            if file.boot_id != boot_id {
                retire(&mut record);
            }
        }
        let inner = Arc::new(Inner {
            path,
            driver: driver.into(),
            boot_id: boot_id.into(),
            state: Mutex::new(Versioned {
                record,
                generation: 0,
            }),
            wanted: watch::Sender::new(0),
            written: watch::Sender::default(),
            lock,
        });
        tokio::spawn(write_on(Arc::downgrade(&inner), inner.wanted.subscribe()));
        Ok(Self(inner))
    }

    /// As [`Store::open`], but waits for a predecessor that is about to end, at most
    /// `patience`.
    pub async fn take_over(
        state_dir: &Path,
        driver: &str,
        boot_id: &str,
        patience: Duration,
    ) -> Result<Self, RecordError> {
        let end = tokio::time::Instant::now() + patience;
        loop {
            match Self::open(state_dir, driver, boot_id) {
                // The kernel tells nobody when a lock becomes free.
                Err(RecordError::InUse { .. }) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                opened => return opened,
            }
        }
    }

    /// Tells whoever waits for the record that it will be free soon, see [`Store::is_left`].
    pub fn leave(&self) -> io::Result<()> {
        self.0.lock.write_all_at(LEFT, 0)
    }

    /// Whether the holder of the record in `state_dir` has said that it ends.
    pub fn is_left(state_dir: &Path) -> bool {
        let mut said = Vec::new();
        let read = fs::File::open(state_dir.join("lock"))
            .and_then(|file| file.take(LEFT.len() as u64).read_to_end(&mut said));
        read.is_ok() && said == LEFT
    }

    /// Takes that word back, for whoever has acted on it.
    pub fn clear_left(state_dir: &Path) -> io::Result<()> {
        let lock = fs::File::options()
            .write(true)
            .open(state_dir.join("lock"))?;
        lock.set_len(0)
    }

    /// Looks at the record.
    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.lock().record)
    }

    /// Changes the record and returns when the change is safely on disk.
    ///
    /// On an error the change stands in memory and goes to disk with the next one; the
    /// caller must not rely on it.
    pub async fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> Result<T, RecordError> {
        let answer = {
            let mut state = self.lock();
            let answer = change(&mut state.record);
            state.generation += 1;
            answer
        };
        self.flush().await?;
        Ok(answer)
    }

    /// Returns when all that was changed so far is safely on disk. Whoever answers "done"
    /// for a change that another call made, and that may have failed, calls this first.
    pub async fn flush(&self) -> Result<(), RecordError> {
        let generation = self.lock().generation;
        let mut written = self.0.written.subscribe();
        let seen = written.borrow_and_update().attempts;
        if written.borrow().generation >= generation {
            return Ok(());
        }
        self.0.wanted.send_modify(|g| *g = generation.max(*g));
        let outcome = written
            .wait_for(|w| w.generation >= generation || (w.failed.is_some() && w.attempts > seen))
            .await
            .map(|w| w.clone());
        let reason = match outcome {
            Ok(w) if w.generation >= generation => return Ok(()),
            Ok(w) => w.failed.unwrap_or_default(),
            Err(_) => "the writer has stopped".into(),
        };
        Err(RecordError::Io {
            action: "write",
            path: self.0.path.clone(),
            reason,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Versioned> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After a reboot: nothing is attached any more, but IPAM may still hold the addresses.
fn retire(record: &mut Record) {
    let mut orphans = Vec::new();
    for claim in record.claims.values_mut() {
        for attachment in &mut claim.attachments {
            if attachment.state.place().is_some() {
                orphans.extend(Orphan::of(&claim.claim, attachment));
                attachment.state = State::Planned;
            }
        }
    }
    record.adopt(orphans);
}

async fn write_on(store: std::sync::Weak<Inner>, mut wanted: watch::Receiver<u64>) {
    let mut failed = false;
    loop {
        let changed = if failed {
            // What is in memory must get to disk, also when nobody asks any more.
            tokio::time::timeout(RETRY, wanted.changed())
                .await
                .unwrap_or(Ok(()))
        } else {
            wanted.changed().await
        };
        let Some(inner) = store.upgrade().filter(|_| changed.is_ok()) else {
            return;
        };
        match tokio::task::spawn_blocking(move || inner.write()).await {
            Ok(outcome) => failed = outcome.is_err(),
            Err(_) => return,
        }
    }
}

impl Inner {
    /// One attempt; whoever waits learns of it. Blocks for an fsync or two.
    fn write(&self) -> io::Result<()> {
        let (text, generation) = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let file = serde_json::json!({
                "version": VERSION,
                "driver": self.driver,
                "bootId": self.boot_id,
                "claims": state.record.claims,
                "orphans": state.record.orphans,
                "pins": state.record.pins,
            });
            (serde_json::to_vec(&file), state.generation)
        };
        let outcome = text
            .map_err(io::Error::from)
            .and_then(|text| crate::cdi::replace(&self.path, &text, 0o600));
        self.written.send_modify(|written| {
            written.attempts += 1;
            match &outcome {
                Ok(()) => {
                    written.generation = generation;
                    written.failed = None;
                }
                Err(error) => written.failed = Some(crate::socket::io_text(error)),
            }
        });
        outcome
    }
}

/// Identifies this boot of the machine; the record's interfaces do not outlive it.
pub fn boot_id() -> String {
    let linux = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    match linux {
        Ok(id) => id.trim().chars().take(64).collect(),
        // Elsewhere there is no namespace that could outlive anything.
        Err(_) => "unknown".into(),
    }
}
