//! The same face where there are no such namespaces.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::{Mount, Trouble};

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

/// There are none.
pub fn in_mounts(_: &[Mount], _: impl AsRef<OsStr>) -> Result<Command, Trouble> {
    Err(none())
}
