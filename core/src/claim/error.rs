//! Why a claim is refused, in the words that its pod's events show.

use super::ClaimUidError;
use super::problem::{Problem, line};

/// A claim that this driver cannot serve, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ResourceClaim {claim}: {kind}")]
pub struct ClaimError {
    /// `namespace/name`.
    pub claim: String,
    /// Why.
    pub kind: Box<ClaimErrorKind>,
}

impl ClaimError {
    pub(super) fn new(claim: impl Into<String>, kind: ClaimErrorKind) -> Self {
        Self {
            claim: claim.into(),
            kind: Box::new(kind),
        }
    }

    /// Whether the node has the allocated device no more.
    pub(crate) fn device_is_gone(&self) -> bool {
        matches!(*self.kind, ClaimErrorKind::DeviceGone { .. })
    }
}

/// Why a claim is refused. Texts in it are bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ClaimErrorKind {
    #[error("metadata.uid: {0}")]
    Uid(#[from] ClaimUidError),

    #[error(
        "metadata.uid: is {found}, but the kubelet asks for {expected}: the claim was deleted and \
         made anew under the same name; delete the pod, so that a new one uses the new claim"
    )]
    Replaced { expected: String, found: String },

    #[error(
        "status.allocation: the claim is not allocated; wait until the scheduler has placed a pod \
         that uses it, or see `kubectl describe pod` for why it could not"
    )]
    NotAllocated,

    #[error(
        "status.allocation.devices.results: allocated to another driver: {found}, not {driver}; \
         let the request name a DeviceClass whose devices {driver} publishes"
    )]
    OtherDriver { driver: String, found: String },

    #[error(
        "status.allocation.devices.results[{index}].pool: request {request} is allocated on \
         another node: pool {pool}, this is node {node}; delete the pod, so that it is scheduled \
         again with its claim"
    )]
    OtherNode {
        index: usize,
        request: String,
        pool: String,
        node: String,
    },

    #[error(
        "status.allocation.nodeSelector: allocated for {wanted}, this is node {node}; delete the \
         pod, so that it is scheduled again with its claim"
    )]
    NodeSelector { wanted: String, node: String },

    #[error(
        "status.allocation.devices.results[{index}].{field}: {shown} is not what a scheduler \
         writes; let the claim be allocated again"
    )]
    Malformed {
        index: usize,
        field: &'static str,
        shown: String,
    },

    #[error(
        "status.allocation.devices.results[{index}]: device {device} is allocated twice; let the \
         claim be allocated again"
    )]
    DeviceTwice { index: usize, device: String },

    #[error(
        "status.allocation.devices.results: the device {device} is not on node {node} any more; \
         bring its interface back, or delete the pod and its claim, so that another device is \
         allocated"
    )]
    DeviceGone { device: String, node: String },

    #[error(
        "status.allocation.devices.results[{index}].adminAccess: request {request} has admin \
         access, which gives no device of one's own; remove adminAccess from the request"
    )]
    AdminAccess { index: usize, request: String },

    #[error("{}", line(.0))]
    Parameters(Vec<Problem>),

    #[error(
        "{path}: request {request} has {count} devices, which cannot all be named {if_name}; make \
         one request for each with an ifName of its own, or leave ifName out"
    )]
    IfNameForMany {
        path: String,
        request: String,
        count: usize,
        if_name: String,
    },

    #[error(
        "{path}: the requests {first} and {second} both ask for the interface name {if_name}; give \
         each its own ifName (with `requests` of the configuration), or leave ifName out"
    )]
    IfNameTwice {
        path: String,
        first: String,
        second: String,
        if_name: String,
    },

    #[error(
        "ifName: {if_name} is asked for by ResourceClaim {other} of the same pod, too; give one of \
         them another ifName, or leave it out"
    )]
    IfNameConflict { if_name: String, other: String },

    #[error(
        "ifName: {if_name} is already held by ResourceClaim {other} of the same pod; ask for \
         another ifName, or leave it out"
    )]
    IfNameHeld { if_name: String, other: String },
}
