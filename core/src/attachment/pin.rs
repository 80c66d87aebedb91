//! Keeps a pod's network namespace alive until its interfaces are released inside it.
//!
//! The kubelet stops a sandbox before it unprepares the pod's claims, so the namespace is
//! gone by the time of DEL. host-device brings a NIC back to the host by moving it out of
//! the namespace: without one its DEL fails, and the NIC comes back under the name that it
//! had in the pod, or not at all. For most other plugins that is a release like any other,
//! as long as the namespace really goes; but Multus v4.3.0 holds those that it looked into
//! open for minutes, and an interface that lives on in there goes on answering for an
//! address that is free by then. So the namespace is bound to a second file beside its own,
//! from before ADD until the attachment is forgotten, and DEL runs inside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::warn;

use super::Place;
use super::record::Store;
use crate::cni::ConfigList;
use crate::mounts::{self, Propagation};

/// Plugins of the CNI project whose DEL succeeded, and gave the address back, although the
/// namespace was gone. Where that was tried the kernel made no links for bandwidth, ipvlan
/// and vlan, so their DEL had nothing of their own to release. Where a namespace cannot be
/// kept, they attach all the same. Any other plugin may need it; host-device and sbr do.
const RELEASES_WITHOUT: [&str; 9] = [
    "bandwidth",
    "bridge",
    "firewall",
    "ipvlan",
    "macvlan",
    "portmap",
    "ptp",
    "tuning",
    "vlan",
];

/// Why a namespace could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The operating system refused.
    #[error(
        "the plugin {plugin} releases its interface from within the pod's network namespace, \
         and {} cannot be kept for it at {}: {reason}; the driver needs CAP_SYS_ADMIN, and the \
         directory mounted with mountPropagation Bidirectional",
        netns.display(), pin.display()
    )]
    Mount {
        /// The plugin that needs it.
        plugin: String,
        /// The namespace.
        netns: PathBuf,
        /// Where it was to be kept.
        pin: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Where the namespace is to be kept, for the record to know before it is; `None` where there
/// is none, or where it cannot be kept and no plugin of `network` needs that.
pub(super) fn path_for(network: &ConfigList, netns: &Path) -> Result<Option<PathBuf>, PinError> {
    // A file that only stands for a namespace goes with nobody.
    if !is_namespace(netns) {
        return Ok(None);
    }
    // Beside it: whoever runs the plugins sees this directory already.
    let pin = netns.with_file_name(format!("ndra-{}", uuid::Uuid::new_v4()));
    match (stays_here(netns), needs_namespace(network)) {
        (false, _) => Ok(Some(pin)),
        (true, None) => Ok(None),
        (true, Some(plugin)) => Err(PinError::Mount {
            plugin: plugin.into(),
            netns: netns.into(),
            pin,
            reason: "what the driver mounts there is not seen on the node".into(),
        }),
    }
}

/// Keeps the namespace of `place` where the record says. Where that fails, a plugin of
/// `network` that needs it makes that an error; the others are asked to release without.
pub(super) fn keep(network: &ConfigList, place: &Place) -> Result<(), PinError> {
    let Some(pin) = &place.pin else {
        return Ok(());
    };
    let Err(error) = bind(&place.netns, pin) else {
        return Ok(());
    };
    if let Err(error) = unbind(pin) {
        warn!(pin = %pin.display(), %error, "a file stays where a namespace was to be kept");
    }
    match needs_namespace(network) {
        Some(plugin) => Err(PinError::Mount {
            plugin: plugin.into(),
            netns: place.netns.clone(),
            pin: pin.clone(),
            reason: crate::socket::io_text(&error),
        }),
        None => {
            warn!(netns = %place.netns.display(), %error, "network namespace not kept until DEL");
            Ok(())
        }
    }
}

/// Lets go of those of `pins` that the record needs no more. What cannot be let go of stays
/// in the record, for the next start of the driver.
pub(super) async fn release_unused<'a>(store: &Store, pins: impl IntoIterator<Item = &'a Path>) {
    let unused: Vec<&Path> = store.read(|record| {
        let needed = |pin: &&Path| {
            record
                .places()
                .any(|place| place.pin.as_deref() == Some(*pin))
        };
        pins.into_iter().filter(|pin| !needed(pin)).collect()
    });
    let gone: Vec<&Path> = unused
        .into_iter()
        .filter(|pin| match unbind(pin) {
            Ok(()) => true,
            Err(error) => {
                warn!(pin = %pin.display(), %error, "network namespace not let go of");
                false
            }
        })
        .collect();
    if gone.is_empty() {
        return;
    }
    let forget = store.change(|record| record.pins.retain(|pin| !gone.contains(&pin.as_path())));
    if let Err(error) = forget.await {
        warn!(%error, "pins not forgotten; the next write forgets them");
    }
}

/// The first plugin whose DEL may need the namespace.
fn needs_namespace(network: &ConfigList) -> Option<&str> {
    network
        .plugins
        .iter()
        .filter_map(|plugin| plugin.get("type").and_then(Value::as_str))
        .find(|plugin| !RELEASES_WITHOUT.contains(plugin))
}

/// Whether mounts beside this namespace are the driver's own: in a container whose volume has
/// mount propagation `HostToContainer`, whoever runs the plugins does not see them.
fn stays_here(netns: &Path) -> bool {
    // Namespaces are mounts themselves; what is mounted beside one goes where its directory is.
    let Some(Ok((mounts, directory))) = netns.parent().map(mounts::here) else {
        return false;
    };
    let mount = mounts::of(&mounts, &directory);
    mount.is_some_and(|mount| mount.propagation == Propagation::Slave)
}

/// Whether there is a living namespace behind this path.
#[cfg(target_os = "linux")]
pub(super) fn is_namespace(path: &Path) -> bool {
    /// `NSFS_MAGIC` of linux/magic.h.
    const NSFS: rustix::fs::FsWord = 0x6e73_6673;
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type == NSFS)
}

/// There are none on other systems.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_namespace(_: &Path) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn bind(netns: &Path, pin: &Path) -> io::Result<()> {
    fs::File::options().write(true).create_new(true).open(pin)?;
    Ok(rustix::mount::mount_bind(netns, pin)?)
}

#[cfg(not(target_os = "linux"))]
fn bind(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Undoes [`bind`], also half of it or none.
fn unbind(pin: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if is_namespace(pin) {
        rustix::mount::unmount(pin, rustix::mount::UnmountFlags::DETACH)?;
    }
    match fs::remove_file(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
