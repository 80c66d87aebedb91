//! What exists on the played node: interfaces in namespaces, addresses, and caches.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ipnet::IpNet;
use ndra_core::cni::CniResult;

use super::host_local::Stores;
use super::kernel;

/// A node's state. Clones share it; it outlives the daemon that changes it.
#[derive(Clone, Debug, Default)]
pub struct State(Arc<Mutex<Node>>);

/// Network, container id and interface name: what libcni's cache is keyed by.
pub(super) type CacheKey = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Node {
    links: Vec<Link>,
    pub(super) stores: Stores,
    pub(super) results: BTreeMap<CacheKey, CniResult>,
}

/// An interface in a pod's namespace.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) netns: Netns,
    pub(super) name: String,
    pub(super) mac: String,
    pub(super) mode: String,
    pub(super) ips: Vec<IpNet>,
    pub(super) up: bool,
    pub(super) container_id: String,
    pub(super) network: String,
    /// The kernel has it, and knows better than this.
    pub(super) real: bool,
}

/// One namespace. A file made anew under an old path is another one.
#[derive(Clone, Debug)]
pub(crate) struct Netns {
    pub(super) path: PathBuf,
    id: (u64, u64, Option<SystemTime>),
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Netns {
    /// The namespace at `path`, or how the kernel refuses.
    pub(crate) fn open(path: &str) -> Result<Self, String> {
        match std::fs::metadata(path) {
            Ok(meta) => Ok(Self {
                path: path.into(),
                id: (meta.dev(), meta.ino(), meta.created().ok()),
            }),
            Err(error) => {
                let cause = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => "permission denied",
                    std::io::ErrorKind::NotADirectory => "not a directory",
                    _ => "no such file or directory",
                };
                Err(format!("failed to Statfs {path:?}: {cause}"))
            }
        }
    }

    fn exists(&self) -> bool {
        let path = self.path.to_string_lossy();
        Self::open(&path).is_ok_and(|now| now == *self)
    }
}

impl Link {
    /// As it is now; `None` when the kernel has it no more.
    fn now(self) -> Option<Self> {
        if !self.real {
            return Some(self);
        }
        let seen = kernel::see(&self.netns.path, &self.name)?;
        Some(Self {
            mac: seen.mac,
            ips: seen.ips,
            up: seen.up,
            ..self
        })
    }
}

impl Node {
    pub(super) fn link(&self, netns: &Netns, name: &str) -> Option<&Link> {
        self.links
            .iter()
            .find(|link| link.netns == *netns && link.name == name)
    }

    pub(super) fn link_mut(&mut self, netns: &Netns, name: &str) -> Option<&mut Link> {
        self.links
            .iter_mut()
            .find(|link| link.netns == *netns && link.name == name)
    }

    pub(super) fn add_link(&mut self, link: Link) {
        // The kernel gives the number of a namespace that went to the next one.
        self.delete_link(&link.netns.clone(), &link.name);
        self.links.push(link);
    }

    pub(super) fn delete_link(&mut self, netns: &Netns, name: &str) {
        self.links
            .retain(|link| link.netns != *netns || link.name != name);
    }
}

/// An interface that exists now, made by an ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The sandbox.
    pub container_id: String,
    /// The namespace it is in, as the ADD named it.
    pub netns: PathBuf,
    /// Its name.
    pub if_name: String,
    /// Its hardware address, lower case with colons.
    pub mac: String,
    /// Its addresses.
    pub ips: Vec<IpNet>,
    /// The network's name.
    pub network: String,
    /// Whether it is up. A failed ADD leaves its interface behind, down.
    pub up: bool,
}

/// An address that host-local gave out and has not got back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The network's name.
    pub network: String,
    /// The address.
    pub ip: IpAddr,
    /// The sandbox.
    pub container_id: String,
    /// The interface's name.
    pub if_name: String,
}

impl State {
    pub(super) fn node(&self) -> MutexGuard<'_, Node> {
        // A panic in between leaves the maps whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Interfaces that exist now, in the order in which they were made.
    pub fn interfaces(&self) -> Vec<Interface> {
        let mut node = self.node();
        // Those of namespaces that went are found by nobody else.
        node.links.retain(|link| link.netns.exists());
        let links = node.links.clone();
        // Asking the kernel takes a while.
        drop(node);
        links
            .into_iter()
            .filter_map(Link::now)
            .map(|link| Interface {
                container_id: link.container_id,
                netns: link.netns.path,
                if_name: link.name,
                mac: link.mac,
                ips: link.ips,
                network: link.network,
                up: link.up,
            })
            .collect()
    }

    /// Addresses that are given out now. They outlive a namespace: only DEL frees them.
    pub fn allocations(&self) -> Vec<Allocation> {
        let node = self.node();
        node.stores
            .reserved()
            .map(|(network, ip, container_id, if_name)| Allocation {
                network: network.to_owned(),
                ip,
                container_id: container_id.to_owned(),
                if_name: if_name.to_owned(),
            })
            .collect()
    }
}
