//! This process moves to where another one lives.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, setns};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Trouble;

/// Moves the whole process into the mount and network namespaces of the process `pid`, and
/// into its user namespace where that is another one. To be called before the first thread
/// is started. A namespace that both share already is left alone.
pub fn join(pid: u32) -> Result<(), Trouble> {
    let what = format!("cannot move to where process {pid} lives");
    let joined = || -> io::Result<()> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or(io::ErrorKind::InvalidInput)?;
        // The number may be given to another process; this is not.
        let process = pidfd_open(number, PidfdFlags::empty())?;
        let mut wanted = CloneFlags::empty();
        for (name, flag) in [
            ("user", CloneFlags::CLONE_NEWUSER),
            ("mnt", CloneFlags::CLONE_NEWNS),
            ("net", CloneFlags::CLONE_NEWNET),
        ] {
            if !same(pid, name)? {
                wanted |= flag;
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let here = std::env::current_dir();
        setns(process.as_fd(), wanted)?;
        // The kernel puts a process that changes its mounts to the root.
        if let Ok(here) = here {
            let _ = std::env::set_current_dir(here);
        }
        Ok(())
    };
    joined().map_err(Trouble::at(what))
}

fn same(pid: u32, name: &str) -> io::Result<bool> {
    let look = |process: &str| -> io::Result<(u64, u64)> {
        let meta = File::open(format!("/proc/{process}/ns/{name}"))?.metadata()?;
        Ok((meta.dev(), meta.ino()))
    };
    Ok(look("self")? == look(&pid.to_string())?)
}
