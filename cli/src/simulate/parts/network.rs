//! Who makes interfaces in a run, and which there are.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use ndra_mock_multus::{Backend, ExecConfig, Record, RecordConfig, State};
use ndra_netns::{Links, UPLINK, here, inside};

use super::super::ground::ADDRESSES;
use super::super::home::NAMESPACES;
use super::super::lane::{Lane, NetworkKind, RuntimeKind};
use super::super::workdir::{WorkDir, files};
use super::interfaces::{NodeInterfaces, peer};
use crate::scenario::LinkState;

/// The network of the run's node. It outlives restarts of Multus.
#[derive(Clone)]
pub(crate) struct Network {
    kind: NetworkKind,
    /// Of the played plugins; empty when real ones run.
    state: State,
    namespaces: PathBuf,
    cache: PathBuf,
    /// Interfaces that a pod has of its runtime, and not of this network.
    theirs: &'static [&'static str],
    /// Of the node.
    interfaces: NodeInterfaces,
}

/// An interface in a pod's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodLink {
    pub(crate) netns: PathBuf,
    pub(crate) name: String,
    /// Lower case with colons.
    pub(crate) mac: String,
    pub(crate) addresses: Vec<IpNet>,
}

impl Network {
    /// A node's network, empty.
    pub(crate) fn new(lane: &Lane, work: &WorkDir, more: &[String]) -> Result<Self, String> {
        let (namespaces, theirs): (_, &[&str]) = match lane.runtime {
            RuntimeKind::Played(_) => (work.at("netns"), &[]),
            // In containerd's own words: paths are compared with what it says of a sandbox.
            RuntimeKind::Found(_) => (NAMESPACES.into(), &["eth0"]),
        };
        Ok(Self {
            kind: lane.network.clone(),
            state: State::default(),
            namespaces,
            cache: work.at("cni/cache"),
            theirs,
            interfaces: NodeInterfaces::make(lane.network.real(), work, more)?,
        })
    }

    /// How the driver finds the node's interfaces.
    pub(crate) fn interface_flags(&self) -> Vec<String> {
        self.interfaces.flags()
    }

    /// Changes one of the node's interfaces.
    pub(crate) fn set(&self, name: &str, state: LinkState) -> Result<(), String> {
        self.interfaces.set(name, state)
    }

    fn played(&self) -> RecordConfig {
        RecordConfig {
            links: self.interfaces.names(),
        }
    }

    /// What answers behind Multus's mock.
    pub(crate) fn backend(&self) -> Backend {
        match &self.kind {
            NetworkKind::Record => Backend::Record(self.played()),
            NetworkKind::Kernel => Backend::Kernel,
            NetworkKind::Exec(path) => Backend::Exec(ExecConfig {
                cni_path: path.clone(),
                cache_dir: self.cache.clone(),
            }),
        }
    }

    /// What the played plugins made, for a Multus that comes back.
    pub(crate) fn state(&self) -> State {
        self.state.clone()
    }

    /// The played plugins, for whoever runs them without Multus; or where the real ones are.
    pub(crate) fn plugins(&self) -> Result<Record, &[PathBuf]> {
        match &self.kind {
            NetworkKind::Record => Ok(Record::new(self.played(), self.state())),
            NetworkKind::Kernel => Ok(Record::kernel(self.state())),
            NetworkKind::Exec(path) => Err(path),
        }
    }

    /// Where real plugins are; nowhere when they are played.
    pub(crate) fn plugin_path(&self) -> &[PathBuf] {
        match &self.kind {
            NetworkKind::Exec(path) => path,
            NetworkKind::Record | NetworkKind::Kernel => &[],
        }
    }

    /// Where results of real plugins' ADDs are kept, below it as libcni does.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Results of ADDs that no DEL has removed.
    pub(crate) fn cached(&self) -> Vec<String> {
        files(&self.cache.join("results"))
    }

    /// Whether what it says of pods comes from the kernel.
    pub(crate) fn real(&self) -> bool {
        self.kind.real()
    }

