//! The end of a pod: containers, sandbox, claims, the Pod object, and what is left.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{DeleteParams, Preconditions};

use super::events::Severity;
use super::plan::role;
use super::worker::Worker;
use crate::claim;
use crate::cri::{ContainerView, PodView, Role};
use crate::grpc::rpc_error;
use crate::node::Doubling;

/// A pod that names no grace period has this one.
const DEFAULT_GRACE: i64 = 30;

impl Worker {
    /// Ends the pod in the kubelet's order; each part is tried until it succeeds.
    pub(super) async fn tear_down(mut self) {
        let view = self.stop().await;
        while let Err(error) = Box::pin(claim::unprepare(&self.node, &self.id)).await {
            tracing::warn!(pod = self.id.name, %error, "failed to unprepare dynamic resources");
            tokio::time::sleep(self.node.timing.unprepare_retry).await;
        }
        if let Some(pod) = self.pod() {
            self.publish(&pod, &view, true);
            let unwanted = self
                .input
                .wait_for(super::dispatch::Input::is_unwanted)
                .await;
            let gone = unwanted.is_ok_and(|input| input.gone);
            if !gone {
                self.status.flush().await;
                self.delete().await;
            }
        }
        self.remove(view).await;
    }

    fn pod(&self) -> Option<Arc<Pod>> {
        self.input.borrow().pod.clone()
    }

    /// Stops containers, then sandboxes; returns how it left them.
    async fn stop(&mut self) -> PodView {
        loop {
            if let Some(view) = self.look().await
                && self.stop_all(&view).await.is_ok()
                && let Some(view) = self.look().await
                && !view.containers.iter().any(ContainerView::is_running)
            {
                return view;
            }
            tokio::time::sleep(self.node.timing.error_retry).await;
        }
    }

    /// One try at stopping everything in `view`. Sidecars outlive the regular containers
    /// and go in the reverse of their order.
    pub(super) async fn stop_all(&self, view: &PodView) -> Result<(), Duration> {
        let pod = self.pod();
        let spec = pod.as_ref().and_then(|pod| pod.spec.as_ref());
        let inits: Vec<&Container> = spec
            .into_iter()
            .flat_map(|spec| spec.init_containers.iter().flatten())
            .collect();
        let sidecar = |name: &str| {
            let place = inits.iter().position(|c| c.name == name);
            place.filter(|place| role(inits[*place], true) == Role::Sidecar)
        };
        let running = view.containers.iter().filter(|c| c.is_running());
        let (mut sidecars, others): (Vec<_>, Vec<_>) =
            running.partition(|c| sidecar(&c.name).is_some());
        sidecars.sort_by_key(|c| std::cmp::Reverse(sidecar(&c.name)));
        let mut stopped = join_all(others.into_iter().map(|c| self.stop_container(c))).await;
        for container in sidecars {
            stopped.push(self.stop_container(container).await);
        }
        stopped.into_iter().collect::<Result<Vec<_>, _>>()?;
        for sandbox in &view.sandboxes {
            if let Err(status) = self.node.runtime.stop_sandbox(&sandbox.id).await {
                tracing::warn!(
                    pod = self.id.name,
                    error = rpc_error(&status),
                    "cannot stop the sandbox"
                );
                return Err(self.node.timing.error_retry);
            }
        }
        Ok(())
    }

    async fn stop_container(&self, container: &ContainerView) -> Result<(), Duration> {
        if let Some(pod) = self.pod()
            && let Some(spec) = &pod.spec
        {
            let inits = spec.init_containers.iter().flatten().map(|c| (c, true));
            let regular = spec.containers.iter().map(|c| (c, false));
            let mine = inits.chain(regular).find(|(c, _)| c.name == container.name);
            if let Some((spec, init)) = mine {
                let message = format!("Stopping container {}", container.name);
                self.post(spec, role(spec, init), Severity::Normal, "Killing", message);
            }
        }
        let stopped = self
            .node
            .runtime
            .stop_container(&container.id, self.grace());
        stopped.await.map_err(|status| {
            tracing::warn!(
                pod = self.id.name,
                error = rpc_error(&status),
                "cannot stop a container"
            );
            self.node.timing.error_retry
        })
    }

    fn grace(&self) -> Duration {
        if let Some(grace) = self.node.timing.grace {
            return grace;
        }
        let pod = self.pod();
        let own = pod.as_ref().and_then(|pod| {
            let spec = pod.spec.as_ref();
            let deletion = pod.metadata.deletion_grace_period_seconds;
            deletion.or(spec.and_then(|spec| spec.termination_grace_period_seconds))
        });
        // Zero would mean force; the kubelet gives a second at least.
        let seconds = own.unwrap_or(DEFAULT_GRACE).max(1);
        Duration::from_secs(seconds.unsigned_abs())
    }

    /// Removes the Pod object: nothing on this node stands for it any more.
    async fn delete(&mut self) {
        let api = kube::Api::<Pod>::namespaced(self.node.client.clone(), &self.id.namespace);
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(self.id.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        for wait in Doubling::api(&self.node.timing) {
            match api.delete(&self.id.name, &now).await {
                Ok(_) => return,
                // Gone, or another pod has its name.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => {
                    tracing::debug!(pod = self.id.name, %error, "deleting the pod failed")
                }
            }
            let gone = self.input.wait_for(|input| input.gone);
            if tokio::time::timeout(wait, gone).await.is_ok() {
                return;
            }
        }
    }

    /// What garbage collection does in the end.
    async fn remove(&mut self, mut view: PodView) {
        loop {
            match self.remove_all(&view).await {
                Ok(()) if !self.cut => return,
                Ok(()) => {}
                Err(status) => {
                    tracing::warn!(
                        pod = self.id.name,
                        error = rpc_error(&status),
                        "cannot clean up"
                    );
                    tokio::time::sleep(self.node.timing.error_retry).await;
                }
            }
            if let Some(found) = self.look().await {
                if found.sandboxes.is_empty() && found.containers.is_empty() {
                    return;
                }
                let _ = self.stop_all(&found).await;
                view = found;
            }
        }
    }

    async fn remove_all(&self, view: &PodView) -> Result<(), tonic::Status> {
        for container in &view.containers {
            self.node.runtime.remove_container(&container.id).await?;
        }
        for sandbox in &view.sandboxes {
            self.node.runtime.remove_sandbox(&sandbox.id).await?;
        }
        Ok(())
    }
}
