//! Where a real runtime lives: the namespaces of the process behind its socket.

use std::path::Path;

use ndra_netns::{Mount, Trouble};

use crate::failure::Failure;
use crate::problem::{Place, Problem};

/// Where runtimes keep pods' network namespaces.
pub(crate) const NAMESPACES: &str = "/var/run/netns";

/// Moves this process there and says so. Where nobody answers, it stays: the run will say
/// why.
pub(crate) fn enter(socket: &Path) -> Result<bool, Failure> {
    let Some(pid) = behind(socket) else {
        return Ok(false);
    };
    ndra_netns::join(pid).map_err(denied(socket))?;
    Ok(true)
}

/// Gives this process, which has moved, mounts of its own, so that plugins can write where
/// the runtime does not see it. The runtime's mounts are still seen.
pub(crate) fn aside(socket: &Path, mounts: &[Mount]) -> Result<(), Failure> {
    let namespaces = Path::new(NAMESPACES);
    if !ndra_netns::shares(namespaces).map_err(denied(socket))? {
        return Err(Problem::new(
            Place::file(format!("--cri {}", socket.display())),
            format!(
                "the runtime's mounts on {} are private: pods' network namespaces could not be \
                 seen by real CNI plugins",
                namespaces.display()
            ),
            "run `mount --make-rshared /` where the runtime lives, before it has pods; \
             `scripts/real-runtime up` does",
        )
        .into());
    }
    ndra_netns::aside(mounts).map_err(denied(socket))
}

fn denied(socket: &Path) -> impl Fn(Trouble) -> Failure {
    move |error| {
        Problem::new(
            Place::file(format!("--cri {}", socket.display())),
            error.to_string(),
            "run it as root: the pods' namespaces are the runtime's",
        )
        .into()
    }
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
