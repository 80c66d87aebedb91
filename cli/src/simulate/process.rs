//! The driver as a process of its own, as on a node: started with flags, ended by signals.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

use super::board::Board;
use crate::failure::Failure;

/// How long the driver may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(30);

/// A running driver. It is killed when this is dropped, and ends by itself when this
/// program dies: its standard input closes then.
pub(crate) struct DriverProcess {
    child: Child,
    /// Closes when this program dies.
    _stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl DriverProcess {
    /// Starts the driver with these flags; what it logs is added to `log`.
    pub(crate) fn start(flags: &[String], log: &Path) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| {
            Failure::run(format!("cannot start the driver's process: {error}"), "")
        };
        let program = std::env::current_exe().map_err(fail)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(fail)?;
        let mut child = Command::new(program)
            .arg("driver")
            // Of the pod that this program may run in.
            .env_remove("POD_UID")
            .arg("--until-stdin-closes")
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .map_err(fail)?;
        // Waiting for the child would close it.
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            _stdin: stdin,
            log: log.into(),
        })
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn terminate(self) -> Result<(), String> {
        self.ask_to_end();
        self.end().await
    }

    /// Sends SIGTERM, as a kubelet that ends a pod.
    pub(crate) fn ask_to_end(&self) {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        // It may have ended by itself; the status tells.
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for the end of one that was asked for it.
    pub(crate) async fn end(mut self) -> Result<(), String> {
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.words(status)),
            Ok(Err(error)) => Err(format!("the driver's end was not seen: {error}")),
            Err(_) => Err(format!("the driver did not end within {STOP:?} of SIGTERM")),
        }
    }

    /// Ends it without a warning.
    pub(crate) async fn kill(mut self) -> Result<(), String> {
        let killed = self.child.kill().await;
        killed.map_err(|error| format!("the driver could not be killed: {error}"))
    }

    /// Waits until it has logged a line with this text more often than `before`; `limit` is the
    /// longest wait. The board hears when the log is written.
    pub(crate) async fn says(
        &mut self,
        board: &Board,
        text: &str,
        before: usize,
        limit: Duration,
    ) -> Result<(), String> {
        let log = self.log.clone();
        let said = board.until(limit, |_| (times(&log, text) > before).then_some(()));
        tokio::select! {
            said = said => said.ok_or_else(|| format!("the driver did not say that it {text}")),
            end = self.ended() => Err(end),
        }
    }

    /// Returns when it ends by itself, which it should not; cancel safe.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => self.words(status),
            Err(error) => format!("the driver's end was not seen: {error}"),
        }
    }

    fn words(&self, status: ExitStatus) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        format!(
            "the driver ended by itself ({status}); it said last:\n{}",
            tail.join("\n")
        )
    }
}

/// How many lines of a log have this text.
pub(crate) fn times(log: &Path, text: &str) -> usize {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.lines().filter(|line| line.contains(text)).count()
}
