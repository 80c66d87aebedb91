//! What a pod needs next, from its spec and the runtime's view alone.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::cri::{ContainerView, PodView, Role, State};

/// The next thing to do for a pod that shall run.
#[derive(Debug, PartialEq)]
pub(super) enum Plan<'a> {
    /// Nothing of it will run again.
    Finish,
    /// It needs a sandbox; what is left of the old one has to go first.
    Sandbox { attempt: u32, changed: bool },
    /// These containers have to be started in this sandbox.
    Run {
        sandbox: String,
        attempt: u32,
        start: Vec<(Role, &'a Container)>,
    },
}

/// Whether containers are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

pub(super) fn restart_policy(spec: &PodSpec) -> Restart {
    match spec.restart_policy.as_deref() {
        Some("Never") => Restart::Never,
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Always,
    }
}

pub(super) fn role(container: &Container, init: bool) -> Role {
    match (init, container.restart_policy.as_deref()) {
        (false, _) => Role::Regular,
        (true, Some("Always")) => Role::Sidecar,
        (true, _) => Role::Init,
    }
}

/// Whether a regular container that is in this state should be started.
pub(super) fn should_start(policy: Restart, last: Option<&ContainerView>) -> bool {
    match last {
        None => true,
        Some(last) => match (last.state, policy) {
            (State::Running, _) => false,
            (State::Created | State::Unknown, _) => true,
            (State::Exited, Restart::Never) => false,
            (State::Exited, Restart::OnFailure) => last.exit_code != 0,
            (State::Exited, Restart::Always) => true,
        },
    }
}

