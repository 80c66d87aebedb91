//! Reads a recording on a thread of its own, so that the first frame need not wait.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::batch::Batch;
use super::lines::Lines;

/// Bytes that become one batch: small enough that taking one in never delays a key.
const PIECE: usize = 256 * 1024;

/// Batches that may wait for the reader; bounds the memory beside the model's.
const AHEAD: usize = 8;

/// What a [`Loader`] hands over.
#[derive(Debug)]
pub enum Loaded {
    /// Events, and how many bytes of the recording have been read by now.
    Batch {
        /// The events.
        batch: Box<Batch>,
        /// Bytes read so far.
        read: u64,
    },
    /// The recording is read to its end.
    End,
    /// It cannot be read on.
    Failed(io::Error),
}

/// A thread that reads and parses a recording. Dropping it ends the thread after the
/// piece it is at.
#[derive(Debug)]
pub struct Loader {
    batches: Option<Receiver<Loaded>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts to read `from`.
    pub fn start(from: impl Read + Send + 'static) -> io::Result<Self> {
        let (send, batches) = mpsc::sync_channel(AHEAD);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::Builder::new()
            .name("recording".into())
            .spawn(move || run(from, &send, &told))?;
        Ok(Self {
            batches: Some(batches),
            stop,
            thread: Some(thread),
        })
    }

    /// What has come, without waiting. After [`Loaded::End`] nothing comes any more.
    pub fn ready(&self) -> Option<Loaded> {
        self.batches.as_ref()?.try_recv().ok()
    }

    /// The next, waiting at most `wait`.
    pub fn next(&self, wait: Duration) -> Option<Loaded> {
        self.batches.as_ref()?.recv_timeout(wait).ok()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Frees a thread that waits for room.
        self.batches = None;
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            let _ = thread.join();
        }
    }
}

fn run(mut from: impl Read, out: &SyncSender<Loaded>, stop: &AtomicBool) {
    let mut lines = Lines::new();
    let mut piece = vec![0; PIECE];
    let mut read = 0_u64;
    let last = loop {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match from.read(&mut piece) {
            Ok(0) => break Loaded::End,
            Ok(n) => {
                read += n as u64;
                let batch = Box::new(lines.feed(&piece[..n]));
                if out.send(Loaded::Batch { batch, read }).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Loaded::Failed(error),
        }
    };
    let batch = Box::new(lines.finish());
    if out.send(Loaded::Batch { batch, read }).is_ok() {
        let _ = out.send(last);
    }
}
