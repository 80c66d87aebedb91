//! The hook's options as types that cannot hold a wrong value, because they come
//! from a CDI file that anybody with access to the node may have edited.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The longest name that Kubernetes gives an object, in bytes.
const UID_LIMIT: usize = 253;
/// Bytes of a path in a socket address; the system's field has one more, for the
/// NUL at the end.
const SOCKET_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// All that the hook must know besides the OCI state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The claim whose CDI device the container was given.
    pub claim_uid: ClaimUid,
    /// Where the driver serves the callback.
    pub socket: SocketPath,
    /// How long the hook may take, all in all.
    pub timeout: Timeout,
}

/// What is wrong with the value of an option.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionError {
    /// No character at all.
    #[error("the claim UID is empty; give the ResourceClaim's metadata.uid")]
    UidEmpty,
    /// Longer than any UID.
    #[error(
        "the claim UID has {0} bytes, at most {UID_LIMIT} are possible; give the ResourceClaim's metadata.uid"
    )]
    UidTooLong(usize),
    /// A character that no UID has; perhaps a path.
    #[error(
        "the claim UID {uid:?} contains {found:?}, only letters, digits, `.`, `_` and `-` are possible; \
         give the ResourceClaim's metadata.uid"
    )]
    UidCharacter {
        /// The UID as given.
        uid: String,
        /// Its first wrong character.
        found: char,
    },
    /// A name such as `..`.
    #[error("the claim UID {0:?} begins with a dot; give the ResourceClaim's metadata.uid")]
    UidDot(String),
    /// Would depend on the working directory, which the runtime chooses.
    #[error("the socket path {0:?} is not absolute; give the whole path, beginning with `/`")]
    SocketRelative(PathBuf),
    /// Does not fit into a socket address.
    #[error(
        "the socket path {path:?} has {length} bytes, at most {SOCKET_LIMIT} fit into a socket address; \
         give the driver and the hook a shorter one"
    )]
    SocketTooLong {
        /// The path as given.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// No path can have a NUL.
    #[error("the socket path {0:?} contains a NUL byte; give a path as the file system knows it")]
    SocketNul(PathBuf),
    /// Not a number and a unit.
    #[error(
        "the time-out {0:?} is not a duration; give a whole number and a unit, such as 25s, 500ms or 2m"
    )]
    TimeoutForm(String),
    /// Too short to ask, or longer than anything waits for a hook.
    #[error("the time-out {0:?} is out of range; give one from 1ms to 10m")]
    TimeoutRange(String),
}

/// The UID of a ResourceClaim: safe in a file name and in a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimUid(String);

impl ClaimUid {
    /// The UID as Kubernetes writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimUid {
    type Err = OptionError;

    fn from_str(uid: &str) -> Result<Self, OptionError> {
        if uid.is_empty() {
            return Err(OptionError::UidEmpty);
        }
        if uid.len() > UID_LIMIT {
            return Err(OptionError::UidTooLong(uid.len()));
        }
        let possible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(found) = uid.chars().find(|c| !possible(*c)) {
            return Err(OptionError::UidCharacter {
                uid: uid.to_owned(),
                found,
            });
        }
        if uid.starts_with('.') {
            return Err(OptionError::UidDot(uid.to_owned()));
        }
        Ok(Self(uid.to_owned()))
    }
}

impl fmt::Display for ClaimUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An absolute path that fits into a socket address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketPath(PathBuf);

impl SocketPath {
    /// Checks the form of `path`; whether anything listens there is not looked at.
    ///
    /// # Errors
    /// When it is relative, too long for this system, or holds a NUL.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, OptionError> {
        let path = path.into();
        let bytes = path.as_os_str().as_bytes();
        if !bytes.starts_with(b"/") {
            return Err(OptionError::SocketRelative(path));
        }
        if bytes.contains(&0) {
            return Err(OptionError::SocketNul(path));
        }
        if bytes.len() > SOCKET_LIMIT {
            let length = bytes.len();
            return Err(OptionError::SocketTooLong { path, length });
        }
        Ok(Self(path))
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<OsString> for SocketPath {
    type Error = OptionError;

    fn try_from(path: OsString) -> Result<Self, OptionError> {
        Self::new(path)
    }
}

impl FromStr for SocketPath {
    type Err = OptionError;

    fn from_str(path: &str) -> Result<Self, OptionError> {
        Self::new(path)
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// How long the hook may take: 1 ms to 10 min, 25 s by default.
///
/// It must end before the time-out that the CDI spec sets for the hook: then the
/// runtime kills it, and nobody learns why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    /// The time-out as a duration.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self(Duration::from_secs(25))
    }
}

impl FromStr for Timeout {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let form = || OptionError::TimeoutForm(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => return Err(form()),
        };
        if number.is_empty() {
            return Err(form());
        }
        // What does not fit is out of range, not malformed.
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(millis))
            .map(Duration::from_millis)
            .filter(|duration| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(duration))
            .map(Self)
            .ok_or_else(|| OptionError::TimeoutRange(text.to_owned()))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let parsed = |text: &str| text.parse::<Timeout>().map(Timeout::get);
        assert_eq!(parsed("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parsed("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(parsed("10m"), Ok(Duration::from_secs(600)));
        for text in ["", "s", "25", "1.5s", "-1s", "+1s", " 1s", "1h", "1S", "٣s"] {
            assert_eq!(parsed(text), Err(OptionError::TimeoutForm(text.into())));
        }
        for text in ["0s", "0ms", "601s", "11m", "99999999999999999999999s"] {
            assert_eq!(parsed(text), Err(OptionError::TimeoutRange(text.into())));
        }
        assert_eq!(Timeout::default().to_string(), "25s");
        assert_eq!(Timeout(Duration::from_millis(300)).to_string(), "300ms");
    }

    #[test]
    fn limits_are_exact() {
        assert!("a".repeat(253).parse::<ClaimUid>().is_ok());
        assert!("a".repeat(254).parse::<ClaimUid>().is_err());
        let path = |length: usize| format!("/{}", "s".repeat(length - 1));
        assert!(SocketPath::new(path(SOCKET_LIMIT)).is_ok());
        assert!(SocketPath::new(path(SOCKET_LIMIT + 1)).is_err());
    }
}
