//! What one program sees mounted that nobody else does.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// One change, made in the order in which they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// An empty directory over one that exists; what is made in it is nobody else's.
    Empty(PathBuf),
    /// A directory, made with those above it. Put it into an [`Mount::Empty`] one, unless
    /// the file system may be written to.
    Directory(PathBuf),
    /// A file or directory seen at another path, which exists or is made.
    Bind {
        /// What is seen.
        from: PathBuf,
        /// Where.
        at: PathBuf,
    },
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for the helper"))]
impl Mount {
    /// As arguments of the helper.
    pub(crate) fn to_args(&self) -> Vec<OsString> {
        match self {
            Self::Empty(at) => vec!["empty".into(), at.into()],
            Self::Directory(at) => vec!["directory".into(), at.into()],
            Self::Bind { from, at } => vec!["bind".into(), from.into(), at.into()],
        }
    }

    /// The next one from arguments of the helper; `None` at `--` or at what is none.
    pub(crate) fn next(args: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let word = args.next()?;
        let mut path = || args.next().map(PathBuf::from);
        match word {
            word if word == OsStr::new("empty") => Some(Self::Empty(path()?)),
            word if word == OsStr::new("directory") => Some(Self::Directory(path()?)),
            word if word == OsStr::new("bind") => Some(Self::Bind {
                from: path()?,
                at: path()?,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_pass_through_arguments() {
        let mounts = [
            Mount::Empty("/run".into()),
            Mount::Directory("/run/a b".into()),
            Mount::Bind {
                from: "/x".into(),
                at: "/run/a b".into(),
            },
        ];
        let args = mounts.iter().flat_map(Mount::to_args);
        let mut args = args.chain([OsString::from("--"), "program".into()]);
        let read: Vec<Mount> = std::iter::from_fn(|| Mount::next(&mut args)).collect();
        assert_eq!(read, mounts);
        assert_eq!(args.next(), Some("program".into()));
    }
}
