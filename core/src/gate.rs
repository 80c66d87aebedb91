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
    resume: oneshot::Sender<String>,
}

impl Arrival {
    /// The step is to fail with these words. Only who [asks](Gate::ask) hears them.
    pub fn fail(self, words: impl Into<String>) {
        // Somebody who has given up needs no words.
        let _ = self.resume.send(words.into());
    }
}

impl Gate {
    /// A gate and its keeper. When the keeper is gone the gate stands open.
    pub fn pair() -> (Self, GateKeeper) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(Some(tx)), GateKeeper(rx))
    }

    /// Waits until the keeper lets this step begin.
    pub async fn pass(&self, step: Step, subject: &Subject) {
        let _ = self.ask(step, subject).await;
    }

    /// As [`pass`](Self::pass), for a part that can let the step fail.
    ///
    /// # Errors
    /// The keeper wants it to fail, with these words.
    pub async fn ask(&self, step: Step, subject: &Subject) -> Result<(), String> {
        let Some(keeper) = &self.0 else { return Ok(()) };
        let (resume, wait) = oneshot::channel();
        let arrival = Arrival {
            step,
            subject: subject.clone(),
            resume,
        };
        match keeper.send(arrival) {
            Ok(()) => wait.await.map_or(Ok(()), Err),
            Err(_) => Ok(()),
        }
    }
}

impl GateKeeper {
    /// The next arrival; `None` when no gate is left.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_is_told_and_goes_on_when_nobody_answers() {
        let subject = Subject::default();
        assert_eq!(Gate::default().ask(Step::Hook, &subject).await, Ok(()));
        let (gate, mut keeper) = Gate::pair();
        let keep = async {
            keeper.next().await.unwrap().fail("no");
            drop(keeper.next().await);
            drop(keeper);
        };
        let ask = async {
            let first = gate.ask(Step::Hook, &subject).await;
            let second = gate.ask(Step::Hook, &subject).await;
            (first, second, gate.ask(Step::Hook, &subject).await)
        };
        let ((), told) = tokio::join!(keep, ask);
        assert_eq!(told, (Err("no".to_owned()), Ok(()), Ok(())));
    }
}
