//! What of the node is real in a run, and what is played: chosen once, before anything
//! starts.

use super::Flavor;

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
}

/// Who answers the delegate API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MultusKind {
    /// The mock.
    Played,
}

/// Who makes interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkKind {
    /// Nobody: what plugins would do is recorded.
    Record,
}

impl Lane {
    /// Every part played: needs nothing of the machine.
    pub(crate) fn played(flavor: Flavor) -> Self {
        Self {
            runtime: RuntimeKind::Played(flavor),
            multus: MultusKind::Played,
            network: NetworkKind::Record,
        }
    }

    /// For the head of a report: the runtime, then Multus with its network.
    pub(crate) fn words(&self) -> [String; 2] {
        let runtime = match &self.runtime {
            RuntimeKind::Played(flavor) => flavor.to_string(),
        };
        let multus = match (self.multus, self.network) {
            (MultusKind::Played, NetworkKind::Record) => "Multus (recorded)".to_owned(),
        };
        [runtime, multus]
    }
}
