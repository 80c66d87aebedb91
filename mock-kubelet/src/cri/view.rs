//! What the runtime says about pods, ordered the way the kubelet looks at it.

use std::collections::BTreeMap;

use ndra_core::wire::cri::{
    Container, ContainerState, ContainerStatus, PodSandbox, PodSandboxState, PodSandboxStatus,
};

pub(crate) const NAME_LABEL: &str = "io.kubernetes.pod.name";
pub(crate) const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
pub(crate) const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// The sandboxes and containers of all pods: enough to see that something has changed.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) pods: BTreeMap<String, Seen>,
}

/// What a listing shows of one pod.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Ids and states.
    items: BTreeMap<String, i32>,
}

impl Snapshot {
    pub(super) fn new(sandboxes: Vec<PodSandbox>, containers: Vec<Container>) -> Self {
        let mut pods = BTreeMap::<String, Seen>::new();
        let sandboxes = sandboxes.into_iter().map(|s| (s.labels, s.id, s.state));
        let containers = containers.into_iter().map(|c| (c.labels, c.id, c.state));
        for (mut labels, id, state) in sandboxes.chain(containers) {
            let Some(uid) = labels.remove(UID_LABEL) else {
                continue;
            };
            let seen = pods.entry(uid).or_default();
            seen.namespace = labels.remove(NAMESPACE_LABEL).unwrap_or_default();
            seen.name = labels.remove(NAME_LABEL).unwrap_or_default();
            seen.items.insert(id, state);
        }
        Self { pods }
    }
}

/// One pod's sandboxes and containers, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodView {
    pub(crate) sandboxes: Vec<SandboxView>,
    pub(crate) containers: Vec<ContainerView>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SandboxView {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) ready: bool,
    pub(crate) created_at: i64,
    /// `None`: the runtime says nothing of a network.
    pub(crate) ips: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerView {
    pub(crate) id: String,
    pub(crate) sandbox: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) state: State,
    pub(crate) created_at: i64,
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
}

impl SandboxView {
    pub(super) fn new(status: PodSandboxStatus) -> Self {
        Self {
            attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
            ready: status.state() == PodSandboxState::SandboxReady,
            created_at: status.created_at,
            ips: status.network.map(|network| {
                let more = network.additional_ips.into_iter().map(|ip| ip.ip);
                let all = std::iter::once(network.ip).chain(more);
                all.filter(|ip| !ip.is_empty()).collect()
            }),
            id: status.id,
        }
    }
}

impl ContainerView {
    pub(super) fn new(status: ContainerStatus, sandbox: String) -> Self {
        let state = match status.state() {
            ContainerState::ContainerCreated => State::Created,
            ContainerState::ContainerRunning => State::Running,
            ContainerState::ContainerExited => State::Exited,
            ContainerState::ContainerUnknown => State::Unknown,
        };
        let metadata = status.metadata.unwrap_or_default();
        Self {
            id: status.id,
            sandbox,
            name: metadata.name,
            attempt: metadata.attempt,
            state,
            created_at: status.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            image: status.image.map(|image| image.image).unwrap_or_default(),
            image_id: match status.image_id {
                id if id.is_empty() => status.image_ref,
                id => id,
            },
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    pub(crate) fn is_exited(&self) -> bool {
        self.state == State::Exited
    }
}

impl PodView {
    pub(super) fn sort(&mut self) {
        self.sandboxes
            .sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created_at)));
        self.containers
            .sort_by_key(|container| std::cmp::Reverse((container.created_at, container.attempt)));
    }

    /// The newest container of that name, of whatever sandbox.
    pub(crate) fn container(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The newest container of that name in one sandbox.
    pub(crate) fn container_in(&self, sandbox: &str, name: &str) -> Option<&ContainerView> {
        let mut all = self.containers.iter();
        all.find(|c| c.name == name && c.sandbox == sandbox)
    }

    /// Addresses of the newest sandbox, while it is ready.
    pub(crate) fn ips(&self) -> Vec<String> {
        let newest = self.sandboxes.first().filter(|sandbox| sandbox.ready);
        newest
            .and_then(|sandbox| sandbox.ips.clone())
            .unwrap_or_default()
    }
}
