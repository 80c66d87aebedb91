//! What the parts share: an API server that asks for a token, daemons real and played, pods'
//! namespaces, and where the real programs are.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::Client;
use kube::config::{Config as ClientConfig, KubeConfigOptions, Kubeconfig};
use ndra_mock_apiserver::{Access, ApiServer, Config};
use ndra_mock_multus::{
    Backend, Config as PlayedConfig, ExecConfig, Multus, RealConfig, RealMultus, RecordConfig,
    SERVICE_ACCOUNT,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const NODE: &str = "laptop";

/// Programs that are run for real, and directories with CNI plugins.
pub(crate) fn multus_daemon() -> Option<PathBuf> {
    let tools = tools();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(tools.join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join("multus-daemon"))
        .find(|program| program.is_file())
}

fn tools() -> PathBuf {
    std::env::var_os("NDRA_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"),
        PathBuf::from,
    )
}

/// The directory whose plugins are run.
pub(crate) fn plugins() -> Option<PathBuf> {
    let given = std::env::var_os("CNI_PATH").unwrap_or_default();
    let usual = ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from);
    std::iter::once(tools().join("cni/bin"))
        .chain(std::env::split_paths(&given))
        .chain(usual)
        .find(|directory| directory.join("macvlan").is_file())
}

/// What the real parts lack on this machine.
pub(crate) fn missing() -> Option<String> {
    if multus_daemon().is_none() {
        return Some(
            "no multus-daemon on PATH or in NDRA_TOOLS; scripts/real-tools installs it".into(),
        );
    }
    if plugins().is_none() {
        return Some(
            "no macvlan plugin in CNI_PATH or NDRA_TOOLS; scripts/real-tools installs it".into(),
        );
    }
    if !rustix::process::geteuid().is_root() {
        return Some("not root, and the daemon runs as root only".into());
    }
    let link = "--mount --net ip link add name nd0 type veth peer name nd1";
    let words: Vec<&str> = link.split(' ').collect();
    let why = program("unshare", &words).err()?;
    Some(format!("no link can be made in a namespace: {why}"))
}

/// Runs a program to its end.
pub(crate) fn program(name: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(name).args(args).output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// This program again, in namespaces of its own.
pub(crate) fn isolated() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "--"]);
    command.arg(std::env::current_exe().unwrap());
    command
}

/// The node's link, and the far end of its cable. Namespaces that are mounted from now on
/// are seen by children with mounts of their own, too, as on a node by Multus's pod.
fn cable() {
    program("mount", &["--make-rshared", "/"]).unwrap();
    for line in [
        "link set lo up",
        "link add eth0 type veth peer name eth0p",
        "link set eth0p up",
        "link set eth0 up",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        program("ip", &words).unwrap();
    }
}

/// A pod's network namespace, held by a mount on `path`.
pub(crate) fn create(path: &Path) {
    fs::File::create_new(path).unwrap();
    let held = format!("--net={}", path.display());
    program("unshare", &[&held, "ip", "link", "set", "lo", "up"]).unwrap();
}

pub(crate) fn remove(path: &Path) {
    program("umount", &["--lazy", path.to_str().unwrap()]).unwrap();
    fs::remove_file(path).unwrap();
}

pub(crate) fn has_interface(path: &Path, name: &str) -> bool {
    let inside = format!("--net={}", path.display());
    program("nsenter", &[&inside, "true"]).unwrap();
    program("nsenter", &[&inside, "ip", "link", "show", "dev", name]).is_ok()
}

/// One test's world.
pub(crate) struct Bed {
    pub(crate) api: ApiServer,
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
}

/// Runs a test, in namespaces that need a link if it asks for one.
pub(crate) fn run<F: Future<Output = ()>>(linked: bool, test: impl FnOnce(Bed) -> F) {
    if linked {
        cable();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { test(Bed::new().await).await });
}

impl Bed {
    async fn new() -> Self {
        let api = ApiServer::start(Config {
            access: Access::Token,
            controllers: false,
            ..Config::default()
        })
        .await
        .unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = ClientConfig::from_custom_kubeconfig(kubeconfig, &options);
        let client = Client::try_from(config.await.unwrap()).unwrap();
        let dir = tempfile::Builder::new()
            .prefix("nm")
            .tempdir_in("/tmp")
            .unwrap();
        let account = dir.path().join("account");
        let credentials = api.credentials().unwrap();
        credentials
            .write_service_account(&account, "kube-system")
            .unwrap();
        Self { api, client, dir }
    }

    /// A pod `web` in a namespace of its own; its UID.
    pub(crate) fn pod(&self, namespace: &str) -> String {
        // It may be there.
        let _ = self.api.create(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}
        }));
        let pod = self.api.create(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "none"}]},
        }));
        pod.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn delete_pod(&self, namespace: &str) {
        self.api.delete("pods", namespace, "web", Some(0)).unwrap();
    }

    pub(crate) fn events(&self, namespace: &str) -> Vec<Value> {
        self.api.list("events", Some(namespace))
    }

    pub(crate) fn real_config(&self, name: &str, cni_path: Vec<PathBuf>) -> RealConfig {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        RealConfig {
            log: dir.join("log"),
            cache_dir: dir.join("cache"),
            cni_path,
            api_server: self.api.address(),
            node: NODE.into(),
            dir,
        }
    }

    /// Starts the real daemon, its service account where it wants it.
    pub(crate) async fn real(&self, config: &RealConfig) -> RealMultus {
        // Nobody else sees what is made in `/var/run`.
        let script = "run=$(readlink -f /var/run) && mount -t tmpfs tmpfs \"$run\" && \
            mkdir -p \"$2\" && mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "slave",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command
            .arg(self.dir.path().join("account"))
            .arg(SERVICE_ACCOUNT);
        command.arg(multus_daemon().unwrap());
        RealMultus::start(command, config.clone()).await.unwrap()
    }

    /// Starts the mock, with real plugins behind it where a directory is given.
    pub(crate) async fn played(&self, name: &str, plugins: Option<PathBuf>) -> Multus {
        let cni_path: Vec<PathBuf> = plugins.into_iter().collect();
        let real = self.real_config(name, cni_path.clone());
        let socket = real.socket();
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let mut config = PlayedConfig::new(socket, self.client.clone());
        config.daemon = real.daemon_config();
        config.backend = match cni_path.is_empty() {
            true => Backend::Record(RecordConfig::default()),
            false => Backend::Exec(ExecConfig {
                cni_path,
                cache_dir: real.cache_dir,
            }),
        };
        Multus::start(config).await.unwrap()
    }
}
