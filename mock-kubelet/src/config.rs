//! What a kubelet is told at its start, and its clocks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ndra_core::event::Recorder;
use ndra_core::gate::Gate;

/// A version of the DRA service that the kubelet can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiVersion {
    /// `k8s.io.kubelet.pkg.apis.dra.v1`, since Kubernetes 1.34.
    V1,
    /// `k8s.io.kubelet.pkg.apis.dra.v1beta1`, since Kubernetes 1.32.
    V1beta1,
    /// `v1alpha3.Node`, of Kubernetes 1.29 and 1.30. A kubelet that knows it knows no other:
    /// it reads claims of `resource.k8s.io/v1alpha2`, and hands their resource handles over.
    V1alpha3,
}

impl ApiVersion {
    /// The name that a plugin lists in `supported_versions`.
    pub fn service(self) -> &'static str {
        match self {
            Self::V1 => "v1.DRAPlugin",
            Self::V1beta1 => "v1beta1.DRAPlugin",
            // Plugins list numbers of versions there.
            Self::V1alpha3 => "v1alpha3.Node",
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.service())
    }
}

/// How long the kubelet waits for what. [`Timing::default`] is the real kubelet's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Deadline of NodePrepareResources and NodeUnprepareResources.
    pub prepare_deadline: Duration,
    /// Deadline of GetInfo.
    pub info_deadline: Duration,
    /// Wait before a failed handshake is tried again; doubles up to 2 minutes.
    pub register_retry: Duration,
    /// Wait before a lost DRA connection is dialled again.
    pub reconnect: Duration,
    /// Wait before a stream of devices' health that has ended is asked for again.
    pub health_retry: Duration,
    /// Period in which sandboxes and containers are listed.
    pub relist: Duration,
    /// Wait before a pod is synced again when its claims could not be prepared, and
    /// between syncs of a pod that needs nothing.
    pub sync_retry: Duration,
    /// Wait before a pod is synced again after any other failure.
    pub error_retry: Duration,
    /// Wait before a failed unprepare is tried again.
    pub unprepare_retry: Duration,
    /// First wait before a container that died a second time is started again; doubles.
    pub restart_backoff: Duration,
    /// Where the doubling ends.
    pub restart_backoff_max: Duration,
    /// Time a driver has to come back before its ResourceSlices are deleted.
    pub slice_wipe: Duration,
    /// First wait before a failed call to the API server is repeated; doubles up to 30
    /// times its length.
    pub api_retry: Duration,
    /// Deadline of a CRI call. StopContainer has its grace period on top.
    pub runtime_deadline: Duration,
    /// Stands in for every pod's grace period; `None` keeps the pod's own.
    pub grace: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            prepare_deadline: Duration::from_secs(45),
            info_deadline: Duration::from_secs(1),
            register_retry: Duration::from_millis(500),
            reconnect: Duration::from_secs(1),
            health_retry: Duration::from_secs(5),
            relist: Duration::from_secs(1),
            sync_retry: Duration::from_secs(90),
            error_retry: Duration::from_secs(10),
            unprepare_retry: Duration::from_secs(10),
            restart_backoff: Duration::from_secs(10),
            restart_backoff_max: Duration::from_secs(300),
            slice_wipe: Duration::from_secs(30),
            api_retry: Duration::from_secs(1),
            runtime_deadline: Duration::from_secs(120),
            grace: None,
        }
    }
}

impl Timing {
    /// For simulations: retries after tens of milliseconds. The deadlines stay, because
    /// they bound what a slow machine may take.
    pub fn quick() -> Self {
        Self {
            register_retry: Duration::from_millis(20),
            reconnect: Duration::from_millis(10),
            health_retry: Duration::from_millis(20),
            relist: Duration::from_millis(20),
            sync_retry: Duration::from_millis(100),
            error_retry: Duration::from_millis(30),
            unprepare_retry: Duration::from_millis(30),
            restart_backoff: Duration::from_millis(20),
            restart_backoff_max: Duration::from_millis(200),
            slice_wipe: Duration::from_millis(300),
            api_retry: Duration::from_millis(10),
            grace: Some(Duration::ZERO),
            ..Self::default()
        }
    }
}

/// What a kubelet is told at its start.
pub struct Config {
    /// The Node's name: pods whose `spec.nodeName` says so are this kubelet's.
    pub node: String,
    /// The API server.
    pub client: kube::Client,
    /// Directory that is watched for registration sockets; made when missing.
    pub registry: PathBuf,
    /// The runtime's CRI socket; it must answer when the kubelet starts.
    pub cri: PathBuf,
    /// The file that remembers claims across restarts; made when missing.
    pub checkpoint: PathBuf,
    /// DRA versions that this kubelet knows.
    pub versions: Vec<ApiVersion>,
    /// Its clocks.
    pub timing: Timing,
    /// Where steps are recorded. The kubelet records `create-container`.
    pub recorder: Recorder,
    /// Passed before `prepare`, `create-container` and `unprepare`.
    pub gate: Gate,
}
