//! The file that carries claims over a restart of the kubelet.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ndra_core::socket::io_text;
use serde::{Deserialize, Serialize};

use super::cache::PreparedClaim;

const VERSION: u32 = 1;
/// A node has some hundred pods; a file beyond this is not ours.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What is wrong with the checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error("cannot {verb} the kubelet's checkpoint {}: {}", path.display(), io_text(source))]
    Io {
        /// `read`, `write` or `move aside`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what this kubelet writes.
    #[error(
        "the kubelet's checkpoint {} is damaged: {reason}; it is kept as {}, and the next start begins without it: unprepare by hand what it names",
        path.display(), aside.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Where it is now.
        aside: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: u32,
    claims: Cow<'a, [PreparedClaim]>,
}

pub(super) fn read(path: &Path) -> Result<Vec<PreparedClaim>, CheckpointError> {
    let fail = |verb, source| CheckpointError::Io {
        verb,
        path: path.into(),
        source,
    };
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Ok(file) => file.take(MAX_BYTES + 1).read_to_end(&mut bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => Err(error),
    }
    .map_err(|error| fail("read", error))?;
    let reason = match serde_json::from_slice::<File<'_>>(&bytes) {
        _ if bytes.len() as u64 > MAX_BYTES => format!("it is larger than {MAX_BYTES} bytes"),
        Ok(file) if file.version == VERSION => return Ok(file.claims.into_owned()),
        Ok(file) => format!("its version is {}, not {VERSION}", file.version),
        Err(error) => error.to_string(),
    };
    let aside = aside(path);
    fs::rename(path, &aside).map_err(|error| fail("move aside", error))?;
    Err(CheckpointError::Damaged {
        path: path.into(),
        reason,
        aside,
    })
}

/// Replaces the file in one step. It is not synced to disk: it has to outlive the
/// kubelet, not the machine.
pub(super) fn write<'a>(
    path: &Path,
    claims: impl Iterator<Item = &'a PreparedClaim>,
) -> Result<(), CheckpointError> {
    let fail = |source| CheckpointError::Io {
        verb: "write",
        path: path.into(),
        source,
    };
    let file = File {
        version: VERSION,
        claims: claims.cloned().collect(),
    };
    let bytes = serde_json::to_vec(&file).map_err(|error| fail(error.into()))?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(fail)?;
    }
    let temporary = suffixed(path, "tmp");
    fs::write(&temporary, bytes).map_err(fail)?;
    fs::rename(&temporary, path).map_err(fail)
}

/// A name beside `path` that nobody has.
fn aside(path: &Path) -> PathBuf {
    let mut aside = suffixed(path, "damaged");
    let mut count = 1;
    while aside.symlink_metadata().is_ok() {
        count += 1;
        aside = suffixed(path, &format!("damaged-{count}"));
    }
    aside
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_checkpoint_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("claims");
        insta::with_settings!({filters => [(dir.path().to_str().unwrap(), "DIR")]}, {
            fs::write(&path, "{\"version\": 1, \"claims\": [").unwrap();
            insta::assert_snapshot!(read(&path).unwrap_err(), @"the kubelet's checkpoint DIR/claims is damaged: EOF while parsing a list at line 1 column 26; it is kept as DIR/claims.damaged, and the next start begins without it: unprepare by hand what it names");
            fs::write(&path, r#"{"version": 7, "claims": []}"#).unwrap();
            insta::assert_snapshot!(read(&path).unwrap_err(), @"the kubelet's checkpoint DIR/claims is damaged: its version is 7, not 1; it is kept as DIR/claims.damaged-2, and the next start begins without it: unprepare by hand what it names");
            assert_eq!(read(&path).unwrap(), []);
            assert!(dir.path().join("claims.damaged").exists());
            fs::create_dir(&path).unwrap();
            insta::assert_snapshot!(read(&path).unwrap_err(), @"cannot read the kubelet's checkpoint DIR/claims: Is a directory");
            insta::assert_snapshot!(write(&path, [].into_iter()).unwrap_err(), @"cannot write the kubelet's checkpoint DIR/claims: Is a directory");
        });
    }
}
