//! What of the node is real in a run, and what is played: chosen once, before anything
//! starts.

use std::path::PathBuf;

use super::Flavor;
use super::parts::Endpoint;

/// One choice for every part of the node that comes in more than one kind.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) runtime: RuntimeKind,
    pub(crate) multus: MultusKind,
    pub(crate) network: NetworkKind,
}

/// Who starts containers.
#[derive(Clone, Debug)]
pub(crate) enum RuntimeKind {
    /// The mock, behaving like this runtime.
    Played(Flavor),
    /// A real one that runs already.
    Found(Box<Endpoint>),
}

/// Who answers the delegate API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MultusKind {
    /// The mock.
    Played,
}

/// Who makes interfaces, and in which network namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkKind {
    /// Nobody: what plugins would do is recorded, and files stand for namespaces.
    Record,
    /// The kernel, asked by the played plugins, in namespaces of the pods' own.
    Kernel,
    /// Real plugins from these directories, in namespaces of the pods' own.
    Exec(Vec<PathBuf>),
}

impl NetworkKind {
    /// Whether pods have namespaces of the kernel's.
    pub(crate) fn real(&self) -> bool {
        *self != Self::Record
    }
}

impl Lane {
    /// Runtime and Multus played.
    pub(crate) fn played(flavor: Flavor, network: NetworkKind) -> Self {
        Self {
            runtime: RuntimeKind::Played(flavor),
            multus: MultusKind::Played,
            network,
        }
    }

    /// A real runtime, and Multus played.
    pub(crate) fn found(endpoint: Endpoint, network: NetworkKind) -> Self {
        Self {
            runtime: RuntimeKind::Found(Box::new(endpoint)),
            multus: MultusKind::Played,
            network,
        }
    }

    /// For the head of a report: the runtime, then Multus with its network.
    pub(crate) fn words(&self) -> [String; 2] {
        let runtime = match &self.runtime {
            RuntimeKind::Played(flavor) => flavor.to_string(),
            RuntimeKind::Found(endpoint) => endpoint.words(),
        };
        let network = match self.network {
            NetworkKind::Record => "recorded",
            NetworkKind::Kernel => "kernel links",
            NetworkKind::Exec(_) => "CNI plugins",
        };
        let multus = match self.multus {
            MultusKind::Played => format!("Multus ({network})"),
        };
        [runtime, multus]
    }
}
