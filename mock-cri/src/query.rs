//! What callers ask of sandboxes and containers: statuses and filtered lists.

use std::collections::BTreeMap;

use ndra_core::wire::cri;

use crate::Flavor;
use crate::fault::Point;
use crate::info;
use crate::runtime::Inner;
use crate::state::{Container, Phase, Sandbox};
use crate::words::{Call, Fault};

impl Inner {
    /// PodSandboxStatus.
    pub(crate) fn sandbox_status(
        &self,
        request: &cri::PodSandboxStatusRequest,
    ) -> Result<cri::PodSandboxStatusResponse, Fault> {
        if request.verbose && self.faults.strikes(Point::SandboxStatus) {
            return Err(Fault::Injected {
                call: "PodSandboxStatus",
            });
        }
        let store = self.store();
        let sandbox = store.sandbox(Call::PodSandboxStatus, &request.pod_sandbox_id)?;
        let options = sandbox
            .config
            .linux
            .as_ref()
            .and_then(|l| l.security_context.as_ref())
            .and_then(|s| s.namespace_options.clone());
        let status = cri::PodSandboxStatus {
            id: sandbox.id.clone(),
            metadata: Some(sandbox.pod.clone()),
            state: sandbox_state(sandbox).into(),
            created_at: sandbox.created_at,
            network: Some(cri::PodSandboxNetworkStatus {
                ip: sandbox.ip(),
                additional_ips: Vec::new(),
            }),
            linux: Some(cri::LinuxPodSandboxStatus {
                namespaces: Some(cri::Namespace { options }),
            }),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: match self.flavor {
                Flavor::Containerd => sandbox.handler.clone(),
                Flavor::Crio => String::new(),
            },
        };
        Ok(cri::PodSandboxStatusResponse {
            status: Some(status),
            info: if request.verbose {
                info::sandbox(self.flavor, sandbox, self.pid)
            } else {
                Default::default()
            },
            containers_statuses: Vec::new(),
            timestamp: 0,
        })
    }

    /// ListPodSandbox.
    pub(crate) fn list_sandboxes(
        &self,
        filter: Option<cri::PodSandboxFilter>,
    ) -> Vec<cri::PodSandbox> {
        let filter = filter.unwrap_or_default();
        let store = self.store();
        let id = match store.sandbox(Call::Undo, &filter.id) {
            Ok(sandbox) => sandbox.id.clone(),
            Err(_) => filter.id,
        };
        let wanted = |s: &&Sandbox| {
            (id.is_empty() || s.id == id)
                && filter
                    .state
                    .is_none_or(|state| state.state() == sandbox_state(s))
                && has_labels(&s.config.labels, &filter.label_selector)
        };
        let items = store.sandboxes.values().filter(wanted);
        items
            .map(|s| cri::PodSandbox {
                id: s.id.clone(),
                metadata: Some(s.pod.clone()),
                state: sandbox_state(s).into(),
                created_at: s.created_at,
                labels: s.config.labels.clone(),
                annotations: s.config.annotations.clone(),
                runtime_handler: s.handler.clone(),
            })
            .collect()
    }

    /// ContainerStatus.
    pub(crate) fn container_status(
        &self,
        request: &cri::ContainerStatusRequest,
    ) -> Result<cri::ContainerStatusResponse, Fault> {
        let store = self.store();
        let container = store.container(Call::Container, &request.container_id)?;
        let (mut started_at, mut exit) = (0, None);
        match &container.phase {
            Phase::Created => {}
            Phase::Running { started_at: at } => started_at = *at,
            Phase::Exited(ended) => {
                started_at = ended.started_at;
                exit = Some(ended);
            }
        }
        let given = container.config.image.clone().unwrap_or_default();
        let status = cri::ContainerStatus {
            id: container.id.clone(),
            metadata: Some(container.metadata.clone()),
            state: container.cri_state().into(),
            created_at: container.created_at,
            started_at,
            finished_at: exit.map_or(0, |e| e.finished_at),
            exit_code: exit.map_or(0, |e| e.code),
            image: Some(cri::ImageSpec {
                image: given.image,
                ..Default::default()
            }),
            image_ref: container.image_ref.clone(),
            reason: exit.map_or("", |e| e.reason).into(),
            message: exit.map(|e| e.message.clone()).unwrap_or_default(),
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
            log_path: container.log_path.clone(),
            image_id: container.image_ref.clone(),
        };
        Ok(cri::ContainerStatusResponse {
            status: Some(status),
            info: if request.verbose {
                info::container(self.flavor, container, self.pid)
            } else {
                Default::default()
            },
        })
    }

    /// ListContainers.
    pub(crate) fn list_containers(
        &self,
        filter: Option<cri::ContainerFilter>,
    ) -> Vec<cri::Container> {
        let filter = filter.unwrap_or_default();
        let store = self.store();
        let id = match store.container(Call::Undo, &filter.id) {
            Ok(container) => container.id.clone(),
            Err(_) => filter.id,
        };
        let sandbox = match store.sandbox(Call::Undo, &filter.pod_sandbox_id) {
            Ok(sandbox) => sandbox.id.clone(),
            Err(_) => filter.pod_sandbox_id,
        };
        let wanted = |c: &&Container| {
            (id.is_empty() || c.id == id)
                && (sandbox.is_empty() || c.sandbox == sandbox)
                && filter
                    .state
                    .is_none_or(|state| state.state() == c.cri_state())
                && has_labels(&c.config.labels, &filter.label_selector)
        };
        let containers = store.containers.values().filter(wanted);
        containers
            .map(|c| cri::Container {
                id: c.id.clone(),
                pod_sandbox_id: c.sandbox.clone(),
                metadata: Some(c.metadata.clone()),
                image: c.config.image.clone(),
                image_ref: c.image_ref.clone(),
                state: c.cri_state().into(),
                created_at: c.created_at,
                labels: c.config.labels.clone(),
                annotations: c.config.annotations.clone(),
                image_id: c.image_ref.clone(),
            })
            .collect()
    }
}

fn sandbox_state(sandbox: &Sandbox) -> cri::PodSandboxState {
    if sandbox.ready {
        cri::PodSandboxState::SandboxReady
    } else {
        cri::PodSandboxState::SandboxNotready
    }
}

/// Whether `labels` hold all of `selector`.
fn has_labels(labels: &BTreeMap<String, String>, selector: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}
