//! One interface in one pod: its life from plan to release, and its record on disk.

mod error;
mod manager;
mod network;
pub mod operator;
mod orphan;
mod pin;
pub mod record;
mod report;
mod steps;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::claim::{AttachmentPlan, ClaimPlan, Consumer};
use crate::cni::CniResult;
use crate::event::ClaimRef;
use crate::kube::PodRef;

pub use error::AttachError;
pub use manager::{Manager, Times};
pub use network::{Network, NetworkError};
pub use orphan::Orphan;
pub(crate) use orphan::work_off;
pub use pin::PinError;
pub(crate) use report::device_state;
pub(crate) use steps::Steps;

/// Where an attachment is, or was to be, made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The CRI sandbox; also CNI's container id.
    pub sandbox: String,
    /// Its pod.
    pub pod: PodRef,
    /// Path of the sandbox's network namespace.
    pub netns: PathBuf,
    /// A second path of the namespace, under which it outlives the sandbox, where the
    /// plugins need that to release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<PathBuf>,
    /// The interface's name in there.
    pub if_name: String,
}

impl Place {
    /// The namespace as a DEL finds it: the path that is still good, if one is.
    pub fn netns_at_release(&self) -> &Path {
        match &self.pin {
            Some(pin) if pin::is_namespace(pin) => pin,
            _ => &self.netns,
        }
    }
}

/// How far an attachment is. Written before what it announces, so that a crash at any
/// point leaves enough to undo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum State {
    /// Prepared; no container has started yet.
    Planned,
    /// An ADD was begun and may have left something behind: DEL comes first.
    Attaching {
        /// Where.
        place: Place,
    },
    /// The interface is there.
    Attached {
        /// Where.
        place: Place,
        /// What the plugin answered.
        result: Box<CniResult>,
        /// Since when.
        since: jiff::Timestamp,
    },
}

impl State {
    /// Where something is or may be.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Planned => None,
            Self::Attaching { place } | Self::Attached { place, .. } => Some(place),
        }
    }
}

/// One attachment of a prepared claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// What was asked for, with the interface's name decided.
    pub plan: AttachmentPlan,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
}

impl Attachment {
    /// The interface's name: prepare decides it before anything is recorded.
    pub fn if_name(&self) -> &str {
        self.plan.if_name.as_deref().unwrap_or_default()
    }
}

/// A claim that is prepared on this node. Holds the allocation: the claim object may be
/// gone, or allocated anew, when it is unprepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedClaim {
    /// The claim.
    pub claim: ClaimRef,
    /// The entry of a pod that it was made for, where a template made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_claim_name: Option<String>,
    /// Its containers were promised device metadata files when it was prepared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metadata: bool,
    /// Pods it was reserved for when last read.
    pub reserved_for: Vec<Consumer>,
    /// One for every device.
    pub attachments: Vec<Attachment>,
}

impl From<ClaimPlan> for PreparedClaim {
    fn from(plan: ClaimPlan) -> Self {
        Self {
            claim: plan.claim,
            pod_claim_name: plan.pod_claim_name,
            metadata: false,
            reserved_for: plan.reserved_for,
            attachments: plan
                .attachments
                .into_iter()
                .map(|plan| Attachment {
                    plan,
                    state: State::Planned,
                })
                .collect(),
        }
    }
}

impl PreparedClaim {
    /// What was planned, without how far it is.
    pub fn plan(&self) -> ClaimPlan {
        ClaimPlan {
            claim: self.claim.clone(),
            pod_claim_name: self.pod_claim_name.clone(),
            reserved_for: self.reserved_for.clone(),
            attachments: self.attachments.iter().map(|a| a.plan.clone()).collect(),
        }
    }

    /// Where this claim has, or may have, interfaces.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.attachments.iter().filter_map(|a| a.state.place())
    }
}
