//! Who a flow is (claim, pod, node, addresses), and where its events hang.

use super::fold::FlowState;
use super::log::{Chain, Key, Log};

/// Names a flow while it is known. A number is used again after its flow is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub(crate) u32);

/// An interface that a flow's CNI call made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) tag: u32,
    /// Name of the interface in the pod.
    pub interface: Box<str>,
    /// Its addresses as CIDR, separated by a space.
    pub ips: Box<str>,
}

/// One claim on one node.
#[derive(Debug)]
pub struct Flow {
    pub(crate) node: u16,
    /// UID of the claim; empty for what belongs to no claim.
    pub uid: Box<str>,
    /// Namespace of the claim, where known.
    pub namespace: Box<str>,
    /// Name of the claim, where known.
    pub claim: Box<str>,
    /// Pods that were seen with it, `namespace/name`, at most four.
    pub pods: Vec<Box<str>>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) chain: Chain,
    /// What the events that were given up had come to.
    base: Option<Box<FlowState>>,
    /// What the events until the cursor come to.
    pub state: FlowState,
    /// Marks the flow as met in one pass over events.
    pub(crate) mark: u32,
}

/// How many pods of one claim are remembered.
pub(super) const MAX_PODS: usize = 4;

/// How many interfaces of one claim are remembered.
const MAX_ADDRESSES: usize = 16;

impl Flow {
    pub(crate) fn new(node: u16, uid: &str) -> Self {
        Self {
            node,
            uid: uid.into(),
            namespace: Box::default(),
            claim: Box::default(),
            pods: Vec::new(),
            addresses: Vec::new(),
            chain: Chain::EMPTY,
            base: None,
            state: FlowState::default(),
            mark: 0,
        }
    }

    /// Makes `state` what the events up to `cursor` come to.
    pub(crate) fn refold(&mut self, log: &Log, cursor: Option<Key>) {
        let mut state = self.base.as_deref().copied().unwrap_or_default();
        for (_, rec) in log.chained(self.chain) {
            if cursor.is_some_and(|cursor| rec.key() > cursor) {
                break;
            }
            state.apply(rec);
        }
        self.state = state;
    }

    /// An event of this flow is given up: what it came to stays.
    pub(crate) fn settle(&mut self, log: &Log, id: u32) {
        self.base.get_or_insert_default().apply(log.get(id));
    }

    /// Learns names that an event brought. Returns the bytes that this took.
    pub(crate) fn learn(&mut self, namespace: &str, claim: &str, pod: &str) -> usize {
        let mut grown = 0;
        if self.claim.is_empty() && !claim.is_empty() {
            self.claim = claim.into();
            self.namespace = namespace.into();
            grown += claim.len() + namespace.len();
        }
        if !pod.is_empty() && self.pods.len() < MAX_PODS && !self.pods.iter().any(|p| **p == *pod) {
            self.pods.push(pod.into());
            grown += pod.len() + size_of::<Box<str>>();
        }
        grown
    }

    /// Remembers an interface. Returns the bytes that this took.
    pub(crate) fn learn_address(&mut self, address: Address) -> usize {
        if let Some(old) = self.addresses.iter_mut().find(|a| a.tag == address.tag) {
            *old = address;
            return 0;
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.remove(0);
        }
        let grown = address.interface.len() + address.ips.len() + size_of::<Address>();
        self.addresses.push(address);
        grown
    }

    /// The interfaces that are attached now, or of a flow that ended, those that it had.
    pub fn interfaces(&self) -> impl Iterator<Item = &Address> {
        let ended = self.state.ended();
        self.addresses.iter().filter(move |address| {
            self.state.holds(address.tag) || ended && self.state.held(address.tag)
        })
    }

    /// The first pod's namespace, or the claim's.
    pub fn pod_namespace(&self) -> &str {
        match self.pods.first().and_then(|pod| pod.split_once('/')) {
            Some((namespace, _)) => namespace,
            None => &self.namespace,
        }
    }

    /// The first pod's name without its namespace.
    pub fn pod_name(&self) -> &str {
        let pod = self.pods.first().map_or("", |pod| pod);
        pod.split_once('/').map_or(pod, |(_, name)| name)
    }

    /// Memory that the flow takes besides its events, names not counted.
    pub(crate) const SIZE: usize = size_of::<Self>() + 64;
}
