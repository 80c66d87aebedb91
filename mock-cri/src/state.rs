//! What the runtime knows: records of sandboxes and containers, and the names they hold.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndra_core::wire::cri;
use oci_spec::runtime::Spec;

use crate::bundle::Bundle;
use crate::names::{Lookup, find};
use crate::network::{Network, Pool};
use crate::words::{Call, Fault, Held};

/// All records. Guarded by one lock that is never held across an await.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) sandboxes: BTreeMap<String, Sandbox>,
    pub(crate) containers: BTreeMap<String, Container>,
    /// Reserved container names and who holds them.
    pub(crate) container_names: HashMap<String, String>,
    pub(crate) pool: Pool,
}

/// A pod sandbox.
pub(crate) struct Sandbox {
    pub(crate) id: String,
    /// The reserved name.
    pub(crate) name: String,
    pub(crate) config: cri::PodSandboxConfig,
    pub(crate) pod: cri::PodSandboxMetadata,
    pub(crate) handler: String,
    pub(crate) ready: bool,
    /// Nanoseconds since the epoch, as all times here.
    pub(crate) created_at: i64,
    /// `None` for a pod in the host's network.
    pub(crate) network: Option<Network>,
    pub(crate) spec: Spec,
}

/// A container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) sandbox: String,
    pub(crate) config: cri::ContainerConfig,
    pub(crate) metadata: cri::ContainerMetadata,
    pub(crate) spec: Arc<Spec>,
    pub(crate) image_ref: String,
    pub(crate) log_path: String,
    pub(crate) devices: Vec<String>,
    /// The code with which it exits by itself, if it does.
    pub(crate) exits: Option<i32>,
    pub(crate) created_at: i64,
    pub(crate) phase: Phase,
    /// What is being done to it.
    pub(crate) busy: Option<Busy>,
    /// There while the OCI runtime would know the container.
    pub(crate) bundle: Option<Arc<Bundle>>,
    /// Held by whoever ends it, so that poststop hooks run once.
    pub(crate) ending: Arc<tokio::sync::Mutex<()>>,
}

/// Where a container is in its life.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Created,
    Running { started_at: i64 },
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    /// 0 when it never ran.
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// An operation that keeps others away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    Starting,
    Removing,
}

impl Store {
    /// The sandbox that `id`, or its beginning, names.
    pub(crate) fn sandbox(&self, call: Call, id: &str) -> Result<&Sandbox, Fault> {
        find(&self.sandboxes, id).map_err(|why| Fault::Sandbox(call, id.into(), why))
    }

    /// The container that `id`, or its beginning, names.
    pub(crate) fn container(&self, call: Call, id: &str) -> Result<&Container, Fault> {
        find(&self.containers, id).map_err(|why| Fault::Container(call, id.into(), why))
    }

    /// The full id, for a record that is then changed.
    pub(crate) fn container_mut(&mut self, id: &str) -> Result<&mut Container, Fault> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Fault::Container(Call::Container, id.into(), Lookup::Unknown))
    }

    /// Ids of the containers of a sandbox.
    pub(crate) fn containers_of(&self, sandbox: &str) -> Vec<String> {
        self.containers
            .values()
            .filter(|c| c.sandbox == sandbox)
            .map(|c| c.id.clone())
            .collect()
    }

    /// Whether a sandbox is there and ready.
    pub(crate) fn ready(&self, sandbox: &str) -> bool {
        self.sandboxes.get(sandbox).is_some_and(|s| s.ready)
    }

    /// Forgets a container and its name. Its bundle is handed out, to go outside the lock.
    pub(crate) fn forget_container(&mut self, id: &str) -> Option<Container> {
        self.container_names.retain(|_, holder| holder != id);
        self.containers.remove(id)
    }

    /// Forgets a sandbox and gives its address back.
    pub(crate) fn forget_sandbox(&mut self, id: &str) {
        if let Some(network) = self.sandboxes.remove(id).and_then(|s| s.network) {
            self.pool.give_back(network.taken());
        }
    }
}

