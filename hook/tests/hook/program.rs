//! Runs the program as an OCI runtime does: with nothing in its environment.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The claim of every test.
pub(crate) const CLAIM: &str = "5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11";
/// A state as containerd with runc writes it, shortened.
pub(crate) const STATE: &str = r#"{"ociVersion":"1.3.0","id":"c1","status":"creating","pid":4711,"bundle":"/run/b","annotations":{"io.kubernetes.cri.sandbox-id":"s1"}}"#;
/// Until a test gives up on a hook that hangs. Longer than any hook's time-out.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Hook {
    child: Child,
}

impl Hook {
    /// Starts the hook, its stdin still open.
    pub(crate) fn start(socket: &Path, timeout: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_ndra-hook"))
            .env_clear()
            .current_dir("/")
            .args(["--claim-uid", CLAIM, "--timeout", timeout, "--socket"])
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Writes to its stdin, which stays open. A hook that has had enough closes it;
    /// a runtime does not mind, either.
    pub(crate) fn write(&mut self, state: &[u8]) {
        let _ = self.child.stdin.as_mut().unwrap().write_all(state);
    }

    /// Writes the whole state and closes stdin.
    pub(crate) fn feed(mut self, state: &[u8]) -> Self {
        self.write(state);
        self.child.stdin = None;
        self
    }

    /// Waits for its end; stdin stays as it is.
    pub(crate) fn ended(mut self) -> Ended {
        let stdin = self.child.stdin.take();
        let output = self.child.wait_with_output().unwrap();
        drop(stdin);
        output.into()
    }
}

/// Runs the hook with these arguments and nothing on stdin.
pub(crate) fn hook_with(args: &[&str]) -> Ended {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ndra-hook"))
        .env_clear()
        .current_dir("/")
        .timeout(PATIENCE)
        .args(args)
        .output();
    output.unwrap().into()
}

/// How the hook ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Asserts that it succeeded without a word.
    #[track_caller]
    pub(crate) fn silently(self) {
        assert_eq!(
            (self.code, self.stdout.as_str(), self.stderr.as_str()),
            (Some(0), "", "")
        );
    }

    /// Asserts that it failed with one line, which this returns.
    #[track_caller]
    pub(crate) fn line(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{self:?}");
        let line = self.stderr.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{line}");
        line.to_owned()
    }
}
