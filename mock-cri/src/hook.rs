//! Runs one OCI hook as a child process.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use oci_spec::runtime::Hook;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// The most that is kept of a hook's stdout and of its stderr, in bytes; the rest is read
/// and thrown away, so that the hook does not block.
pub(crate) const MAX_OUTPUT: usize = 64 * 1024;

/// What becomes of stdout and stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Kept for the error text, as runc does.
    Kept,
    /// Sent to `/dev/null`, as crun does.
    Lost,
}

/// How a hook ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It ended by itself.
    Exited(ExitStatus),
    /// It was killed because its time was over, after so long.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(io::Error),
    /// It was killed because the caller or the mock went away.
    Halted,
}

impl Ending {
    /// Whether the container may go on.
    pub(crate) fn success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }

    /// The exit code, or 128 and the signal, as shells count.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Self::Exited(status) => status.code().or_else(|| status.signal().map(|s| 128 + s)),
            _ => None,
        }
    }
}

/// An ended hook.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `hook` with `stdin` in `cwd` until it ends, its time-out passes or `halt` is
/// cancelled; in the latter two cases its process group is killed with SIGKILL.
pub(crate) async fn run(
    hook: &Hook,
    stdin: &[u8],
    cwd: &Path,
    output: Output,
    halt: &CancellationToken,
) -> Ended {
    let mut child = match command(hook, cwd, output).spawn() {
        Ok(child) => child,
        Err(error) => return Ended::silent(Ending::NotStarted(error)),
    };
    let group = Group::of(&child);
    let (mut input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = async {
        // The child is reaped only when its output is at its end: until then its pid, which
        // names the group, cannot be given to another process.
        let feed = async {
            if let Some(mut input) = input.take() {
                // A hook that does not read its stdin is no error.
                let _ = input.write_all(stdin).await;
            }
        };
        tokio::join!(feed, keep(out, &mut stdout), keep(err, &mut stderr));
        child.wait().await
    };
    let ending = tokio::select! {
        status = ended => match status {
            Ok(status) => {
                group.gone();
                Ending::Exited(status)
            }
            Err(error) => Ending::NotStarted(error),
        },
        allowed = time_out(hook, output) => {
            group.kill();
            Ending::TimedOut(allowed)
        }
        () = halt.cancelled() => {
            group.kill();
            Ending::Halted
        }
    };
    if !matches!(ending, Ending::Exited(_)) {
        // Also where the group could not be killed, so that this ends.
        let _ = child.kill().await;
    }
    Ended {
        ending,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

impl Ended {
    /// One that said nothing.
    pub(crate) fn silent(ending: Ending) -> Self {
        Self {
            ending,
            stdout: String::new(),
            stderr: String::new(),
        }
    }
}

fn command(hook: &Hook, cwd: &Path, output: Output) -> Command {
    let mut path = hook.path().clone();
    if path.components().count() == 1 && path.is_relative() {
        // A bare name would be searched in PATH; a hook's path is a path.
        path = cwd.join(path);
    }
    let mut command = Command::new(path);
    if let Some((first, rest)) = hook.args().as_deref().and_then(<[_]>::split_first) {
        command.arg0(first).args(rest);
    }
    command.env_clear();
    for entry in hook.env().iter().flatten() {
        if let Some((name, value)) = entry.split_once('=') {
            command.env(name, value);
        }
    }
    let stdio = || match output {
        Output::Kept => Stdio::piped(),
        Output::Lost => Stdio::null(),
    };
    command
        .current_dir(cwd)
        .stdin(Stdio::piped())
        .stdout(stdio())
        .stderr(stdio())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Passes when the hook's time is over. runc takes a time-out of 0 by its word, crun takes
/// it as none.
async fn time_out(hook: &Hook, output: Output) -> Duration {
    let seconds = match hook.timeout() {
        None => return std::future::pending().await,
        Some(0) if output == Output::Lost => return std::future::pending().await,
        Some(seconds) => u64::try_from(seconds).unwrap_or(0),
    };
    let allowed = Duration::from_secs(seconds);
    tokio::time::sleep(allowed).await;
    allowed
}

async fn keep(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let room = MAX_OUTPUT - kept.len();
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A hook's process group. Killed when dropped, unless its leader was reaped.
struct Group(std::cell::Cell<Option<Pid>>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(std::cell::Cell::new(pid.and_then(Pid::from_raw)))
    }

    fn gone(&self) {
        self.0.set(None);
    }

    fn kill(&self) {
        if let Some(group) = self.0.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
