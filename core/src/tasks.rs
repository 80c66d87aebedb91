//! Work that goes on when its caller has gone, and ends with the driver at the latest.

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Tasks of one driver. Clones share them.
///
/// A hook or a kubelet that gives up waiting must not stop an attach half-way: it asks
/// again and finds the work done.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    kill: CancellationToken,
}

/// The work was ended before its time, because the driver ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the driver stopped before this was done; ask again")]
pub struct Stopped;

impl Tasks {
    /// Runs `work` to its end, also when the caller is dropped, and hands back its answer.
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Stopped> {
        let kill = self.kill.clone();
        let task = self.tracker.spawn(kill.run_until_cancelled_owned(work));
        task.await.ok().flatten().ok_or(Stopped)
    }

    /// Runs what nobody waits for.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tracker.spawn(kill.run_until_cancelled_owned(work));
    }

    /// Waits for all work to end, until `deadline`, and ends what is left then. Tells
    /// whether nothing was left.
    pub async fn close(&self, deadline: Instant) -> bool {
        self.tracker.close();
        let done = timeout_at(deadline, self.tracker.wait()).await.is_ok();
        self.kill.cancel();
        self.tracker.wait().await;
        done
    }

    /// Ends all work when the guard is dropped.
    pub fn guard(&self) -> DropGuard {
        self.kill.clone().drop_guard()
    }
}
