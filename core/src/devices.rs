//! Which devices the node offers: its interfaces, what each is good for, and under which name.
//!
//! An interface that virtual attachments are put on is one device that many claims share
//! (KEP-5075, consumable capacity). An interface that a pod takes as a whole is a device of
//! one claim. The interface with the default route is for sharing only: without it the node
//! is lost.

mod declared;
mod follow;
mod name;
#[cfg(target_os = "linux")]
mod netlink;
mod offer;
mod pattern;
mod rules;
#[cfg(target_os = "linux")]
mod sysfs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use declared::DeclaredError;
pub use follow::{Follower, Source, SourceError};
pub(crate) use name::SLOT;
pub use name::device_name;
pub use offer::{MAX_ATTACHMENTS, Offer, slots};
pub use pattern::{Pattern, PatternError};
pub use rules::Rules;

/// What is known of one of the node's interfaces. Names and words are those of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's kind of a made interface (`vlan`, `bridge`, `veth`); `None` is hardware.
    pub kind: Option<String>,
    /// The driver that the kernel runs it with.
    pub driver: Option<String>,
    /// Lower case with colons.
    pub mac: Option<String>,
    /// In bytes.
    pub mtu: u32,
    /// The operational state in the words of RFC 2863: `up`, `down`, `unknown` and others.
    pub state: String,
    /// In Mbit/s.
    pub speed: Option<u32>,
    /// `0000:3b:00.0`
    pub pci_bus_id: Option<String>,
    /// `pci0000:3a`
    pub pcie_root: Option<String>,
    /// The NUMA node of the hardware.
    pub numa_node: Option<i64>,
    /// A default route leads to it.
    pub default_route: bool,
    /// The bridge or bond that it is a port of.
    pub port_of: Option<String>,
    /// Of a VLAN.
    pub vlan: Option<Vlan>,
    /// Of a bridge.
    pub bridge: Option<Bridge>,
}

/// What a VLAN interface is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// 1 to 4094.
    pub id: u16,
    /// The interface that carries it, where that is on this node.
    #[serde(default)]
    pub parent: Option<String>,
}

/// What a bridge does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bridge {
    /// Whether it keeps VLANs apart.
    pub vlan_filtering: bool,
}

impl Interface {
    /// Whether it carries traffic, as far as the kernel knows: RFC 2863 says `unknown` of
    /// interfaces that cannot tell.
    pub fn carries(&self) -> bool {
        matches!(self.state.as_str(), "up" | "unknown")
    }
}

/// What an interface is offered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// Virtual interfaces on it, for many claims at the same time.
    Shared,
    /// Itself, for one claim.
    Whole,
}

/// One interface that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDevice {
    /// The device's name: a DNS label, made of the interface's.
    pub name: String,
    /// The interface.
    pub interface: Interface,
    /// What it is offered for.
    pub usage: Usage,
    /// It was moved into a pod by a claim of this driver, and its facts are those from before.
    pub away: bool,
}

/// The node's devices at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    by_name: BTreeMap<String, NodeDevice>,
    /// Interfaces that the node cannot do without.
    uplinks: BTreeSet<String>,
}

impl Devices {
    /// Devices by their names, and the node's uplinks.
    pub fn new(
        devices: impl IntoIterator<Item = NodeDevice>,
        uplinks: impl IntoIterator<Item = String>,
    ) -> Self {
        let devices = devices.into_iter();
        Self {
            by_name: devices.map(|one| (one.name.clone(), one)).collect(),
            uplinks: uplinks.into_iter().collect(),
        }
    }

    /// The interface behind an allocated device: one that is shared by name, or a numbered
    /// part of it from a server without consumable capacity.
    pub fn find(&self, device: &str) -> Option<&NodeDevice> {
        self.by_name.get(device).or_else(|| {
            let shared = self.by_name.get(name::whole_of_part(device)?)?;
            (shared.usage == Usage::Shared).then_some(shared)
        })
    }

    /// Whether the node reaches the world by this interface.
    pub fn is_uplink(&self, interface: &str) -> bool {
        self.uplinks.contains(interface)
    }

    /// All devices, by name.
    pub fn iter(&self) -> impl Iterator<Item = &NodeDevice> {
        self.by_name.values()
    }
}

/// The newest devices; `None` where the driver offers slots and looks at no interface.
pub type Known = Option<tokio::sync::watch::Receiver<Arc<Devices>>>;