impl Container {
    /// What it is, for a call that comes at the wrong time.
    pub(crate) fn held(&self) -> Held {
        match (self.busy, &self.phase) {
            (Some(Busy::Starting), _) => Held::Starting,
            (Some(Busy::Removing), _) => Held::Removing,
            (None, Phase::Created) => Held::Created,
            (None, Phase::Running { .. }) => Held::Running,
            (None, Phase::Exited(_)) => Held::Exited,
        }
    }

    pub(crate) fn running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(crate) fn cri_state(&self) -> cri::ContainerState {
        match self.phase {
            Phase::Created => cri::ContainerState::ContainerCreated,
            Phase::Running { .. } => cri::ContainerState::ContainerRunning,
            Phase::Exited(_) => cri::ContainerState::ContainerExited,
        }
    }
}

/// A sandbox at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxInfo {
    /// Its CRI id.
    pub id: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// Which sandbox of the pod it is, from 0.
    pub attempt: u32,
    /// Whether it is ready.
    pub ready: bool,
    /// The file that stands for its network namespace, while it is there; `None` also for a
    /// pod in the host's network.
    pub netns: Option<PathBuf>,
    /// The pod's address, while the network namespace is there.
    pub ip: Option<std::net::Ipv4Addr>,
}

/// A container at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// Its CRI id.
    pub id: String,
    /// The CRI id of its sandbox.
    pub sandbox: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Its name in the pod.
    pub name: String,
    /// Which container of that name it is, from 0.
    pub attempt: u32,
    /// Where it is in its life.
    pub state: ContainerState,
    /// The CDI devices that were injected, by qualified name.
    pub cdi_devices: Vec<String>,
    /// Its environment after injection, `NAME=value`.
    pub env: Vec<String>,
    /// Its bundle directory, while the OCI runtime would know it.
    pub bundle: Option<PathBuf>,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, not started.
    Created,
    /// Running.
    Running,
    /// Ended, or never came to run.
    Exited {
        /// Exit code; 128 when it could not be started.
        code: i32,
        /// `Completed`, `Error`, `StartError` ….
        reason: String,
        /// The error text, if there is one.
        message: String,
    },
}

impl Sandbox {
    /// A snapshot.
    pub(crate) fn snapshot(&self) -> SandboxInfo {
        let network = self.network.as_ref().filter(|n| !n.closed());
        SandboxInfo {
            id: self.id.clone(),
            namespace: self.pod.namespace.clone(),
            name: self.pod.name.clone(),
            uid: self.pod.uid.clone(),
            attempt: self.pod.attempt,
            ready: self.ready,
            netns: network.map(|n| n.path().to_owned()),
            ip: network.and_then(Network::address),
        }
    }

    /// The pod's address as text; empty when there is none.
    pub(crate) fn ip(&self) -> String {
        let address = self.network.as_ref().and_then(Network::address);
        address.map(|a| a.to_string()).unwrap_or_default()
    }

    /// The network namespace's path, also when it is closed.
    pub(crate) fn netns(&self) -> Option<&Path> {
        self.network.as_ref().map(Network::path)
    }
}

impl Container {
    /// A snapshot; `pod` is that of its sandbox.
    pub(crate) fn snapshot(&self, pod: Option<&cri::PodSandboxMetadata>) -> ContainerInfo {
        ContainerInfo {
            id: self.id.clone(),
            sandbox: self.sandbox.clone(),
            namespace: pod.map(|p| p.namespace.clone()).unwrap_or_default(),
            pod: pod.map(|p| p.name.clone()).unwrap_or_default(),
            name: self.metadata.name.clone(),
            attempt: self.metadata.attempt,
            state: match &self.phase {
                Phase::Created => ContainerState::Created,
                Phase::Running { .. } => ContainerState::Running,
                Phase::Exited(exit) => ContainerState::Exited {
                    code: exit.code,
                    reason: exit.reason.into(),
                    message: exit.message.clone(),
                },
            },
            cdi_devices: self.devices.clone(),
            env: self
                .spec
                .process()
                .as_ref()
                .and_then(|p| p.env().clone())
                .unwrap_or_default(),
            bundle: self.bundle.as_ref().map(|b| b.path().to_owned()),
        }
    }
}
