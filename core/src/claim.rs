//! What a ResourceClaim asks of this driver: checked, and turned into a plan.

mod error;
mod fields;
mod ground;
mod handle;
mod names;
mod node;
mod parameters;
mod plan;
mod problem;
mod uid;
mod validate;

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cni::ConfigList;
use crate::event::ClaimRef;

pub use error::{ClaimError, ClaimErrorKind};
pub(crate) use handle::allocation;
pub use handle::{HANDLE_KIND, Handle, HandleError, HandleInterface, HandleSource, MAX_HANDLE};
pub use names::{assign_names, conflicts, share_a_pod};
pub use parameters::{API_VERSION, KIND, MAX_PARAMETERS, Parameters, ParametersError, parameters};
pub(crate) use plan::allocated;
pub use plan::{Defaults, Expected, consumers, plan};
pub use problem::Problem;
pub use uid::{ClaimUid, ClaimUidError};
pub use validate::{validate_claim, validate_class, validate_spec, validate_template};

/// One allocated device, as `status.devices` and the allocation name it (KEP-4817, KEP-5075).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceKey {
    /// The pool.
    pub pool: String,
    /// The device in the pool.
    pub device: String,
    /// Which share, for devices with consumable capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_id: Option<String>,
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.device)?;
        match &self.share_id {
            Some(share) => write!(f, "/{share}"),
            None => Ok(()),
        }
    }
}

/// A pod that a claim is reserved for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
}

/// What the driver is to do for one claim on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimPlan {
    /// The claim.
    pub claim: ClaimRef,
    /// The entry of the pod's `spec.resourceClaims` that the claim was made for, where a
    /// template made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_claim_name: Option<String>,
    /// Pods in `status.reservedFor` when the plan was made.
    pub reserved_for: Vec<Consumer>,
    /// One for every device allocated to this driver.
    pub attachments: Vec<AttachmentPlan>,
}

/// One interface that a claim asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttachmentPlan {
    /// The allocated device; unique in the claim.
    pub device: DeviceKey,
    /// The claim's request, without a subrequest's name.
    pub request: String,
    /// The subrequest that was chosen, where the request lists several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subrequest: Option<String>,
    /// The interface name asked for; `None` means the next free `netN` of the pod.
    pub if_name: Option<String>,
    /// Nobody asked for `if_name`: it was the next free one, and may become another as
    /// long as nothing is attached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_named: bool,
    /// The network to attach to.
    pub network: ConfigList,
    /// Addresses asked for; with static IPAM in place of those that the configuration has.
    /// A plugin of `network` declares the capability `ips` when there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpNet>,
    /// The MAC address asked for, lower case with colons. A plugin of `network` declares the
    /// capability `mac` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Further CNI arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cni_args: BTreeMap<String, String>,
}
