//! Faults on purpose: calls that fail, hooks that do not start or are told too little.

use std::sync::{Arc, Mutex, PoisonError};

/// What fails when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// CreateContainer for a container with CDI devices.
    CreateContainer,
    /// A createRuntime hook of a claim cannot be started.
    Hook,
    /// The OCI state that such a hook gets has no annotations.
    OciState,
    /// A verbose PodSandboxStatus.
    SandboxStatus,
}

/// Orders faults of a running mock. Clones order them of the same one.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Point>>>);

impl Faults {
    /// The next time that `point` is met, it fails.
    pub fn fail_next(&self, point: Point) {
        self.lock().push(point);
    }

    /// Is `point` to fail now? Then its turn is over.
    pub(crate) fn strikes(&self, point: Point) -> bool {
        let mut orders = self.lock();
        let at = orders.iter().position(|order| *order == point);
        at.map(|at| orders.remove(at)).is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Point>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
