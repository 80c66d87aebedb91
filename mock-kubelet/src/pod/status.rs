//! A pod's status, from the runtime's view and from what the kubelet failed to do.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, Pod, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::phase::{Statuses, conditions, phase};
use super::plan::{restart_policy, role, should_start};
use crate::cri::{ContainerView, PodView, Role, State};

/// Why a container waits: reason and message of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What a status is made of.
pub(super) struct Facts<'a> {
    pub(super) pod: &'a Pod,
    pub(super) view: &'a PodView,
    pub(super) runtime: &'a str,
    pub(super) reasons: &'a BTreeMap<String, Reason>,
    /// The status before this one.
    pub(super) old: &'a PodStatus,
    /// Nothing of the pod will be started any more.
    pub(super) terminal: bool,
}

impl Facts<'_> {
    pub(super) fn status(&self) -> PodStatus {
        let now = Time(Timestamp::now());
        let Some(spec) = &self.pod.spec else {
            return self.old.clone();
        };
        let inits = spec.init_containers.as_deref().unwrap_or_default();
        let statuses = Statuses {
            init: inits
                .iter()
                .map(|c| {
                    self.container(
                        c,
                        role(c, true),
                        self.old.init_container_statuses.as_deref(),
                    )
                })
                .collect(),
            regular: spec
                .containers
                .iter()
                .map(|c| self.container(c, Role::Regular, self.old.container_statuses.as_deref()))
                .collect(),
        };
        let mut phase = phase(spec, &statuses, self.terminal);
        let over = |phase: &str| matches!(phase, "Succeeded" | "Failed");
        match self.old.phase.as_deref() {
            // An end is never taken back.
            Some("Succeeded") => phase = "Succeeded",
            Some("Failed") => phase = "Failed",
            _ if self.terminal && !over(phase) => phase = "Failed",
            _ => {}
        }
        let has_sandbox = self
            .view
            .sandboxes
            .first()
            .is_some_and(|sandbox| sandbox.ready);
        let old_conditions = self.old.conditions.as_deref().unwrap_or_default();
        let conditions = conditions(spec, &statuses, phase, has_sandbox, old_conditions, &now);
        let ips = match self.view.ips() {
            // A sandbox that has ended takes its addresses along, but the pod had them.
            ips if ips.is_empty() => self.old.pod_ips.clone().unwrap_or_default(),
            ips => ips.into_iter().map(|ip| PodIP { ip }).collect(),
        };
        PodStatus {
            phase: Some(phase.into()),
            conditions: Some(conditions),
            pod_ip: ips.first().map(|ip| ip.ip.clone()),
            pod_ips: (!ips.is_empty()).then_some(ips),
            start_time: self.old.start_time.clone().or(Some(now)),
            container_statuses: Some(statuses.regular),
            init_container_statuses: (!statuses.init.is_empty()).then_some(statuses.init),
            ..PodStatus::default()
        }
    }

    fn container(
        &self,
        container: &Container,
        role: Role,
        old: Option<&[ContainerStatus]>,
    ) -> ContainerStatus {
        let mut all = self
            .view
            .containers
            .iter()
            .filter(|c| c.name == container.name);
        let newest = all.next();
        let before = all.next();
        let old = old.and_then(|all| all.iter().find(|status| status.name == container.name));
        let mut state = match newest {
            Some(view) => self.state(view),
            None => self.unseen(old),
        };
        let mut last_state = match (before, newest, old) {
            (Some(view), _, _) => Some(self.state(view)),
            (None, None, Some(old)) => old.last_state.clone(),
            _ => None,
        };
        let policy = self.pod.spec.as_ref().map(restart_policy);
        let restarts = policy.is_some_and(|policy| should_start(policy, newest)) && !self.terminal;
        if let (true, Some(reason)) = (restarts, self.reasons.get(&container.name)) {
            if state.terminated.is_some() {
                last_state = Some(state);
            }
            state = waiting(reason.reason, &reason.message);
        }
        let running = state.running.is_some();
        let completed = state
            .terminated
            .as_ref()
            .is_some_and(|end| end.exit_code == 0);
        let prefix = |id: &str| format!("{}://{id}", self.runtime);
        ContainerStatus {
            name: container.name.clone(),
            container_id: newest
                .map(|view| prefix(&view.id))
                .or_else(|| old.and_then(|old| old.container_id.clone())),
            image: match newest {
                Some(view) if !view.image.is_empty() => view.image.clone(),
                _ => container.image.clone().unwrap_or_default(),
            },
            image_id: newest.map(|view| view.image_id.clone()).unwrap_or_default(),
            ready: match role {
                Role::Init => completed,
                Role::Sidecar | Role::Regular => running,
            },
            started: Some(running),
            restart_count: match (newest, old) {
                (Some(view), _) => i32::try_from(view.attempt).unwrap_or(i32::MAX),
                (None, Some(old)) => old.restart_count,
                (None, None) => 0,
            },
            state: Some(state),
            last_state: last_state.filter(|state| *state != ContainerState::default()),
            ..ContainerStatus::default()
        }
    }

    /// The state of a container that the runtime does not know.
    fn unseen(&self, old: Option<&ContainerStatus>) -> ContainerState {
        let old = old.and_then(|old| old.state.clone()).unwrap_or_default();
        if old.terminated.is_some() {
            return old;
        }
        if self.terminal {
            return ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: 137,
                    reason: Some("ContainerStatusUnknown".into()),
                    message: Some(
                        "The container could not be located when the pod was terminated".into(),
                    ),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            };
        }
        let spec = self.pod.spec.as_ref();
        let inits = spec.and_then(|spec| spec.init_containers.as_ref());
        match inits {
            Some(inits) if !inits.is_empty() => waiting("PodInitializing", ""),
            _ => waiting("ContainerCreating", ""),
        }
    }

    fn state(&self, view: &ContainerView) -> ContainerState {
        match view.state {
            State::Running => ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: time(view.started_at),
                }),
                ..ContainerState::default()
            },
            State::Exited => ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: view.exit_code,
                    reason: Some(match view.reason.as_str() {
                        "" if view.exit_code == 0 => "Completed".into(),
                        "" => "Error".into(),
                        reason => reason.into(),
                    }),
                    message: (!view.message.is_empty()).then(|| view.message.clone()),
                    started_at: time(view.started_at),
                    finished_at: time(view.finished_at),
                    container_id: Some(format!("{}://{}", self.runtime, view.id)),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            },
            State::Created | State::Unknown => waiting("ContainerCreating", ""),
        }
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.into()),
            message: (!message.is_empty()).then(|| message.into()),
        }),
        ..ContainerState::default()
    }
}

/// Nanoseconds since the epoch, as CRI counts; 0 is never.
fn time(nanos: i64) -> Option<Time> {
    if nanos <= 0 {
        return None;
    }
    Timestamp::from_nanosecond(nanos.into()).ok().map(Time)
}
