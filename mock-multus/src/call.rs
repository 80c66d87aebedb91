//! What was asked of the daemon, kept for those who test against it.

use std::collections::VecDeque;
use std::path::PathBuf;

use serde_json::Value;
use tokio::sync::watch;

use crate::request::CommandArgs;

/// The oldest calls go when there are more.
const KEPT: usize = 1000;

/// One request to `/delegate` or `/cni` that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `/delegate` or `/cni`.
    pub path: &'static str,
    /// `CNI_COMMAND`.
    pub command: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub if_name: String,
    /// `CNI_NETNS`.
    pub netns: PathBuf,
    /// `CNI_ARGS`.
    pub args: String,
    /// The configuration, with the daemon's own keys laid over it.
    pub config: Value,
    /// `None` while it is under way.
    pub outcome: Option<Outcome>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The result of an ADD, or nothing.
    Done(Value),
    /// The text of the answer.
    Refused(String),
}

#[derive(Debug, Default)]
struct Kept {
    calls: VecDeque<Call>,
    /// How many calls went.
    gone: usize,
}

/// The log. Whoever waits for a call is woken by every change.
#[derive(Debug)]
pub(crate) struct Calls(watch::Sender<Kept>);

impl Default for Calls {
    fn default() -> Self {
        Self(watch::Sender::new(Kept::default()))
    }
}

impl Calls {
    pub(crate) fn begin(&self, path: &'static str, args: &CommandArgs) -> usize {
        let call = Call {
            path,
            command: args.command.clone(),
            container_id: args.container_id.clone(),
            if_name: args.if_name.clone(),
            netns: PathBuf::from(&args.netns),
            args: args.args.clone(),
            config: args.config.clone(),
            outcome: None,
        };
        let mut number = 0;
        self.0.send_modify(|kept| {
            if kept.calls.len() == KEPT {
                kept.calls.pop_front();
                kept.gone += 1;
            }
            kept.calls.push_back(call);
            number = kept.gone + kept.calls.len() - 1;
        });
        number
    }

    pub(crate) fn end(&self, number: usize, outcome: Outcome) {
        self.0.send_modify(|kept| {
            let at = number.checked_sub(kept.gone);
            if let Some(call) = at.and_then(|at| kept.calls.get_mut(at)) {
                call.outcome = Some(outcome);
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.0.borrow().calls.iter().cloned().collect()
    }

    pub(crate) async fn wait_until(&self, enough: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut changes = self.0.subscribe();
        loop {
            let calls: Vec<Call> = {
                let kept = changes.borrow_and_update();
                kept.calls.iter().cloned().collect()
            };
            if enough(&calls) || changes.changed().await.is_err() {
                return calls;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_bounded_and_wakes_those_who_wait() {
        let calls = Calls::default();
        let mut args = CommandArgs {
            command: "ADD".into(),
            container_id: "c".into(),
            netns: "/n".into(),
            if_name: "net1".into(),
            args: String::new(),
            config: Value::Null,
        };
        let waited = calls.wait_until(|calls| {
            let done = calls.last().and_then(|call| call.outcome.as_ref());
            done.is_some()
        });
        let filled = async {
            let first = calls.begin("/delegate", &args.clone());
            for _ in 0..KEPT {
                args.command = "DEL".into();
                let number = calls.begin("/delegate", &args);
                calls.end(number, Outcome::Done(Value::Null));
            }
            calls.end(first, Outcome::Refused("too late".into()));
        };
        let (waited, ()) = tokio::join!(waited, filled);
        assert_eq!(waited.len(), KEPT);
        let all = calls.all();
        assert!(all.iter().all(|call| call.command == "DEL"));
        assert!(
            all.iter()
                .all(|call| call.outcome == Some(Outcome::Done(Value::Null)))
        );
    }
}
