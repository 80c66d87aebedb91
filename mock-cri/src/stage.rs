//! Runs the hooks of a stage in order, and says in the OCI runtime's words which failed.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use ndra_core::event::{self, Recorder, Span, Step, bounded};
use ndra_core::gate::Gate;
use ndra_core::socket::io_text;
use oci_spec::runtime::{Hook, Hooks};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::Flavor;
use crate::fault::{Faults, Point};
use crate::hook::{self, Ended, Ending, Output};

/// When hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Deprecated, and still run before createRuntime.
    Prestart,
    /// After the namespaces are made.
    CreateRuntime,
    /// As the above, later.
    CreateContainer,
    /// After the container is deleted.
    Poststop,
}

impl Stage {
    fn of(self, hooks: &Hooks) -> &[Hook] {
        match self {
            // Deprecated in the OCI specification; both runtimes go on running them.
            #[allow(deprecated)]
            Self::Prestart => hooks.prestart(),
            Self::CreateRuntime => hooks.create_runtime(),
            Self::CreateContainer => hooks.create_container(),
            Self::Poststop => hooks.poststop(),
        }
        .as_deref()
        .unwrap_or_default()
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::Poststop => "poststop",
        })
    }
}

/// The hooks of one container, and what they run with.
pub(crate) struct Run<'a> {
    pub(crate) flavor: Flavor,
    pub(crate) hooks: &'a Hooks,
    /// The OCI state, JSON.
    pub(crate) state: &'a [u8],
    pub(crate) cwd: &'a Path,
    /// Cancelled when nobody waits any more.
    pub(crate) halt: &'a CancellationToken,
    /// Pod, sandbox and container for events.
    pub(crate) subject: &'a event::Subject,
    pub(crate) recorder: &'a Recorder,
    pub(crate) gate: &'a Gate,
    pub(crate) faults: &'a Faults,
}

/// A hook failed; the text is what the OCI runtime says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct HookFailed {
    text: String,
}

impl Run<'_> {
    /// Runs the hooks of `stage` in order, up to the first that fails.
    pub(crate) async fn stage(&self, stage: Stage) -> Result<(), HookFailed> {
        for (index, hook) in stage.of(self.hooks).iter().enumerate() {
            let ended = match self.claim(stage, hook) {
                Some(subject) => {
                    self.recorded(&subject, hook, |ended| {
                        self.words(stage, index, hook, ended)
                    })
                    .await
                }
                None => self.execute(hook).await,
            };
            if !ended.ending.success() {
                return Err(HookFailed {
                    text: self.words(stage, index, hook, &ended),
                });
            }
        }
        Ok(())
    }

    /// Runs all hooks of `stage`; failures are logged and stop the rest only under runc.
    pub(crate) async fn stage_tolerant(&self, stage: Stage) {
        for (index, hook) in stage.of(self.hooks).iter().enumerate() {
            let ended = self.execute(hook).await;
            if !ended.ending.success() {
                let text = self.words(stage, index, hook, &ended);
                tracing::warn!(%stage, "{}", text.trim_end());
                if self.flavor == Flavor::Containerd {
                    return;
                }
            }
        }
    }

    async fn execute(&self, hook: &Hook) -> Ended {
        let output = match self.flavor {
            Flavor::Containerd => Output::Kept,
            Flavor::Crio => Output::Lost,
        };
        hook::run(hook, self.state, self.cwd, output, self.halt).await
    }

    /// Runs the hook as step `hook` of its claim's flow.
    async fn recorded(
        &self,
        subject: &event::Subject,
        hook: &Hook,
        words: impl Fn(&Ended) -> String,
    ) -> Ended {
        tokio::select! {
            () = self.gate.pass(Step::Hook, subject) => {}
            () = self.halt.cancelled() => {}
        }
        let starts = !self.faults.strikes(Point::Hook);
        let told = if starts { self.told() } else { None };
        let run = Run {
            state: told.as_deref().unwrap_or(self.state),
            ..*self
        };
        let (from, to) = Step::Hook.route();
        let span =
            self.recorder
                .begin_between(Step::Hook, subject.clone(), from, to, run.detail(hook));
        let ended = if starts {
            run.execute(hook).await
        } else {
            Ended::silent(Ending::NotStarted(rustix::io::Errno::ACCESS.into()))
        };
        self.close(span, &ended, words);
        ended
    }

    /// An OCI state without annotations, when that was ordered.
    fn told(&self) -> Option<Vec<u8>> {
        if !self.faults.strikes(Point::OciState) {
            return None;
        }
        let mut state: Value = serde_json::from_slice(self.state).ok()?;
        state.as_object_mut()?.remove("annotations");
        serde_json::to_vec(&state).ok()
    }

    fn detail(&self, hook: &Hook) -> Map<String, Value> {
        let state = serde_json::from_slice(self.state).unwrap_or(Value::Null);
        let mut detail = Map::new();
        detail.insert("oci_state".into(), bounded(&state));
        let path = hook.path().display().to_string();
        detail.insert("path".into(), bounded(&path.into()));
        detail.insert(
            "args".into(),
            bounded(&hook.args().clone().unwrap_or_default().into()),
        );
        detail
    }

    fn close(&self, mut span: Span, ended: &Ended, words: impl Fn(&Ended) -> String) {
        if let Some(code) = ended.ending.code() {
            span.detail("exit_code", code);
        }
        if self.flavor == Flavor::Containerd {
            span.detail("stderr", ended.stderr.as_str());
        }
        if ended.ending.success() {
            span.end();
            return;
        }
        let said = ended.stderr.trim();
        if said.is_empty() {
            span.fail(words(ended).trim_end());
        } else {
            span.fail(said);
        }
    }

    /// The event's subject, when `hook` is a createRuntime hook that names a claim.
    fn claim(&self, stage: Stage, hook: &Hook) -> Option<event::Subject> {
        if stage != Stage::CreateRuntime {
            return None;
        }
        let uid = claim_uid(hook.args().as_deref().unwrap_or_default())?;
        Some(event::Subject {
            claim: event::Subject::claim("", "", uid).claim,
            ..self.subject.clone()
        })
    }

    fn words(&self, stage: Stage, index: usize, hook: &Hook, ended: &Ended) -> String {
        let path = hook.path().display();
        match self.flavor {
            Flavor::Containerd => {
                let why = match &ended.ending {
                    Ending::Exited(status) => format!(
                        "{}, stdout: {}, stderr: {}",
                        go_status(*status),
                        ended.stdout,
                        ended.stderr
                    ),
                    Ending::TimedOut(allowed) => format!(
                        "hook ran past specified timeout of {:.1}s",
                        allowed.as_secs_f64()
                    ),
                    Ending::NotStarted(error) => format!("fork/exec {path}: {}", go_errno(error)),
                    Ending::Halted => "context canceled".into(),
                };
                let text = format!(
                    "runc create failed: unable to start container process: \
                     error during container init: error running {stage} hook #{index}: {why}"
                );
                // The shim takes the message from runc's log and trims it.
                format!("OCI runtime create failed: {}", text.trim_end())
            }
            Flavor::Crio => {
                let code = match &ended.ending {
                    Ending::TimedOut(_) | Ending::Halted => -1,
                    // The child that cannot execute the hook exits with 1.
                    Ending::NotStarted(_) => 1,
                    ending => ending.code().unwrap_or(-1),
                };
                let mut text = format!("error executing hook `{path}` (exit code: {code})\n");
                if matches!(ended.ending, Ending::TimedOut(_)) {
                    text.push_str(&format!("timeout expired for `{path}`\n"));
                }
                text
            }
        }
    }
}

