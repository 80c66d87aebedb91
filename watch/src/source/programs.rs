//! Other programs: found, started without a shell, listened to, and never left behind.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::intake::{Closed, one_line};
use super::lane::{Lane, Trouble};

/// Bytes of a program's last words that are kept.
const LAST_WORDS: usize = 4096;
/// How long a program may take to end, and its last words to come, once its output ended.
const GRACE: Duration = Duration::from_secs(2);

/// Where programs are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    dirs: Vec<PathBuf>,
}

impl Programs {
    /// In the directories of PATH. Those that depend on the current directory are left
    /// out: what lies there may be anybody's.
    pub fn on_path() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::in_dirs(std::env::split_paths(&path))
    }

    /// In these directories; relative ones are left out.
    pub fn in_dirs(dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            dirs: dirs.into_iter().filter(|dir| dir.is_absolute()).collect(),
        }
    }

    /// The program's path.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let runs = |path: &PathBuf| {
            std::fs::metadata(path)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        self.dirs.iter().map(|dir| dir.join(name)).find(runs)
    }
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) program: &'static str,
    pub(super) args: Vec<String>,
}

impl CommandLine {
    pub(super) fn new<'a>(program: &'static str, args: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            program,
            args: args.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.args.join(" "))
    }
}

/// A started program. Dropping it kills it with all that it started.
struct Running {
    program: &'static str,
    child: Child,
    words: Arc<Mutex<Vec<u8>>>,
    listening: Option<AbortOnDropHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    fn start(programs: &Programs, line: &CommandLine, stdin: Stdio) -> Result<Self, Trouble> {
        let Some(path) = programs.find(line.program) else {
            return Err(Trouble::Final(format!(
                "{} is not on PATH: install it, or read another source",
                line.program
            )));
        };
        let mut child = Command::new(path)
            .args(&line.args)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that all of it can be ended, and so that Ctrl-C in
            // the terminal is this program's to answer.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let reason = ndra_core::socket::io_text(&error);
                Trouble::Again(format!("cannot start {}: {reason}", line.program))
            })?;
        let words = Arc::new(Mutex::new(Vec::new()));
        let listening = child.stderr.take().map(|stderr| {
            AbortOnDropHandle::new(tokio::spawn(keep_last_words(stderr, words.clone())))
        });
        Ok(Self {
            program: line.program,
            child,
            words,
            listening,
        })
    }

    fn kill(&mut self) {
        // Without an id it has been waited for, and the number may be somebody else's.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
            // It fails when all of them have ended.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }

    /// Kills it and takes it off the process table.
    async fn end(&mut self) {
        self.kill();
        let _ = self.child.wait().await;
    }

    /// Its output has ended: how did it?
    async fn outcome(&mut self) -> Result<(), Trouble> {
        let status = match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                return Err(Trouble::Again(format!("{}: {error}", self.program)));
            }
            Err(_) => {
                self.end().await;
                return Err(Trouble::Again(format!(
                    "{} closed its output and did not end",
                    self.program
                )));
            }
        };
        if status.success() {
            return Ok(());
        }
        if let Some(listening) = self.listening.take() {
            // Something that it started may still hold the pipe.
            let _ = tokio::time::timeout(GRACE, listening).await;
        }
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Trouble::Again(reason(self.program, status, &words)))
    }
}

async fn keep_last_words(mut from: impl AsyncRead + Unpin, words: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1024];
    while let Ok(n) = from.read(&mut piece).await {
        if n == 0 {
            return;
        }
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend_from_slice(&piece[..n]);
        let surplus = words.len().saturating_sub(LAST_WORDS);
        words.drain(..surplus);
    }
}

/// The last line that says more than that something inside failed.
fn reason(program: &str, status: ExitStatus, words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    let telling =
        |line: &&str| !line.is_empty() && !line.contains("command terminated with exit code");
    match words.lines().map(str::trim).rfind(telling) {
        Some(line) => format!("{program}: {}", one_line(line, 300)),
        None => format!("{program} ended with {status} and said nothing"),
    }
}

