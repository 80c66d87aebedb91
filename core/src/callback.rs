//! Serves the hook's call: which claim, which sandbox, and go.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::attachment::Manager;
use crate::claim::ClaimUid;
use crate::event::{Recorder, Step, Subject, claim_span};
use crate::tasks::Tasks;
use crate::wire::callback::callback_server::{Callback, CallbackServer};
use crate::wire::callback::{CreateContainerRequest, CreateContainerResponse};

/// The longest OCI state that is read, in bytes.
pub const MAX_STATE: usize = 1024 * 1024;

/// The longest sandbox id, in bytes; runtimes use 64 hexadecimal digits.
const MAX_ID: usize = 256;

/// What the driver takes from an OCI state: the sandbox's id, and the container's name
/// for people. Everything else is asked of the runtime, because annotations can be
/// written by the pod's author (OCI runtime specification, "State").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciState {
    /// The CRI sandbox id.
    pub sandbox: String,
    /// The container's name in the pod, else its OCI id.
    pub container: String,
}

/// Why an OCI state is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// No bytes.
    #[error("the OCI state is empty: the runtime wrote nothing to the hook's stdin")]
    Empty,
    /// Too many bytes.
    #[error("the OCI state has {size} bytes, the limit is {MAX_STATE}")]
    TooLarge {
        /// How many.
        size: usize,
    },
    /// Bytes of another kind.
    #[error("the OCI state is not JSON ({reason}): was the hook run by an OCI runtime?")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// JSON of another kind.
    #[error("the OCI state is not a JSON object: was the hook run by an OCI runtime?")]
    NotAnObject,
    /// No annotation that names the sandbox.
    #[error(
        "the OCI state names no sandbox (neither annotation io.kubernetes.cri.sandbox-id nor \
         io.kubernetes.cri-o.SandboxID): interfaces are attached to pods, not to containers \
         that are run by hand"
    )]
    NoSandbox,
    /// Two annotations that disagree.
    #[error(
        "the OCI state names two sandboxes, {containerd} and {crio}: a pod annotation imitates \
         the runtime's; remove it from the pod"
    )]
    TwoSandboxes {
        /// By containerd's annotation.
        containerd: String,
        /// By CRI-O's annotation.
        crio: String,
    },
    /// An id that no runtime makes.
    #[error("the OCI state's sandbox id is not one a runtime makes: {id:?}")]
    BadId {
        /// Its beginning.
        id: String,
    },
}

impl OciState {
    /// Reads a state as the runtime wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Self, StateError> {
        if bytes.len() > MAX_STATE {
            return Err(StateError::TooLarge { size: bytes.len() });
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(StateError::Empty);
        }
        let state: Value = serde_json::from_slice(bytes).map_err(|error| StateError::NotJson {
            reason: error.to_string(),
        })?;
        let Value::Object(state) = state else {
            return Err(StateError::NotAnObject);
        };
        let annotation = |key: &str| {
            state
                .get("annotations")
                .and_then(|all| all.get(key))
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let containerd = annotation("io.kubernetes.cri.sandbox-id");
        let crio = annotation("io.kubernetes.cri-o.SandboxID");
        let sandbox = match (containerd, crio) {
            (Some(a), Some(b)) if a != b => {
                return Err(StateError::TwoSandboxes {
                    containerd: shown(a),
                    crio: shown(b),
                });
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => return Err(StateError::NoSandbox),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if sandbox.len() > MAX_ID || !sandbox.chars().all(plain) {
            return Err(StateError::BadId { id: shown(sandbox) });
        }
        let container = annotation("io.kubernetes.cri.container-name")
            .or_else(|| annotation("io.kubernetes.container.name"))
            .or_else(|| state.get("id").and_then(Value::as_str))
            .unwrap_or_default();
        Ok(Self {
            sandbox: sandbox.to_owned(),
            container: shown(container),
        })
    }
}

/// The beginning of a text from outside, without control characters.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_ID)
        .collect()
}

/// At most eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// `ndra.callback.v1.Callback` over the attachment manager.
pub struct CallbackService {
    manager: Manager,
    recorder: Recorder,
    tasks: Tasks,
    hook_timeout: Duration,
}

impl CallbackService {
    /// The service. Attachments run in `tasks`: a hook that gives up does not stop one
    /// half-way, and the next hook finds it done.
    pub fn server(
        manager: Manager,
        recorder: Recorder,
        tasks: Tasks,
        hook_timeout: Duration,
    ) -> CallbackServer<Self> {
        CallbackServer::new(Self {
            manager,
            recorder,
            tasks,
            hook_timeout,
        })
        .max_decoding_message_size(MAX_STATE + 4096)
    }

