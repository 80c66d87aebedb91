//! A container's start: devices, creation, start, and the steps that tell of it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod};
use ndra_core::event::{Span, Step, Subject};
use ndra_core::socket::status_text;
use serde_json::json;
use tokio::time::Instant;

use super::backoff::go_duration;
use super::events::Severity;
use super::status::Reason;
use super::worker::Worker;
use crate::claim::container_devices;
use crate::cri::{ContainerView, PodView, Role, container_config, sandbox_config};

impl Worker {
    /// Creates and starts the container in its sandbox, `place`: id and attempt. On failure
    /// says when to try again, and the reason is in `self.reasons`.
    pub(super) async fn start_container(
        &mut self,
        pod: &Pod,
        view: &PodView,
        place: (&str, u32),
        container: &Container,
        role: Role,
    ) -> Result<(), Instant> {
        let name = &container.name;
        let last = view.container(name);
        if let Some(dead) = last.filter(|last| last.is_exited()) {
            self.back_off(container, role, dead)?;
        }
        let attempt = last.map_or(0, |last| last.attempt.saturating_add(1));
        let outcome = self
            .create_and_start(pod, place, container, role, attempt)
            .await;
        match outcome {
            Ok(()) => {
                self.reasons.remove(name);
                self.prune(view, name).await;
                Ok(())
            }
            Err(reason) => {
                // A container that failed to start is dead in the runtime, which is news
                // for the relist and brings the next sync; one that was never created is not.
                let wait = match reason.reason {
                    "RunContainerError" => self.node.timing.relist,
                    _ => self.node.timing.error_retry,
                };
                self.reasons.insert(name.clone(), reason);
                self.prune(view, name).await;
                Err(Instant::now() + wait)
            }
        }
    }

    fn back_off(
        &mut self,
        container: &Container,
        role: Role,
        dead: &ContainerView,
    ) -> Result<(), Instant> {
        let name = &container.name;
        let Err(waiting) = self.backoffs.check(name, &dead.id, Instant::now()) else {
            return Ok(());
        };
        let pod = format!("{}_{}({})", self.id.name, self.id.namespace, self.id.uid);
        if waiting.news {
            self.post(
                container,
                role,
                Severity::Warning,
                "BackOff",
                format!("Back-off restarting failed container {name} in pod {pod}"),
            );
        }
        let wait = go_duration(waiting.wait);
        let reason = Reason {
            reason: "CrashLoopBackOff",
            message: format!("back-off {wait} restarting failed container={name} pod={pod}"),
        };
        self.reasons.insert(name.clone(), reason);
        Err(waiting.until)
    }

    async fn create_and_start(
        &self,
        pod: &Pod,
        (sandbox, sandbox_attempt): (&str, u32),
        container: &Container,
        role: Role,
        attempt: u32,
    ) -> Result<(), Reason> {
        let node = &self.node;
        let name = &container.name;
        let failed = |reason, message: String| {
            let text = format!("Error: {message}");
            self.post(container, role, Severity::Warning, "Failed", text);
            Reason { reason, message }
        };
        let found = container_devices(&node.claims, pod, container)
            .map_err(|error| failed("CreateContainerConfigError", error))?;
        let mut seen = BTreeSet::new();
        let devices: Vec<_> = found
            .iter()
            .flat_map(|(_, _, names)| names)
            .cloned()
            .collect();
        let devices: Vec<_> = devices
            .into_iter()
            .filter(|d| seen.insert(d.clone()))
            .collect();
        let mut flows = Flows(Vec::new());
        let with_devices = found.iter().filter(|(_, _, names)| !names.is_empty());
        for ((namespace, claim), uid, names) in with_devices {
            let subject = Subject::claim(namespace, claim, uid)
                .pod(&self.id.namespace, &self.id.name)
                .sandbox(sandbox)
                .container(name);
            node.gate.pass(Step::CreateContainer, &subject).await;
            let mut span = node.recorder.begin(Step::CreateContainer, subject);
            span.detail("CDI_devices", json!(names));
            span.detail("attempt", attempt);
            flows.0.push(span);
        }
        let config = container_config(pod, container, role, attempt, &devices);
        let sandbox_config = sandbox_config(pod, sandbox_attempt);
        let created = node
            .runtime
            .create_container(sandbox, config, sandbox_config)
            .await;
        let id = match created {
            Ok(id) => id,
            Err(status) => {
                let message = status_text(&status);
                flows.fail(&message);
                return Err(failed("CreateContainerError", message));
            }
        };
        flows.created(&id);
        self.post(
            container,
            role,
            Severity::Normal,
            "Created",
            "Container created".into(),
        );
        if let Err(status) = node.runtime.start_container(&id).await {
            let message = status_text(&status);
            flows.fail(&message);
            // The id would make every event of this kind a new one.
            let text = format!("Error: {}", message.replace(&id, name));
            self.post(container, role, Severity::Warning, "Failed", text);
            return Err(Reason {
                reason: "RunContainerError",
                message,
            });
        }
        flows.end();
        self.post(
            container,
            role,
            Severity::Normal,
            "Started",
            "Container started".into(),
        );
        Ok(())
    }

    /// Keeps the newest and the one before it, whose end the status shows.
    async fn prune(&self, view: &PodView, name: &str) {
        let dead = view
            .containers
            .iter()
            .filter(|c| c.name == name && c.is_exited());
        for container in dead.skip(1) {
            let removed = self.node.runtime.remove_container(&container.id).await;
            if let Err(status) = removed {
                tracing::debug!(
                    container = container.id,
                    error = status.message(),
                    "not removed"
                );
            }
        }
    }

    pub(super) fn post(
        &self,
        container: &Container,
        role: Role,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) {
        let list = match role {
            Role::Regular => "containers",
            Role::Init | Role::Sidecar => "initContainers",
        };
        let path = format!("spec.{list}{{{}}}", container.name);
        self.node
            .events
            .post(&self.id, Some(path), severity, reason, message);
    }
}

/// The step of each claim whose devices the container gets.
struct Flows(Vec<Span>);

impl Flows {
    fn created(&mut self, id: &str) {
        for span in &mut self.0 {
            span.detail("container_id", id);
        }
    }

    fn end(self) {
        self.0.into_iter().for_each(Span::end);
    }

    fn fail(self, error: &str) {
        for span in self.0 {
            span.fail(error);
        }
    }
}
