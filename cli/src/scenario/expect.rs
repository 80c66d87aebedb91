//! What must hold, at a moment of a scenario or at its end. What is not named is not checked.

use std::collections::BTreeMap;

use ndra_core::event::{Phase, Step};
use serde::Deserialize;

use super::PodEvent;

/// A set of expectations.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Expect {
    /// How often a step ended and failed, exactly.
    #[serde(default)]
    pub(crate) steps: BTreeMap<Step, StepCount>,
    /// These happened in this order, whatever happened between.
    #[serde(default)]
    pub(crate) order: Vec<Order>,
    /// Phase of each pod, or `gone`.
    #[serde(default)]
    pub(crate) pods: BTreeMap<String, String>,
    /// Containers' states.
    #[serde(default)]
    pub(crate) containers: Vec<ContainerState>,
    /// The interfaces that exist in pods, all of them.
    #[serde(default)]
    pub(crate) interfaces: Option<Vec<Interface>>,
    /// Device metadata files in containers. Only at a moment: at the end they are gone.
    #[serde(default)]
    pub(crate) metadata: Vec<MetadataFile>,
    /// What claims' `status.devices` say.
    #[serde(default)]
    pub(crate) claims: Vec<ClaimState>,
    /// Events that were posted on pods.
    #[serde(default)]
    pub(crate) events: Vec<PodEvent>,
    /// Steps that failed with these texts.
    #[serde(default)]
    pub(crate) errors: Vec<StepError>,
    /// Attachments in the driver's record that still wait to be released.
    #[serde(default)]
    pub(crate) orphans: Option<usize>,
}

/// How often a step came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepCount {
    /// Well.
    #[serde(default)]
    pub(crate) end: usize,
    /// Not well.
    #[serde(default)]
    pub(crate) fail: usize,
}

/// One moment of an order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Order {
    pub(crate) step: Step,
    #[serde(default = "end")]
    pub(crate) phase: Phase,
    #[serde(default)]
    pub(crate) pod: Option<String>,
}

fn end() -> Phase {
    Phase::End
}

/// The state of one container.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContainerState {
    pub(crate) pod: String,
    pub(crate) container: String,
    /// running, waiting or terminated.
    pub(crate) state: String,
    /// Why it waits or ended.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) restarts: Option<i64>,
    /// Texts that the message contains.
    #[serde(default)]
    pub(crate) contains: Vec<String>,
}

/// An interface in a pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interface {
    pub(crate) pod: String,
    pub(crate) name: String,
    /// CIDR form; all of them.
    #[serde(default)]
    pub(crate) addresses: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) mac: Option<String>,
}

/// A device metadata file, as a program in a container reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetadataFile {
    pub(crate) pod: String,
    pub(crate) container: String,
    /// Below `/var/run/kubernetes.io/dra-device-attributes`.
    pub(crate) path: String,
    /// The interfaces that it names.
    pub(crate) interfaces: Vec<String>,
}

/// What a claim's status says about its devices.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimState {
    /// Its name; one made from a template is named `POD/ENTRY`.
    pub(crate) claim: String,
    /// The `Ready` condition of every device.
    pub(crate) ready: String,
    /// How many devices have a status.
    #[serde(default)]
    pub(crate) devices: Option<usize>,
    /// Texts that some condition's message contains.
    #[serde(default)]
    pub(crate) contains: Vec<String>,
}

/// A step that failed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepError {
    pub(crate) step: Step,
    /// Texts that its error contains.
    pub(crate) contains: Vec<String>,
}
