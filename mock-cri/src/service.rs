//! `runtime.v1.RuntimeService`: requests to operations, faults to statuses.

use std::future::Future;
use std::sync::Arc;

use ndra_core::wire::cri::runtime_service_server::RuntimeService;
use ndra_core::wire::cri::{self, *};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::Flavor;
use crate::info;
use crate::runtime::Inner;
use crate::words::Fault;

/// The server side.
pub(crate) struct Service {
    inner: Arc<Inner>,
}

impl Service {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Runs an operation to its end even when the caller gives up, as the runtimes do.
    async fn run<T, F>(&self, operation: impl FnOnce(Arc<Inner>) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let flavor = self.inner.flavor;
        let task = self.inner.tasks.spawn(operation(self.inner.clone()));
        match task.await {
            Ok(done) => done.map_err(|fault| fault.status(flavor)),
            Err(error) => Err(Status::internal(format!("the operation failed: {error}"))),
        }
    }

    fn fault(&self, fault: Fault) -> Status {
        fault.status(self.inner.flavor)
    }
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RuntimeService for Service {
    async fn version(&self, _: Request<VersionRequest>) -> Reply<VersionResponse> {
        let (name, version) = match self.inner.flavor {
            Flavor::Containerd => ("containerd", "v2.3.4"),
            Flavor::Crio => ("cri-o", "1.36.3"),
        };
        Ok(Response::new(VersionResponse {
            version: "0.1.0".into(),
            runtime_name: name.into(),
            runtime_version: version.into(),
            runtime_api_version: "v1".into(),
        }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Reply<StatusResponse> {
        let inner = &self.inner;
        let mut conditions = vec!["RuntimeReady", "NetworkReady"];
        let handlers = match inner.flavor {
            Flavor::Containerd => {
                conditions.push("ContainerdHasNoDeprecationWarnings");
                ["", "runc"]
            }
            Flavor::Crio => ["crun", ""],
        };
        let features = RuntimeHandlerFeatures {
            recursive_read_only_mounts: true,
            user_namespaces: true,
        };
        Ok(Response::new(StatusResponse {
            status: Some(RuntimeStatus {
                conditions: conditions
                    .into_iter()
                    .map(|kind| RuntimeCondition {
                        r#type: kind.into(),
                        status: true,
                        ..Default::default()
                    })
                    .collect(),
            }),
            info: if request.get_ref().verbose {
                info::runtime(
                    inner.flavor,
                    &inner.cdi_dirs,
                    &inner.state_dir,
                    &inner.netns_dir,
                )
            } else {
                Default::default()
            },
            runtime_handlers: handlers
                .into_iter()
                .map(|name| RuntimeHandler {
                    name: name.into(),
                    features: Some(features),
                })
                .collect(),
            features: Some(RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: true,
            }),
        }))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<RunPodSandboxRequest>,
    ) -> Reply<RunPodSandboxResponse> {
        let id = self.inner.run_sandbox(request.into_inner());
        let pod_sandbox_id = id.map_err(|fault| self.fault(fault))?;
        Ok(Response::new(RunPodSandboxResponse { pod_sandbox_id }))
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Reply<StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.run(|inner| async move { inner.stop_sandbox(&id).await })
            .await?;
        Ok(Response::new(StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Reply<RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.run(|inner| async move { inner.remove_sandbox(&id).await })
            .await?;
        Ok(Response::new(RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Reply<PodSandboxStatusResponse> {
        let status = self.inner.sandbox_status(request.get_ref());
        status.map(Response::new).map_err(|fault| self.fault(fault))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Reply<ListPodSandboxResponse> {
        let items = self.inner.list_sandboxes(request.into_inner().filter);
        Ok(Response::new(ListPodSandboxResponse { items }))
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Reply<CreateContainerResponse> {
        let request = request.into_inner();
        let container_id = self
            .run(|inner| async move { Box::pin(inner.create_container(request)).await })
            .await?;
        Ok(Response::new(CreateContainerResponse { container_id }))
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Reply<StartContainerResponse> {
        let id = request.into_inner().container_id;
        let gone = CancellationToken::new();
        // Dropped with this call, when the caller gives up.
        let _guard = gone.clone().drop_guard();
        self.run(|inner| async move { inner.start_container(&id, &gone).await })
            .await?;
        Ok(Response::new(StartContainerResponse {}))
    }

    async fn stop_container(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Reply<StopContainerResponse> {
        let StopContainerRequest {
            container_id,
            timeout,
        } = request.into_inner();
        self.run(|inner| async move { inner.stop_container(&container_id, timeout).await })
            .await?;
        Ok(Response::new(StopContainerResponse {}))
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Reply<RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        self.run(|inner| async move { inner.remove_container(&id).await })
            .await?;
        Ok(Response::new(RemoveContainerResponse {}))
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Reply<ListContainersResponse> {
        let containers = self.inner.list_containers(request.into_inner().filter);
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Reply<ContainerStatusResponse> {
        let status = self.inner.container_status(request.get_ref());
        status.map(Response::new).map_err(|fault| self.fault(fault))
    }

    async fn exec_sync(&self, _: Request<ExecSyncRequest>) -> Reply<cri::ExecSyncResponse> {
        Err(Status::unimplemented(
            "this runtime is a mock without processes: nothing can be executed in a container",
        ))
    }
}
