//! Who makes interfaces in a run, and which there are.

use ndra_mock_multus::{Allocation, Backend, Interface, RecordConfig, State};

use super::super::lane::NetworkKind;

/// The network of the run's node. It outlives restarts of Multus.
pub(crate) enum Network {
    /// What plugins would do is recorded.
    Record(State),
}

impl Network {
    /// A node's network, empty.
    pub(crate) fn new(kind: NetworkKind) -> Self {
        match kind {
            NetworkKind::Record => Self::Record(State::default()),
        }
    }

    /// What answers behind Multus's mock.
    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::Record(_) => Backend::Record(RecordConfig::default()),
        }
    }

    /// What was recorded; empty when nothing is.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Record(state) => state.clone(),
        }
    }

    /// Interfaces in pods that exist now.
    pub(crate) fn interfaces(&self) -> Vec<Interface> {
        match self {
            Self::Record(state) => state.interfaces(),
        }
    }

    /// Addresses that are reserved now.
    pub(crate) fn allocations(&self) -> Vec<Allocation> {
        match self {
            Self::Record(state) => state.allocations(),
        }
    }
}
