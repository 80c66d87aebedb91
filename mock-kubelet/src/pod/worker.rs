//! The life of one pod: synced until it is unwanted or over, then torn down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backoff::BackOffs;
use super::dispatch::Input;
use super::plan::{Plan, plan};
use super::status::{Facts, Reason};
use super::writer::StatusWriter;
use crate::claim::PodId;
use crate::cri::PodView;
use crate::grpc::rpc_error;
use crate::node::Node;
use crate::plugin::HealthMap;

/// One pod UID's worker.
pub(super) struct Worker {
    pub(super) node: Arc<Node>,
    pub(super) id: PodId,
    pub(super) input: watch::Receiver<Input>,
    pub(super) wake: Arc<Notify>,
    pub(super) backoffs: BackOffs,
    /// Why containers are not running, by name.
    pub(super) reasons: BTreeMap<String, Reason>,
    pub(super) status: StatusWriter,
    /// What plugins say of their devices; news is a reason to write the status.
    pub(super) health: watch::Receiver<HealthMap>,
    /// A sync ended in the middle of a call, which the runtime may still carry out.
    pub(super) cut: bool,
}

/// What comes after a sync.
pub(super) enum Next {
    /// Something was done: look again.
    Again,
    /// Nothing to do before this moment, unless something happens.
    At(Instant),
    /// The pod has come to its end.
    Over,
}

impl Next {
    pub(super) fn after(wait: Duration) -> Self {
        Self::At(Instant::now() + wait)
    }
}

impl Input {
    /// The pod, if it shall run.
    fn wanted(&self) -> Option<Arc<Pod>> {
        let wanted = |pod: &&Arc<Pod>| !self.gone && pod.metadata.deletion_timestamp.is_none();
        self.pod.as_ref().filter(wanted).cloned()
    }

    /// Whether its owner wants it gone.
    pub(super) fn is_unwanted(&self) -> bool {
        self.wanted().is_none()
    }
}

impl Worker {
    pub(super) fn new(
        node: Arc<Node>,
        id: PodId,
        input: watch::Receiver<Input>,
        wake: Arc<Notify>,
    ) -> Self {
        let old = input
            .borrow()
            .pod
            .as_ref()
            .and_then(|pod| pod.status.clone());
        Self {
            status: StatusWriter::start(&node, &id, old.unwrap_or_default()),
            backoffs: BackOffs::new(&node.timing),
            reasons: BTreeMap::new(),
            health: node.plugins.health(),
            cut: false,
            node,
            id,
            input,
            wake,
        }
    }

    pub(super) async fn run(mut self) {
        let mut unwanted = self.input.clone();
        loop {
            let Some(pod) = self.input.borrow_and_update().wanted() else {
                break;
            };
            // A deletion cuts a sync short, whatever it waits for.
            let next = tokio::select! {
                biased;
                _ = unwanted.wait_for(Input::is_unwanted) => {
                    self.cut = true;
                    break;
                }
                next = Box::pin(self.sync(&pod)) => next,
            };
            match next {
                Next::Again => {}
                Next::Over => break,
                Next::At(moment) => tokio::select! {
                    () = self.wake.notified() => {}
                    _ = self.input.changed() => {}
                    _ = self.health.changed() => {}
                    () = tokio::time::sleep_until(moment) => {}
                },
            }
        }
        Box::pin(self.tear_down()).await;
    }

    async fn sync(&mut self, pod: &Pod) -> Next {
        let phase = self.status.last.phase.as_deref();
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return Next::Over;
        }
        let Some(view) = self.look().await else {
            return Next::after(self.node.timing.error_retry);
        };
        let plan = plan(pod, &view);
        self.publish(pod, &view, plan == Plan::Finish);
        match plan {
            Plan::Finish => Next::Over,
            Plan::Sandbox { attempt, changed } => {
                let made = self.new_sandbox(pod, &view, attempt, changed).await;
                match made {
                    Ok(()) => Next::Again,
                    Err(wait) => Next::after(wait),
                }
            }
            Plan::Run {
                sandbox,
                attempt,
                start,
            } => {
                let (mut started, mut failed) = (false, false);
                let mut next = Instant::now() + self.node.timing.sync_retry;
                for (role, container) in start {
                    let place = (sandbox.as_str(), attempt);
                    match self
                        .start_container(pod, &view, place, container, role)
                        .await
                    {
                        Ok(()) => started = true,
                        Err(again) => {
                            failed = true;
                            next = next.min(again);
                            if role == crate::cri::Role::Init {
                                break;
                            }
                        }
                    }
                }
                if started {
                    return Next::Again;
                }
                if failed && let Some(view) = self.look().await {
                    self.publish(pod, &view, false);
                }
                Next::At(next)
            }
        }
    }

    /// What the runtime knows of the pod now.
    pub(super) async fn look(&mut self) -> Option<PodView> {
        match self.node.runtime.pod(&self.id.uid).await {
            Ok(view) => {
                self.backoffs.observe(&view);
                Some(view)
            }
            Err(status) => {
                tracing::warn!(
                    pod = self.id.name,
                    error = rpc_error(&status),
                    "cannot look at the pod"
                );
                None
            }
        }
    }

    pub(super) fn publish(&mut self, pod: &Pod, view: &PodView, terminal: bool) {
        let mut status = Facts {
            pod,
            view,
            runtime: self.node.runtime.name(),
            reasons: &self.reasons,
            old: &self.status.last,
            terminal,
        }
        .status();
        // Kubernetes 1.29 does not have it.
        if let (Some(statuses), false) = (&mut status.container_statuses, self.node.classic) {
            let health = self.health.borrow_and_update();
            super::resources::fill(pod, statuses, &self.node.claims, &health);
        }
        self.status.publish(status);
    }
}
