//! The annotations that each runtime puts on the OCI specs of sandboxes and containers.

use std::collections::BTreeMap;
use std::path::Path;

use ndra_core::wire::cri;
use serde_json::json;

use crate::go_json;

/// containerd, on the sandbox.
pub(crate) fn containerd_sandbox(
    id: &str,
    config: &cri::PodSandboxConfig,
    pod: &cri::PodSandboxMetadata,
    image: &str,
) -> BTreeMap<String, String> {
    let mut all = containerd_common(id, pod, "sandbox");
    put(
        &mut all,
        "io.kubernetes.cri.sandbox-log-directory",
        &config.log_directory,
    );
    put(&mut all, "io.kubernetes.cri.podsandbox.image-name", image);
    all
}

/// containerd, on a container.
pub(crate) fn containerd_container(
    sandbox: &str,
    pod: &cri::PodSandboxMetadata,
    container: &str,
    image: &str,
) -> BTreeMap<String, String> {
    let mut all = containerd_common(sandbox, pod, "container");
    put(&mut all, "io.kubernetes.cri.container-name", container);
    put(&mut all, "io.kubernetes.cri.image-name", image);
    all
}

fn containerd_common(
    sandbox: &str,
    pod: &cri::PodSandboxMetadata,
    kind: &str,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    put(&mut all, "io.kubernetes.cri.container-type", kind);
    put(&mut all, "io.kubernetes.cri.sandbox-id", sandbox);
    put(&mut all, "io.kubernetes.cri.sandbox-name", &pod.name);
    put(
        &mut all,
        "io.kubernetes.cri.sandbox-namespace",
        &pod.namespace,
    );
    put(&mut all, "io.kubernetes.cri.sandbox-uid", &pod.uid);
    all
}

/// What CRI-O knows of a sandbox when it annotates.
pub(crate) struct CrioSandbox<'a> {
    pub(crate) id: &'a str,
    /// The reserved name, `k8s_…`.
    pub(crate) name: &'a str,
    pub(crate) config: &'a cri::PodSandboxConfig,
    pub(crate) pod: &'a cri::PodSandboxMetadata,
    pub(crate) image: &'a str,
    pub(crate) address: Option<String>,
    pub(crate) created: &'a str,
    /// Where the sandbox's own files would be.
    pub(crate) directory: &'a Path,
}

/// CRI-O, on the sandbox. Pod annotations and labels come last and can overwrite.
pub(crate) fn crio_sandbox(sandbox: &CrioSandbox<'_>) -> BTreeMap<String, String> {
    let CrioSandbox {
        id, config, pod, ..
    } = sandbox;
    let labels = sandbox_labels(config, pod);
    let options = config
        .linux
        .as_ref()
        .and_then(|l| l.security_context.as_ref())
        .and_then(|s| s.namespace_options.clone());
    let host_network = crate::spec::host_network(config);
    let directory = sandbox.directory.display();
    let mut all = BTreeMap::new();
    let mut set =
        |key: &str, value: &str| put(&mut all, &format!("io.kubernetes.cri-o.{key}"), value);
    set("Annotations", &json!(config.annotations).to_string());
    let cgroup = config.linux.as_ref().map(|l| l.cgroup_parent.as_str());
    set("CgroupParent", cgroup.unwrap_or_default());
    set("ContainerID", id);
    set(
        "ContainerName",
        &format!(
            "k8s_POD_{}_{}_{}_{}",
            pod.name, pod.namespace, pod.uid, pod.attempt
        ),
    );
    set("ContainerType", "sandbox");
    set("Created", sandbox.created);
    set("HostName", &config.hostname);
    set("HostNetwork", &host_network.to_string());
    set("HostnamePath", &format!("{directory}/hostname"));
    set("Image", sandbox.image);
    set("ImageName", sandbox.image);
    set("KubeName", &pod.name);
    set("Labels", &json!(labels).to_string());
    set("LogPath", &format!("{}/{id}.log", config.log_directory));
    set("Metadata", &go_json::sandbox_metadata(pod).to_string());
    set("MountPoint", &format!("{directory}/rootfs"));
    set("Name", sandbox.name);
    set("Namespace", &pod.namespace);
    set(
        "NamespaceOptions",
        &go_json::namespace_options(options.as_ref()).to_string(),
    );
    // Nothing here gives a pod overhead or resources of its own.
    set("PodLinuxOverhead", "null");
    set("PodLinuxResources", "null");
    set("PortMappings", "[]");
    set("PrivilegedRuntime", &host_network.to_string());
    set("ResolvPath", &format!("{directory}/resolv.conf"));
    set("RuntimeHandler", "");
    set("SandboxID", id);
    set("SandboxName", sandbox.name);
    set("SeccompProfilePath", "Unconfined");
    set("ShmPath", &format!("{directory}/shm"));
    if !crate::spec::shares_pid(config) {
        set("Spoofed", "true");
    }
    if let Some(address) = &sandbox.address {
        set("IP.0", address);
    }
    put(&mut all, "io.container.manager", "cri-o");
    all.extend(config.annotations.clone());
    all.extend(labels);
    all
}

