//! `ndra witness`: runs in the place of the hook under a real runtime, and tells a simulation
//! when the hook begins and how it ends. A mock runtime sees that itself; of a real one,
//! crun even loses what the hook says.
//!
//! The hook's own code runs in this process, with the runtime's environment, time-out and
//! streams. When the simulation ends, so does the hook: nobody would answer it.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest OCI state that is handed on, in bytes; the driver takes no longer one.
const MAX_STATE: u64 = 1024 * 1024 + 1;

/// How long the simulation may take to note how the hook ended.
const NOTED: Duration = Duration::from_secs(2);

/// Who is told, and what the hook is run with.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The simulation's socket.
    socket: PathBuf,
    /// The hook's own options.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// The hook is about to begin; it does when the answer comes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begins {
    pub(crate) args: Vec<String>,
    /// The OCI state as the runtime wrote it.
    pub(crate) state: String,
}

/// The hook has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) exit_code: u8,
    pub(crate) stderr: String,
}

/// Runs the hook; its exit code is this process's.
pub(crate) fn run(args: Args) -> ExitCode {
    let mut state = Vec::new();
    // What cannot be read is the hook's to complain about.
    let _ = io::stdin().take(MAX_STATE).read_to_end(&mut state);
    let begins = Begins {
        args: args
            .args
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect(),
        state: String::from_utf8_lossy(&state).into_owned(),
    };
    let ended = Arc::new(AtomicBool::new(false));
    let told = tell(&args.socket, &begins).and_then(|stream| {
        let watched = stream.try_clone()?;
        Ok((stream, watched))
    });
    let mut told = match told {
        Ok((stream, watched)) => {
            let ended = ended.clone();
            std::thread::spawn(move || end_with(watched, &ended));
            stream
        }
        Err(_) => return gone(),
    };
    let mut stderr = Vec::new();
    let good = ndra_hook::answer(
        args.args,
        io::Cursor::new(state),
        &mut io::stdout(),
        &mut stderr,
    );
    // From now on the simulation may close.
    ended.store(true, Ordering::SeqCst);
    let _ = io::stderr().write_all(&stderr);
    let ends = Ends {
        exit_code: u8::from(!good),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    };
    if line(&mut told, &ends).is_ok() {
        // Until the simulation has noted it: the runtime goes on when this process ends, and
        // what it does then must be told of after it.
        let _ = told.set_read_timeout(Some(NOTED));
        let _ = told.read(&mut [0]);
    }
    ExitCode::from(ends.exit_code)
}

fn gone() -> ExitCode {
    let _ = writeln!(io::stderr(), "ndra-hook: the simulation has ended");
    ExitCode::FAILURE
}

/// Ends this process when nobody is at the other end of `stream`, which says no more, unless
/// the hook has ended.
fn end_with(mut stream: UnixStream, ended: &AtomicBool) {
    let _ = stream.read(&mut [0]);
    if ended.load(Ordering::SeqCst) {
        return;
    }
    let _ = gone();
    std::process::exit(1);
}

/// Returns when the hook may begin.
fn tell(socket: &Path, begins: &Begins) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    line(&mut stream, begins)?;
    let mut answer = String::new();
    BufReader::new(&stream).take(16).read_line(&mut answer)?;
    Ok(stream)
}

fn line(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(message)?;
    text.push(b'\n');
    stream.write_all(&text)
}
