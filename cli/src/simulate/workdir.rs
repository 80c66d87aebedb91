//! The one directory that a run writes to, and where everything lies in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::failure::Failure;

/// Parts below which nothing must be left when a run is over, apart from logs.
const DIRECTORIES: [&str; 10] = [
    "run", "reg", "plugin", "cdi", "netns", "state", "kubelet", "cri", "cni", "logs",
];

/// The longest directory below which all sockets of a run still have room in their paths.
const LONGEST_BASE: usize = 40;

/// `TMPDIR`, where it is short enough, else `/tmp`.
fn base() -> PathBuf {
    std::env::var_os("TMPDIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && dir.as_os_str().len() <= LONGEST_BASE)
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Removes the directory of a run that was cut short. Processes that were killed may still
/// have written to it after it was removed, so it must be found gone twice.
pub(crate) async fn remove_what_comes_late(path: &Path) {
    let mut gone = 0;
    for _ in 0..100 {
        // Its driver may have kept namespaces there, which are mounts.
        for namespace in files(&path.join("netns")) {
            // Who looks again finds it again if it is still there.
            let _ = ndra_netns::remove(Path::new(&namespace));
        }
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => gone += 1,
            _ => gone = 0,
        }
        if gone == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("{} could not be removed", path.display());
}

/// A run's directory; removed when dropped, unless it is kept.
pub(crate) struct WorkDir {
    directory: TempDir,
}

impl WorkDir {
    /// Makes one. Its path is short, because those of sockets must be.
    pub(crate) fn create(keep: bool) -> Result<Self, Failure> {
        let base = base();
        let fail = |error: std::io::Error| {
            Failure::run(
                format!(
                    "cannot make a work directory in {}: {error}",
                    base.display()
                ),
                "make room there, or set TMPDIR to a directory with a short path",
            )
        };
        let directory = tempfile::Builder::new()
            .prefix("ndra.")
            .disable_cleanup(keep)
            .tempdir_in(&base)
            .map_err(fail)?;
        for name in DIRECTORIES {
            fs::create_dir(directory.path().join(name)).map_err(fail)?;
        }
        Ok(Self { directory })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file or directory in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// What is in one of its directories, in order.
    pub(crate) fn files(&self, name: &str) -> Vec<String> {
        files(&self.at(name))
    }

    /// A socket in it.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.at("run").join(format!("{name}.sock"))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.at("logs/driver.log")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.at("kubeconfig")
    }

    /// Where the plugins are that stand for real ones.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.at("cni/bin")
    }

    /// Writes a program that the flow may run.
    pub(crate) fn program(&self, path: &Path, text: &str) -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    }
}

/// What is in a directory, in order.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.path().display().to_string())
        .collect();
    names.sort();
    names
}
