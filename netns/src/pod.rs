//! A pod's network namespace: made and removed at a path, as runtimes do below /run/netns.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::inside::on_thread;
use crate::{Links, Trouble, inside};

/// Makes a network namespace with `lo` up, held by a mount on the new file `path`.
pub fn create(path: &Path) -> Result<(), Trouble> {
    let what = format!("cannot make the network namespace {}", path.display());
    fs::File::create_new(path).map_err(Trouble::at(&what))?;
    let made = on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Links::open()?.up("lo")?;
        // The thread's own: the process is in another one.
        let own = Path::new("/proc/thread-self/ns/net");
        let none: Option<&str> = None;
        mount(Some(own), path, none, MsFlags::MS_BIND, none)?;
        Ok(())
    });
    if made.is_err() {
        // It is empty, and nobody else's.
        let _ = fs::remove_file(path);
    }
    made.map_err(Trouble::at(what))
}

/// Removes it; links in it go when the last process and socket has left. One that is gone is
/// no error.
pub fn remove(path: &Path) -> Result<(), Trouble> {
    let what = format!("cannot remove the network namespace {}", path.display());
    match umount2(path, MntFlags::MNT_DETACH) {
        // Not mounted, or not there.
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => return Err(Trouble::at(what)(error)),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Trouble::at(what)(error)),
        _ => Ok(()),
    }
}

/// Whether the namespace at `path` has a link of this name.
pub fn has_interface(path: &Path, name: &str) -> Result<bool, Trouble> {
    let found = inside(path, || Links::open()?.find(name))?;
    let what = format!("cannot list the links of {}", path.display());
    Ok(found.map_err(Trouble::at(what))?.is_some())
}
