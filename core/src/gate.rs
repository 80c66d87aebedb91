//! Places where a test harness can hold a step back, so that faults strike between steps
//! and not after some milliseconds.

use tokio::sync::{mpsc, oneshot};

use crate::event::{Step, Subject};

/// The side of the part that passes. An open gate, the default, holds nobody.
#[derive(Clone, Default)]
pub struct Gate(Option<mpsc::UnboundedSender<Arrival>>);

/// The side of the harness.
pub struct GateKeeper(mpsc::UnboundedReceiver<Arrival>);

/// Somebody stands before a step and goes on when this is dropped.
pub struct Arrival {
    /// The step that is about to begin.
    pub step: Step,
    /// What it is about.
    pub subject: Subject,
    _resume: oneshot::Sender<()>,
}

impl Gate {
    /// A gate and its keeper. When the keeper is gone the gate stands open.
    pub fn pair() -> (Self, GateKeeper) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(Some(tx)), GateKeeper(rx))
    }

    /// Waits until the keeper lets this step begin.
    pub async fn pass(&self, step: Step, subject: &Subject) {
        let Some(keeper) = &self.0 else { return };
        let (resume, wait) = oneshot::channel();
        let arrival = Arrival {
            step,
            subject: subject.clone(),
            _resume: resume,
        };
        if keeper.send(arrival).is_ok() {
            let _ = wait.await;
        }
    }
}

impl GateKeeper {
    /// The next arrival; `None` when no gate is left.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.0.recv().await
    }
}
