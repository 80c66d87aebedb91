//! What happened, typed: the one schema that live stream, recording, output and dashboard carry.
//!
//! An [`Event`] marks the begin, the end or the failure of one [`Step`] of a flow. The
//! JSON form is documented in `docs/events.md` and versioned by [`SCHEMA`].

mod own;
mod payload;
mod recorder;
mod redact;
mod stream;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use own::{DriverState, OwnState, Registered, Registration, Socket};
pub use payload::{MAX_PAYLOAD, bounded, details};
/// The span of everything that is done for a claim: its lines in the log carry the UID,
/// whoever writes them and whatever the filter is.
pub(crate) fn claim_span(uid: &str) -> tracing::Span {
    tracing::error_span!("claim", uid)
}

pub use recorder::{Closed, Observer, Reason, Recorder, Span, Subscription};
pub use stream::{EventService, Heard, WatchError, Watched, watch};

/// Version of the JSON form. It changes when a reader of the old form could go wrong.
pub const SCHEMA: u32 = 1;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that events and output use.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|w| w.as_str() == word).ok_or_else(|| UnknownWord {
                    word: word.chars().take(64).collect(),
                    known: Self::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// A word that is none of those the schema knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}

words! {
    /// One numbered stage of a flow, in the order in which a pod's life meets them.
    Step {
        /// kubelet → driver: NodePrepareResources.
        Prepare = "prepare",
        /// The driver writes the claim's CDI spec.
        CdiWrite = "cdi-write",
        /// driver → kubelet: the CDI device names.
        Prepared = "prepared",
        /// kubelet → runtime: CreateContainer with CDI devices, then StartContainer.
        CreateContainer = "create-container",
        /// The OCI runtime runs the createRuntime hook.
        Hook = "hook",
        /// hook → driver: CreateContainer with claim UID and OCI state.
        Callback = "callback",
        /// driver → runtime: PodSandboxStatus, for the network namespace.
        SandboxLookup = "sandbox-lookup",
        /// driver → Multus → CNI plugin: ADD.
        CniAdd = "cni-add",
        /// driver → API server: `status.devices` of the claim.
        Status = "status",
        /// kubelet → driver: NodeUnprepareResources.
        Unprepare = "unprepare",
        /// driver → Multus → CNI plugin: DEL.
        CniDel = "cni-del",
        /// The driver removes the claim's CDI spec.
        CdiRemove = "cdi-remove",
    }
}

impl Step {
    /// 1 to 12, as the architecture page counts them.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Who calls whom in this step, unless the event says otherwise.
    pub fn route(self) -> (Actor, Actor) {
        match self {
            Self::Prepare | Self::Unprepare => (Actor::Kubelet, Actor::Driver),
            Self::CdiWrite | Self::CdiRemove => (Actor::Driver, Actor::Cdi),
            Self::Prepared => (Actor::Driver, Actor::Kubelet),
            Self::CreateContainer => (Actor::Kubelet, Actor::Runtime),
            Self::Hook => (Actor::Runtime, Actor::Hook),
            Self::Callback => (Actor::Hook, Actor::Driver),
            Self::SandboxLookup => (Actor::Driver, Actor::Runtime),
            Self::CniAdd | Self::CniDel => (Actor::Driver, Actor::Multus),
            Self::Status => (Actor::Driver, Actor::Api),
        }
    }
}

words! {
    /// Which moment of a step an event marks.
    Phase {
        /// The step began.
        Begin = "begin",
        /// It ended well.
        End = "end",
        /// It failed; `error` says why.
        Fail = "fail",
    }
}

words! {
    /// Who takes part in a flow.
    Actor {
        /// The node's kubelet.
        Kubelet = "kubelet",
        /// The DRA driver.
        Driver = "driver",
        /// The CDI directory.
        Cdi = "cdi",
        /// The container runtime behind CRI.
        Runtime = "runtime",
        /// The OCI hook.
        Hook = "hook",
        /// The Multus daemon.
        Multus = "multus",
        /// A CNI plugin that the driver runs itself.
        Cni = "cni",
        /// The Kubernetes API server.
        Api = "api",
    }
}

/// Which ResourceClaim an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimRef {
    /// Its namespace; empty where only the UID is known (the hook's side).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name; empty where only the UID is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its UID, which names the flow.
    pub uid: String,
}

impl ClaimRef {
    /// A claim of which only the UID is known.
    pub fn of(uid: &str) -> Self {
        Self {
            namespace: String::new(),
            name: String::new(),
            uid: uid.to_owned(),
        }
    }
}

/// What an event is about. Fields that do not apply stay empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimRef>,
    /// The pod, `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The CRI sandbox id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// The container: its name in the pod, or its CRI id where only that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

impl Subject {
    /// About one claim.
    pub fn claim(
        namespace: impl Into<String>,
        name: impl Into<String>,
        uid: impl Into<String>,
    ) -> Self {
        Self {
            claim: Some(ClaimRef {
                namespace: namespace.into(),
                name: name.into(),
                uid: uid.into(),
            }),
            ..Self::default()
        }
    }

    /// A copy whose names are no longer than Kubernetes allows: some come from the wire.
    fn clipped(&self) -> Self {
        let clip = |text: &String| payload::clipped(text, 512);
        Self {
            claim: self.claim.as_ref().map(|claim| ClaimRef {
                namespace: clip(&claim.namespace),
                name: clip(&claim.name),
                uid: clip(&claim.uid),
            }),
            pod: self.pod.as_ref().map(clip),
            sandbox: self.sandbox.as_ref().map(clip),
            container: self.container.as_ref().map(clip),
        }
    }

    /// Adds the pod.
    #[must_use]
    pub fn pod(mut self, namespace: &str, name: &str) -> Self {
        self.pod = Some(format!("{namespace}/{name}"));
        self
    }

    /// Adds the sandbox.
    #[must_use]
    pub fn sandbox(mut self, id: impl Into<String>) -> Self {
        self.sandbox = Some(id.into());
        self
    }

    /// Adds the container.
    #[must_use]
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.container = Some(name.into());
        self
    }
}

/// One line of a recording: begin, end or failure of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of this form, [`SCHEMA`].
    pub schema: u32,
    /// Grows by one with every event of one source.
    pub seq: u64,
    /// Wall-clock time, nanoseconds.
    #[serde(with = "nanos")]
    pub time: Timestamp,
    /// Microseconds since the source (or the run) began.
    pub elapsed_us: u64,
    /// The step.
    pub step: Step,
    /// Its number, 1 to 12.
    pub number: u8,
    /// Which moment of it.
    pub phase: Phase,
    /// Microseconds from the step's begin; on end and fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// Who calls.
    pub from: Actor,
    /// Who is called.
    pub to: Actor,
    /// What went over the wire, bounded and without secrets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
    /// Why it failed; on fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// RFC 3339 with all nine digits, so that lines align and sort as text.
mod nanos {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(from)
    }
}
