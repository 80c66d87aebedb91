//! An OCI bundle: the directory with `config.json` that hooks are pointed at.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::Flavor;

/// Where a flavour keeps what, below the state directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    flavor: Flavor,
    state: PathBuf,
}

impl Layout {
    /// `state` is absolute.
    pub(crate) fn new(flavor: Flavor, state: PathBuf) -> Self {
        Self { flavor, state }
    }

    /// The directory under which bundles are made, and all of it goes at the end.
    fn top(&self) -> PathBuf {
        self.state.join(match self.flavor {
            Flavor::Containerd => "io.containerd.runtime.v2.task",
            Flavor::Crio => "overlay-containers",
        })
    }

    /// The bundle of a container. `id` is one that the mock made.
    pub(crate) fn bundle(&self, id: &str) -> PathBuf {
        match self.flavor {
            Flavor::Containerd => self.top().join("k8s.io").join(id),
            Flavor::Crio => self.top().join(id).join("userdata"),
        }
    }

    /// What goes when the bundle goes.
    fn root(&self, id: &str) -> PathBuf {
        match self.flavor {
            Flavor::Containerd => self.bundle(id),
            Flavor::Crio => self.top().join(id),
        }
    }

    /// Where a sandbox's own files (hostname, resolv.conf) would be; named in specs only.
    pub(crate) fn sandbox(&self, id: &str) -> PathBuf {
        match self.flavor {
            Flavor::Containerd => self
                .state
                .join("io.containerd.grpc.v1.cri/sandboxes")
                .join(id),
            Flavor::Crio => self.bundle(id),
        }
    }

    /// The directory that the CDI watch puts its marks into.
    pub(crate) fn marks(&self) -> PathBuf {
        self.state.join("cdi-watch")
    }

    /// Removes every bundle.
    pub(crate) fn clear(&self) {
        for dir in [self.top(), self.marks()] {
            remove(&dir);
        }
    }
}

/// A bundle on disk. It goes when this is dropped, as with `runc delete`.
#[derive(Debug)]
pub(crate) struct Bundle {
    root: PathBuf,
    path: PathBuf,
    rootfs: PathBuf,
}

impl Bundle {
    /// Writes the bundle of container `id`.
    pub(crate) fn write(layout: &Layout, id: &str, spec: &Spec) -> io::Result<Self> {
        let path = layout.bundle(id);
        let bundle = Self {
            root: layout.root(id),
            rootfs: path.join("rootfs"),
            path,
        };
        std::fs::create_dir_all(&bundle.rootfs)?;
        let text = serde_json::to_vec(spec).map_err(io::Error::other)?;
        std::fs::write(bundle.path.join("config.json"), text)?;
        Ok(bundle)
    }

    /// The directory with `config.json`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The empty root filesystem.
    pub(crate) fn rootfs(&self) -> &Path {
        &self.rootfs
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %dir.display(), %error, "directory stays behind");
        }
        _ => {}
    }
}