/// Runs a program to its end and returns what it wrote: at most `most` bytes, in at most
/// `patience`.
pub(super) async fn output(
    programs: &Programs,
    line: &CommandLine,
    most: usize,
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<Vec<u8>, Trouble> {
    let mut running = Running::start(programs, line, Stdio::null())?;
    let mut text = Vec::new();
    let stdout = running.child.stdout.take();
    let reading = async {
        let Some(stdout) = stdout else {
            return Ok(0);
        };
        stdout.take(most as u64 + 1).read_to_end(&mut text).await
    };
    let read = cancel
        .run_until_cancelled(tokio::time::timeout(patience, reading))
        .await;
    let trouble = match read {
        None => Some(Trouble::Closed),
        Some(Err(_)) => Some(Trouble::Again(format!(
            "{} did not answer within {} s",
            line.program,
            patience.as_secs_f32()
        ))),
        Some(Ok(Err(error))) => Some(Trouble::Again(format!("{}: {error}", line.program))),
        Some(Ok(Ok(_))) if text.len() > most => Some(Trouble::Again(format!(
            "{} answered with more than {} MiB",
            line.program,
            most / (1024 * 1024)
        ))),
        Some(Ok(Ok(_))) => None,
    };
    match trouble {
        Some(trouble) => {
            running.end().await;
            Err(trouble)
        }
        None => running.outcome().await.map(|()| text),
    }
}

/// Reads events from a program's output until it ends or falls silent.
///
/// Its standard input stays open and silent: its end tells the far side to end, too.
pub(super) async fn stream(
    programs: &Programs,
    line: &CommandLine,
    lane: &mut Lane,
) -> Result<(), Trouble> {
    let mut running = Running::start(programs, line, Stdio::piped())?;
    let _stdin: Option<ChildStdin> = running.child.stdin.take();
    let Some(stdout) = running.child.stdout.take() else {
        return Ok(());
    };
    let cancel = lane.cancel.clone();
    let read = cancel.run_until_cancelled(pump(stdout, lane)).await;
    match read {
        Some(Ok(())) => {
            let ended = running.outcome().await;
            lane.intake.end_of_stream().await?;
            match ended {
                Ok(()) if lane.follow => {
                    Err(Trouble::Again(format!("{} ended the stream", line.program)))
                }
                ended => ended,
            }
        }
        Some(Err(trouble)) => {
            running.end().await;
            Err(trouble)
        }
        None => {
            running.end().await;
            Err(Trouble::Closed)
        }
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, lane: &mut Lane) -> Result<(), Trouble> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let quiet = lane.pace.quiet;
        let read = match tokio::time::timeout(quiet, from.read(&mut piece)).await {
            Err(_) => {
                let reason = format!("nothing was heard for {} s", quiet.as_secs_f32());
                return Err(Trouble::Again(reason));
            }
            Ok(Err(error)) => return Err(Trouble::Again(error.to_string())),
            Ok(Ok(read)) => read,
        };
        if read == 0 {
            return Ok(());
        }
        let passed: Result<(), Closed> = async {
            lane.connected().await?;
            lane.intake.feed(&piece[..read]).await?;
            lane.intake.flush().await
        }
        .await;
        passed?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_reason_is_the_last_line_that_tells_something() {
        let failed = ExitStatus::from_raw(256);
        let of = |words: &[u8]| reason("kubectl", failed, words);
        assert_eq!(
            of(b"note\nndra events: cannot reach x\n\ncommand terminated with exit code 1\n"),
            "kubectl: ndra events: cannot reach x"
        );
        assert_eq!(of(b"\xff\x1b[2J bad \n"), "kubectl: \u{fffd} [2J bad");
        assert_eq!(
            of(b""),
            "kubectl ended with exit status: 1 and said nothing"
        );
    }

    #[test]
    fn programs_are_files_that_can_run_in_absolute_directories() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("kubectl");
        std::fs::write(&program, "").unwrap();
        let programs = Programs::in_dirs(["/nowhere".into(), dir.path().into()]);
        assert_eq!(programs.find("kubectl"), None);
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(programs.find("kubectl"), Some(program));
        let relative = Programs::in_dirs(["".into(), ".".into(), "bin".into()]);
        assert!(relative.dirs.is_empty());
    }
}
