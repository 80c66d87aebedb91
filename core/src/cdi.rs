//! The claim's CDI spec: written at prepare, removed at unprepare.
//!
//! One file a claim, with one device named by the claim's UID and a createRuntime hook
//! (CDI specification 0.5.0). The content is a function of the claim UID and of the
//! driver's own paths, so that a spec written by one instance serves the next.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::claim::ClaimUid;

/// Device names may begin with a digit from this version on, and UIDs do.
const CDI_VERSION: &str = "0.5.0";

/// The hook as the runtime is told to run it.
#[derive(Clone, Debug)]
pub struct HookCommand {
    /// The program, an absolute path on the host.
    pub path: PathBuf,
    /// Arguments before the hook's own, e.g. a subcommand.
    pub args: Vec<String>,
    /// The socket that the hook calls.
    pub socket: PathBuf,
    /// How long the hook tries; shorter than `kill_after`, so that its message gets out.
    pub timeout: Duration,
    /// When the runtime kills it; whole seconds, at least one.
    pub kill_after: Duration,
}

/// Writes and removes specs in one CDI directory.
#[derive(Clone, Debug)]
pub struct CdiDir {
    dir: PathBuf,
    vendor: String,
    hook: HookCommand,
}

/// Why a spec could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} the CDI spec {}: {reason}; check that the directory is there, writable \
     and the one the runtime reads (containerd: cdi_spec_dirs, CRI-O: cdi_spec_dirs)",
    path.display()
)]
pub struct CdiError {
    action: &'static str,
    path: PathBuf,
    reason: String,
}

impl CdiDir {
    /// Specs of `vendor` (the driver's name) in `dir`.
    pub fn new(dir: PathBuf, vendor: impl Into<String>, hook: HookCommand) -> Self {
        Self {
            dir,
            vendor: vendor.into(),
            hook,
        }
    }

    /// The name by which containers ask for the claim's device: `vendor/claim=UID`.
    pub fn device_id(&self, uid: &ClaimUid) -> String {
        format!("{}/claim={uid}", self.vendor)
    }

    /// Where the claim's spec lies.
    pub fn path(&self, uid: &ClaimUid) -> PathBuf {
        self.dir.join(format!("{}-claim_{uid}.json", self.vendor))
    }

    /// The claim's spec.
    pub fn spec(&self, uid: &ClaimUid) -> Value {
        let hook = &self.hook;
        let name = hook.path.file_name().unwrap_or(hook.path.as_os_str());
        let mut args = vec![name.to_string_lossy().into_owned()];
        args.extend(hook.args.iter().cloned());
        args.extend([
            format!("--claim-uid={uid}"),
            format!("--socket={}", hook.socket.display()),
            format!("--timeout={}ms", hook.timeout.as_millis()),
        ]);
        json!({
            "cdiVersion": CDI_VERSION,
            "kind": format!("{}/claim", self.vendor),
            "devices": [{
                "name": uid.as_str(),
                "containerEdits": {
                    "hooks": [{
                        "hookName": "createRuntime",
                        "path": hook.path,
                        "args": args,
                        "timeout": hook.kill_after.as_secs().max(1),
                    }],
                },
            }],
        })
    }

    /// Writes the claim's spec, replacing an older one, and returns its path.
    ///
    /// Runtimes read the directory when a file is renamed in, not when it is created, so
    /// the text is complete before the name is there (and a crash leaves no half spec).
    pub fn write(&self, uid: &ClaimUid) -> Result<PathBuf, CdiError> {
        let path = self.path(uid);
        let fail = |reason: io::Error| CdiError {
            action: "write",
            path: path.clone(),
            reason: crate::socket::io_text(&reason),
        };
        fs::create_dir_all(&self.dir).map_err(fail)?;
        let mut text = serde_json::to_vec_pretty(&self.spec(uid)).map_err(|e| fail(e.into()))?;
        text.push(b'\n');
        replace(&path, &text, 0o644).map_err(fail)?;
        Ok(path)
    }

    /// Removes the claim's spec; one that is not there is no error.
    pub fn remove(&self, uid: &ClaimUid) -> Result<(), CdiError> {
        let path = self.path(uid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CdiError {
                action: "remove",
                path,
                reason: crate::socket::io_text(&error),
            }),
            _ => Ok(()),
        }
    }

    /// UIDs of this driver's specs in the directory, in no order.
    pub fn list(&self) -> Vec<ClaimUid> {
        let prefix = format!("{}-claim_", self.vendor);
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                name.strip_prefix(&prefix)?
                    .strip_suffix(".json")?
                    .parse()
                    .ok()
            })
            .collect()
    }
}

/// Replaces a file in one step that survives a crash: temporary file in the same
/// directory, fsync, rename, fsync of the directory.
pub(crate) fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    // Not `.json`: a runtime that reads the directory meanwhile must pass over it.
    name.push(".tmp");
    let temporary = dir.join(name);
    let written = (|| {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(path: &Path) -> CdiDir {
        CdiDir::new(
            path.into(),
            "dra.networking",
            HookCommand {
                path: "/opt/ndra/bin/ndra-hook".into(),
                args: vec![],
                socket: "/run/ndra/hook.sock".into(),
                timeout: Duration::from_secs(25),
                kill_after: Duration::from_secs(30),
            },
        )
    }

    #[test]
    fn a_spec_is_written_whole_and_removed_again() {
        let temp = tempfile::tempdir().unwrap();
        let cdi = dir(&temp.path().join("cdi"));
        let uid: ClaimUid = "0b5a".parse().unwrap();
        let path = cdi.write(&uid).unwrap();
        insta::assert_snapshot!(fs::read_to_string(&path).unwrap(), @r#"
        {
          "cdiVersion": "0.5.0",
          "kind": "dra.networking/claim",
          "devices": [
            {
              "name": "0b5a",
              "containerEdits": {
                "hooks": [
                  {
                    "hookName": "createRuntime",
                    "path": "/opt/ndra/bin/ndra-hook",
                    "args": [
                      "ndra-hook",
                      "--claim-uid=0b5a",
                      "--socket=/run/ndra/hook.sock",
                      "--timeout=25000ms"
                    ],
                    "timeout": 30
                  }
                ]
              }
            }
          ]
        }
        "#);
        assert_eq!(cdi.device_id(&uid), "dra.networking/claim=0b5a");
        assert_eq!(cdi.list(), std::slice::from_ref(&uid));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        cdi.remove(&uid).unwrap();
        cdi.remove(&uid).unwrap();
        assert!(cdi.list().is_empty());
    }

    #[test]
    fn a_directory_in_the_way_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let cdi = dir(temp.path());
        let uid: ClaimUid = "u".parse().unwrap();
        fs::create_dir(cdi.path(&uid)).unwrap();
        let text = cdi.write(&uid).unwrap_err().to_string();
        let text = text.replace(&*temp.path().to_string_lossy(), "DIR");
        insta::assert_snapshot!(text, @"cannot write the CDI spec DIR/dra.networking-claim_u.json: Is a directory; check that the directory is there, writable and the one the runtime reads (containerd: cdi_spec_dirs, CRI-O: cdi_spec_dirs)");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
