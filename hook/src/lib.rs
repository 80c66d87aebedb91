//! The OCI createRuntime hook, which holds a container back until the driver has
//! given its pod the interfaces that its claims promise.
//!
//! The runtime runs the hook on the host and writes the container's OCI state to
//! its stdin. The hook hands that state and the claim's UID to the driver in one
//! gRPC call, `ndra.callback.v1.Callback/CreateContainer`. While the driver is away
//! (it is being upgraded, say) the hook keeps trying until its own deadline, so a
//! restart of the driver is not seen. Without a good answer the hook fails, and the
//! container does not start.
//!
//! Two programs share this: `ndra-hook`, small and static, and the subcommand
//! `ndra hook`. Both call [`main`]; a program with a command line parser of its own
//! can build [`Options`] and call [`run`].

mod args;
mod call;
mod error;
mod options;
mod report;
mod state;
mod wire;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

pub use error::{HookError, StateError};
pub use options::{ClaimUid, OptionError, Options, SocketPath, Timeout};
pub use report::{LINE_LIMIT, line};

use args::Command;

/// Runs the hook with the command line `args`, the program's name left out, and
/// stdin as the OCI state.
///
/// Exit code 0 is silent. Exit code 1 comes with one line on stderr (see [`line()`]),
/// also for a wrong command line: the runtime knows no other kind of failure.
/// Only `--help` and `--version` write to stdout.
///
/// # Panics
/// As [`run`].
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match answer(args, io::stdin(), &mut io::stdout(), &mut io::stderr()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// As [`main`], for a program that stands between the runtime and the hook: `state` in the
/// place of stdin, and streams of its own. Says whether the container may go on.
///
/// # Panics
/// As [`run`].
pub fn answer(
    args: impl IntoIterator<Item = OsString>,
    state: impl Read + Send + 'static,
    stdout: &mut impl Write,
    stderr: &mut impl Write,
) -> bool {
    let (claim, result) = match args::parse(args) {
        Ok(Command::Print(text)) => {
            // Nobody is left to tell when stdout is gone.
            let _ = stdout.write_all(text.as_bytes());
            return true;
        }
        Ok(Command::Run(options)) => {
            let result = run(&options, state);
            (Some(options.claim_uid), result)
        }
        Err(refused) => (refused.claim_uid, Err(refused.error)),
    };
    match result {
        Ok(()) => true,
        Err(error) => {
            // One write, so that the lines of several hooks never mix. A closed
            // stderr changes nothing: the exit code still says it.
            let _ = stderr.write_all(line(claim.as_ref(), &error).as_bytes());
            false
        }
    }
}

/// Reads the OCI state from `state`, checks it and asks the driver for the claim's
/// interfaces. Returns when the driver has answered, at the latest after
/// `options.timeout`.
///
/// `state` is read on a thread of its own. When the deadline comes first that thread
/// stays behind, blocked in its read, so the caller should end the process soon.
///
/// # Errors
/// [`HookError`]; its text is made for the user who looks at the pod.
///
/// # Panics
/// When called from inside a tokio runtime: the hook brings its own.
pub fn run(options: &Options, state: impl Read + Send + 'static) -> Result<(), HookError> {
    let deadline = Instant::now() + options.timeout.get();
    let state = state::read(state, options.timeout, deadline)?;
    call::create_container(options, state, deadline)
}
