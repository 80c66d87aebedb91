//! The stand-ins, and a driver's node side between them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ndra_core::attachment::record::{Record, Store};
use ndra_core::attachment::{Manager, Network, Times};
use ndra_core::cdi::{CdiDir, HookCommand};
use ndra_core::claim::{ClaimUid, Defaults};
use ndra_core::cni::{self, Executor};
use ndra_core::cri::Cri;
use ndra_core::dra::{ClaimName, Node, NodeConfig};
use ndra_core::event::{Phase, Recorder, Step};
use ndra_core::gate::Gate;
use ndra_core::kube::claims::{ClaimApi, ClaimReader};
use ndra_core::kube::{EventPoster, StatusConfig, StatusWriter};
use ndra_core::metadata::Metadata;
use ndra_core::multus::Multus;
use ndra_core::socket;
use ndra_core::tasks::Tasks;
use ndra_core::wire::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use ndra_core::wire::cri::*;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

pub use crate::api::Api;

/// A node for one test. Everything lies in one directory that goes with it.
pub struct World {
    pub dir: tempfile::TempDir,
    pub sandboxes: Sandboxes,
    pub api: Api,
    pub recorder: Recorder,
    pub manager: Manager,
    pub node: Node,
    pub cdi: CdiDir,
    pub events: Arc<EventPoster>,
    pub status: Arc<StatusWriter>,
    tasks: Tasks,
    _server: AbortOnDropHandle<()>,
}

/// The directory of a world, which can outlive its driver.
pub fn dir() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    // Logs what it is asked; `fail-ADD` and `fail-DEL` hold how often it shall fail.
    let plugin = r#"#!/bin/sh
cat > /dev/null
cd "$(dirname "$0")/.."
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >> calls
if [ -e hold ]; then while [ -e hold ]; do sleep 0.01; done; fi
left=$(cat fail-$CNI_COMMAND 2>/dev/null || echo 0)
if [ "$left" -gt 0 ]; then
  echo $((left - 1)) > fail-$CNI_COMMAND
  echo '{"code": 999, "msg": "the plugin is unwell"}'
  exit 1
fi
if [ "$CNI_COMMAND" = ADD ]; then
  printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","mac":"02:00:00:00:00:01","sandbox":"%s"}],"ips":[{"address":"10.0.0.5/24","interface":0}]}' "$CNI_IFNAME" "$CNI_NETNS"
fi
"#;
    let path = dir.path().join("bin/macvlan");
    fs::write(&path, plugin).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Through Multus where a daemon listens in the directory, else without.
fn network(dir: &Path) -> Network {
    let direct = Executor::new(vec![dir.join("bin")], dir.join("cache"));
    let socket = dir.join("multus.sock");
    match socket.exists() {
        true => Network::Multus {
            multus: Multus::new(socket),
            direct,
        },
        false => Network::Direct(direct),
    }
}

impl World {
    pub async fn new() -> Self {
        Self::at(dir(), "boot-1").await
    }

    /// Starts a driver's node side over what an earlier one left in `dir`.
    pub async fn at(dir: tempfile::TempDir, boot: &str) -> Self {
        Self::of(dir, boot, ClaimApi::V1).await
    }

    /// As [`World::at`], in a cluster that has this API.
    pub async fn of(dir: tempfile::TempDir, boot: &str, claims: ClaimApi) -> Self {
        Self::with(dir, boot, claims, false).await
    }

