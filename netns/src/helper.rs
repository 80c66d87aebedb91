//! What this program does as a child of itself: try whether namespaces work, and start
//! another program with mounts of its own.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::inside::here;
use crate::isolate::{enter, follow};
use crate::{Links, Mount, Trouble, UPLINK, UPLINK_PEER};

/// The first argument of a helper.
const WORD: &str = "namespace-helper";

/// To be called first in `main`: does a helper's work and says how to end, or returns
/// `None` when this is not one.
pub fn helper() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != OsStr::new(WORD) {
        return None;
    }
    let ended = match args.next() {
        Some(task) if task == OsStr::new("probe") => try_out(),
        Some(task) if task == OsStr::new("mounts") => Err(run(args)),
        _ => Err(Trouble::told("a helper", "knows no such task")),
    };
    Some(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::FAILURE
        }
    })
}

fn myself() -> Result<Command, Trouble> {
    let program = std::env::current_exe().map_err(Trouble::at("cannot find this program"))?;
    let mut command = Command::new(program);
    command.arg(WORD);
    Ok(command)
}

/// Whether [`crate::isolate`] would work, tried in a child; or why not, in one line. Some
/// systems let namespaces be made and then deny what is done in them.
pub fn probe() -> Result<(), Trouble> {
    let what = "network namespaces";
    let output = myself()?
        .arg("probe")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(Trouble::at(what))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("no reason was given");
    Err(Trouble::told(what, said))
}

fn try_out() -> Result<(), Trouble> {
    enter()?;
    let made = here(|| Links::open()?.add_veth(UPLINK, UPLINK_PEER));
    made.map_err(Trouble::at("cannot make a link in a namespace"))
}

/// A command that runs `program` with `mounts` that only it and its children see. What this
/// process mounts later they see, too, if it [shares](crate::share) its mounts. The program is
/// killed when the thread that started it ends, so that it does not outlive this process.
/// Arguments, environment and the rest are the caller's to add.
pub fn in_mounts(mounts: &[Mount], program: impl AsRef<OsStr>) -> Result<Command, Trouble> {
    let mut command = myself()?;
    command.arg("mounts");
    command.args(mounts.iter().flat_map(Mount::to_args));
    command.arg("--").arg(program);
    Ok(command)
}

/// Becomes the program; returns when it cannot.
fn run(mut args: impl Iterator<Item = OsString>) -> Trouble {
    let parent = getppid();
    let prepared = || -> Result<(), Trouble> {
        let what = "cannot end with the program that started it";
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(io::Error::from)
            .map_err(Trouble::at(what))?;
        if getppid() != parent {
            return Err(Trouble::told(what, "that one has ended"));
        }
        let what = "cannot keep mounts to one program";
        unshare(CloneFlags::CLONE_NEWNS).map_err(Trouble::at(what))?;
        follow().map_err(Trouble::at(what))
    };
    if let Err(trouble) = prepared() {
        return trouble;
    }
    while let Some(mount) = Mount::next(&mut args) {
        if let Err(trouble) = mount.make() {
            return trouble;
        }
    }
    let Some(program) = args.next() else {
        return Trouble::at("a helper")(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let what = format!("cannot start {}", program.display());
    Trouble::at(what)(Command::new(program).args(args).exec())
}
