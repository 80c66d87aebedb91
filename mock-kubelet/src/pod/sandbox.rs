//! A pod's sandbox: claims first, and nothing of the old one left.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::events::Severity;
use super::plan::role;
use super::worker::Worker;
use crate::claim;
use crate::cri::{PodView, Role, sandbox_config};
use crate::grpc::rpc_error;

impl Worker {
    /// Gives the pod a new sandbox. On failure says how long to wait before the next try.
    pub(super) async fn new_sandbox(
        &mut self,
        pod: &Pod,
        view: &PodView,
        attempt: u32,
        changed: bool,
    ) -> Result<(), Duration> {
        let node = self.node.clone();
        if changed {
            node.events.post(
                &self.id,
                None,
                Severity::Normal,
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            );
            self.clear(pod, view).await?;
        }
        if let Err(error) = Box::pin(claim::prepare(&node, pod)).await {
            tracing::warn!(pod = self.id.name, %error, "failed to prepare dynamic resources");
            node.events.post(
                &self.id,
                None,
                Severity::Warning,
                "FailedPrepareDynamicResources",
                format!("Failed to prepare dynamic resources: {error}"),
            );
            return Err(node.timing.sync_retry);
        }
        let handler = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.runtime_class_name.clone());
        let config = sandbox_config(pod, attempt);
        match node
            .runtime
            .run_sandbox(config, handler.unwrap_or_default())
            .await
        {
            Ok(_) => Ok(()),
            Err(status) => {
                node.events.post(
                    &self.id,
                    None,
                    Severity::Warning,
                    "FailedCreatePodSandBox",
                    format!("Failed to create pod sandbox: {}", rpc_error(&status)),
                );
                Err(node.timing.error_retry)
            }
        }
    }

    /// Stops what is left of the old sandboxes and removes what nobody will ask for.
    async fn clear(&mut self, pod: &Pod, view: &PodView) -> Result<(), Duration> {
        self.stop_all(view).await?;
        let runtime = &self.node.runtime;
        let retry = self.node.timing.error_retry;
        let spec = pod.spec.as_ref();
        let inits: Vec<_> = spec
            .into_iter()
            .flat_map(|spec| spec.init_containers.iter().flatten())
            .filter(|container| role(container, true) == Role::Init)
            .map(|container| container.name.as_str())
            .collect();
        // Initialization begins anew.
        for container in &view.containers {
            if inits.contains(&container.name.as_str()) {
                runtime
                    .remove_container(&container.id)
                    .await
                    .map_err(|_| retry)?;
            }
        }
        // The newest stays: its containers tell the restart counts.
        for sandbox in view.sandboxes.iter().skip(1) {
            runtime
                .remove_sandbox(&sandbox.id)
                .await
                .map_err(|_| retry)?;
        }
        Ok(())
    }
}
