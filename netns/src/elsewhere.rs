//! The same face where there are no such namespaces.

use std::ffi::OsStr;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::{Link, MacVlan, Mount, Trouble};

/// The node's uplink in a namespace of its own, which is never made here.
pub const UPLINK: &str = "eth0";
/// The uplink's other end.
pub const UPLINK_PEER: &str = "eth0p";

fn none() -> Trouble {
    Trouble::told("network namespaces", "not on this system: they are Linux's")
}

/// Never asked.
pub fn helper() -> Option<ExitCode> {
    None
}

/// There are none.
pub fn probe() -> Result<(), Trouble> {
    Err(none())
}

/// There are none.
pub fn isolate(_: &[Mount]) -> Result<(), Trouble> {
    Err(none())
}

/// There are none.
pub fn aside(_: &[Mount]) -> Result<(), Trouble> {
    Err(none())
}

/// There are none.
pub fn share() -> Result<(), Trouble> {
    Err(none())
}

/// There are none.
pub fn shares(_: &Path) -> Result<bool, Trouble> {
    Err(none())
}

/// There are none.
pub fn join(_: u32) -> Result<(), Trouble> {
    Err(none())
}

/// There are none.
pub fn create(_: &Path) -> Result<(), Trouble> {
    Err(none())
}

/// There are none.
pub fn remove(_: &Path) -> Result<(), Trouble> {
    Err(none())
}

/// There are none.
pub fn inside<T: Send>(_: &Path, _: impl FnOnce() -> T + Send) -> Result<T, Trouble> {
    Err(none())
}

/// As on Linux.
pub fn here<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    work()
}

/// There are none.
pub fn in_mounts(_: &[Mount], _: impl AsRef<OsStr>) -> Result<Command, Trouble> {
    Err(none())
}

/// There are none.
pub fn has_interface(_: &Path, _: &str) -> Result<bool, Trouble> {
    Err(none())
}

/// Nobody has one.
pub enum Links {}

#[allow(missing_docs, reason = "as on Linux; none of them is ever called")]
impl Links {
    pub fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn list(&self) -> io::Result<Vec<Link>> {
        match *self {}
    }

    pub fn find(&self, _: &str) -> io::Result<Option<Link>> {
        match *self {}
    }

    pub fn add_veth(&self, _: &str, _: &str) -> io::Result<()> {
        match *self {}
    }

    pub fn add_macvlan(
        &self,
        _: &MacVlan<'_>,
        _: Option<&impl std::os::fd::AsRawFd>,
    ) -> io::Result<()> {
        match *self {}
    }

    pub fn up(&self, _: &str) -> io::Result<()> {
        match *self {}
    }

    pub fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        match *self {}
    }

    pub fn delete(&self, _: &str) -> io::Result<()> {
        match *self {}
    }

    pub fn add_address(&self, _: &str, _: IpAddr, _: u8) -> io::Result<()> {
        match *self {}
    }

    pub fn down(&self, _: &str) -> io::Result<()> {
        match *self {}
    }

    pub fn addresses(&self, _: &str) -> io::Result<Vec<(IpAddr, u8)>> {
        match *self {}
    }

    pub fn settling(&self, _: &str) -> io::Result<bool> {
        match *self {}
    }

    pub fn add_route(&self, _: &str, _: (IpAddr, u8), _: Option<IpAddr>) -> io::Result<()> {
        match *self {}
    }

    pub fn default_route(&self) -> io::Result<Option<u32>> {
        match *self {}
    }
}
