//! What goes wrong, and the words and codes in which each runtime says so.
//!
//! The texts are those of containerd 2.3.4 and CRI-O 1.36: callers match on them, and a
//! user meets them in `kubectl describe pod`.

use tonic::{Code, Status};

use crate::Flavor;
use crate::names::Lookup;

/// The longest text of a status in bytes. A status travels in an HTTP/2 header, of which
/// clients take 16 KiB, and each byte can become three.
const MAX_STATUS: usize = 4096;

/// Which call asks for something by id; not-found texts differ by call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// PodSandboxStatus.
    PodSandboxStatus,
    /// CreateContainer, for its sandbox.
    CreateContainer,
    /// Stop and remove of either kind, which pass over what is unknown.
    Undo,
    /// Everything else about a container.
    Container,
}

/// Why a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No such sandbox.
    Sandbox(Call, String, Lookup),
    /// No such container.
    Container(Call, String, Lookup),
    /// The request lacks something.
    Missing(Missing),
    /// Another sandbox or container has the name.
    SandboxName { name: String, holder: String },
    /// As above, for containers.
    ContainerName { name: String, holder: String },
    /// The runtime handler is not configured.
    Handler { sandbox: String, handler: String },
    /// The sandbox is not ready.
    SandboxNotReady { sandbox: String },
    /// The image is not there.
    Image { image: String },
    /// CDI devices cannot be injected; the text is the cache's.
    Cdi { reason: String },
    /// The container is in the wrong state for StartContainer.
    NotStartable { container: String, state: Held },
    /// The container cannot be removed now.
    NotRemovable { container: String, state: Held },
    /// The OCI container could not be made; the text is the OCI runtime's.
    Create { reason: String },
    /// The annotation that asks for an exit code holds none.
    ExitCode { value: String },
    /// No addresses are left.
    NoAddress { sandbox: String },
    /// A fault that was ordered.
    Injected { call: &'static str },
    /// The mock itself failed: a file could not be written and the like.
    Mock { what: String },
}

/// What a request lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    SandboxConfig,
    SandboxMetadata,
    SandboxField(&'static str),
    ContainerConfig,
    ContainerImage,
    ContainerSandboxConfig,
    ContainerSandboxMetadata,
    ContainerMetadata,
    ContainerMetadataName,
}

/// What a container is, or what is being done to it, when a call comes at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Created,
    Running,
    Exited,
    Starting,
    Removing,
}

impl Fault {
    /// Whether a stop or remove may pass over it, because there is nothing to undo.
    pub(crate) fn nothing_there(&self) -> bool {
        matches!(
            self,
            Self::Sandbox(_, _, Lookup::Unknown) | Self::Container(_, _, Lookup::Unknown)
        )
    }

    /// The words, complete; a container's message holds them.
    pub(crate) fn text(&self, flavor: Flavor) -> String {
        self.say(flavor).1
    }

    /// The status of the reply, with the words cut to what a header carries.
    pub(crate) fn status(&self, flavor: Flavor) -> Status {
        let (code, mut text) = self.say(flavor);
        if text.len() > MAX_STATUS {
            text.truncate(text.floor_char_boundary(MAX_STATUS));
            text.push('…');
        }
        Status::new(code, text)
    }

    fn say(&self, flavor: Flavor) -> (Code, String) {
        match flavor {
            Flavor::Containerd => self.containerd(),
            Flavor::Crio => self.crio(),
        }
    }

