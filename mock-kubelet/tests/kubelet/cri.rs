//! A runtime in memory that notes each call and fails when told to.

use std::collections::BTreeMap;
use std::path::Path;

use ndra_core::socket;
use ndra_core::wire::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use ndra_core::wire::cri::*;
use ndra_mock_kubelet::EXIT_CODE_ANNOTATION;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

use crate::bed::wait_for;

#[derive(Default)]
pub struct State {
    pub calls: Vec<String>,
    pub sandboxes: Vec<PodSandboxStatus>,
    pub containers: Vec<(String, ContainerStatus)>,
    pub configs: BTreeMap<String, ContainerConfig>,
    pub sandbox_configs: BTreeMap<String, PodSandboxConfig>,
    next_id: u32,
    /// Texts with which the next starts, creations and sandboxes fail.
    pub fail_start: Vec<String>,
    pub fail_create: Vec<String>,
    pub fail_sandbox: Vec<String>,
    /// Calls of StartContainer wait until this is false.
    pub hold_start: bool,
}

impl State {
    fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}{}", self.next_id)
    }

    fn container(&mut self, id: &str) -> Result<&mut ContainerStatus, Status> {
        let mut all = self.containers.iter_mut().map(|(_, c)| c);
        all.find(|c| c.id == id)
            .ok_or_else(|| Status::not_found("no such container"))
    }

    fn name(&self, id: &str) -> String {
        let found = self.containers.iter().find(|(_, c)| c.id == id);
        let meta = found
            .and_then(|(_, c)| c.metadata.clone())
            .unwrap_or_default();
        format!("{}#{}", meta.name, meta.attempt)
    }

    fn sandbox_name(&self, id: &str) -> String {
        let found = self.sandboxes.iter().find(|s| s.id == id);
        let meta = found.and_then(|s| s.metadata.clone()).unwrap_or_default();
        format!("{}#{}", meta.name, meta.attempt)
    }

    pub fn running(&self, name: &str) -> Option<&ContainerStatus> {
        let mut all = self.containers.iter().map(|(_, c)| c);
        all.find(|c| {
            c.state() == ContainerState::ContainerRunning
                && c.metadata.as_ref().is_some_and(|m| m.name == name)
        })
    }

    /// CDI devices of the newest container of that name.
    pub fn devices(&self, name: &str) -> Vec<String> {
        let mut configs = self.configs.values().rev();
        let config = configs.find(|c| c.metadata.as_ref().is_some_and(|m| m.name == name));
        let devices = &config.unwrap().cdi_devices;
        devices.iter().map(|d| d.name.clone()).collect()
    }
}

#[derive(Clone)]
pub struct Cri(pub watch::Sender<State>);

impl Cri {
    pub fn serve(path: &Path) -> (Self, DropGuard) {
        let cri = Self(watch::Sender::default());
        let stop = CancellationToken::new();
        let incoming = socket::bind(path).unwrap().incoming();
        let server = tonic::transport::Server::builder()
            .add_service(RuntimeServiceServer::new(cri.clone()))
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        tokio::spawn(server);
        (cri, stop.drop_guard())
    }

    pub fn exit(&self, name: &str, code: i32) {
        self.0.send_modify(|state| {
            let id = state.running(name).unwrap().id.clone();
            let container = state.container(&id).unwrap();
            container.state = ContainerState::ContainerExited.into();
            container.exit_code = code;
        });
    }

    pub fn kill_sandbox(&self) {
        self.0.send_modify(|state| {
            for sandbox in &mut state.sandboxes {
                sandbox.state = PodSandboxState::SandboxNotready.into();
            }
        });
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&State) -> bool) {
        wait_for(&self.0, what, condition).await;
    }

    pub async fn until_running(&self, name: &str, attempt: u32) {
        let runs = |state: &State| {
            let found = state.running(name).and_then(|c| c.metadata.as_ref());
            found.is_some_and(|m| m.attempt == attempt)
        };
        self.until(&format!("{name}#{attempt} runs"), runs).await;
    }

    pub fn calls(&self) -> Vec<String> {
        self.0.borrow().calls.clone()
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let mut result = None;
        self.0.send_modify(|state| result = Some(change(state)));
        result.unwrap().map(Response::new)
    }
}

fn matches(labels: &BTreeMap<String, String>, selector: Option<&BTreeMap<String, String>>) -> bool {
    selector.is_none_or(|wanted| wanted.iter().all(|(k, v)| labels.get(k) == Some(v)))
}

