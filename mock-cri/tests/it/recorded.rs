//! Both flavours against recordings of containerd 2.3.4 and of CRI-O 1.34.0: same keys, same
//! shapes.

use std::collections::BTreeSet;

use ndra_core::wire::cri::*;
use ndra_mock_cri::Flavor;
use serde_json::{Value, json};

use crate::node::{Node, container, node, pod, spec};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/containerd-2.3.4/", $name))
    };
}

macro_rules! crio {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/crio-1.34.0/", $name))
    };
}

fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Every path to a value with the kind of the value. Items of a list are one path, so that
/// the number of items does not count.
fn shape(value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    collect(value, String::new(), &mut all);
    all
}

fn collect(value: &Value, path: String, all: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(list) => {
            for item in list {
                collect(item, format!("{path}[]"), all);
            }
            "list"
        }
        Value::Object(map) => {
            for (key, inner) in map {
                // The host's end of the pod's veth pair has a name of its own every time.
                let key = if key.starts_with("veth") { "veth" } else { key };
                collect(inner, format!("{path}/{key}"), all);
            }
            "object"
        }
    };
    all.insert(format!("{path} {kind}"));
}

fn assert_same_shape(ours: &Value, theirs: &Value) {
    let (ours, theirs) = (shape(ours), shape(theirs));
    let missing: Vec<_> = theirs.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&theirs).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing {missing:#?}\nextra {extra:#?}"
    );
}

/// The pod of the recording.
async fn as_recorded(flavor: Flavor, hook: Value) -> (Node, String, String) {
    let mut node = node(flavor).await;
    node.put_spec("claim.json", &spec("uid1", &[hook]));
    let mut demo = pod("demo-a");
    demo.hostname = String::new();
    demo.linux = Some(LinuxPodSandboxConfig::default());
    if flavor == Flavor::Crio {
        demo.hostname = "web".into();
        // A pod whose containers have PIDs of their own: CRI-O runs no infra container.
        let options = NamespaceOption {
            pid: NamespaceMode::Container.into(),
            ..Default::default()
        };
        demo.linux = Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(options),
                ..Default::default()
            }),
            ..Default::default()
        });
        for name in ["name", "namespace", "uid"] {
            demo.labels
                .insert(format!("io.kubernetes.pod.{name}"), "x".into());
        }
    }
    let sandbox = node.run(demo.clone()).await.unwrap();
    let mut c1 = container("c1", &["ndra.test/claim=uid1"]);
    c1.image = Some(ImageSpec {
        image: "localhost/busybox:1".into(),
        user_specified_image: "localhost/busybox:1".into(),
        ..Default::default()
    });
    c1.command = vec!["/bin/sleep".into(), "infinity".into()];
    c1.log_path = "c1.log".into();
    c1.linux = Some(LinuxContainerConfig::default());
    if flavor == Flavor::Crio {
        // As in its recording, the labels that the kubelet gives.
        for name in ["container.name", "pod.name", "pod.namespace", "pod.uid"] {
            let label = format!("io.kubernetes.{name}");
            c1.labels.insert(label, "x".into());
        }
    }
    let id = node.create(&sandbox, &demo, c1).await.unwrap();
    (node, sandbox, id)
}

fn to_stdin() -> Value {
    json!({
        "hookName": "createRuntime",
        "path": "/bin/sh",
        "args": ["sh", "-c", "cat > state.json; cp state.json ../../../../; pwd > ../../../../cwd"],
    })
}

#[tokio::test]
async fn oci_state_on_stdin() {
    let (mut node, sandbox, id) = as_recorded(Flavor::Containerd, to_stdin()).await;
    node.start(&id).await.unwrap();
    let ours: Value = serde_json::from_str(&node.read("state.json")).unwrap();
    let theirs = recorded(fixture!("ocistate.json"));
    assert_same_shape(&ours, &theirs);
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&theirs), "order of keys");
    for same in ["ociVersion", "status"] {
        assert_eq!(ours[same], theirs[same]);
    }
    let bundle = ours["bundle"].as_str().unwrap();
    assert_eq!(ours["id"], id);
    assert!(bundle.ends_with(&format!("/io.containerd.runtime.v2.task/k8s.io/{id}")));
    assert_eq!(node.read("cwd").trim_end(), bundle);
    let annotations = &ours["annotations"];
    assert_eq!(annotations["io.kubernetes.cri.sandbox-id"], sandbox);
    for same in [
        "container-name",
        "container-type",
        "image-name",
        "sandbox-name",
        "sandbox-namespace",
    ] {
        let key = format!("io.kubernetes.cri.{same}");
        assert_eq!(annotations[&key], theirs["annotations"][&key]);
    }
}