pub(super) fn plan<'a>(pod: &'a Pod, view: &PodView) -> Plan<'a> {
    let Some(spec) = &pod.spec else {
        return Plan::Finish;
    };
    let policy = restart_policy(spec);
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let usable = view
        .sandboxes
        .iter()
        .filter(|sandbox| sandbox.ready)
        .count()
        == 1;
    let sandbox = view.sandboxes.first().filter(|sandbox| {
        let no_address = sandbox.ips.as_ref().is_some_and(Vec::is_empty);
        usable && sandbox.ready && (spec.host_network == Some(true) || !no_address)
    });
    let Some(sandbox) = sandbox else {
        let attempt = view.sandboxes.first().map_or(0, |old| old.attempt + 1);
        if attempt != 0 && policy == Restart::Never && !view.containers.is_empty() {
            return Plan::Finish;
        }
        let done = |c: &Container| {
            let last = view.container(&c.name);
            policy == Restart::OnFailure && last.is_some_and(|l| l.is_exited() && l.exit_code == 0)
        };
        if spec.containers.iter().all(done) {
            return Plan::Finish;
        }
        return Plan::Sandbox {
            attempt,
            changed: !view.sandboxes.is_empty(),
        };
    };
    let run = |start| Plan::Run {
        sandbox: sandbox.id.clone(),
        attempt: sandbox.attempt,
        start,
    };
    let here = |c: &Container| view.container_in(&sandbox.id, &c.name);
    let mut start = Vec::new();
    let initialized = spec.containers.iter().any(|c| here(c).is_some());
    for container in inits {
        let last = here(container);
        match role(container, true) {
            Role::Sidecar if last.is_none_or(|last| !last.is_running()) => {
                start.push((Role::Sidecar, container));
            }
            Role::Init if !initialized => match last {
                Some(last) if last.is_running() => return run(start),
                Some(last) if last.is_exited() && last.exit_code == 0 => {}
                Some(last) if last.is_exited() && policy == Restart::Never => return Plan::Finish,
                _ => {
                    start.push((Role::Init, container));
                    return run(start);
                }
            },
            _ => {}
        }
    }
    let mut alive = false;
    for container in &spec.containers {
        if here(container).is_some_and(ContainerView::is_running) {
            alive = true;
            continue;
        }
        // What runs in a sandbox that is no longer the pod's does not count.
        let last = view.container(&container.name).cloned().map(|mut last| {
            if last.is_running() {
                last.state = State::Unknown;
            }
            last
        });
        if should_start(policy, last.as_ref()) {
            alive = true;
            start.push((Role::Regular, container));
        }
    }
    match alive {
        true => run(start),
        false => Plan::Finish,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::SandboxView;
    use serde_json::json;

    fn pod(policy: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "ns", "uid": "u" },
            "spec": {
                "restartPolicy": policy,
                "initContainers": [
                    { "name": "proxy", "restartPolicy": "Always" },
                    { "name": "init" },
                ],
                "containers": [{ "name": "a" }, { "name": "b" }],
            }
        }))
        .unwrap()
    }

    fn view(containers: &[(&str, State, i32)]) -> PodView {
        let container = |(name, state, exit_code): &(&str, State, i32)| ContainerView {
            id: format!("id-{name}"),
            sandbox: "s0".into(),
            name: (*name).into(),
            attempt: 0,
            state: *state,
            created_at: 1,
            started_at: 0,
            finished_at: 0,
            exit_code: *exit_code,
            reason: String::new(),
            message: String::new(),
            image: String::new(),
            image_id: String::new(),
        };
        PodView {
            sandboxes: vec![SandboxView {
                id: "s0".into(),
                attempt: 0,
                ready: true,
                created_at: 0,
                ips: Some(vec!["10.0.0.1".into()]),
            }],
            containers: containers.iter().map(container).collect(),
        }
    }

    fn starts(policy: &str, containers: &[(&str, State, i32)]) -> String {
        let pod = pod(policy);
        match plan(&pod, &view(containers)) {
            Plan::Finish => "finish".into(),
            Plan::Sandbox { attempt, .. } => format!("sandbox {attempt}"),
            Plan::Run { start, .. } => {
                let names: Vec<_> = start.iter().map(|(_, c)| c.name.as_str()).collect();
                names.join(" ")
            }
        }
    }

    #[test]
    fn containers_follow_each_other() {
        use State::{Exited, Running};
        let running = [
            ("proxy", Running, 0),
            ("init", Exited, 0),
            ("a", Running, 0),
            ("b", Running, 0),
        ];
        assert_eq!(starts("Always", &[]), "proxy init");
        assert_eq!(starts("Always", &running[..1]), "init");
        assert_eq!(starts("Always", &[running[0], ("init", Running, 0)]), "");
        assert_eq!(starts("Always", &[running[0], ("init", Exited, 1)]), "init");
        assert_eq!(
            starts("Never", &[running[0], ("init", Exited, 1)]),
            "finish"
        );
        assert_eq!(starts("Always", &running[..2]), "a b");
        assert_eq!(starts("Always", &running), "");
    }

    #[test]
    fn the_restart_policy_decides() {
        use State::{Exited, Running};
        let with = |a, b| {
            [
                ("proxy", Running, 0),
                ("init", Exited, 0),
                ("a", Exited, a),
                ("b", Exited, b),
            ]
        };
        assert_eq!(starts("Always", &with(0, 0)), "a b");
        assert_eq!(starts("OnFailure", &with(0, 1)), "b");
        assert_eq!(starts("OnFailure", &with(0, 0)), "finish");
        assert_eq!(starts("Never", &with(1, 0)), "finish");
    }

    #[test]
    fn a_dead_sandbox_is_replaced() {
        let always = pod("Always");
        let mut dead = view(&[("a", State::Exited, 0)]);
        dead.sandboxes[0].ready = false;
        let next = Plan::Sandbox {
            attempt: 1,
            changed: true,
        };
        assert_eq!(plan(&always, &dead), next);
        assert_eq!(plan(&pod("Never"), &dead), Plan::Finish);
        let mut without_address = view(&[]);
        without_address.sandboxes[0].ips = Some(Vec::new());
        assert_eq!(plan(&always, &without_address), next);
        let first = Plan::Sandbox {
            attempt: 0,
            changed: false,
        };
        assert_eq!(plan(&always, &PodView::default()), first);
    }
}
