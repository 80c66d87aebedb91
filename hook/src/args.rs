//! Reads the command line by hand: three flags do not justify a parser in a program
//! that starts once for every container.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::HookError;
use crate::options::{ClaimUid, Options, SocketPath, Timeout};

const HELP: &str = "\
Asks the ndra driver to give a pod the interfaces of its claim, before a container
of the pod starts. An OCI runtime runs this as a createRuntime hook and writes the
container's OCI state to stdin.

Usage: ndra-hook --claim-uid UID --socket PATH [--timeout DURATION]

Options:
      --claim-uid UID     UID of the ResourceClaim
      --socket PATH       Absolute path of the driver's callback socket
      --timeout DURATION  How long to wait for stdin and the driver, all in all; a
                          whole number with ms, s or m, from 1ms to 10m [default: 25s]
  -h, --help              Print this help
  -V, --version           Print the version

Exit status: 0 when the interfaces are there, else 1 with one line on stderr.
";
const VERSION: &str = concat!("ndra-hook ", env!("CARGO_PKG_VERSION"), "\n");

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Options),
    /// A text for stdout, and nothing else.
    Print(&'static str),
}

/// A command line that cannot be followed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Known when only the rest is wrong; the report names it.
    pub(crate) claim_uid: Option<ClaimUid>,
    pub(crate) error: HookError,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("unknown argument {0:?}; run `ndra-hook --help` for those that there are")]
    Unknown(String),
    #[error("{flag} has no value; give {flag} {value}")]
    NoValue {
        flag: &'static str,
        value: &'static str,
    },
    #[error("{0} is given twice; give it once")]
    Twice(&'static str),
    #[error("{flag} is missing; give {flag} {value}")]
    Missing {
        flag: &'static str,
        value: &'static str,
    },
}

/// One flag and, once seen, its value.
struct Flag {
    name: &'static str,
    placeholder: &'static str,
    value: Option<OsString>,
}

impl Flag {
    const fn new(name: &'static str, placeholder: &'static str) -> Self {
        Self {
            name,
            placeholder,
            value: None,
        }
    }

    fn set(&mut self, value: Option<OsString>) -> Result<(), UsageError> {
        if self.value.is_some() {
            return Err(UsageError::Twice(self.name));
        }
        let value = value.ok_or(UsageError::NoValue {
            flag: self.name,
            value: self.placeholder,
        })?;
        self.value = Some(value);
        Ok(())
    }

    fn required(self) -> Result<OsString, UsageError> {
        self.value.ok_or(UsageError::Missing {
            flag: self.name,
            value: self.placeholder,
        })
    }
}

/// Understands `args`, the program's name left out.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Box<Refused>> {
    let mut claim_uid = Flag::new("--claim-uid", "UID");
    let mut socket = Flag::new("--socket", "PATH");
    let mut timeout = Flag::new("--timeout", "DURATION");
    let read = read_flags(args, [&mut claim_uid, &mut socket, &mut timeout]);

    // Before anything is refused: the report should name the claim if it can.
    let claim_uid = claim_uid
        .required()
        .map_err(HookError::from)
        .and_then(|uid| Ok(uid.to_string_lossy().parse::<ClaimUid>()?));
    let refused = |claim_uid: Option<&ClaimUid>, error| {
        let claim_uid = claim_uid.cloned();
        Box::new(Refused { claim_uid, error })
    };
    match read {
        Ok(None) => {}
        Ok(Some(text)) => return Ok(Command::Print(text)),
        Err(error) => return Err(refused(claim_uid.as_ref().ok(), error.into())),
    }
    let claim_uid = claim_uid.map_err(|error| refused(None, error))?;
    let rest = || -> Result<(SocketPath, Timeout), HookError> {
        let socket = SocketPath::new(socket.required()?)?;
        let timeout = match timeout.value {
            Some(text) => text.to_string_lossy().parse()?,
            None => Timeout::default(),
        };
        Ok((socket, timeout))
    };
    let (socket, timeout) = rest().map_err(|error| refused(Some(&claim_uid), error))?;
    Ok(Command::Run(Options {
        claim_uid,
        socket,
        timeout,
    }))
}

/// Fills `flags`; or returns the text that the caller asked to see instead.
fn read_flags(
    args: impl IntoIterator<Item = OsString>,
    mut flags: [&mut Flag; 3],
) -> Result<Option<&'static str>, UsageError> {
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        match arg.as_bytes() {
            b"-h" | b"--help" => return Ok(Some(HELP)),
            b"-V" | b"--version" => return Ok(Some(VERSION)),
            _ => {}
        }
        let (name, mut value) = split(arg);
        let Some(flag) = flags
            .iter_mut()
            .find(|flag| name.as_os_str() == OsStr::new(flag.name))
        else {
            return Err(UsageError::Unknown(name.to_string_lossy().into_owned()));
        };
        if value.is_none() {
            // A flag in the place of a value: the value was forgotten.
            value = args.next_if(|next| !next.as_bytes().starts_with(b"--"));
        }
        flag.set(value)?;
    }
    Ok(None)
}

/// Parts `--flag=value`.
fn split(arg: OsString) -> (OsString, Option<OsString>) {
    let bytes = arg.into_vec();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let value = OsString::from_vec(bytes[at + 1..].to_vec());
            (OsString::from_vec(bytes[..at].to_vec()), Some(value))
        }
        None => (OsString::from_vec(bytes), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn options(args: &[&str]) -> Options {
        match parse(args.iter().map(OsString::from)) {
            Ok(Command::Run(options)) => options,
            other => panic!("{args:?} gave {other:?}"),
        }
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let apart = options(&["--timeout", "3s", "--claim-uid", "u-1", "--socket", "/r/s"]);
        let joined = options(&["--claim-uid=u-1", "--socket=/r/s", "--timeout=3s"]);
        assert_eq!(apart, joined);
        assert_eq!(apart.claim_uid.as_str(), "u-1");
        assert_eq!(apart.socket.as_path().to_str(), Some("/r/s"));
        assert_eq!(apart.timeout.get(), Duration::from_secs(3));
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        let options = options(&["--claim-uid=u", "--socket=/r/a=b"]);
        assert_eq!(options.socket.as_path().to_str(), Some("/r/a=b"));
        assert_eq!(options.timeout, Timeout::default());
    }
}
