//! `ndra install-hook`: puts the hook program where the runtime runs it.
//!
//! The image has no shell and no `install`; this is what its init container runs. A hook
//! that runs is never written to: the new one lies complete beside it and takes its name.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::failure::Failure;
use crate::problem::{Place, Problem};

/// The program's name, here and on the host.
const NAME: &str = "ndra-hook";

/// The largest hook that is copied, in bytes; the real one has 2 MiB at most.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// Install the hook program on this host.
///
/// The new program is written beside the old one, synced, and renamed over it, so that a
/// running hook is never touched and a crash leaves one of the two whole. Then it is run
/// once, to see that this host runs it. A hook that is the same already stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory to install into; it is made if it is missing.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The program to install. [default: ndra-hook beside this program]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Refuse to go on when the host has no such path; NAME is the setting that names it.
    /// May be repeated.
    #[arg(long = "needs", value_name = "NAME=PATH", value_parser = need)]
    needs: Vec<Need>,
}

/// A path that must be there, and what to set when it is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    setting: String,
    path: PathBuf,
}

fn need(text: &str) -> Result<Need, String> {
    match text.split_once('=') {
        Some((setting, path)) if !setting.is_empty() && path.starts_with('/') => Ok(Need {
            setting: setting.into(),
            path: path.into(),
        }),
        _ => Err("write a setting's name, `=` and an absolute path".into()),
    }
}

/// Installs the hook.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !args.to.is_absolute() {
        return Err(Problem::new(
            Place::file("--to"),
            format!("{} is not an absolute path", args.to.display()),
            "the runtime is told this path: write it from / on",
        )
        .into());
    }
    for need in &args.needs {
        need.check()?;
    }
    let from = match &args.from {
        Some(from) => from.clone(),
        None => beside_this_program()?,
    };
    let program = read(&from)?;
    let place = args.to.join(NAME);
    let said = if holds(&place, &program) {
        "is the same already"
    } else {
        put(&args.to, &place, &program)?;
        "installed"
    };
    let version = try_out(&place)?;
    // A reader that has gone away wants no more.
    let line = format!("{} {said}: {version}\n", place.display());
    let _ = io::stdout().write_all(line.as_bytes());
    Ok(ExitCode::SUCCESS)
}

impl Need {
    fn check(&self) -> Result<(), Failure> {
        let seen = fs::metadata(&self.path);
        // The file of a socket says that its server was there, and nothing more.
        let fits = seen
            .as_ref()
            .is_ok_and(|meta| meta.is_dir() || meta.file_type().is_socket());
        if fits {
            return Ok(());
        }
        let why = match seen {
            Ok(_) => "is neither a socket nor a directory".to_owned(),
            Err(error) => format!("is not there: {}", words(&error)),
        };
        Err(Failure::run(
            format!("the host's {} {why}", self.path.display()),
            format!("set {} to where this host has it", self.setting),
        ))
    }
}

fn beside_this_program() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe().map_err(|error| {
        Failure::run(
            format!("cannot find this program: {}", words(&error)),
            "name the hook with --from",
        )
    })?;
    Ok(this.with_file_name(NAME))
}

fn read(from: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |why: String| {
        Failure::from(Problem::new(
            Place::file("--from"),
            format!("{}: {why}", from.display()),
            "name the program ndra-hook; scripts/build-hook builds it",
        ))
    };
    let file = File::open(from).map_err(|error| unreadable(words(&error)))?;
    let meta = file.metadata().map_err(|error| unreadable(words(&error)))?;
    if !meta.is_file() {
        return Err(unreadable("is not a regular file".into()));
    }
    let mut program = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut program)
        .map_err(|error| unreadable(words(&error)))?;
    if program.len() as u64 > MAX_SIZE {
        return Err(unreadable(format!("has more than {MAX_SIZE} bytes")));
    }
    if program.is_empty() {
        return Err(unreadable("is empty".into()));
    }
    Ok(program)
}

/// Whether the place holds this very program, for everybody to run.
fn holds(place: &Path, program: &[u8]) -> bool {
    let Ok(meta) = fs::symlink_metadata(place) else {
        return false;
    };
    meta.is_file()
        && meta.permissions().mode() & 0o777 == 0o755
        && meta.len() == program.len() as u64
        && fs::read(place).is_ok_and(|held| held == program)
}

fn put(dir: &Path, place: &Path, program: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::run(
            format!(
                "cannot install the hook in {}: {}",
                dir.display(),
                words(&error)
            ),
            "choose a directory of the host that can be written and that programs run from: \
             the chart's hostPaths.hook, --to here",
        )
    };
    fs::create_dir_all(dir).map_err(failed)?;
    if place.is_dir() {
        return Err(failed(io::Error::other(format!(
            "{} is a directory",
            place.display()
        ))));
    }
    // One name for all tries: what a crash leaves is replaced by the next.
    let new = dir.join(format!(".{NAME}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let written = write(&new, program).and_then(|()| {
        fs::rename(&new, place)?;
        // The name is safe only when the directory is.
        File::open(dir)?.sync_all()
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        failed(error)
    })
}

fn write(new: &Path, program: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(new)?;
    file.write_all(program)?;
    // Whatever the umask says: the runtime may run hooks as somebody else.
    file.set_permissions(Permissions::from_mode(0o755))?;
    file.sync_all()
}

/// Runs the hook where it lies now, and returns its version.
fn try_out(place: &Path) -> Result<String, Failure> {
    let failed = |why: String, mend: &str| {
        Failure::run(
            format!("{} does not run on this host: {why}", place.display()),
            mend,
        )
    };
    let other = "install the ndra-hook of this image, which is built for this machine";
    let output = Command::new(place)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => failed(
                words(&error),
                "is its directory mounted noexec, or does SELinux forbid it? Choose another \
                 directory: the chart's hostPaths.hook, --to here",
            ),
            _ => failed(words(&error), other),
        })?;
    if !output.status.success() {
        return Err(failed(output.status.to_string(), other));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.chars().filter(|c| !c.is_control()).take(80).collect())
}

fn words(error: &io::Error) -> String {
    ndra_core::socket::io_text(error)
}