/// The labels that CRI-O fills in where the caller is not a kubelet.
pub(crate) fn sandbox_labels(
    config: &cri::PodSandboxConfig,
    pod: &cri::PodSandboxMetadata,
) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    // Also over what the caller says: the sandbox's own container is meant.
    labels.insert("io.kubernetes.container.name".into(), "POD".into());
    for (key, value) in [
        ("io.kubernetes.pod.name", &pod.name),
        ("io.kubernetes.pod.namespace", &pod.namespace),
        ("io.kubernetes.pod.uid", &pod.uid),
    ] {
        labels.entry(key.into()).or_insert_with(|| value.clone());
    }
    labels
}

/// What CRI-O knows of a container when it annotates.
pub(crate) struct CrioContainer<'a> {
    pub(crate) id: &'a str,
    /// The reserved name, `k8s_…`.
    pub(crate) name: &'a str,
    pub(crate) config: &'a cri::ContainerConfig,
    pub(crate) image: &'a str,
    pub(crate) image_ref: &'a str,
    pub(crate) log_path: &'a str,
    pub(crate) rootfs: &'a Path,
    pub(crate) created: &'a str,
    pub(crate) sandbox: &'a str,
    pub(crate) sandbox_name: &'a str,
    pub(crate) sandbox_annotations: &'a BTreeMap<String, String>,
    pub(crate) address: Option<String>,
    pub(crate) directory: &'a Path,
}

/// CRI-O, on a container: the pod's annotations first, CRI-O's own over them, the
/// container's annotations and labels over all. So a pod can spoof what CRI-O does not set
/// here, `KubeName` and `Namespace` among it.
pub(crate) fn crio_container(container: &CrioContainer<'_>) -> BTreeMap<String, String> {
    let config = container.config;
    let mut all = container.sandbox_annotations.clone();
    let mut set =
        |key: &str, value: &str| put(&mut all, &format!("io.kubernetes.cri-o.{key}"), value);
    set("Annotations", &json!(config.annotations).to_string());
    set("ContainerID", container.id);
    set("ContainerType", "container");
    set("Created", container.created);
    set("Image", container.image);
    set("ImageName", container.image);
    set("ImageRef", container.image_ref);
    set("Labels", &json!(config.labels).to_string());
    set("LogPath", container.log_path);
    set(
        "Metadata",
        &go_json::container_metadata(config.metadata.as_ref()).to_string(),
    );
    set("MountPoint", &container.rootfs.display().to_string());
    set("Name", container.name);
    set("PlatformRuntimePath", "");
    set(
        "ResolvPath",
        &format!("{}/resolv.conf", container.directory.display()),
    );
    set("SandboxID", container.sandbox);
    set("SandboxName", container.sandbox_name);
    set("SeccompProfilePath", "Unconfined");
    set("Stdin", "false");
    set("StdinOnce", "false");
    set("TTY", "false");
    set("Volumes", "[]");
    if let Some(address) = &container.address {
        set("IP.0", address);
    }
    put(&mut all, "io.container.manager", "cri-o");
    all.extend(config.annotations.clone());
    all.extend(config.labels.clone());
    all
}

fn put(all: &mut BTreeMap<String, String>, key: &str, value: &str) {
    all.insert(key.into(), value.into());
}
