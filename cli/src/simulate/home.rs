//! Where a real runtime lives: the namespaces of the process behind its socket.

use std::path::Path;

use crate::failure::Failure;
use crate::problem::{Place, Problem};

/// Moves this process there. Where nobody answers, it stays: the run will say so.
pub(crate) fn enter(socket: &Path) -> Result<(), Failure> {
    let Some(pid) = behind(socket) else {
        return Ok(());
    };
    ndra_netns::join(pid).map_err(|error| {
        Problem::new(
            Place::file(format!("--cri {}", socket.display())),
            error.to_string(),
            "run it as root: the pods' namespaces are the runtime's",
        )
        .into()
    })
}

/// The process that listens, as this one's numbers go.
fn behind(socket: &Path) -> Option<u32> {
    // On this thread alone: more would forbid the move.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .ok()?;
    let credentials = runtime.block_on(async {
        let stream = tokio::net::UnixStream::connect(socket).await?;
        stream.peer_cred()
    });
    let pid = credentials.ok()?.pid()?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}
