//! What can happen in a scenario.

use std::collections::BTreeMap;
use std::fmt;

use ndra_core::event::{Phase, Step};
use serde::Deserialize;

use super::Expect;

/// One thing that happens, in order.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Creates these pods.
    Apply(Vec<String>),
    /// Waits until all of this holds.
    Wait(Box<Condition>),
    /// Waits until all of this holds; what does not is reported.
    Check(Box<Expect>),
    /// Next time a pod stands before a step, holds it there and does this first. Does not
    /// wait for that itself.
    Before(Before),
    /// A container's process ends, as if it had crashed.
    KillContainer(KillContainer),
    /// The sandbox dies, as after a crash of the runtime's shim.
    KillSandbox(String),
    /// Deletes a pod as `kubectl delete` does; does not wait for its end.
    DeletePod(String),
    /// Deletes a pod with no grace and no confirmation, as `--force` does.
    ForceDeletePod(String),
    /// Deletes a pod by force and creates it anew under its name at once.
    ReplacePod(String),
    /// Ends the driver's process and waits for that.
    StopDriver(Stop),
    /// Starts the driver's process. Does not wait until it serves.
    StartDriver(Start),
    /// Starts another instance of the driver, of this name, beside the one that runs, and
    /// ends that when the other stands by. Waits for its end.
    RollDriver(String),
    /// The same, but returns when the kubelet calls the other instance. The one before may
    /// still have calls to finish.
    BeginRoll(String),
    /// Waits for the end of the instance that `begin-roll` replaced.
    EndRoll(Nothing),
    /// Ends the kubelet and starts it again over the same checkpoint.
    RestartKubelet(Nothing),
    /// Multus goes away.
    StopMultus(Nothing),
    /// Multus comes back.
    StartMultus(Nothing),
    /// Plugins that Multus runs do not end.
    HoldMultus(Nothing),
    /// Plugins that Multus runs go on.
    ReleaseMultus(Nothing),
    /// An interface of the node changes, comes or goes.
    SetInterface(SetInterface),
    /// Multus answers the next calls of a command with an error.
    FailMultus(FailMultus),
    /// Lets a step fail the next time, whoever's it is: what lies in its way goes when it
    /// has failed.
    FailStep(Step),
}

/// `{}`: the action needs no more words.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// How the driver is started.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// Devices that it publishes; as many as before when left out.
    #[serde(default)]
    pub(crate) slots: Option<usize>,
}

/// How a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stop {
    /// SIGTERM, as a kubelet stops a pod.
    Term,
    /// SIGKILL, as the kernel does when memory is short.
    Kill,
}

/// See [`Action::Before`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Before {
    /// prepare, create-container, hook or unprepare.
    pub(crate) step: Step,
    /// Only when it is about this pod.
    #[serde(default)]
    pub(crate) pod: Option<String>,
    /// What happens first.
    #[serde(rename = "do")]
    pub(crate) actions: Vec<Action>,
}

/// See [`Action::KillContainer`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KillContainer {
    pub(crate) pod: String,
    pub(crate) container: String,
    /// Its exit code.
    #[serde(default)]
    pub(crate) code: i32,
}

/// See [`Action::SetInterface`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetInterface {
    /// One of the scenario's `interfaces`.
    pub(crate) name: String,
    pub(crate) state: LinkState,
}

/// What becomes of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LinkState {
    /// It carries traffic; it is made where there is none.
    Up,
    /// It is there, and carries none.
    Down,
    /// It is there no more.
    Gone,
}

/// See [`Action::FailMultus`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailMultus {
    /// ADD or DEL.
    pub(crate) command: CniCommand,
    /// How many calls fail.
    pub(crate) times: usize,
    /// What Multus says.
    pub(crate) error: String,
}

/// A command of CNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CniCommand {
    Add,
    Del,
}

impl fmt::Display for CniCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        })
    }
}

/// What a wait waits for. All that is given must hold at one moment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Condition {
    /// The pod that `phase`, `gone`, `container` and `event` are about.
    #[serde(default)]
    pub(crate) pod: Option<String>,
    /// Its phase: Pending, Running, Succeeded, Failed.
    #[serde(default)]
    pub(crate) phase: Option<String>,
    /// It is in the API no more.
    #[serde(default)]
    pub(crate) gone: bool,
    /// The scheduler has found a node for it, and devices for its claims.
    #[serde(default)]
    pub(crate) scheduled: bool,
    /// Every container of it is ready.
    #[serde(default)]
    pub(crate) ready: bool,
    /// A container of it waits for this reason, for example RunContainerError.
    #[serde(default)]
    pub(crate) waiting: Option<String>,
    /// A container of it was restarted this often or oftener.
    #[serde(default)]
    pub(crate) restarts: Option<i64>,
    /// An event on it.
    #[serde(default)]
    pub(crate) event: Option<PodEvent>,
    /// A step of it (of any pod without `pod`) came to `phase` …
    #[serde(default)]
    pub(crate) step: Option<Step>,
    /// … begin, end or fail; end when left out …
    #[serde(default)]
    pub(crate) came_to: Option<Phase>,
    /// … so often or oftener; once when left out.
    #[serde(default)]
    pub(crate) times: Option<usize>,
    /// ResourceSlices are published that were not there when the kubelet last restarted.
    #[serde(default)]
    pub(crate) republished: bool,
    /// So many ResourceSlices are published.
    #[serde(default)]
    pub(crate) slices: Option<usize>,
    /// What the kubelet holds of the health of devices of its node's pool: Healthy,
    /// Unhealthy or Unknown.
    #[serde(default)]
    pub(crate) health: BTreeMap<String, String>,
    /// What the pod's status says of the health of a container's devices, all of them, by the
    /// container's name: Healthy, Unhealthy or Unknown.
    #[serde(default)]
    pub(crate) resource_health: BTreeMap<String, String>,
    /// So many devices are published.
    #[serde(default)]
    pub(crate) devices: Option<usize>,
    /// So many attachments wait in the driver's record to be released.
    #[serde(default)]
    pub(crate) orphans: Option<usize>,
}

/// An Event on a pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodEvent {
    pub(crate) pod: String,
    pub(crate) reason: String,
    /// Normal or Warning; either when left out.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    /// Texts that its message contains.
    #[serde(default)]
    pub(crate) contains: Vec<String>,
}

/// The pods that actions name.
pub(super) fn pods(actions: &[Action]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for action in actions {
        match action {
            Action::Apply(pods) => names.extend(pods.iter().map(String::as_str)),
            Action::Wait(condition) => names.extend(condition.pod.as_deref()),
            Action::Before(before) => {
                names.extend(before.pod.as_deref());
                names.extend(self::pods(&before.actions));
            }
            Action::KillContainer(kill) => names.push(&kill.pod),
            Action::KillSandbox(pod)
            | Action::DeletePod(pod)
            | Action::ForceDeletePod(pod)
            | Action::ReplacePod(pod) => names.push(pod),
            Action::Check(expect) => names.extend(expect.pods.keys().map(String::as_str)),
            Action::StopDriver(_)
            | Action::StartDriver(_)
            | Action::RollDriver(_)
            | Action::BeginRoll(_)
            | Action::EndRoll(_)
            | Action::HoldMultus(_)
            | Action::ReleaseMultus(_)
            | Action::RestartKubelet(_)
            | Action::StopMultus(_)
            | Action::StartMultus(_)
            | Action::FailMultus(_)
            | Action::SetInterface(_)
            | Action::FailStep(_) => {}
        }
    }
    names
}