    /// Interfaces in pods that exist now: as recorded, or as the kernel has them.
    pub(crate) fn interfaces(&self) -> Vec<PodLink> {
        if self.real() {
            let namespaces = distinct(paths(&self.namespaces)).into_iter();
            return namespaces.flat_map(|netns| self.look(&netns)).collect();
        }
        let recorded = self.state.interfaces().into_iter();
        recorded
            .map(|interface| PodLink {
                netns: interface.netns,
                name: interface.if_name,
                mac: interface.mac,
                addresses: interface.ips,
            })
            .collect()
    }

    /// What this network put into a namespace of the kernel's.
    pub(crate) fn look(&self, netns: &Path) -> Vec<PodLink> {
        let mut links = look(netns);
        links.retain(|link| !self.theirs.contains(&link.name.as_str()));
        links
    }

    /// How the node's links differ from those when the run began. A bridge counts for
    /// nothing: the plugin makes it for the node and leaves it there.
    pub(crate) fn node_links(&self) -> Vec<String> {
        if !self.real() {
            return Vec::new();
        }
        let mut own = vec!["lo".to_owned(), ndra_netns::UPLINK_PEER.to_owned()];
        for name in self.interfaces.names() {
            own.extend((name != UPLINK).then(|| peer(&name)));
            own.push(name);
        }
        match here(|| Links::open()?.list()) {
            Ok(links) => {
                let gone = own
                    .iter()
                    .filter(|name| links.iter().all(|link| link.name != **name))
                    .map(|name| format!("{name} is missing on the node"));
                let more = links
                    .iter()
                    .filter(|link| !own.contains(&link.name) && link.kind != "bridge")
                    .map(|link| format!("{} on the node", link.name));
                gone.chain(more).collect()
            }
            Err(error) => vec![format!("the node's links cannot be listed: {error}")],
        }
    }

    /// Addresses that are reserved now.
    pub(crate) fn allocations(&self) -> Vec<String> {
        if let NetworkKind::Exec(_) = self.kind {
            return reserved(&Path::new(ADDRESSES).join("networks"));
        }
        let allocations = self.state.allocations().into_iter();
        allocations
            .map(|a| format!("{} of network {} ({})", a.ip, a.network, a.if_name))
            .collect()
    }
}

/// Namespaces by the paths that the runtime gave them, and those that only the driver still
/// keeps by the paths of its own.
fn distinct(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let kept = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with("ndra-"))
    };
    paths.sort_by_key(kept);
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    // CRI-O binds the node's own for pods on the host's network.
    let node = fs::metadata("/proc/self/ns/net").map(identity);
    let mut seen: BTreeSet<(u64, u64)> = node.into_iter().collect();
    paths.retain(|path| {
        // One that goes meanwhile has no interfaces.
        fs::metadata(path).is_ok_and(|meta| seen.insert(identity(meta)))
    });
    paths
}

/// The interfaces inside a namespace of the kernel's, `lo` apart. One that goes meanwhile
/// has none.
fn look(netns: &Path) -> Vec<PodLink> {
    let found = inside(netns, || -> io::Result<Vec<PodLink>> {
        let links = Links::open()?;
        let mut found = Vec::new();
        for link in links.list()? {
            if link.name == "lo" {
                continue;
            }
            let mac: Vec<String> = link.mac.iter().map(|byte| format!("{byte:02x}")).collect();
            let addresses = links.addresses(&link.name)?.into_iter();
            found.push(PodLink {
                netns: netns.to_owned(),
                name: link.name,
                mac: mac.join(":"),
                addresses: addresses
                    .filter_map(|(ip, prefix)| IpNet::new(ip, prefix).ok())
                    .collect(),
            });
        }
        Ok(found)
    });
    found.ok().and_then(Result::ok).unwrap_or_default()
}

/// What the real host-local keeps: a file named by its address in a directory a network.
fn reserved(networks: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for network in paths(networks) {
        for file in paths(&network) {
            let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
            let (Some(network), Some(ip)) = (name(&network), name(&file)) else {
                continue;
            };
            // Others are its lock and its last answer.
            if ip.parse::<std::net::IpAddr>().is_ok() {
                found.push(format!("{ip} of network {network}"));
            }
        }
    }
    found
}

fn paths(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
