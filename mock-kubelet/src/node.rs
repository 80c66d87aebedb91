//! What every part of one kubelet shares.

use std::future::Future;
use std::time::Duration;

use ndra_core::event::Recorder;
use ndra_core::gate::Gate;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::claim::Claims;
use crate::config::Timing;
use crate::cri::Runtime;
use crate::plugin::Plugins;
use crate::pod::Events;

/// The parts of one kubelet, held by all its tasks.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) client: kube::Client,
    pub(crate) timing: Timing,
    pub(crate) recorder: Recorder,
    pub(crate) gate: Gate,
    pub(crate) runtime: Runtime,
    pub(crate) plugins: Plugins,
    pub(crate) claims: Claims,
    /// Claims are those of Kubernetes 1.29, with resource handles.
    pub(crate) classic: bool,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
}

/// The tasks of one kubelet: all end when it is cancelled, and `stop` waits for them.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    pub(crate) cancel: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Tasks {
    /// Runs `future` until it ends or the kubelet stops.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tracker.spawn(async move {
            let _ = cancel.run_until_cancelled(future).await;
        });
    }
}

/// Waits that double up to a limit.
#[derive(Clone)]
pub(crate) struct Doubling {
    first: Duration,
    next: Duration,
    limit: Duration,
}

impl Doubling {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self {
            first,
            next: first,
            limit,
        }
    }

    /// For calls to the API server.
    pub(crate) fn api(timing: &Timing) -> Self {
        Self::new(timing.api_retry, timing.api_retry * 30)
    }
}

impl Iterator for Doubling {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait * 2).min(self.limit);
        Some(wait)
    }
}

impl kube::runtime::utils::Backoff for Doubling {
    fn reset(&mut self) {
        self.next = self.first;
    }
}