    /// As [`World::of`]; with device metadata files where that is asked for.
    pub async fn with(
        dir: tempfile::TempDir,
        boot: &str,
        claims: ClaimApi,
        metadata: bool,
    ) -> Self {
        let path = dir.path();
        let sandboxes = Sandboxes::default();
        let api = Api::default();
        let client = api.client();
        let claims = ClaimReader::new(client.clone(), claims, Duration::from_millis(300));
        let listener = socket::bind(&path.join("cri.sock")).unwrap();
        let service = RuntimeServiceServer::new(sandboxes.clone());
        let server = AbortOnDropHandle::new(tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(listener.incoming())
                .await
                .unwrap();
        }));
        let recorder = Recorder::new(1024);
        let status = Arc::new(StatusWriter::start(
            client.clone(),
            StatusConfig {
                driver: "dra.networking".into(),
                field_manager: "dra.networking".into(),
                recorder: recorder.clone(),
                gate: Gate::default(),
                written: true,
            },
        ));
        let events = Arc::new(EventPoster::start(
            client.clone(),
            "dra.networking",
            "node-1",
        ));
        let manager = Manager::new(
            Store::take_over(
                &path.join("state"),
                "dra.networking",
                boot,
                Duration::from_secs(5),
            )
            .await
            .unwrap(),
            Cri::new(&path.join("cri.sock"), Duration::from_secs(5)).unwrap(),
            network(path),
            claims.clone(),
            status.clone(),
            events.clone(),
            recorder.clone(),
            Times {
                cni: Duration::from_secs(10),
                del_attempts: 2,
                release: Duration::from_secs(10),
            },
            Metadata::new(
                "dra.networking",
                &path.join("plugin"),
                &path.join("cdi"),
                metadata,
            ),
        );
        let cdi = CdiDir::new(
            path.join("cdi"),
            "dra.networking",
            HookCommand {
                path: "/opt/ndra/bin/ndra-hook".into(),
                args: vec![],
                socket: "/run/ndra/hook.sock".into(),
                timeout: Duration::from_secs(25),
                kill_after: Duration::from_secs(30),
            },
        );
        let tasks = Tasks::default();
        let node = Node::new(
            NodeConfig {
                driver: "dra.networking".into(),
                node: "node-1".into(),
                devices: None,
                defaults: Defaults::default(),
                policy: cni::Policy::default(),
                api_timeout: Duration::from_millis(300),
            },
            manager.clone(),
            cdi.clone(),
            client,
            claims,
            events.clone(),
            recorder.clone(),
            tasks.clone(),
            CancellationToken::new(),
        );
        Self {
            dir,
            sandboxes,
            api,
            recorder,
            manager,
            node,
            cdi,
            events,
            status,
            tasks,
            _server: server,
        }
    }

    /// Ends this driver as a crash would, keeping its directory.
    pub fn crash(self) -> tempfile::TempDir {
        self.dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the plugin was asked, in order: `COMMAND SANDBOX INTERFACE`.
    pub fn calls(&self) -> Vec<String> {
        calls(self.dir.path())
    }

    pub fn record(&self) -> Record {
        self.manager.store().read(Clone::clone)
    }

    /// Prepares one claim and expects it to work.
    pub async fn prepare(&self, uid: &str) {
        let mut done = self.node.prepare(vec![claim_name(uid)]).await;
        let devices = done.remove(uid).unwrap().unwrap();
        assert_eq!(
            devices[0].cdi_devices[0],
            format!("dra.networking/claim={uid}")
        );
    }

    pub async fn unprepare(&self, uid: &str) -> Result<(), String> {
        let mut done = self.node.unprepare(vec![claim_name(uid)]).await;
        done.remove(uid).unwrap()
    }

    /// What the hook of a container in this sandbox asks.
    pub async fn attach(&self, uid: &str, sandbox: &str) -> Result<(), String> {
        let uid: ClaimUid = uid.parse().unwrap();
        self.manager
            .attach(&uid, sandbox, Instant::now() + Duration::from_secs(25))
            .await
            .map_err(|error| error.to_string())
    }

    /// Waits until everything asynchronous is written.
    pub async fn settle(&self) {
        assert!(
            self.tasks
                .close(Instant::now() + Duration::from_secs(10))
                .await
        );
        assert!(self.status.flush(Duration::from_secs(10)).await);
        self.events.stop(Duration::from_secs(10)).await;
    }

    /// How many times a step ended, and how many times it failed.
    pub fn count(&self, step: Step) -> (usize, usize) {
        let mut reader = self.recorder.subscribe(0);
        let (mut ends, mut fails) = (0, 0);
        while let Some((event, _)) = reader.ready() {
            match event.phase {
                Phase::End if event.step == step => ends += 1,
                Phase::Fail if event.step == step => fails += 1,
                _ => {}
            }
        }
        (ends, fails)
    }
}