/// A process's end as Go writes it.
fn go_status(status: ExitStatus) -> String {
    if let Some(code) = status.code() {
        return format!("exit status {code}");
    }
    let name = match status.signal() {
        Some(1) => "hangup",
        Some(2) => "interrupt",
        Some(3) => "quit",
        Some(6) => "aborted",
        Some(9) => "killed",
        Some(11) => "segmentation fault",
        Some(13) => "broken pipe",
        Some(15) => "terminated",
        Some(other) => return format!("signal: signal {other}"),
        None => return status.to_string(),
    };
    let dumped = if status.core_dumped() {
        " (core dumped)"
    } else {
        ""
    };
    format!("signal: {name}{dumped}")
}

/// An errno as Go writes it: in lower case.
fn go_errno(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::InvalidInput {
        return "invalid argument".into();
    }
    let mut text = io_text(error);
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

/// The claim that a hook's arguments name with `--claim-uid`, if it looks like a UID: it
/// goes into events and nowhere else.
fn claim_uid(args: &[String]) -> Option<&str> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        let value = match arg.strip_prefix("--claim-uid") {
            Some("") => args.next()?.as_str(),
            Some(rest) => match rest.strip_prefix('=') {
                Some(value) => value,
                None => continue,
            },
            None => continue,
        };
        let fits = (1..=128).contains(&value.len())
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        return fits.then_some(value);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_taken_from_its_argument_alone() {
        let uid = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|a| (*a).into()).collect();
            claim_uid(&args).map(str::to_owned)
        };
        assert_eq!(uid(&["h", "--claim-uid=u-1"]), Some("u-1".into()));
        assert_eq!(uid(&["h", "run", "--claim-uid", "u-1"]), Some("u-1".into()));
        assert_eq!(uid(&["--claim-uid=argv0"]), None);
        assert_eq!(uid(&["h", "--claim-uid"]), None);
        assert_eq!(uid(&["h", "--claim-uids=x"]), None);
        assert_eq!(uid(&["h", "--claim-uid=../x"]), None);
        assert_eq!(
            uid(&["h", &format!("--claim-uid={}", "x".repeat(200))]),
            None
        );
    }
}