#[tokio::test]
async fn verbose_pod_sandbox_status() {
    let (mut node, sandbox, _) = as_recorded(Flavor::Containerd, to_stdin()).await;
    let (status, info) = node.sandbox(&sandbox).await.unwrap();
    let theirs = recorded(fixture!("podsandboxstatus.json"));
    assert_same_shape(&info, &theirs["info"]);
    assert_eq!(status.state(), PodSandboxState::SandboxReady);
    assert!(status.linux.unwrap().namespaces.unwrap().options.is_none());

    let network = &info["runtimeSpec"]["linux"]["namespaces"][4];
    assert_eq!(network["type"], "network");
    let path = network["path"].as_str().unwrap();
    assert_eq!(info["sandboxMetadata"]["Metadata"]["NetNSPath"], path);
    assert_eq!(
        info["sandboxMetadata"]["Metadata"]["Name"],
        "demo-a_default_uid-demo-a_0"
    );
    let name = std::path::Path::new(path).file_name().unwrap();
    assert!(node.path("netns").join(name).exists());
    // cni- and a UUID, as recorded.
    let pattern = |p: &str| {
        p.rsplit('/')
            .next()
            .unwrap()
            .split('-')
            .map(str::len)
            .collect::<Vec<_>>()
    };
    let theirs = theirs["info"]["runtimeSpec"]["linux"]["namespaces"][4]["path"]
        .as_str()
        .unwrap();
    assert_eq!(pattern(path), pattern(theirs));
    assert!(name.to_str().unwrap().starts_with("cni-"));
    let ip = status.network.unwrap().ip;
    assert_eq!(
        info["cniResult"]["Interfaces"]["eth0"]["IPConfigs"][0]["IP"],
        ip
    );
}

#[tokio::test]
async fn verbose_container_status() {
    let (mut node, sandbox, id) = as_recorded(
        Flavor::Containerd,
        json!({
            "hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", ":"],
        }),
    )
    .await;
    node.start(&id).await.unwrap();
    let request = ContainerStatusRequest {
        container_id: id.clone(),
        verbose: true,
    };
    let reply = node
        .cri
        .container_status(request)
        .await
        .unwrap()
        .into_inner();
    let info: Value = serde_json::from_str(&reply.info["info"]).unwrap();
    let theirs = recorded(fixture!("containerstatus.json"));
    assert_same_shape(&info, &theirs["info"]);
    assert_eq!(info["sandboxID"], sandbox);
    assert_eq!(info["runtimeSpec"]["process"]["env"][2], "NETWORK_DEVICE=x");
    let status = reply.status.unwrap();
    assert_eq!(status.state(), ContainerState::ContainerRunning);
    assert_eq!(status.reason, theirs["status"]["reason"]);
    assert!(status.started_at > status.created_at && status.finished_at == 0);
    assert_eq!(
        status.image_ref.len(),
        theirs["status"]["imageRef"].as_str().unwrap().len()
    );
    assert_eq!(status.log_path, "/var/log/pods/c1.log");
}

