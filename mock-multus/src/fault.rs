//! Faults on purpose: plugins that fail, dawdle or never come back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ndra_core::cni::Command;
use tokio::sync::watch;

/// What goes wrong from now on. The daemon asks before it runs a plugin, after its own
/// checks: a fault reaches the caller as a plugin's error does.
#[derive(Debug)]
pub struct Faults {
    plan: Mutex<Plan>,
    hanging: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Plan {
    failures: Vec<Failure>,
    delay: Duration,
    shutting_down: bool,
}

#[derive(Debug)]
struct Failure {
    command: Command,
    /// `None` goes on until cleared.
    left: Option<usize>,
    text: String,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            plan: Mutex::default(),
            hanging: watch::Sender::new(false),
        }
    }
}

impl Faults {
    /// The next `times` plugin runs of `command` fail with `text` as the plugin's message.
    pub fn fail_next(&self, times: usize, command: Command, text: impl Into<String>) {
        self.plan().failures.push(Failure {
            command,
            left: Some(times),
            text: text.into(),
        });
    }

    /// Every plugin run of `command` fails with `text`, until [`clear`](Self::clear).
    pub fn fail_always(&self, command: Command, text: impl Into<String>) {
        self.plan().failures.push(Failure {
            command,
            left: None,
            text: text.into(),
        });
    }

    /// Every plugin run takes `delay` longer, until [`clear`](Self::clear).
    pub fn delay(&self, delay: Duration) {
        self.plan().delay = delay;
    }

    /// No plugin run ends, until this says so or [`clear`](Self::clear).
    pub fn hang(&self, yes: bool) {
        self.hanging.send_replace(yes);
    }

    /// `/readyz` says no, as a daemon does that is about to stop; `/healthz` goes on.
    pub fn shutting_down(&self, yes: bool) {
        self.plan().shutting_down = yes;
    }

    /// All is well again; what hung goes on.
    pub fn clear(&self) {
        *self.plan() = Plan::default();
        self.hanging.send_replace(false);
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.plan().shutting_down
    }

    /// Waits as told, then says with which message the plugin is to fail.
    pub(crate) async fn before(&self, command: Command) -> Option<String> {
        let mut hanging = self.hanging.subscribe();
        // The sender lives in `self`.
        let _ = hanging.wait_for(|hanging| !hanging).await;
        let delay = self.plan().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut plan = self.plan();
        let at = plan.failures.iter().position(|f| f.command == command)?;
        let failure = &mut plan.failures[at];
        let text = failure.text.clone();
        if let Some(left) = &mut failure.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                plan.failures.remove(at);
            }
        }
        Some(text)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_come_as_often_as_asked_for() {
        let faults = Faults::default();
        faults.fail_next(2, Command::Add, "no");
        assert_eq!(faults.before(Command::Del).await, None);
        assert_eq!(faults.before(Command::Add).await.as_deref(), Some("no"));
        assert_eq!(faults.before(Command::Add).await.as_deref(), Some("no"));
        assert_eq!(faults.before(Command::Add).await, None);
        faults.fail_always(Command::Add, "never");
        for _ in 0..3 {
            assert_eq!(faults.before(Command::Add).await.as_deref(), Some("never"));
        }
        faults.clear();
        assert_eq!(faults.before(Command::Add).await, None);
    }
}
