//! What the kubelet tells the runtime about a pod: names, labels, namespaces, devices.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use ndra_core::wire::cri::{
    CdiDevice, ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext,
    NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
};

use super::view::{NAME_LABEL, NAMESPACE_LABEL, UID_LABEL};
use crate::claim::PodId;

/// Set on init containers. A mock runtime, which runs no processes, ends such a container
/// with this exit code as soon as it has started; real runtimes pass over it.
pub const EXIT_CODE_ANNOTATION: &str = "ndra.dev/exit-code";

/// Which part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: starts early, stays.
    Sidecar,
    /// What the pod is there for.
    Regular,
}

fn labels(pod: &PodId) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME_LABEL.into(), pod.name.clone()),
        (NAMESPACE_LABEL.into(), pod.namespace.clone()),
        (UID_LABEL.into(), pod.uid.clone()),
    ])
}

fn namespaces(pod: &Pod) -> NamespaceOption {
    let spec = pod.spec.as_ref();
    let on_node = |host: Option<bool>, otherwise| match host {
        Some(true) => NamespaceMode::Node as i32,
        _ => otherwise as i32,
    };
    let shared = match spec.and_then(|spec| spec.share_process_namespace) {
        Some(true) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: on_node(spec.and_then(|s| s.host_network), NamespaceMode::Pod),
        pid: on_node(spec.and_then(|s| s.host_pid), shared),
        ipc: on_node(spec.and_then(|s| s.host_ipc), NamespaceMode::Pod),
        target_id: String::new(),
    }
}

/// A sandbox of the pod; `attempt` grows with each.
pub(crate) fn sandbox_config(pod: &Pod, attempt: u32) -> PodSandboxConfig {
    let id = PodId::of(pod);
    let meta = &pod.metadata;
    let mut all = meta.labels.clone().unwrap_or_default();
    all.extend(labels(&id));
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: id.name.clone(),
            uid: id.uid,
            namespace: id.namespace,
            attempt,
        }),
        // On the node's network the name is the node's; runtimes refuse another one there.
        hostname: match namespaces(pod).network == NamespaceMode::Node as i32 {
            true => String::new(),
            false => id.name.chars().take(63).collect(),
        },
        // A log directory would lie outside of the simulation's own.
        log_directory: String::new(),
        labels: all,
        annotations: meta.annotations.clone().unwrap_or_default(),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(pod)),
                privileged: false,
            }),
            ..LinuxPodSandboxConfig::default()
        }),
    }
}

/// A container of the pod with its CDI devices.
pub(crate) fn container_config(
    pod: &Pod,
    container: &Container,
    role: Role,
    attempt: u32,
    devices: &[String],
) -> ContainerConfig {
    let mut all = labels(&PodId::of(pod));
    all.insert(
        "io.kubernetes.container.name".into(),
        container.name.clone(),
    );
    let mut annotations = BTreeMap::from([(
        "io.kubernetes.container.restartCount".to_owned(),
        attempt.to_string(),
    )]);
    if role == Role::Init {
        annotations.insert(EXIT_CODE_ANNOTATION.into(), "0".into());
    }
    let image = container.image.clone().unwrap_or_default();
    let privileged = container
        .security_context
        .as_ref()
        .and_then(|context| context.privileged);
    // Values from fields, secrets and config maps stay away: nothing here resolves them.
    let envs = container.env.iter().flatten().filter_map(|env| {
        Some(KeyValue {
            key: env.name.clone(),
            value: env.value.clone()?,
        })
    });
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: container.name.clone(),
            attempt,
        }),
        image: Some(ImageSpec {
            image: image.clone(),
            user_specified_image: image,
            ..ImageSpec::default()
        }),
        command: container.command.clone().unwrap_or_default(),
        args: container.args.clone().unwrap_or_default(),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: envs.collect(),
        labels: all,
        annotations,
        log_path: String::new(),
        linux: Some(LinuxContainerConfig {
            security_context: Some(LinuxContainerSecurityContext {
                privileged: privileged.unwrap_or_default(),
                namespace_options: Some(namespaces(pod)),
            }),
        }),
        cdi_devices: devices
            .iter()
            .map(|name| CdiDevice { name: name.clone() })
            .collect(),
    }
}
