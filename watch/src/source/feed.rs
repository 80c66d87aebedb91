//! A source under way: a task that reads it, and a bounded channel to its reader.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::address::Source;
use super::file::Recording;
use super::intake::Intake;
use super::kind::Kind;
use super::kubectl::{InPod, Kubectl, Which};
use super::lane::Lane;
use super::local::Local;
use super::pipe::Stdin;
use super::programs::Programs;
use super::remote::HEARTBEAT;
use super::set::Set;
use super::update::{Position, SourceId, Update};

/// Updates that wait for the reader. Each has 256 KiB of events, or little more.
pub(super) const AHEAD: usize = 16;

/// How a source is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Go on when all that is there was read, and connect again when it is lost.
    pub follow: bool,
    /// What was read before: events up to these places are left out.
    pub after: Vec<Position>,
    /// Where the programs that reach remote drivers are looked for.
    pub programs: Programs,
    /// How patient it is.
    pub pace: Pace,
}

impl Default for Options {
    /// From the beginning to the end of what is there, with the programs of PATH.
    fn default() -> Self {
        Self {
            follow: false,
            after: Vec::new(),
            programs: Programs::on_path(),
            pace: Pace::default(),
        }
    }
}

/// How long a source waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Before a lost connection is tried again; doubles each time.
    pub first_retry: Duration,
    /// The longest such wait.
    pub last_retry: Duration,
    /// For an answer to a request.
    pub answer: Duration,
    /// For a sign of life of a stream; a local one is asked for it, and given as long again.
    pub quiet: Duration,
    /// Between two looks at the pods of a DaemonSet.
    pub relist: Duration,
    /// Between two looks at a file, should its changes not be told.
    pub look: Duration,
    /// For earlier events of other streams.
    pub window: Duration,
    /// For the first events of a stream that comes to others.
    pub settle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_secs(1),
            last_retry: Duration::from_secs(30),
            answer: Duration::from_secs(10),
            quiet: HEARTBEAT * 3,
            relist: Duration::from_secs(10),
            look: Duration::from_secs(1),
            window: Duration::from_millis(250),
            settle: Duration::from_secs(2),
        }
    }
}

/// A source that is being read. Dropping it ends the reading, and kills the programs that
/// it runs.
///
/// A reader that is slow makes the source wait. A recording waits patiently; a driver goes
/// on, and what its ring gives up meanwhile is counted in
/// [`Chunk::dropped`](super::Chunk::dropped).
pub struct Feed {
    updates: mpsc::Receiver<Update>,
    cancel: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Feed {
    /// Begins to read `source`. Must be called on a tokio runtime.
    pub fn open(source: Source, options: Options) -> Self {
        let (out, updates) = mpsc::channel(AHEAD);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(read(source, options, out, cancel.clone()));
        Self {
            updates,
            cancel,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// The next news; `None` when the source has ended or failed. Cancel safe.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// The next news, if it is there already.
    pub fn ready(&mut self) -> Option<Update> {
        self.updates.try_recv().ok()
    }

    /// Ends the reading, and returns when nothing of it is left.
    pub async fn stop(mut self) {
        self.updates.close();
        self.cancel.cancel();
        while self.updates.recv().await.is_some() {}
        // It fails only when it panicked, and then there is nothing to end.
        let _ = self.task.await;
    }
}

async fn read(
    source: Source,
    options: Options,
    out: mpsc::Sender<Update>,
    cancel: CancellationToken,
) {
    let Options {
        follow,
        ref after,
        ref programs,
        pace,
    } = options;
    let programs = programs.clone();
    let live = source.is_live();
    let lane = || {
        let intake = Intake::new(SourceId(0), out.clone(), live, after);
        Lane::new(intake, cancel.clone(), follow, pace)
    };
    match source {
        Source::Socket(path) => lane().run(Local { path }).await,
        Source::File(path) => lane().run(Recording::new(path)).await,
        Source::Stdin => lane().run(Stdin).await,
        Source::Kind { node, container } => {
            let kind = Kind {
                programs,
                node,
                container,
            };
            lane().run(kind).await;
        }
        Source::Pod {
            namespace,
            name,
            container,
        } => {
            let kubectl = Kubectl {
                programs,
                namespace,
                pace,
            };
            let which = Which::Named { name, container };
            lane().run(InPod { kubectl, which }).await;
        }
        Source::DaemonSet {
            namespace,
            name,
            container,
        } => {
            let kubectl = Kubectl {
                programs,
                namespace,
                pace,
            };
            let set = Set {
                kubectl,
                name,
                container,
                options,
                out,
                cancel,
            };
            set.run().await;
        }
    }
}
