//! Phase and conditions of a pod, worked out from its containers' statuses.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Restart, restart_policy, role};
use crate::cri::Role;

/// The statuses of init and regular containers.
pub(super) struct Statuses {
    pub(super) init: Vec<ContainerStatus>,
    pub(super) regular: Vec<ContainerStatus>,
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

/// The exit code of the container's present end, or of the last one while it waits.
fn ended(status: &ContainerStatus) -> Option<i32> {
    let state = status.state.as_ref();
    let last = status.last_state.as_ref();
    let now = state.and_then(|state| state.terminated.as_ref());
    let before = match state.and_then(|state| state.waiting.as_ref()) {
        Some(_) => last.and_then(|state| state.terminated.as_ref()),
        None => None,
    };
    now.or(before).map(|terminated| terminated.exit_code)
}

fn is_running(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

fn is_waiting(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .is_some_and(|state| state.waiting.is_some())
}

/// `terminal`: nothing will be started any more.
pub(super) fn phase(spec: &PodSpec, statuses: &Statuses, terminal: bool) -> &'static str {
    let policy = restart_policy(spec);
    let mut initializing = false;
    let mut running = 0;
    let mut waiting = 0;
    let mut unknown = 0;
    for container in spec.init_containers.iter().flatten() {
        let status = find(&statuses.init, &container.name);
        match (
            role(container, true),
            status.map(|status| (ended(status), status)),
        ) {
            (Role::Init, Some((Some(code), status))) if !is_running(status) => {
                if code != 0 && policy == Restart::Never {
                    return "Failed";
                }
            }
            (Role::Init, _) => initializing = true,
            (_, None) => unknown += 1,
            (_, Some((_, status))) if is_running(status) => running += 1,
            (_, Some((Some(_), _))) => {}
            (_, Some((None, _))) => {
                initializing = true;
                waiting += 1;
            }
        }
    }
    let mut stopped = 0;
    let mut succeeded = 0;
    for container in &spec.containers {
        match find(&statuses.regular, &container.name) {
            None => unknown += 1,
            Some(status) if is_running(status) => running += 1,
            Some(status) => match ended(status) {
                Some(code) => {
                    stopped += 1;
                    succeeded += i32::from(code == 0);
                }
                None if is_waiting(status) => waiting += 1,
                None => unknown += 1,
            },
        }
    }
    let started = |status: &ContainerStatus| is_running(status) || ended(status).is_some();
    let any_started = statuses.regular.iter().any(started);
    let over = if stopped == succeeded {
        "Succeeded"
    } else {
        "Failed"
    };
    if (initializing && !any_started) || waiting > 0 {
        "Pending"
    } else if running > 0 && unknown == 0 {
        "Running"
    } else if running == 0 && stopped > 0 && unknown == 0 {
        match policy {
            _ if terminal => over,
            Restart::Always => "Running",
            _ if stopped == succeeded => over,
            Restart::Never => over,
            Restart::OnFailure => "Running",
        }
    } else {
        "Pending"
    }
}

/// The kubelet's own conditions. Those that others set, and the times of those that have
/// not changed, are taken over from `old`.
pub(super) fn conditions(
    spec: &PodSpec,
    statuses: &Statuses,
    phase: &str,
    has_sandbox: bool,
    old: &[PodCondition],
    now: &Time,
) -> Vec<PodCondition> {
    let names = |unready: &[&str]| format!("[{}]", unready.join(" "));
    let unready = |specs: Vec<&str>, all: &[ContainerStatus]| {
        let ready = |name: &&str| find(all, name).is_some_and(|status| status.ready);
        specs
            .into_iter()
            .filter(|name| !ready(name))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let inits = spec.init_containers.iter().flatten();
    let pending = unready(inits.map(|c| c.name.as_str()).collect(), &statuses.init);
    let pending: Vec<_> = pending.iter().map(String::as_str).collect();
    let initialized = match (phase, pending.as_slice()) {
        ("Succeeded", _) => (true, "PodCompleted", String::new()),
        ("Failed", [_, ..]) => (false, "PodFailed", String::new()),
        (_, []) => (true, "", String::new()),
        (_, names_of) => (
            false,
            "ContainersNotInitialized",
            format!("containers with incomplete status: {}", names(names_of)),
        ),
    };
    let regular = spec.containers.iter().map(|c| c.name.as_str()).collect();
    let waiting = unready(regular, &statuses.regular);
    let waiting: Vec<_> = waiting.iter().map(String::as_str).collect();
    let ready = match (phase, waiting.as_slice()) {
        ("Succeeded", _) => (false, "PodCompleted", String::new()),
        ("Failed", _) => (false, "PodFailed", String::new()),
        (_, []) => (true, "", String::new()),
        (_, names_of) => (
            false,
            "ContainersNotReady",
            format!("containers with unready status: {}", names(names_of)),
        ),
    };
    let own = [
        (
            "PodReadyToStartContainers",
            (has_sandbox, "", String::new()),
        ),
        ("Initialized", initialized),
        ("Ready", ready.clone()),
        ("ContainersReady", ready),
        ("PodScheduled", (true, "", String::new())),
    ];
    let foreign = |condition: &&PodCondition| own.iter().all(|(kind, _)| condition.type_ != *kind);
    let mut all: Vec<_> = old.iter().filter(foreign).cloned().collect();
    for (kind, (holds, reason, message)) in own {
        let status = if holds { "True" } else { "False" };
        let before = old
            .iter()
            .find(|old| old.type_ == kind && old.status == status);
        all.push(PodCondition {
            type_: kind.into(),
            status: status.into(),
            reason: (!reason.is_empty()).then(|| reason.into()),
            message: (!message.is_empty()).then_some(message),
            last_transition_time: before
                .and_then(|old| old.last_transition_time.clone())
                .or_else(|| Some(now.clone())),
            ..PodCondition::default()
        });
    }
    all
}