#[tokio::test]
async fn verbose_status() {
    let mut node = node(Flavor::Containerd).await;
    let reply = node
        .cri
        .status(StatusRequest { verbose: true })
        .await
        .unwrap()
        .into_inner();
    let theirs = recorded(fixture!("runtimestatus.json"));
    let config: Value = serde_json::from_str(&reply.info["config"]).unwrap();
    assert_same_shape(&config, &theirs["config"]);
    assert_eq!(config["enableCDI"], true);
    assert_eq!(config["cdiSpecDirs"], json!([node.path("cdi")]));
    for key in [
        "cniconfig",
        "golang",
        "lastCNILoadStatus",
        "lastCNILoadStatus.default",
    ] {
        assert!(reply.info.contains_key(key), "{key}");
        assert!(theirs.get(key).is_some(), "{key}");
    }
    let conditions = reply.status.unwrap().conditions;
    let names = conditions
        .iter()
        .map(|c| c.r#type.clone())
        .collect::<Vec<_>>();
    let their_conditions = theirs["status"]["conditions"].as_array().unwrap();
    let their_names: Vec<_> = their_conditions
        .iter()
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    assert_eq!(names, their_names);
    let handlers: Vec<_> = reply
        .runtime_handlers
        .iter()
        .map(|h| h.name.as_str())
        .collect();
    assert_eq!(handlers, ["", "runc"]);
}

#[tokio::test]
async fn a_failed_hook_reads_as_recorded() {
    let stderr = "ndra: claim uid1: driver socket /x: connection refused";
    let hook = json!({
        "hookName": "createRuntime",
        "path": "/bin/sh",
        "args": ["sh", "-c", format!("echo '{stderr}' >&2; exit 1")],
    });
    let (mut node, _, id) = as_recorded(Flavor::Containerd, hook).await;
    let status = node.start(&id).await.unwrap_err();
    let theirs = fixture!("startcontainer-hook-failed.txt").trim_end();
    let ours = format!(
        "rpc error: code = {:?} desc = {}",
        status.code(),
        status.message()
    );
    assert_eq!(ours, theirs);

    let after = node.container(&id).await.unwrap();
    assert_eq!(after.state(), ContainerState::ContainerExited);
    assert_eq!(
        (after.exit_code, after.reason.as_str()),
        (128, "StartError")
    );
    assert_eq!(after.message, status.message());
    assert!(after.started_at == 0 && after.finished_at > 0);
}

fn keys(value: &Value) -> BTreeSet<String> {
    let map = value.as_object().unwrap();
    map.keys().cloned().collect()
}

/// Kinds of namespaces, and which are at a path.
fn kinds(spec: &Value) -> BTreeSet<String> {
    let list = spec["linux"]["namespaces"].as_array().unwrap();
    list.iter()
        .map(|n| format!("{} {}", n["type"], n["path"].is_string()))
        .collect()
}

/// It looks like any other, but for the mode that was asked for and two annotations.
#[tokio::test]
async fn crio_gives_a_pod_on_the_hosts_network_a_path() {
    let theirs = recorded(crio!("podsandboxstatus-host-network.json"));
    let mut node = node(Flavor::Crio).await;
    let mut host = pod("web");
    let options = NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ..Default::default()
    };
    host.linux = Some(LinuxPodSandboxConfig {
        security_context: Some(LinuxSandboxSecurityContext {
            namespace_options: Some(options),
            ..Default::default()
        }),
        ..Default::default()
    });
    let sandbox = node.run(host).await.unwrap();
    let (status, info) = node.sandbox(&sandbox).await.unwrap();
    let (ours, known) = (&info["runtimeSpec"], &theirs["info"]["runtimeSpec"]);
    assert_eq!(kinds(ours), kinds(known));
    for key in ["HostNetwork", "PrivilegedRuntime"] {
        let key = format!("io.kubernetes.cri-o.{key}");
        assert_eq!(ours["annotations"][&key], known["annotations"][&key]);
    }
    let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    let asked = options.network().as_str_name();
    assert_eq!(
        asked,
        theirs["status"]["linux"]["namespaces"]["options"]["network"]
    );
}

/// The annotations are what a hook has to go by, and the driver with it.
#[tokio::test]
async fn crio_tells_hooks_and_callers_the_same_annotations() {
    let (mut node, sandbox, id) = as_recorded(Flavor::Crio, to_stdin()).await;
    node.start(&id).await.unwrap();
    let ours: Value = serde_json::from_str(&node.read("state.json")).unwrap();
    let theirs = recorded(crio!("ocistate.json"));
    assert_eq!(keys(&ours["annotations"]), keys(&theirs["annotations"]));
    let annotation = "io.kubernetes.cri-o.SandboxID";
    assert_eq!(ours["annotations"][annotation], sandbox);

    let theirs = recorded(crio!("podsandboxstatus.json"));
    let (_, info) = node.sandbox(&sandbox).await.unwrap();
    assert_eq!(keys(&info), keys(&theirs["info"]));
    let (ours, theirs) = (&info["runtimeSpec"], &theirs["info"]["runtimeSpec"]);
    assert_eq!(keys(ours), keys(theirs));
    let (said, known) = (keys(&ours["annotations"]), keys(&theirs["annotations"]));
    let unknown: Vec<_> = said.difference(&known).collect();
    assert!(unknown.is_empty(), "CRI-O has no {unknown:?}");
    // The pod's first network is not played, so it has no result.
    let left_out: Vec<_> = known.difference(&said).map(String::as_str).collect();
    assert_eq!(left_out, ["io.kubernetes.cri-o.CNIResult"]);
    assert_eq!(kinds(ours), kinds(theirs));

    let theirs = recorded(crio!("containerstatus.json"));
    let request = ContainerStatusRequest {
        container_id: id,
        verbose: true,
    };
    let reply = node.cri.container_status(request).await.unwrap();
    let info: Value = serde_json::from_str(&reply.into_inner().info["info"]).unwrap();
    assert_eq!(keys(&info), keys(&theirs["info"]));
    assert_eq!(
        keys(&info["runtimeSpec"]["annotations"]),
        keys(&theirs["info"]["runtimeSpec"]["annotations"])
    );
    let request = StatusRequest { verbose: true };
    let reply = node.cri.status(request).await.unwrap();
    let ours: Value = serde_json::from_str(&reply.into_inner().info["config"]).unwrap();
    let theirs = recorded(crio!("runtimestatus.json"));
    let (ours, theirs) = (&ours["crio"], &theirs["config"]["crio"]);
    let unknown: Vec<_> = keys(ours).difference(&keys(theirs)).cloned().collect();
    assert!(unknown.is_empty(), "CRI-O has no {unknown:?}");
}
