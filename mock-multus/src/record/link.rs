//! Links in pods as the plugins here need them: found, made, set up, deleted; remembered
//! alone, or made by the kernel too.

use std::path::Path;

use ipnet::IpNet;
use ndra_core::cni::CniResult;

use super::kernel;
use super::macvlan::any_mac;
use super::state::{Link, Netns};
use super::{Record, Wire};

/// What Ethernet links have.
const PLAYED_MTU: u32 = 1500;

/// The node's link below an interface.
#[derive(Clone, Debug)]
pub(super) struct Master {
    /// Its number; of no meaning where nothing is real.
    pub(super) index: u32,
    pub(super) mtu: u32,
}

/// A macvlan interface to be made.
pub(super) struct Wanted<'a> {
    pub(super) netns: &'a Netns,
    pub(super) name: &'a str,
    pub(super) mode: &'a str,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) mtu: Option<u32>,
    pub(super) container_id: &'a str,
    pub(super) network: &'a str,
}

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mac: String,
    pub(super) mode: String,
    pub(super) ips: Vec<IpNet>,
    pub(super) up: bool,
}

impl Record {
    /// Whether the namespace at `netns` has an interface `name`, or why that cannot be
    /// told. Every namespace has `lo`.
    pub(crate) fn has_interface(&self, netns: &Path, name: &str) -> Result<bool, String> {
        let netns = Netns::open(&netns.to_string_lossy())?;
        Ok(name == "lo" || self.see(&netns, name).is_some())
    }

    /// The link of this name; the one with the default route where there is none.
    pub(super) fn master(&self, name: &str) -> Result<Master, String> {
        match &self.wire {
            Wire::Kernel => kernel::master(name),
            Wire::Played(config) => {
                let name = match name {
                    "" => config
                        .links
                        .first()
                        .ok_or("no default route interface found")?,
                    named => named,
                };
                let at = config.links.iter().position(|link| link == name);
                at.map(|_| Master {
                    index: 0,
                    mtu: PLAYED_MTU,
                })
                .ok_or_else(|| "Link not found".into())
            }
        }
    }

    /// Makes an interface, down. Gives its hardware address.
    pub(super) fn make_link(&self, master: &Master, wanted: &Wanted<'_>) -> Result<String, String> {
        let mac = match &self.wire {
            Wire::Kernel => kernel::make(master, wanted)?,
            Wire::Played(_) => {
                let taken = self.state.node().link(wanted.netns, wanted.name).is_some();
                if wanted.name == "lo" || taken {
                    return Err(exists(wanted.name));
                }
                match wanted.mac {
                    Some(mac) if mac[0] & 1 == 1 || mac == [0; 6] => {
                        let text = "failed to create macvlan: cannot assign requested address";
                        return Err(text.into());
                    }
                    Some(mac) => shown(&mac),
                    None => shown(&any_mac()),
                }
            }
        };
        self.state.node().add_link(Link {
            netns: wanted.netns.clone(),
            name: wanted.name.to_owned(),
            mac: mac.clone(),
            mode: wanted.mode.to_owned(),
            ips: Vec::new(),
            up: false,
            container_id: wanted.container_id.to_owned(),
            network: wanted.network.to_owned(),
            real: matches!(self.wire, Wire::Kernel),
        });
        Ok(mac)
    }

    /// Gives it what IPAM answered, and sets it up.
    pub(super) fn set_up(
        &self,
        netns: &Netns,
        name: &str,
        result: &CniResult,
    ) -> Result<(), String> {
        if matches!(self.wire, Wire::Kernel) {
            kernel::set_up(netns, name, result)?;
        }
        if let Some(link) = self.state.node().link_mut(netns, name) {
            link.up = true;
            link.ips = result.ips.iter().map(|ip| ip.address).collect();
        }
        Ok(())
    }

    /// The interface as it is now.
    pub(super) fn see(&self, netns: &Netns, name: &str) -> Option<Seen> {
        match &self.wire {
            Wire::Kernel => kernel::see(&netns.path, name),
            Wire::Played(_) => {
                let node = self.state.node();
                node.link(netns, name).map(|link| Seen {
                    mac: link.mac.clone(),
                    mode: link.mode.clone(),
                    ips: link.ips.clone(),
                    up: link.up,
                })
            }
        }
    }

    /// Deletes it; one that is not there is no error.
    pub(super) fn delete_link(&self, netns: &Netns, name: &str) -> Result<(), String> {
        if matches!(self.wire, Wire::Kernel) {
            kernel::delete(netns, name)?;
        }
        self.state.node().delete_link(netns, name);
        Ok(())
    }
}

pub(super) fn exists(name: &str) -> String {
    format!("failed to rename macvlan to {name:?}: file exists")
}

pub(super) fn shown(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}
