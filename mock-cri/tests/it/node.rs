//! A runtime in a temporary directory, and the kubelet's side of its socket.

use std::path::{Path, PathBuf};

use ndra_core::event::Recorder;
use ndra_core::gate::{Gate, GateKeeper};
use ndra_core::socket;
use ndra_core::wire::cri::runtime_service_client::RuntimeServiceClient;
use ndra_core::wire::cri::{self, *};
use ndra_mock_cri::{Config, Flavor, Runtime};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) cri: RuntimeServiceClient<Channel>,
    pub(crate) recorder: Recorder,
}

/// The device that [`Node::device`] writes the spec of.
pub(crate) const DEVICE: &str = "ndra.test/claim=uid1";

pub(crate) async fn node(flavor: Flavor) -> Node {
    start(flavor, Gate::default(), &["cdi"]).await
}

pub(crate) async fn gated(flavor: Flavor) -> (Node, GateKeeper) {
    let (gate, keeper) = Gate::pair();
    (start(flavor, gate, &["cdi"]).await, keeper)
}

pub(crate) async fn start(flavor: Flavor, gate: Gate, cdi_dirs: &[&str]) -> Node {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::create_dir(dir.path().join("cdi")).unwrap();
    let recorder = Recorder::new(256);
    let runtime = Runtime::start(Config {
        socket: dir.path().join("cri.sock"),
        cdi_dirs: cdi_dirs.iter().map(|d| dir.path().join(d)).collect(),
        state_dir: dir.path().join("state"),
        netns_dir: dir.path().join("netns"),
        namespaces: ndra_mock_cri::Namespaces::Files,
        flavor,
        recorder: recorder.clone(),
        gate,
    })
    .await
    .unwrap();
    let channel = socket::connect(&dir.path().join("cri.sock"), "the mock")
        .await
        .unwrap();
    Node {
        cri: RuntimeServiceClient::new(channel).max_decoding_message_size(64 << 20),
        dir,
        runtime,
        recorder,
    }
}

pub(crate) fn pod(name: &str) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            namespace: "default".into(),
            uid: format!("uid-{name}"),
            attempt: 0,
        }),
        hostname: name.into(),
        log_directory: "/var/log/pods".into(),
        ..Default::default()
    }
}

pub(crate) fn container(name: &str, devices: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: name.into(),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: "localhost/busybox:1".into(),
            ..Default::default()
        }),
        cdi_devices: devices
            .iter()
            .map(|d| CdiDevice { name: (*d).into() })
            .collect(),
        ..Default::default()
    }
}

impl Node {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a script wrote into `name`.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| format!("<{name}: {e}>"))
    }

    /// Puts a spec into `cdi/` as a driver does: written aside, renamed into place.
    pub(crate) fn put_spec(&self, file: &str, spec: &Value) {
        let aside = self.path("cdi").join(".tmp");
        std::fs::write(&aside, spec.to_string()).unwrap();
        std::fs::rename(aside, self.path("cdi").join(file)).unwrap();
    }

    /// A spec of [`DEVICE`] with these hooks.
    pub(crate) fn device(&self, hooks: &[Value]) {
        self.put_spec("claim.json", &spec("uid1", hooks));
    }

    /// A createRuntime hook that runs a shell script in the node's directory.
    pub(crate) fn sh(&self, script: &str) -> Value {
        self.sh_at("createRuntime", script)
    }

    /// As above, at another stage. The script finds the directory in `$0`.
    pub(crate) fn sh_at(&self, stage: &str, script: &str) -> Value {
        json!({
            "hookName": stage,
            "path": "/bin/sh",
            "args": ["sh", "-c", script, self.dir.path()],
        })
    }

    pub(crate) async fn run(&mut self, config: PodSandboxConfig) -> Result<String, Status> {
        let request = RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: String::new(),
        };
        let reply = self.cri.run_pod_sandbox(request).await?;
        Ok(reply.into_inner().pod_sandbox_id)
    }

    pub(crate) async fn create(
        &mut self,
        sandbox: &str,
        pod: &PodSandboxConfig,
        config: ContainerConfig,
    ) -> Result<String, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config),
            sandbox_config: Some(pod.clone()),
        };
        let reply = self.cri.create_container(request).await?;
        Ok(reply.into_inner().container_id)
    }

    pub(crate) async fn start(&mut self, id: &str) -> Result<(), Status> {
        let container_id = id.into();
        self.cri
            .start_container(StartContainerRequest { container_id })
            .await
            .map(|_| ())
    }

    pub(crate) async fn stop(&mut self, id: &str, timeout: i64) -> Result<(), Status> {
        let container_id = id.into();
        self.cri
            .stop_container(StopContainerRequest {
                container_id,
                timeout,
            })
            .await
            .map(|_| ())
    }

    pub(crate) async fn remove(&mut self, id: &str) -> Result<(), Status> {
        let container_id = id.into();
        self.cri
            .remove_container(RemoveContainerRequest { container_id })
            .await
            .map(|_| ())
    }

    pub(crate) async fn stop_pod(&mut self, id: &str) -> Result<(), Status> {
        let pod_sandbox_id = id.into();
        self.cri
            .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id })
            .await
            .map(|_| ())
    }

    pub(crate) async fn remove_pod(&mut self, id: &str) -> Result<(), Status> {
        let pod_sandbox_id = id.into();
        self.cri
            .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id })
            .await
            .map(|_| ())
    }

    pub(crate) async fn container(&mut self, id: &str) -> Result<ContainerStatus, Status> {
        let request = ContainerStatusRequest {
            container_id: id.into(),
            verbose: false,
        };
        let reply = self.cri.container_status(request).await?;
        Ok(reply.into_inner().status.unwrap())
    }

    pub(crate) async fn sandbox(
        &mut self,
        id: &str,
    ) -> Result<(cri::PodSandboxStatus, Value), Status> {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.into(),
            verbose: true,
        };
        let reply = self.cri.pod_sandbox_status(request).await?.into_inner();
        let info = serde_json::from_str(&reply.info["info"]).unwrap();
        Ok((reply.status.unwrap(), info))
    }

    /// A pod `demo` with a container `c1` that has [`DEVICE`]: up to where the flavour runs
    /// hooks. Gives the sandbox, and the container or why there is none.
    pub(crate) async fn demo(&mut self) -> (String, Result<String, Status>) {
        let sandbox = self.run(pod("demo")).await.unwrap();
        let made = self
            .create(&sandbox, &pod("demo"), container("c1", &[DEVICE]))
            .await;
        let started = match made {
            Ok(id) => self.start(&id).await.map(|()| id),
            Err(status) => Err(status),
        };
        (sandbox, started)
    }

    /// Every file and directory below the node's directory, without the socket.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut all = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut all);
        all.retain(|f| f != "cri.sock");
        all.sort();
        all
    }

    /// `text` with this node's directory as `DIR`.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "DIR")
    }
}

fn walk(top: &Path, dir: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        all.push(path.strip_prefix(top).unwrap().display().to_string());
        if path.is_dir() {
            walk(top, &path, all);
        }
    }
}

/// A CDI spec of one device of kind `ndra.test/claim`.
pub(crate) fn spec(device: &str, hooks: &[Value]) -> Value {
    json!({
        "cdiVersion": "0.5.0",
        "kind": "ndra.test/claim",
        "devices": [{
            "name": device,
            "containerEdits": { "env": ["NETWORK_DEVICE=x"], "hooks": hooks },
        }],
    })
}
