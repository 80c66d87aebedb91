//! Work inside a namespace, on a thread of its own that ends with it.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;

use crate::Trouble;

/// Runs `work` in the network namespace at `path`. Sockets that it opens stay in there, and
/// may be handed out.
///
/// `work` must not hand tasks to a runtime's pool: threads started from within would stay in
/// the namespace.
pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Trouble> {
    let what = format!("cannot enter the network namespace {}", path.display());
    let entered = || -> io::Result<T> {
        let netns = File::open(path)?;
        on_thread(move || {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })
    };
    entered().map_err(Trouble::at(what))
}

/// Runs `work` on a thread of its own in this process's namespace: outside of any runtime.
pub fn here<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_thread(work)
}

/// A thread that changed its namespace is of no further use.
pub(crate) fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work)?;
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
    })
}

/// A netlink handle whose socket lives in the namespace at `path`; `runtime` serves it.
pub fn netlink(path: &Path, runtime: &tokio::runtime::Handle) -> Result<Handle, Trouble> {
    let opened = inside(path, || {
        let _entered = runtime.enter();
        rtnetlink::new_connection()
    })?;
    let what = format!("cannot open netlink in {}", path.display());
    let (connection, handle, _) = opened.map_err(Trouble::at(what))?;
    runtime.spawn(connection);
    Ok(handle)
}
