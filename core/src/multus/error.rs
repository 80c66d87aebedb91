//! What goes wrong between the driver and Multus, told apart by what the driver does next.

use std::fmt;
use std::path::PathBuf;

use super::Pod;
use crate::cni::{Command, ConfigList, ExecError, Invocation};
use crate::socket::SocketError;

/// What was asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// An attachment made or undone.
    Delegate {
        /// ADD or DEL.
        command: Command,
        /// The interface in the container.
        if_name: String,
        /// The network's name.
        network: String,
        /// `namespace/name` of the pod.
        pod: String,
    },
    /// The path of a probe.
    Probe(&'static str),
}

impl Attempt {
    pub(super) fn new(
        command: Command,
        network: &ConfigList,
        invocation: &Invocation,
        pod: &Pod,
    ) -> Self {
        Self::Delegate {
            command,
            if_name: invocation.if_name.clone(),
            network: network.name.clone(),
            pod: format!("{}/{}", pod.namespace, pod.name),
        }
    }

    /// What happens after it was lost.
    fn next(&self) -> &'static str {
        match self {
            Self::Delegate {
                command: Command::Add,
                ..
            } => {
                "; the driver undoes what was begun as soon as Multus answers, and the next start \
                 of the container makes the interface"
            }
            Self::Delegate {
                command: Command::Del,
                ..
            } => "; the driver sends DEL again",
            Self::Delegate { .. } | Self::Probe(_) => "",
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delegate {
                command,
                if_name,
                network,
                pod,
            } => write!(
                f,
                "{command} of {if_name} for pod {pod} on network `{network}`"
            ),
            Self::Probe(path) => f.write_str(path),
        }
    }
}

/// Why Multus did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MultusError {
    /// Nobody listens: nothing was done.
    #[error(transparent)]
    Unreachable(SocketError),
    /// No answer in time: whether something was done is unknown.
    #[error(
        "Multus at {} gave no answer to {attempt} in time: see the log of its daemon on this node",
        socket.display()
    )]
    TimedOut {
        /// What was asked.
        attempt: Box<Attempt>,
        /// The daemon's socket.
        socket: PathBuf,
    },
    /// The daemon or a plugin said no. The plugin's error code is lost on the way.
    #[error("Multus refused {attempt}: {}", self.reason().map_or(
        format!("status {status}, without a reason: see the log of its daemon on this node"),
        str::to_owned
    ))]
    Refused {
        /// What was asked.
        attempt: Box<Attempt>,
        /// The HTTP status, 400 for all that its handlers refuse.
        status: u16,
        /// The whole answer.
        text: String,
    },
    /// The connection ended before the answer did, as when the daemon is killed: what was
    /// done is unknown, and a plugin may still be at work without the daemon.
    #[error(
        "Multus closed the connection before it answered {attempt}: its daemon was ended, or \
         failed over the request and says so in its log on this node{}",
        attempt.next()
    )]
    Closed {
        /// What was asked.
        attempt: Box<Attempt>,
    },
    /// The answer is not what the API promises: what was done is unknown.
    #[error(
        "Multus answered {attempt} with something unreadable: {reason}: is the socket that of a thick Multus 4 daemon?"
    )]
    Unreadable {
        /// What was asked.
        attempt: Box<Attempt>,
        /// Why.
        reason: String,
    },
    /// A name that must not be sent.
    #[error(transparent)]
    Invalid(#[from] ExecError),
}

/// How the daemon begins the texts in which it looked for the pod (`multus.GetPod` and
/// `podUID` in the Multus sources).
const POD_NOT_FOUND: &str = "pod not found during Multus GetPod";
const NO_UID: &str = "missing pod UID; attempted to recover it from the K8s API, but failed:";
const OTHER_UID: &str = "expected pod UID ";

impl MultusError {
    /// The daemon's reason without the request that it repeats, at most 2 KiB on one line's
    /// worth of text; `None` when it gave none.
    pub fn reason(&self) -> Option<&str> {
        let Self::Refused { text, .. } = self else {
            return None;
        };
        let text = text.split_once(" ERRORED: ").map_or(&text[..], |(_, t)| t);
        let mut end = text.len().min(2048);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text[..end].trim();
        (!text.is_empty()).then_some(text)
    }

    /// Whether Multus refuses because the pod is gone from the API, or another pod has its
    /// name now. Asking again does not help: the attachment must be released without
    /// Multus, by running the plugins' DEL directly.
    pub fn pod_is_gone(&self) -> bool {
        let Some(reason) = self.reason() else {
            return false;
        };
        let without_uid = reason
            .split_once(NO_UID)
            .is_some_and(|(_, cause)| cause.trim_end().ends_with("not found"));
        // `Multus: [namespace/name/uid]: expected pod UID "a" but got "b" from Kube API`
        let other_uid = reason.starts_with("Multus: [")
            && reason.contains(OTHER_UID)
            && reason.ends_with("from Kube API");
        reason == POD_NOT_FOUND || without_uid || other_uid
    }
}