pub fn calls(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub fn claim_name(uid: &str) -> ClaimName {
    ClaimName {
        namespace: "default".into(),
        name: format!("claim-{uid}"),
        uid: uid.into(),
        handle: None,
    }
}

/// A claim allocated to this node, for the pods given by UID.
pub fn claim(uid: &str, if_name: Option<&str>, pods: &[&str]) -> Value {
    let mut parameters = json!({
        "apiVersion": "dra.networking/v1alpha1",
        "kind": "CNIConfig",
        "config": { "cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0" },
    });
    if let Some(name) = if_name {
        parameters["ifName"] = name.into();
    }
    let reserved: Vec<Value> = pods
        .iter()
        .map(|uid| json!({ "resource": "pods", "name": format!("pod-{uid}"), "uid": uid }))
        .collect();
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": { "namespace": "default", "name": format!("claim-{uid}"), "uid": uid },
        "spec": { "devices": { "requests": [
            { "name": "net", "exactly": { "deviceClassName": "dra.networking" } },
        ]}},
        "status": {
            "allocation": { "devices": {
                "results": [{ "request": "net", "driver": "dra.networking",
                    "pool": "node-1", "device": format!("slot-{uid}") }],
                "config": [{ "source": "FromClaim", "requests": ["net"], "opaque": {
                    "driver": "dra.networking", "parameters": parameters } }],
            }},
            "reservedFor": reserved,
        },
    })
}

/// Sandboxes that the stand-in runtime knows, by id.
#[derive(Clone, Default)]
pub struct Sandboxes(Arc<Mutex<BTreeMap<String, Sandbox>>>);

struct Sandbox {
    pod_uid: String,
    ready: bool,
    /// `None` on the host's network.
    netns: Option<PathBuf>,
}

impl Sandboxes {
    pub fn run(&self, id: &str, pod_uid: &str) {
        self.run_in(id, pod_uid, &Path::new("/run/netns").join(id));
    }

    pub fn run_in(&self, id: &str, pod_uid: &str, netns: &Path) {
        self.set(id, pod_uid, true, Some(netns));
    }

    pub fn stop(&self, id: &str, pod_uid: &str) {
        self.set(id, pod_uid, false, Some(&Path::new("/run/netns").join(id)));
    }

    pub fn run_on_host_network(&self, id: &str, pod_uid: &str) {
        self.set(id, pod_uid, true, None);
    }

    fn set(&self, id: &str, pod_uid: &str, ready: bool, netns: Option<&Path>) {
        let sandbox = Sandbox {
            pod_uid: pod_uid.into(),
            ready,
            netns: netns.map(Path::to_owned),
        };
        self.0.lock().unwrap().insert(id.into(), sandbox);
    }
}

/// The attribute must see the whole implementation, so a macro writes it.
macro_rules! runtime {
    ($($call:ident($request:ty) -> $answer:ty;)+) => {
        #[tonic::async_trait]
        impl RuntimeService for Sandboxes {
            async fn pod_sandbox_status(
                &self,
                request: Request<PodSandboxStatusRequest>,
            ) -> Result<Response<PodSandboxStatusResponse>, Status> {
                self.answer(&request.into_inner().pod_sandbox_id).map(Response::new)
            }
            $(
                async fn $call(&self, _: Request<$request>) -> Result<Response<$answer>, Status> {
                    Err(Status::unimplemented(stringify!($call)))
                }
            )+
        }
    };
}

runtime! {
    version(VersionRequest) -> VersionResponse;
    status(StatusRequest) -> StatusResponse;
    run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse;
    stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse;
    remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
    list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
    create_container(CreateContainerRequest) -> CreateContainerResponse;
    start_container(StartContainerRequest) -> StartContainerResponse;
    stop_container(StopContainerRequest) -> StopContainerResponse;
    remove_container(RemoveContainerRequest) -> RemoveContainerResponse;
    list_containers(ListContainersRequest) -> ListContainersResponse;
    container_status(ContainerStatusRequest) -> ContainerStatusResponse;
    exec_sync(ExecSyncRequest) -> ExecSyncResponse;
}

impl Sandboxes {
    fn answer(&self, id: &str) -> Result<PodSandboxStatusResponse, Status> {
        let all = self.0.lock().unwrap();
        let Some(sandbox) = all.get(id) else {
            return Err(Status::not_found(
                "an error occurred when try to find sandbox",
            ));
        };
        let uid = &sandbox.pod_uid;
        let namespaces = match &sandbox.netns {
            None => json!([{ "type": "pid" }]),
            Some(path) => json!([{ "type": "network", "path": path }]),
        };
        let info = json!({ "runtimeSpec": { "linux": { "namespaces": namespaces } } });
        Ok(PodSandboxStatusResponse {
            status: Some(PodSandboxStatus {
                id: id.into(),
                metadata: Some(PodSandboxMetadata {
                    name: format!("pod-{uid}"),
                    uid: uid.clone(),
                    namespace: "default".into(),
                    attempt: 0,
                }),
                state: i32::from(!sandbox.ready),
                ..Default::default()
            }),
            info: [("info".to_owned(), info.to_string())].into(),
            ..Default::default()
        })
    }
}