    fn containerd(&self) -> (Code, String) {
        let text = match self {
            Self::Sandbox(call, id, why) => {
                let (code, why) = containerd_lookup(*why, id);
                let text = match call {
                    Call::CreateContainer => format!("failed to find sandbox id {id:?}: {why}"),
                    Call::Undo => {
                        format!("an error occurred when try to find sandbox {id:?}: {why}")
                    }
                    _ => format!("an error occurred when try to find sandbox: {why}"),
                };
                return (code, text);
            }
            Self::Container(_, id, why) => {
                let (code, why) = containerd_lookup(*why, id);
                return (
                    code,
                    format!("an error occurred when try to find container {id:?}: {why}"),
                );
            }
            Self::Missing(what) => match what {
                Missing::ContainerMetadata
                | Missing::ContainerMetadataName
                | Missing::ContainerConfig => "container config must include metadata".into(),
                Missing::ContainerSandboxConfig | Missing::ContainerSandboxMetadata => {
                    "pod sandbox config must include metadata".into()
                }
                Missing::ContainerImage => return image_not_found(""),
                _ => "sandbox config must include metadata".into(),
            },
            Self::SandboxName { name, holder } => format!(
                "failed to reserve sandbox name {name:?}: name {name:?} is reserved for {holder:?}"
            ),
            Self::ContainerName { name, holder } => format!(
                "failed to reserve container name {name:?}; check if another CreateContainer \
                 request is in progress: name {name:?} is reserved for {holder:?}"
            ),
            Self::Handler { sandbox, handler } => format!(
                "unable to get OCI runtime for sandbox {sandbox:?}: no runtime for {handler:?} is configured"
            ),
            Self::SandboxNotReady { sandbox } => {
                format!("sandbox container {sandbox:?} is not running")
            }
            Self::Image { image } => return image_not_found(image),
            Self::Cdi { reason } => format!("failed to create containerd container: {reason}"),
            Self::NotStartable { container, state } => format!(
                "failed to set starting state for container {container:?}: {}",
                match state {
                    Held::Starting => "container is already in starting state".into(),
                    Held::Removing => "container is in removing state, can't be started".into(),
                    state => format!("container is in {} state", state.cri()),
                }
            ),
            Self::NotRemovable { container, state } => format!(
                "failed to set removing state for container {container:?}: {}",
                match state {
                    Held::Starting => "container is in starting state, can't be removed",
                    Held::Removing => "container is already in removing state",
                    _ => "container is still running, to stop first",
                }
            ),
            Self::Create { reason } => {
                format!("failed to create containerd task: failed to create shim task: {reason}")
            }
            Self::NoAddress { sandbox } => format!(
                "failed to setup network for sandbox {sandbox:?}: no IP addresses available in range set: 10.88.0.1-10.88.255.254"
            ),
            Self::ExitCode { value } => return bad_exit_code(value),
            Self::Injected { call } => return injected(call),
            Self::Mock { what } => return (Code::Internal, what.clone()),
        };
        (Code::Unknown, text)
    }

