//! Does the Multus daemon answer, and is its directory the one that it uses now?

use ndra_core::driver::Cni;
use ndra_core::multus::Multus;
use tokio::time::Instant;

use super::Node;
use crate::doctor::finding::{Finding, fail, ok};
use ndra_core::mounts::{self, Mount};
use std::path::Path;

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let Cni::Multus { socket } = &node.config.cni else {
        return vec![ok(
            "multus",
            "the driver runs the plugins itself (--cni exec)",
        )];
    };
    let dir = socket.parent().unwrap_or(socket).to_owned();
    let mounts = tokio::task::spawn_blocking(move || mounts::here(&dir)).await;
    if let Ok(Ok((mounts, dir))) = mounts
        && let Some(stale) = stale(&mounts, &dir)
    {
        return vec![stale];
    }
    let answer = Multus::new(socket)
        .healthz(Instant::now() + node.timeout)
        .await;
    vec![match answer {
        Ok(()) => ok(
            "multus",
            format!("the daemon answers at {}", socket.display()),
        ),
        Err(error) => fail(
            "multus",
            error.to_string(),
            "install Multus as the thick plugin, or name its socket: --multus-socket (the \
             chart's hostPaths.multusSocket), or let the driver run the plugins: --cni exec \
             (network=exec)",
        ),
    }]
}

/// The daemon removes its directory's content when it starts, and an installer may remove the
/// directory: whoever mounted that looks at one that is no more.
fn stale(mounts: &[Mount], dir: &Path) -> Option<Finding> {
    let mount = mounts::of(mounts, dir)?;
    mount.root.ends_with("//deleted").then(|| {
        fail(
            "multus",
            format!(
                "the mount at {} has gone stale: the directory behind it was removed",
                mount.point.display()
            ),
            "restart this pod, and mount the directory above it, which stays (the chart does)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_whose_directory_is_gone_is_stale() {
        let of = |root: &str| {
            let text = format!(
                "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 {root} /run/multus rw - tmpfs t rw\n"
            );
            stale(&mounts::parse(&text), Path::new("/run/multus")).map(|found| found.says)
        };
        assert_eq!(of("/multus"), None);
        assert_eq!(
            of("/multus//deleted").unwrap(),
            "the mount at /run/multus has gone stale: the directory behind it was removed"
        );
    }
}
