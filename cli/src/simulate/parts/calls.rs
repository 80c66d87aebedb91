//! What a harness asks of a real container runtime over CRI.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ndra_core::socket;
use ndra_core::wire::cri::runtime_service_client::RuntimeServiceClient;
use ndra_core::wire::cri::{
    ContainerFilter, ContainerState, ContainerStateValue, ContainerStatusRequest, ExecSyncRequest,
    ListContainersRequest, ListPodSandboxRequest, PodSandboxState, PodSandboxStatusRequest,
    RemovePodSandboxRequest, StopPodSandboxRequest,
};
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::runtime::Sandbox;

/// Deadline of a call that starts or stops nothing.
pub(super) const CALL: Duration = Duration::from_secs(5);
/// Deadline of a call that does.
const WORK: Duration = Duration::from_secs(30);
/// The runtime's calls, as far as a harness needs them.
#[derive(Clone)]
pub(super) struct Calls(RuntimeServiceClient<Channel>);

fn within<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn words(what: &'static str) -> impl Fn(Status) -> String {
    move |status| format!("{what} failed: {}", socket::status_text(&status))
}

impl Calls {
    pub(super) fn new(socket: &Path) -> Result<Self, String> {
        let channel = socket::channel(socket).map_err(|error| error.to_string())?;
        Ok(Self(RuntimeServiceClient::new(channel)))
    }

    pub(super) async fn sandboxes(&self) -> Result<BTreeMap<String, Sandbox>, String> {
        let request = within(ListPodSandboxRequest { filter: None }, CALL);
        let reply = self.0.clone().list_pod_sandbox(request).await;
        let items = reply.map_err(words("ListPodSandbox"))?.into_inner().items;
        let sandboxes = items.into_iter().map(|item| {
            let pod = item.metadata.unwrap_or_default();
            let sandbox = Sandbox {
                id: item.id.clone(),
                namespace: pod.namespace,
                name: pod.name,
                ready: item.state == i32::from(PodSandboxState::SandboxReady),
                netns: None,
            };
            (item.id, sandbox)
        });
        Ok(sandboxes.collect())
    }

    pub(super) async fn sandbox(&self, namespace: &str, pod: &str) -> Result<String, String> {
        let all = self.sandboxes().await?;
        let found = all
            .into_values()
            .find(|s| s.ready && s.namespace == namespace && s.name == pod);
        found
            .map(|sandbox| sandbox.id)
            .ok_or_else(|| format!("pod {namespace}/{pod} has no sandbox that is ready"))
    }

    pub(super) async fn sandbox_info(&self, id: &str) -> Result<Value, String> {
        let message = PodSandboxStatusRequest {
            pod_sandbox_id: id.into(),
            verbose: true,
        };
        let reply = self
            .0
            .clone()
            .pod_sandbox_status(within(message, CALL))
            .await;
        let reply = reply.map_err(words("PodSandboxStatus"))?.into_inner();
        info(&reply.info)
    }

    /// A running container of the pod; any, where no name is given.
    pub(super) async fn container(
        &self,
        namespace: &str,
        pod: &str,
        name: &str,
    ) -> Result<String, String> {
        let filter = ContainerFilter {
            pod_sandbox_id: self.sandbox(namespace, pod).await?,
            state: Some(ContainerStateValue {
                state: ContainerState::ContainerRunning.into(),
            }),
            ..ContainerFilter::default()
        };
        let message = ListContainersRequest {
            filter: Some(filter),
        };
        let reply = self.0.clone().list_containers(within(message, CALL)).await;
        let containers = reply
            .map_err(words("ListContainers"))?
            .into_inner()
            .containers;
        let wanted = |container: &ndra_core::wire::cri::Container| {
            name.is_empty() || container.metadata.as_ref().is_some_and(|m| m.name == name)
        };
        let found = containers.into_iter().find(wanted);
        found
            .map(|container| container.id)
            .ok_or_else(|| format!("no container {name} of {namespace}/{pod} runs"))
    }

    pub(super) async fn container_pid(&self, id: &str) -> Result<i32, String> {
        let message = ContainerStatusRequest {
            container_id: id.into(),
            verbose: true,
        };
        let reply = self.0.clone().container_status(within(message, CALL)).await;
        let reply = reply.map_err(words("ContainerStatus"))?.into_inner();
        pid(&info(&reply.info)?)
    }

    pub(super) async fn exec(&self, id: &str, command: &[&str]) -> Result<String, String> {
        let message = ExecSyncRequest {
            container_id: id.into(),
            cmd: command.iter().map(|part| (*part).to_owned()).collect(),
            timeout: 5,
        };
        let reply = self.0.clone().exec_sync(within(message, WORK)).await;
        let reply = reply.map_err(words("ExecSync"))?.into_inner();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match reply.exit_code {
            0 => Ok(text(&reply.stdout)),
            code => Err(format!(
                "`{}` ended with {code}: {}",
                command.join(" "),
                text(&reply.stderr)
            )),
        }
    }

    /// Stops a sandbox with its containers.
    pub(super) async fn stop(&self, id: &str) -> Result<(), String> {
        let stop = StopPodSandboxRequest {
            pod_sandbox_id: id.into(),
        };
        let stopped = self.0.clone().stop_pod_sandbox(within(stop, WORK)).await;
        stopped.map(drop).map_err(words("StopPodSandbox"))
    }

    /// Stops and removes a sandbox with its containers.
    pub(super) async fn remove(&self, id: &str) -> Result<(), String> {
        self.stop(id).await?;
        let remove = RemovePodSandboxRequest {
            pod_sandbox_id: id.into(),
        };
        let removed = self
            .0
            .clone()
            .remove_pod_sandbox(within(remove, WORK))
            .await;
        removed.map(drop).map_err(words("RemovePodSandbox"))
    }
}

pub(super) fn pid(info: &Value) -> Result<i32, String> {
    let pid = info.get("pid").and_then(Value::as_i64);
    pid.and_then(|pid| i32::try_from(pid).ok())
        .filter(|pid| *pid > 1)
        .ok_or_else(|| "the runtime's verbose status names no process".into())
}

fn info(info: &BTreeMap<String, String>) -> Result<Value, String> {
    let text = info.get("info").map(String::as_str).unwrap_or_default();
    serde_json::from_str(text).map_err(|_| "the runtime's verbose status is not JSON".into())
}