#[tonic::async_trait]
impl RuntimeService for Cri {
    async fn version(
        &self,
        _: Request<VersionRequest>,
    ) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse {
            runtime_name: "fake".into(),
            ..VersionResponse::default()
        }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Err(Status::unimplemented("status"))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<RunPodSandboxRequest>,
    ) -> Result<Response<RunPodSandboxResponse>, Status> {
        let config = request.into_inner().config.unwrap();
        self.change(|state| {
            let meta = config.metadata.clone().unwrap();
            state
                .calls
                .push(format!("RunPodSandbox {}#{}", meta.name, meta.attempt));
            if let Some(text) = state.fail_sandbox.pop() {
                return Err(Status::unknown(text));
            }
            let id = state.id("s");
            state.sandboxes.push(PodSandboxStatus {
                id: id.clone(),
                metadata: config.metadata.clone(),
                labels: config.labels.clone(),
                created_at: state.next_id.into(),
                network: Some(PodSandboxNetworkStatus {
                    ip: "10.0.0.7".into(),
                    additional_ips: Vec::new(),
                }),
                ..PodSandboxStatus::default()
            });
            state.sandbox_configs.insert(id.clone(), config);
            Ok(RunPodSandboxResponse { pod_sandbox_id: id })
        })
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Result<Response<StopPodSandboxResponse>, Status> {
        let id = request.into_inner().pod_sandbox_id;
        self.change(|state| {
            state
                .calls
                .push(format!("StopPodSandbox {}", state.sandbox_name(&id)));
            for sandbox in state.sandboxes.iter_mut().filter(|s| s.id == id) {
                sandbox.state = PodSandboxState::SandboxNotready.into();
            }
            Ok(StopPodSandboxResponse {})
        })
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Result<Response<RemovePodSandboxResponse>, Status> {
        let id = request.into_inner().pod_sandbox_id;
        self.change(|state| {
            state
                .calls
                .push(format!("RemovePodSandbox {}", state.sandbox_name(&id)));
            state.sandboxes.retain(|s| s.id != id);
            state.containers.retain(|(sandbox, _)| *sandbox != id);
            Ok(RemovePodSandboxResponse {})
        })
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Result<Response<PodSandboxStatusResponse>, Status> {
        let id = request.into_inner().pod_sandbox_id;
        let state = self.0.borrow();
        let found = state.sandboxes.iter().find(|s| s.id == id).cloned();
        let status = found.ok_or_else(|| Status::not_found("no such sandbox"))?;
        Ok(Response::new(PodSandboxStatusResponse {
            status: Some(status),
            ..PodSandboxStatusResponse::default()
        }))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let filter = request.into_inner().filter;
        let state = self.0.borrow();
        let mine = state
            .sandboxes
            .iter()
            .filter(|s| matches(&s.labels, filter.as_ref().map(|f| &f.label_selector)));
        let items = mine.map(|s| PodSandbox {
            id: s.id.clone(),
            metadata: s.metadata.clone(),
            state: s.state,
            labels: s.labels.clone(),
            ..PodSandbox::default()
        });
        Ok(Response::new(ListPodSandboxResponse {
            items: items.collect(),
        }))
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let request = request.into_inner();
        let config = request.config.unwrap();
        self.change(|state| {
            let meta = config.metadata.clone().unwrap();
            state
                .calls
                .push(format!("CreateContainer {}#{}", meta.name, meta.attempt));
            if let Some(text) = state.fail_create.pop() {
                return Err(Status::unknown(text));
            }
            let id = state.id("c");
            let status = ContainerStatus {
                id: id.clone(),
                metadata: config.metadata.clone(),
                labels: config.labels.clone(),
                created_at: state.next_id.into(),
                ..ContainerStatus::default()
            };
            state.containers.push((request.pod_sandbox_id, status));
            state.configs.insert(id.clone(), config);
            Ok(CreateContainerResponse { container_id: id })
        })
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Result<Response<StartContainerResponse>, Status> {
        let id = request.into_inner().container_id;
        self.change(|state| {
            state
                .calls
                .push(format!("StartContainer {}", state.name(&id)));
            Ok(())
        })?;
        let mut state = self.0.subscribe();
        let _ = state.wait_for(|state| !state.hold_start).await;
        self.change(|state| {
            let failed = state.fail_start.pop();
            let exits = state.configs[&id]
                .annotations
                .get(EXIT_CODE_ANNOTATION)
                .cloned();
            let container = state.container(&id)?;
            container.state = ContainerState::ContainerRunning.into();
            container.started_at = container.created_at;
            if let Some(text) = failed {
                container.state = ContainerState::ContainerExited.into();
                container.exit_code = 128;
                container.reason = "StartError".into();
                container.message = text.clone();
                return Err(Status::unknown(text.replace("ID", &id)));
            }
            if let Some(code) = exits {
                container.state = ContainerState::ContainerExited.into();
                container.exit_code = code.parse().unwrap();
            }
            Ok(StartContainerResponse {})
        })
    }

    async fn stop_container(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Result<Response<StopContainerResponse>, Status> {
        let request = request.into_inner();
        self.change(|state| {
            let name = state.name(&request.container_id);
            state
                .calls
                .push(format!("StopContainer {name} {}s", request.timeout));
            let container = state.container(&request.container_id)?;
            container.state = ContainerState::ContainerExited.into();
            container.exit_code = 137;
            Ok(StopContainerResponse {})
        })
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Result<Response<RemoveContainerResponse>, Status> {
        let id = request.into_inner().container_id;
        self.change(|state| {
            state
                .calls
                .push(format!("RemoveContainer {}", state.name(&id)));
            state.containers.retain(|(_, c)| c.id != id);
            Ok(RemoveContainerResponse {})
        })
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let filter = request.into_inner().filter;
        let state = self.0.borrow();
        let mine = state
            .containers
            .iter()
            .filter(|(_, c)| matches(&c.labels, filter.as_ref().map(|f| &f.label_selector)));
        let containers = mine.map(|(sandbox, c)| Container {
            id: c.id.clone(),
            pod_sandbox_id: sandbox.clone(),
            metadata: c.metadata.clone(),
            state: c.state,
            labels: c.labels.clone(),
            ..Container::default()
        });
        Ok(Response::new(ListContainersResponse {
            containers: containers.collect(),
        }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Result<Response<ContainerStatusResponse>, Status> {
        let id = request.into_inner().container_id;
        let state = self.0.borrow();
        let mut all = state.containers.iter().map(|(_, c)| c);
        let found = all.find(|c| c.id == id).cloned();
        let status = found.ok_or_else(|| Status::not_found("no such container"))?;
        Ok(Response::new(ContainerStatusResponse {
            status: Some(status),
            ..ContainerStatusResponse::default()
        }))
    }

    async fn exec_sync(
        &self,
        _: Request<ExecSyncRequest>,
    ) -> Result<Response<ExecSyncResponse>, Status> {
        Err(Status::unimplemented("exec"))
    }
}
