//! One run of one plugin: input, bounded output, and an end that is sure to come.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

use crate::cni::error::{Call, CniError, ExecError};

/// The longest output that is read, in bytes.
pub(super) const MAX_OUTPUT: usize = 1024 * 1024;
/// How much of the standard error is kept for the error text.
const MAX_STDERR: usize = 4096;

/// A plugin that is being installed just now is still open for writing.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Run<'a> {
    pub(super) call: &'a Call,
    pub(super) program: PathBuf,
    pub(super) stdin: Vec<u8>,
    pub(super) env: [(&'static str, OsString); 6],
    pub(super) deadline: Instant,
}

/// What a plugin left behind.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run<'_> {
    /// The standard output of a plugin that succeeded.
    pub(super) async fn output(&self) -> Result<Vec<u8>, ExecError> {
        let started = Instant::now();
        let timed_out = || ExecError::TimedOut {
            call: Box::new(self.call.clone()),
            after: started.elapsed(),
        };
        if self.deadline <= started {
            return Err(timed_out());
        }
        let ended = match timeout_at(self.deadline, self.to_the_end()).await {
            Ok(ended) => ended.map_err(|source| ExecError::Run {
                call: Box::new(self.call.clone()),
                program: self.program.clone(),
                source,
            })?,
            Err(_) => return Err(timed_out()),
        };
        if ended.stdout.len() > MAX_OUTPUT {
            return Err(ExecError::TooMuchOutput {
                call: Box::new(self.call.clone()),
                limit: MAX_OUTPUT,
            });
        }
        if !ended.stderr.is_empty() {
            let text = String::from_utf8_lossy(&ended.stderr);
            tracing::debug!(plugin = self.call.plugin, stderr = %text.trim_end());
        }
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        Err(self.failure(&ended))
    }

    fn failure(&self, ended: &Ended) -> ExecError {
        let call = Box::new(self.call.clone());
        match serde_json::from_slice::<CniError>(&ended.stdout) {
            Ok(error) if error.code != 0 || !error.msg.is_empty() => {
                ExecError::Plugin { call, error }
            }
            _ => {
                let said = if ended.stdout.trim_ascii().is_empty() {
                    &ended.stderr
                } else {
                    &ended.stdout
                };
                ExecError::Crashed {
                    call,
                    status: ended.status.to_string(),
                    output: String::from_utf8_lossy(said).into_owned(),
                }
            }
        }
    }

    /// Dropped before its end, it kills the plugin and all that the plugin started.
    async fn to_the_end(&self) -> io::Result<Ended> {
        let mut group = Group(self.spawn().await?);
        let mut stdin = group.0.stdin.take();
        let mut stdout = group.0.stdout.take();
        let mut stderr = group.0.stderr.take();

        let feed = async {
            if let Some(mut pipe) = stdin.take() {
                // A plugin need not read all of its input.
                let _ = pipe.write_all(&self.stdin).await;
            }
        };
        let read = async {
            let read = read_up_to(stdout.as_mut(), MAX_OUTPUT).await?;
            if read.len() > MAX_OUTPUT {
                group.kill();
            }
            Ok::<_, io::Error>(read)
        };
        let ((), stdout, stderr) = tokio::join!(feed, read, drain(stderr.as_mut()));
        let stdout = stdout?;
        let status = group.0.wait().await?;
        Ok(Ended {
            status,
            stdout,
            stderr,
        })
    }

    async fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (*k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let mut tries = 0;
        loop {
            match command.spawn() {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                spawned => return spawned,
            }
        }
    }
}

/// A plugin and its children. The process id stays the plugin's until it is waited for,
/// so that the signal cannot reach a stranger.
struct Group(Child);

impl Group {
    fn kill(&self) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Everything up to `limit` bytes, and one more to tell that there was more.
async fn read_up_to(
    pipe: Option<&mut (impl AsyncRead + Unpin)>,
    limit: usize,
) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit as u64 + 1).read_to_end(&mut read).await?;
    }
    Ok(read)
}

/// The beginning; the rest is read and dropped, so that the plugin does not block.
async fn drain(pipe: Option<&mut (impl AsyncRead + Unpin)>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(pipe) = pipe else { return kept };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        let room = MAX_STDERR.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
    kept
}
