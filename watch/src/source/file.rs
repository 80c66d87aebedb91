//! A recording: read to its end, and on as it grows, is cut short or replaced.

use std::fs::Metadata;
use std::io::{self, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndra_core::socket::io_text;
use notify::{RecursiveMode, Watcher};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::Notify;

use super::address::plain;
use super::lane::{Connect, Lane, Trouble};
use super::pipe;
use super::update::Update;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// See [`Source::File`](super::Source::File).
pub(super) struct Recording {
    path: PathBuf,
    /// How far which file was read, so that a second look goes on from there.
    read: Option<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    file: Identity,
    offset: u64,
}

/// Device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(meta: &Metadata) -> Self {
        Self(meta.dev(), meta.ino())
    }
}

/// What became of a file that was read to its end.
enum Fate {
    /// It may have grown.
    Same,
    /// It is shorter than what was read.
    Cut,
    /// Its name belongs to another file.
    Replaced,
    /// Its name is gone.
    Gone,
}

impl Recording {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: None }
    }
}

impl Connect for Recording {
    async fn connect(&mut self, lane: &mut Lane) -> Result<(), Trouble> {
        let cancel = lane.cancel.clone();
        let reading = self.read(lane);
        cancel
            .run_until_cancelled(reading)
            .await
            .unwrap_or(Err(Trouble::Closed))
    }
}

impl Recording {
    async fn read(&mut self, lane: &mut Lane) -> Result<(), Trouble> {
        let name = plain(&self.path);
        lane.connecting(format!("the recording {name}")).await?;
        let unreadable =
            |error: io::Error| Trouble::Again(format!("cannot read {name}: {}", io_text(&error)));
        let meta = tokio::fs::metadata(&self.path).await.map_err(unreadable)?;
        let kind = meta.file_type();
        if kind.is_dir() {
            let reason = format!("{name} is a directory: name one recording in it");
            return Err(Trouble::Final(reason));
        }
        if kind.is_socket() {
            let reason = format!("{name} is a socket: write unix:// before its absolute path");
            return Err(Trouble::Final(reason));
        }
        if !kind.is_file() {
            let path = self.path.clone();
            return pipe::read(&name, lane, move || std::fs::File::open(path)).await;
        }
        // Before the file is read: what changes from now on is not missed.
        let changes = lane.follow.then(|| Changes::of(&self.path));
        let mut file = File::open(&self.path).await.map_err(unreadable)?;
        let meta = file.metadata().await.map_err(unreadable)?;
        let mut place = Place {
            file: Identity::of(&meta),
            offset: 0,
        };
        match self.read {
            Some(before) if before.file == place.file && before.offset <= meta.len() => {
                file.seek(SeekFrom::Start(before.offset))
                    .await
                    .map_err(unreadable)?;
                place.offset = before.offset;
            }
            Some(_) => lane.intake.new_life(),
            None => {}
        }
        lane.connected().await?;
        let mut piece = vec![0; PIECE];
        let mut last_look = false;
        let mut told = percent_of(place.offset, meta.len());
        loop {
            let read = file.read(&mut piece).await.map_err(unreadable)?;
            if read > 0 {
                last_look = false;
                lane.intake.feed(&piece[..read]).await?;
                place.offset += read as u64;
                self.read = Some(place);
                lane.intake.flush().await?;
                let percent = percent_of(place.offset, meta.len());
                if percent < 100 && percent != told {
                    told = percent;
                    let source = lane.intake.source();
                    let (read, of) = (place.offset, meta.len());
                    lane.intake
                        .say(Update::Reading { source, read, of })
                        .await?;
                }
                continue;
            }
            lane.intake.end_for_now().await?;
            let Some(changes) = &changes else {
                return Ok(());
            };
            match self.fate(place).await {
                Fate::Same => changes.wait(lane.pace.look).await,
                Fate::Cut => {
                    lane.intake.end_of_stream().await?;
                    lane.intake.new_life();
                    file.seek(SeekFrom::Start(0)).await.map_err(unreadable)?;
                    place.offset = 0;
                    self.read = Some(place);
                }
                // Its writer may have added to it until the moment it lost its name.
                Fate::Replaced | Fate::Gone if !last_look => last_look = true,
                Fate::Replaced => {
                    lane.intake.end_of_stream().await?;
                    lane.intake.new_life();
                    file = File::open(&self.path).await.map_err(unreadable)?;
                    let meta = file.metadata().await.map_err(unreadable)?;
                    place = Place {
                        file: Identity::of(&meta),
                        offset: 0,
                    };
                    self.read = Some(place);
                    last_look = false;
                }
                Fate::Gone => {
                    lane.intake.end_of_stream().await?;
                    return Err(Trouble::Again(format!("{name} was removed")));
                }
            }
        }
    }

    async fn fate(&self, place: Place) -> Fate {
        match tokio::fs::metadata(&self.path).await {
            Err(_) => Fate::Gone,
            Ok(meta) if Identity::of(&meta) != place.file => Fate::Replaced,
            Ok(meta) if meta.len() < place.offset => Fate::Cut,
            Ok(_) => Fate::Same,
        }
    }
}

/// How much of a recording is read; what came after it was opened counts as its end.
fn percent_of(read: u64, of: u64) -> u64 {
    read.saturating_mul(100).checked_div(of).unwrap_or(100)
}

/// News of one name in a directory.
struct Changes {
    news: Arc<Notify>,
    /// Without one (a file system that tells nothing, too many watches) it is looked at now
    /// and then.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Changes {
    fn of(path: &Path) -> Self {
        let news = Arc::new(Notify::new());
        let teller = news.clone();
        let name = path.file_name().map(ToOwned::to_owned);
        let told = move |event: notify::Result<notify::Event>| {
            let ours = event.is_ok_and(|event| {
                event.need_rescan()
                    || event
                        .paths
                        .iter()
                        .any(|path| path.file_name() == name.as_deref())
            });
            if ours {
                teller.notify_one();
            }
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        Self {
            news,
            _watcher: watcher.ok(),
        }
    }

    /// Returns when something happened to the name, at the latest after `look`.
    async fn wait(&self, look: std::time::Duration) {
        let _ = tokio::time::timeout(look, self.news.notified()).await;
    }
}