    /// How long the answer may take to reach a hook that still waits: what the hook says
    /// (`grpc-timeout`, gRPC over HTTP/2) or is configured to, less a tenth for the way.
    fn time_left(&self, metadata: &MetadataMap) -> Duration {
        let told = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(grpc_timeout);
        told.unwrap_or(self.hook_timeout).min(self.hook_timeout) * 9 / 10
    }
}

#[tonic::async_trait]
impl Callback for CallbackService {
    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let deadline = Instant::now() + self.time_left(request.metadata());
        let request = request.into_inner();
        let mut subject = Subject::default();
        let uid: Result<ClaimUid, _> = request.claim_uid.parse();
        if let Ok(uid) = &uid {
            subject.claim = self.manager.store().read(|record| {
                record
                    .claims
                    .get(uid.as_str())
                    .map(|claim| claim.claim.clone())
            });
            if subject.claim.is_none() {
                subject = Subject::claim("", "", uid.as_str());
            }
        }
        let state = OciState::parse(&request.oci_state);
        if let Ok(state) = &state {
            subject.sandbox = Some(state.sandbox.clone());
            subject.container = Some(state.container.clone());
        }
        let mut span = self.recorder.begin(Step::Callback, subject);
        if !request.hook_version.is_empty() {
            span.detail("hookVersion", shown(&request.hook_version));
        }
        let uid = match uid {
            Ok(uid) => uid,
            Err(error) => {
                let status = Status::invalid_argument(error.to_string());
                span.reason("BadCall");
                span.fail(error);
                return Err(status);
            }
        };
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                let status = Status::invalid_argument(error.to_string());
                span.reason("BadCall");
                span.fail(error);
                return Err(status);
            }
        };
        let manager = self.manager.clone();
        let log = claim_span(uid.as_str());
        let attach = async move {
            let attached = manager.attach(&uid, &state.sandbox, deadline).await;
            span.close_for(attached)
        };
        let attach = self.tasks.finish(attach.instrument(log));
        match attach.await {
            Ok(Ok(())) => Ok(Response::new(CreateContainerResponse {})),
            // Not `Unavailable`, which the hook takes for a driver that is away.
            Ok(Err(error)) => Err(Status::failed_precondition(error.to_string())),
            // Its successor goes on where this one was stopped.
            Err(stopped) => Err(Status::unavailable(stopped.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> String {
        OciState::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn both_runtimes_states_are_read() {
        let containerd = br#"{"id":"c","annotations":{"io.kubernetes.cri.sandbox-id":"s1",
            "io.kubernetes.cri.container-name":"app"}}"#;
        let state = OciState::parse(containerd).unwrap();
        assert_eq!((&*state.sandbox, &*state.container), ("s1", "app"));
        let crio = br#"{"id":"c","annotations":{"io.kubernetes.cri-o.SandboxID":"s2"}}"#;
        let state = OciState::parse(crio).unwrap();
        assert_eq!((&*state.sandbox, &*state.container), ("s2", "c"));
    }

    #[test]
    fn bad_states_are_refused_in_words() {
        insta::assert_snapshot!(words(b" \n"), @"the OCI state is empty: the runtime wrote nothing to the hook's stdin");
        insta::assert_snapshot!(words(br#"{"id":"#), @"the OCI state is not JSON (EOF while parsing a value at line 1 column 6): was the hook run by an OCI runtime?");
        insta::assert_snapshot!(words(b"\x7fELF"), @"the OCI state is not JSON (expected value at line 1 column 1): was the hook run by an OCI runtime?");
        insta::assert_snapshot!(words(b"[1]"), @"the OCI state is not a JSON object: was the hook run by an OCI runtime?");
        insta::assert_snapshot!(words(br#"{"id":"c"}"#), @"the OCI state names no sandbox (neither annotation io.kubernetes.cri.sandbox-id nor io.kubernetes.cri-o.SandboxID): interfaces are attached to pods, not to containers that are run by hand");
        insta::assert_snapshot!(words(&vec![b'x'; MAX_STATE + 1]), @"the OCI state has 1048577 bytes, the limit is 1048576");
        insta::assert_snapshot!(words(br#"{"annotations":{"io.kubernetes.cri.sandbox-id":"a",
            "io.kubernetes.cri-o.SandboxID":"b"}}"#), @"the OCI state names two sandboxes, a and b: a pod annotation imitates the runtime's; remove it from the pod");
        insta::assert_snapshot!(
            words(br#"{"annotations":{"io.kubernetes.cri.sandbox-id":"../../etc\u0000"}}"#), @r#"the OCI state's sandbox id is not one a runtime makes: "../../etc""#);
    }
}
