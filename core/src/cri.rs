//! Asks the runtime which pod and network namespace a sandbox has.

mod about;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::event::Reason;
use crate::kube::PodRef;
use crate::socket::{self, SocketError};
use crate::wire::cri::runtime_service_client::RuntimeServiceClient;
use crate::wire::cri::{NamespaceMode, PodSandboxState, PodSandboxStatusRequest};

pub use about::{About, Cdi, NotCri};

/// A sandbox that is ready, with its network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The CRI id.
    pub id: String,
    /// Its pod.
    pub pod: PodRef,
    /// Path of the network namespace.
    pub netns: PathBuf,
}

/// Why a sandbox could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// The socket cannot be used.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The runtime does not know the id.
    #[error(
        "the runtime knows no sandbox {id}: it was removed while the container started; the kubelet makes a new one"
    )]
    NotFound {
        /// The sandbox id.
        id: String,
    },
    /// The sandbox is there but stopped.
    #[error("sandbox {id} of pod {pod} is not ready: its pod is being stopped or restarted")]
    NotReady {
        /// The sandbox id.
        id: String,
        /// The pod.
        pod: PodRef,
    },
    /// The pod uses the node's network.
    #[error(
        "pod {pod} runs in the host's network and has no network namespace of its own: \
         remove `hostNetwork: true` or the claim from the pod"
    )]
    HostNetwork {
        /// The pod.
        pod: PodRef,
    },
    /// The verbose answer lacks what it should hold.
    #[error("the runtime's verbose status of sandbox {id} cannot be used: {reason}")]
    Unusable {
        /// The sandbox id.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The call failed.
    #[error(
        "PodSandboxStatus of {id} on {} failed: {reason} (usually containerd or CRI-O listens there)",
        socket.display()
    )]
    Call {
        /// The sandbox id.
        id: String,
        /// The runtime's socket.
        socket: PathBuf,
        /// What gRPC says.
        reason: String,
    },
}

impl Reason for CriError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Socket(_) => "RuntimeUnreachable",
            Self::NotFound { .. } => "SandboxGone",
            Self::NotReady { .. } => "SandboxNotReady",
            Self::HostNetwork { .. } => "HostNetwork",
            Self::Unusable { .. } => "Unreadable",
            Self::Call { .. } => "RuntimeFailed",
        }
    }
}

/// A client of one CRI runtime. Connects when first used and again after a loss.
#[derive(Clone)]
pub struct Cri {
    client: RuntimeServiceClient<Channel>,
    socket: PathBuf,
    timeout: Duration,
}

impl Cri {
    /// For the runtime at `socket`; each call takes at most `timeout`.
    pub fn new(socket: &Path, timeout: Duration) -> Result<Self, SocketError> {
        Ok(Self {
            client: RuntimeServiceClient::new(socket::channel(socket)?),
            socket: socket.into(),
            timeout,
        })
    }

    /// The sandbox with this id, its pod and namespace.
    ///
    /// The namespace stands in the JSON text of the verbose answer, at
    /// `runtimeSpec.linux.namespaces[type=network].path`; containerd also gives it as
    /// `sandboxMetadata.Metadata.NetNSPath`. A pod on the host's network has neither with
    /// containerd; CRI-O gives it a path all the same, to the host's own namespace. What was
    /// asked for the pod is in the status of both.
    pub async fn sandbox(&self, id: &str) -> Result<Sandbox, CriError> {
        let mut request = Request::new(PodSandboxStatusRequest {
            pod_sandbox_id: id.into(),
            verbose: true,
        });
        request.set_timeout(self.timeout);
        let call = self.client.clone().pod_sandbox_status(request).await;
        let answer = call
            .map_err(|status| match status.code() {
                Code::NotFound => CriError::NotFound { id: id.into() },
                _ => CriError::Call {
                    id: id.into(),
                    socket: self.socket.clone(),
                    reason: socket::status_text(&status),
                },
            })?
            .into_inner();
        let unusable = |reason: &str| CriError::Unusable {
            id: id.into(),
            reason: reason.into(),
        };
        let status = answer.status.ok_or_else(|| unusable("it has no status"))?;
        let metadata = status
            .metadata
            .ok_or_else(|| unusable("it has no metadata"))?;
        let pod = PodRef {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
        };
        if status.state != i32::from(PodSandboxState::SandboxReady) {
            return Err(CriError::NotReady { id: id.into(), pod });
        }
        let options = status.linux.and_then(|linux| linux.namespaces);
        let options = options.and_then(|namespaces| namespaces.options);
        if options.is_some_and(|options| options.network() == NamespaceMode::Node) {
            return Err(CriError::HostNetwork { pod });
        }
        let info = answer
            .info
            .get("info")
            .ok_or_else(|| unusable("it has no `info`"))?;
        let info: Value = serde_json::from_str(info)
            .map_err(|error| unusable(&format!("`info` is not JSON: {error}")))?;
        let netns = network_namespace(&info).map_err(unusable)?;
        match netns {
            Some(netns) => Ok(Sandbox {
                id: id.into(),
                pod,
                netns,
            }),
            None => Err(CriError::HostNetwork { pod }),
        }
    }

    /// Whether this sandbox still holds its pod; an unknown or stopped one does not.
    pub async fn is_ready(&self, id: &str) -> Result<bool, CriError> {
        match self.sandbox(id).await {
            Ok(_) | Err(CriError::HostNetwork { .. }) => Ok(true),
            Err(CriError::NotFound { .. } | CriError::NotReady { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// The network namespace's path in a verbose `info`; `None` for the host's network.
fn network_namespace(info: &Value) -> Result<Option<PathBuf>, &'static str> {
    let namespaces = info
        .pointer("/runtimeSpec/linux/namespaces")
        .and_then(Value::as_array);
    let from_spec = namespaces.and_then(|list| {
        list.iter()
            .find(|ns| ns["type"] == "network")
            .and_then(|ns| ns["path"].as_str())
    });
    let from_metadata = info
        .pointer("/sandboxMetadata/Metadata/NetNSPath")
        .and_then(Value::as_str);
    let path = from_spec.or(from_metadata).filter(|path| !path.is_empty());
    match path {
        Some(path) if Path::new(path).is_absolute() => Ok(Some(path.into())),
        Some(_) => Err("its network namespace is not an absolute path"),
        None if namespaces.is_none() => Err("it has no runtimeSpec.linux.namespaces"),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_namespace_is_found_in_both_runtimes_answers() {
        let spec = |ns: Value| json!({ "runtimeSpec": { "linux": { "namespaces": ns } } });
        let find = |info: Value| network_namespace(&info);
        assert_eq!(
            find(spec(
                json!([{"type": "pid"}, {"type": "network", "path": "/run/netns/a"}])
            )),
            Ok(Some("/run/netns/a".into()))
        );
        assert_eq!(
            find(json!({
                "runtimeSpec": { "linux": { "namespaces": [] } },
                "sandboxMetadata": { "Metadata": { "NetNSPath": "/run/netns/b" } },
            })),
            Ok(Some("/run/netns/b".into()))
        );
        assert_eq!(find(spec(json!([{"type": "pid"}]))), Ok(None));
        assert!(find(spec(json!([{"type": "network", "path": "../x"}]))).is_err());
        assert!(find(json!({})).is_err());
    }
}
