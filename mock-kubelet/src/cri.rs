//! The runtime's calls, and what the runtime knows of a pod.

mod spec;
mod view;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use ndra_core::socket;
use ndra_core::wire::cri::runtime_service_client::RuntimeServiceClient;
use ndra_core::wire::cri::{
    ContainerConfig, ContainerFilter, ContainerStatusRequest, CreateContainerRequest,
    ListContainersRequest, ListPodSandboxRequest, PodSandboxConfig, PodSandboxFilter,
    PodSandboxStatusRequest, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopContainerRequest, StopPodSandboxRequest, VersionRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use self::view::UID_LABEL;
use crate::grpc::{request, within};
use crate::kubelet::StartError;

pub use spec::EXIT_CODE_ANNOTATION;
pub(crate) use spec::{Role, container_config, sandbox_config};
#[cfg(test)]
pub(crate) use view::SandboxView;
pub(crate) use view::{ContainerView, PodView, Snapshot, State};

/// The runtime behind a CRI socket. Clones share the connection, which is dialled again
/// after a loss.
#[derive(Clone)]
pub(crate) struct Runtime {
    client: RuntimeServiceClient<Channel>,
    deadline: Duration,
    name: String,
}

impl Runtime {
    pub(crate) async fn connect(path: &Path, deadline: Duration) -> Result<Self, StartError> {
        let channel =
            socket::connect(path, "a container runtime such as containerd or CRI-O").await?;
        let mut client = RuntimeServiceClient::new(channel);
        let version = VersionRequest {
            version: "0.1.0".into(),
        };
        let reply = within(deadline, client.version(request(version, deadline))).await;
        let version = reply.map_err(|status| StartError::NotCri {
            path: path.into(),
            reason: socket::status_text(&status),
        })?;
        Ok(Self {
            client,
            deadline,
            name: version.runtime_name,
        })
    }

    /// As in a Pod's `containerID`: `containerd`, `cri-o`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    async fn call<M, T, F>(
        &self,
        message: M,
        extra: Duration,
        method: impl FnOnce(RuntimeServiceClient<Channel>, tonic::Request<M>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let deadline = self.deadline + extra;
        let call = method(self.client.clone(), request(message, deadline));
        // One that is under way when the kubelet ends is not taken back: a real runtime that
        // is interrupted in StartContainer leaves the container's first process behind.
        let call = tokio::spawn(within(deadline, call));
        call.await
            .unwrap_or_else(|error| Err(Status::internal(error.to_string())))
    }

    /// Everything that belongs to some pod, in short.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Status> {
        let sandboxes = ListPodSandboxRequest { filter: None };
        let containers = ListContainersRequest { filter: None };
        let (sandboxes, containers) = tokio::try_join!(
            self.call(sandboxes, Duration::ZERO, |mut c, r| async move {
                c.list_pod_sandbox(r).await
            }),
            self.call(containers, Duration::ZERO, |mut c, r| async move {
                c.list_containers(r).await
            }),
        )?;
        Ok(Snapshot::new(sandboxes.items, containers.containers))
    }

    /// Everything that belongs to one pod, in detail.
    pub(crate) async fn pod(&self, uid: &str) -> Result<PodView, Status> {
        let mine = std::collections::BTreeMap::from([(UID_LABEL.to_owned(), uid.to_owned())]);
        let sandboxes = ListPodSandboxRequest {
            filter: Some(PodSandboxFilter {
                label_selector: mine.clone(),
                ..PodSandboxFilter::default()
            }),
        };
        let containers = ListContainersRequest {
            filter: Some(ContainerFilter {
                label_selector: mine,
                ..ContainerFilter::default()
            }),
        };
        let (sandboxes, containers) = tokio::try_join!(
            self.call(sandboxes, Duration::ZERO, |mut c, r| async move {
                c.list_pod_sandbox(r).await
            }),
            self.call(containers, Duration::ZERO, |mut c, r| async move {
                c.list_containers(r).await
            }),
        )?;
        let mut view = PodView::default();
        for sandbox in sandboxes.items {
            if sandbox.labels.get(UID_LABEL).map(String::as_str) != Some(uid) {
                continue;
            }
            let status = PodSandboxStatusRequest {
                pod_sandbox_id: sandbox.id,
                verbose: false,
            };
            let reply = self.call(status, Duration::ZERO, |mut c, r| async move {
                c.pod_sandbox_status(r).await
            });
            // It may have been removed since it was listed.
            match reply.await {
                Ok(reply) => view
                    .sandboxes
                    .extend(reply.status.map(view::SandboxView::new)),
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(status),
            }
        }
        for container in containers.containers {
            if container.labels.get(UID_LABEL).map(String::as_str) != Some(uid) {
                continue;
            }
            let sandbox = container.pod_sandbox_id;
            let status = ContainerStatusRequest {
                container_id: container.id,
                verbose: false,
            };
            let reply = self.call(status, Duration::ZERO, |mut c, r| async move {
                c.container_status(r).await
            });
            match reply.await {
                Ok(reply) => {
                    let status = reply.status;
                    view.containers
                        .extend(status.map(|status| ContainerView::new(status, sandbox)));
                }
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(status),
            }
        }
        view.sort();
        Ok(view)
    }

    pub(crate) async fn run_sandbox(
        &self,
        config: PodSandboxConfig,
        handler: String,
    ) -> Result<String, Status> {
        let message = RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: handler,
        };
        // The runtime may pull the pause image: twice the time, as the kubelet gives it.
        self.call(message, self.deadline, |mut c, r| async move {
            c.run_pod_sandbox(r).await
        })
        .await
        .map(|reply| reply.pod_sandbox_id)
    }

    /// Stops a sandbox; one that is not there counts as stopped.
    pub(crate) async fn stop_sandbox(&self, id: &str) -> Result<(), Status> {
        let message = StopPodSandboxRequest {
            pod_sandbox_id: id.into(),
        };
        let reply = self.call(message, Duration::ZERO, |mut c, r| async move {
            c.stop_pod_sandbox(r).await
        });
        gone_is_done(reply.await)
    }

    pub(crate) async fn remove_sandbox(&self, id: &str) -> Result<(), Status> {
        let message = RemovePodSandboxRequest {
            pod_sandbox_id: id.into(),
        };
        let reply = self.call(message, Duration::ZERO, |mut c, r| async move {
            c.remove_pod_sandbox(r).await
        });
        gone_is_done(reply.await)
    }

    pub(crate) async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> Result<String, Status> {
        let message = CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        self.call(message, Duration::ZERO, |mut c, r| async move {
            c.create_container(r).await
        })
        .await
        .map(|reply| reply.container_id)
    }

    pub(crate) async fn start_container(&self, id: &str) -> Result<(), Status> {
        let message = StartContainerRequest {
            container_id: id.into(),
        };
        self.call(message, Duration::ZERO, |mut c, r| async move {
            c.start_container(r).await
        })
        .await
        .map(drop)
    }

    /// Stops a container, killing it after `grace`; one that is not there counts as stopped.
    pub(crate) async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Status> {
        let message = StopContainerRequest {
            container_id: id.into(),
            timeout: i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
        };
        let reply = self.call(message, grace, |mut c, r| async move {
            c.stop_container(r).await
        });
        gone_is_done(reply.await)
    }

    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), Status> {
        let message = RemoveContainerRequest {
            container_id: id.into(),
        };
        let reply = self.call(message, Duration::ZERO, |mut c, r| async move {
            c.remove_container(r).await
        });
        gone_is_done(reply.await)
    }
}

fn gone_is_done<T>(reply: Result<T, Status>) -> Result<(), Status> {
    match reply {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
    }
}
