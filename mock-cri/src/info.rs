//! The verbose `info` of Status, PodSandboxStatus and ContainerStatus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Flavor;
use crate::go_json;
use crate::spec::{self, PAUSE_IMAGE};
use crate::state::{Container, Sandbox};

/// The recorded reply of containerd 2.3.4: its configuration is the answer, with this
/// instance's directories in it.
const CONTAINERD_STATUS: &str = include_str!("../../fixtures/containerd-2.3.4/runtimestatus.json");

const RUNTIME_TYPE: &str = "io.containerd.runc.v2";

fn info(value: &Value) -> BTreeMap<String, String> {
    BTreeMap::from([("info".into(), value.to_string())])
}

/// PodSandboxStatus.
pub(crate) fn sandbox(flavor: Flavor, sandbox: &Sandbox, pid: u32) -> BTreeMap<String, String> {
    match flavor {
        Flavor::Containerd => info(&containerd_sandbox(sandbox, pid)),
        Flavor::Crio => info(&crio_sandbox(sandbox, pid)),
    }
}

fn containerd_sandbox(sandbox: &Sandbox, pid: u32) -> Value {
    let network = sandbox.network.as_ref();
    let cni_result = network.map_or(Value::Null, |n| n.cni_result());
    let config = go_json::sandbox_config(&sandbox.config);
    json!({
        "pid": if sandbox.ready { pid } else { 0 },
        "processStatus": if sandbox.ready { "running" } else { "deleted" },
        "netNamespaceClosed": network.is_some_and(|n| n.closed()),
        "image": PAUSE_IMAGE,
        "snapshotKey": sandbox.id,
        "snapshotter": "overlayfs",
        "runtimeType": RUNTIME_TYPE,
        "runtimeOptions": null,
        "config": config,
        "runtimeSpec": sandbox.spec,
        "cniResult": cni_result,
        "sandboxMetadata": {
            "Version": "v1",
            "Metadata": {
                "ID": sandbox.id,
                "Name": sandbox.name,
                "Config": config,
                "NetNSPath": network.map_or(Path::new(""), |n| n.path()),
                "IP": network.map_or_else(String::new, |n| n.taken().to_string()),
                "AdditionalIPs": null,
                "RuntimeHandler": sandbox.handler,
                "CNIResult": cni_result,
                "ProcessLabel": "",
            },
        },
    })
}

/// CRI-O drops the sandbox's own container unless the pod shares its PID namespace (which
/// the kubelet does not ask for by default); then there is no image and no pid to tell of.
fn crio_sandbox(sandbox: &Sandbox, pid: u32) -> Value {
    if spec::shares_pid(&sandbox.config) {
        json!({
            "image": PAUSE_IMAGE,
            "pid": if sandbox.ready { pid } else { 0 },
            "runtimeSpec": sandbox.spec,
        })
    } else {
        json!({ "runtimeSpec": sandbox.spec })
    }
}

/// ContainerStatus.
pub(crate) fn container(
    flavor: Flavor,
    container: &Container,
    pid: u32,
) -> BTreeMap<String, String> {
    let pid = if container.running() { pid } else { 0 };
    info(&match flavor {
        Flavor::Containerd => json!({
            "sandboxID": container.sandbox,
            "pid": pid,
            "removing": container.busy == Some(crate::state::Busy::Removing),
            "snapshotKey": container.id,
            "snapshotter": "overlayfs",
            "runtimeType": RUNTIME_TYPE,
            "runtimeOptions": null,
            "config": go_json::container_config(&container.config),
            "runtimeSpec": *container.spec,
        }),
        Flavor::Crio => json!({
            "sandboxID": container.sandbox,
            "pid": pid,
            "runtimeSpec": *container.spec,
            "privileged": false,
        }),
    })
}

/// Status.
pub(crate) fn runtime(
    flavor: Flavor,
    cdi_dirs: &[PathBuf],
    state_dir: &Path,
    netns_dir: &Path,
) -> BTreeMap<String, String> {
    match flavor {
        Flavor::Containerd => containerd_runtime(cdi_dirs, state_dir),
        Flavor::Crio => BTreeMap::from([(
            "config".into(),
            json!({
                "sandboxImage": PAUSE_IMAGE,
                "crio": {
                    "DropInfraCtr": true,
                    "CDISpecDirs": cdi_dirs,
                    "DefaultRuntime": "crun",
                    "HooksDir": ["/usr/share/containers/oci/hooks.d"],
                    "NamespacesDir": netns_dir,
                    "Runtimes": { "crun": {
                        "RuntimePath": "/usr/libexec/crio/crun",
                        "RuntimeType": "oci",
                        "RuntimeRoot": "/run/crun",
                    } },
                    "CtrStopTimeout": 30,
                    "EnablePodEvents": false,
                },
            })
            .to_string(),
        )]),
    }
}

fn containerd_runtime(cdi_dirs: &[PathBuf], state_dir: &Path) -> BTreeMap<String, String> {
    let mut recorded: Value = serde_json::from_str(CONTAINERD_STATUS).unwrap_or_default();
    let mut config = recorded["config"].take();
    config["cdiSpecDirs"] = json!(cdi_dirs);
    config["stateDir"] = json!(state_dir);
    let text = |value: &Value| value.as_str().unwrap_or("OK").to_owned();
    BTreeMap::from([
        ("config".into(), config.to_string()),
        ("cniconfig".into(), recorded["cniconfig"].to_string()),
        ("golang".into(), recorded["golang"].to_string()),
        (
            "lastCNILoadStatus".into(),
            text(&recorded["lastCNILoadStatus"]),
        ),
        (
            "lastCNILoadStatus.default".into(),
            text(&recorded["lastCNILoadStatus.default"]),
        ),
    ])
}