    fn crio(&self) -> (Code, String) {
        let text = match self {
            Self::Sandbox(call, id, why) => {
                if *why == Lookup::Empty && *call != Call::PodSandboxStatus {
                    return (Code::Unknown, "PodSandboxId should not be empty".into());
                }
                let why = match why {
                    Lookup::Empty => "PodSandboxId should not be empty".into(),
                    why => format!(
                        "PodSandbox with ID starting with {id} not found: {}",
                        crio_lookup(*why, id)
                    ),
                };
                match call {
                    Call::CreateContainer => format!("specified sandbox not found: {id}: {why}"),
                    _ => {
                        return (Code::NotFound, format!("could not find pod {id:?}: {why}"));
                    }
                }
            }
            Self::Container(_, id, why) => {
                let why = match why {
                    Lookup::Empty => "container ID should not be empty".into(),
                    why => format!(
                        "container with ID starting with {id} not found: {}",
                        crio_lookup(*why, id)
                    ),
                };
                return (
                    Code::NotFound,
                    format!("could not find container {id:?}: {why}"),
                );
            }
            Self::Missing(what) => match what {
                Missing::SandboxConfig => "setting sandbox config: config is nil".into(),
                Missing::SandboxMetadata => "setting sandbox config: metadata is nil".into(),
                Missing::SandboxField("name") => {
                    "setting sandbox config: metadata.Name should not be empty".into()
                }
                Missing::SandboxField(field) => format!(
                    "setting pod sandbox name and id: cannot generate pod name without {field}"
                ),
                Missing::ContainerConfig => "config is nil".into(),
                Missing::ContainerImage => "config image is nil".into(),
                Missing::ContainerSandboxConfig => "sandbox config is nil".into(),
                Missing::ContainerSandboxMetadata => "sandbox config metadata is nil".into(),
                Missing::ContainerMetadata => "setting container config: metadata is nil".into(),
                Missing::ContainerMetadataName => "setting container config: name is empty".into(),
            },
            Self::SandboxName { name, holder } => {
                format!("error reserving pod name {name} for id {holder}: name is reserved")
            }
            // CRI-O says so after it has waited for the call's deadline; the mock says so at once.
            Self::ContainerName { name, holder } => format!(
                "Kubelet may be retrying requests that are timing out in CRI-O due to system load. \
                 Currently at stage container runtime creation: context deadline exceeded: \
                 error reserving ctr name {name} for id {holder}: name is reserved"
            ),
            Self::Handler { handler, .. } => {
                format!("failed to find runtime handler {handler} from runtime list map[crun]")
            }
            Self::SandboxNotReady { sandbox } => {
                format!("CreateContainer failed as the sandbox was stopped: {sandbox}")
            }
            Self::Image { image } => format!("image {image:?} not found"),
            Self::Cdi { reason } => reason.clone(),
            Self::NotStartable { container, state } => format!(
                "container {container} is not in created state: {}",
                match state {
                    Held::Running | Held::Starting => "running",
                    Held::Created | Held::Removing => "created",
                    Held::Exited => "stopped",
                }
            ),
            Self::NotRemovable { container, .. } => {
                format!("failed to stop container for removal {container}")
            }
            Self::Create { reason } => format!("container create failed: {reason}"),
            Self::NoAddress { sandbox } => format!(
                "failed to create pod network sandbox {sandbox}: no IP addresses available in range set: 10.88.0.1-10.88.255.254"
            ),
            Self::ExitCode { value } => return bad_exit_code(value),
            Self::Injected { call } => return injected(call),
            Self::Mock { what } => return (Code::Internal, what.clone()),
        };
        (Code::Unknown, text)
    }
}

fn injected(call: &str) -> (Code, String) {
    let text = format!("a fault was injected: the runtime refuses {call}");
    (Code::Internal, text)
}

impl Held {
    fn cri(self) -> &'static str {
        match self {
            Self::Created | Self::Starting | Self::Removing => "CONTAINER_CREATED",
            Self::Running => "CONTAINER_RUNNING",
            Self::Exited => "CONTAINER_EXITED",
        }
    }
}

fn containerd_lookup(why: Lookup, id: &str) -> (Code, String) {
    match why {
        Lookup::Unknown => (Code::NotFound, "not found".into()),
        Lookup::Empty => (Code::Unknown, "prefix can't be empty".into()),
        Lookup::Ambiguous => (
            Code::Unknown,
            format!("Multiple IDs found with provided prefix: {id}"),
        ),
    }
}

fn crio_lookup(why: Lookup, id: &str) -> String {
    match why {
        Lookup::Unknown => "ID does not exist".into(),
        Lookup::Empty => "prefix can't be empty".into(),
        Lookup::Ambiguous => format!("Multiple IDs found with provided prefix: {id}"),
    }
}

fn image_not_found(image: &str) -> (Code, String) {
    (
        Code::NotFound,
        format!("failed to resolve image {image:?}: not found"),
    )
}

fn bad_exit_code(value: &str) -> (Code, String) {
    (
        Code::InvalidArgument,
        format!(
            "container annotation {} is {value:?}: use an exit code from 0 to 255",
            crate::EXIT_CODE_ANNOTATION
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_fits_a_header_and_stays_text() {
        let fault = Fault::Create {
            reason: "é".repeat(100_000),
        };
        let status = fault.status(Flavor::Containerd);
        assert!(status.message().len() <= MAX_STATUS + '…'.len_utf8());
        assert!(fault.text(Flavor::Containerd).len() > 200_000);
    }
}
