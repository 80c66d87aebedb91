//! Why a container may not start, in the words that its pod's events show.

use super::record::RecordError;
use super::{NetworkError, PinError};
use crate::cri::CriError;
use crate::event::Reason;
use crate::kube::PodRef;
use crate::kube::claims::ClaimReadError;
use crate::metadata::MetadataError;

/// Why a container may not start.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kubelet never prepared the claim here, or has unprepared it.
    #[error(
        "the claim is not prepared on this node: its CDI device outlived it; delete the pod so \
         that the kubelet prepares the claim again"
    )]
    NotPrepared,
    /// Another call for the same claim took all of the time.
    #[error(
        "the driver is still at work on this claim for another call; the kubelet starts the \
         container again"
    )]
    Busy,
    /// What the container reads of its interfaces cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Another claim has an interface of this name in the pod.
    #[error(
        "claim {claim}: pod {pod} already has an interface {if_name}, of claim {other}: ask for \
         another ifName, or leave it out"
    )]
    NameTaken {
        /// `namespace/name` of the claim.
        claim: String,
        /// The name.
        if_name: String,
        /// The pod.
        pod: PodRef,
        /// `namespace/name` of the claim that has it.
        other: String,
    },
    /// A pod that still runs has the claim.
    #[error(
        "claim {claim} is in use by pod {first}; an interface belongs to one pod: give pod \
         {second} a claim of its own, for instance by a ResourceClaimTemplate"
    )]
    InUse {
        /// `namespace/name` of the claim.
        claim: String,
        /// Who has it.
        first: PodRef,
        /// Who wants it.
        second: PodRef,
    },
    /// The pod is not among those the claim is reserved for.
    #[error(
        "claim {claim} is not reserved for pod {pod} (UID {}): the pod's container asks for a \
         device of somebody else's claim", pod.uid
    )]
    NotReserved {
        /// `namespace/name` of the claim.
        claim: String,
        /// The pod.
        pod: PodRef,
    },
    /// The reservation had to be looked up and could not be.
    #[error("cannot tell whether claim {claim} is reserved for pod {pod}: {source}")]
    Reservation {
        /// `namespace/name` of the claim.
        claim: String,
        /// The pod.
        pod: PodRef,
        /// Why.
        source: ClaimReadError,
    },
    /// The runtime gives no namespace.
    #[error(transparent)]
    Cri(#[from] CriError),
    /// The record cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// ADD failed.
    #[error("claim {claim}: {if_name} could not be attached to pod {pod}: {source}")]
    Add {
        /// `namespace/name` of the claim.
        claim: String,
        /// The interface.
        if_name: String,
        /// The pod.
        pod: PodRef,
        /// Why.
        source: NetworkError,
    },
    /// Its release could not be provided for.
    #[error("claim {claim}: {if_name} is not attached to pod {pod}: {source}")]
    Pin {
        /// `namespace/name` of the claim.
        claim: String,
        /// The interface.
        if_name: String,
        /// The pod.
        pod: PodRef,
        /// Why.
        source: PinError,
    },
    /// What an earlier ADD left in this sandbox could not be cleared away.
    #[error(
        "claim {claim}: what an earlier attempt left of {if_name} in pod {pod} could not be \
         removed: {source}"
    )]
    Debris {
        /// `namespace/name` of the claim.
        claim: String,
        /// The interface.
        if_name: String,
        /// The pod.
        pod: PodRef,
        /// Why.
        source: NetworkError,
    },
}

impl Reason for AttachError {
    fn reason(&self) -> &'static str {
        match self {
            Self::NotPrepared => "NotPrepared",
            Self::Busy => "Busy",
            Self::NameTaken { .. } => "NameTaken",
            Self::InUse { .. } => "InUse",
            Self::NotReserved { .. } => "NotReserved",
            Self::Reservation { .. } => "ClaimUnreadable",
            Self::Cri(error) => error.reason(),
            Self::Record(_) => "Record",
            Self::Metadata(_) => "Metadata",
            Self::Add { source, .. } => source.reason(),
            Self::Pin { .. } => "Namespace",
            Self::Debris { .. } => "Debris",
        }
    }
}
