//! OCI specs of sandboxes and containers, as the runtimes generate them.

use std::collections::BTreeMap;
use std::path::Path;

use ndra_core::wire::cri::{self, NamespaceMode};
use oci_spec::runtime::Spec;
use serde_json::{Map, Value, json};

use crate::Flavor;
use crate::oci_state::OCI_VERSION;

/// The image of the sandbox's own container.
pub(crate) const PAUSE_IMAGE: &str = "localhost/pause:1";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Whether the pod uses the host's network.
pub(crate) fn host_network(config: &cri::PodSandboxConfig) -> bool {
    options(config).is_some_and(|o| o.network() == NamespaceMode::Node)
}

/// Whether the pod's containers see each other's processes. Only then CRI-O runs a process for
/// the sandbox itself.
pub(crate) fn shares_pid(config: &cri::PodSandboxConfig) -> bool {
    options(config).cloned().unwrap_or_default().pid() == NamespaceMode::Pod
}

fn options(config: &cri::PodSandboxConfig) -> Option<&cri::NamespaceOption> {
    let linux = config.linux.as_ref()?;
    linux.security_context.as_ref()?.namespace_options.as_ref()
}

/// What a sandbox's spec is made from.
pub(crate) struct ForSandbox<'a> {
    pub(crate) flavor: Flavor,
    pub(crate) id: &'a str,
    pub(crate) config: &'a cri::PodSandboxConfig,
    pub(crate) annotations: BTreeMap<String, String>,
    /// `None` in the host's network.
    pub(crate) netns: Option<&'a Path>,
    /// Where the sandbox's own files would be.
    pub(crate) directory: &'a Path,
}

/// The spec of a sandbox's own container.
pub(crate) fn sandbox(from: ForSandbox<'_>) -> serde_json::Result<Spec> {
    let ForSandbox {
        flavor,
        id,
        config,
        annotations,
        netns,
        directory,
    } = from;
    // CRI-O binds the host's own to a file as well, and names that.
    let bound = Path::new("/var/run/netns").join(uuid::Uuid::new_v4().to_string());
    let netns = match flavor {
        Flavor::Crio => Some(netns.unwrap_or(&bound)),
        Flavor::Containerd => netns,
    };
    let mut namespaces = Vec::new();
    let modes = options(config).cloned().unwrap_or_default();
    if modes.pid() != NamespaceMode::Node {
        namespaces.push(json!({ "type": "pid" }));
    }
    if modes.ipc() != NamespaceMode::Node {
        namespaces.push(match (flavor, netns) {
            (Flavor::Crio, Some(path)) => json!({ "type": "ipc", "path": pinned(path, "ipcns") }),
            _ => json!({ "type": "ipc" }),
        });
    }
    if flavor == Flavor::Containerd && netns.is_some() {
        namespaces.push(json!({ "type": "uts" }));
    }
    namespaces.push(json!({ "type": "mount" }));
    if let Some(path) = netns {
        namespaces.push(json!({ "type": "network", "path": path }));
        if flavor == Flavor::Crio {
            namespaces.push(json!({ "type": "uts", "path": pinned(path, "utsns") }));
        }
    }
    let mut mounts = base_mounts();
    for (to, name) in [("/dev/shm", "shm"), ("/etc/resolv.conf", "resolv.conf")] {
        mounts.push(bind(
            to,
            &directory.join(name),
            &["rbind", "ro", "nosuid", "nodev", "noexec"],
        ));
    }
    let sysctls: Map<String, Value> = sysctls(config, !host_network(config));
    let mut spec = json!({
        "ociVersion": OCI_VERSION,
        "annotations": annotations,
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/pause"],
            "env": [PATH],
            "cwd": "/",
            "capabilities": capabilities(),
            "noNewPrivileges": true,
            "oomScoreAdj": 0,
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": cgroup(config, id),
            "namespaces": namespaces,
            "sysctl": sysctls,
            "resources": {
                "cpu": { "shares": 2 },
                "devices": [{ "allow": false, "access": "rwm" }],
            },
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/sys/firmware", "/sys/devices/virtual/powercap",
                "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    });
    if !config.hostname.is_empty() && !host_network(config) {
        spec["hostname"] = config.hostname.as_str().into();
    }
    serde_json::from_value(spec)
}

fn sysctls(config: &cri::PodSandboxConfig, own_network: bool) -> Map<String, Value> {
    let mut all = Map::new();
    if own_network {
        all.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        all.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    let given = config.linux.iter().flat_map(|l| &l.sysctls);
    all.extend(given.map(|(k, v)| (k.clone(), Value::from(v.as_str()))));
    all
}

/// What a container's spec is made from.
pub(crate) struct ForContainer<'a> {
    pub(crate) flavor: Flavor,
    pub(crate) id: &'a str,
    pub(crate) config: &'a cri::ContainerConfig,
    pub(crate) pod: &'a cri::PodSandboxConfig,
    pub(crate) annotations: BTreeMap<String, String>,
    /// The pid of the sandbox's own container.
    pub(crate) sandbox_pid: u32,
    /// The sandbox's network namespace; `None` in the host's network.
    pub(crate) netns: Option<&'a Path>,
    /// Where the sandbox's own files would be.
    pub(crate) directory: &'a Path,
    /// The root filesystem, which CRI-O names by its absolute path.
    pub(crate) rootfs: &'a Path,
}

/// The spec of a container, before CDI devices are injected.
pub(crate) fn container(from: ForContainer<'_>) -> serde_json::Result<Spec> {
    let ForContainer {
        flavor,
        id,
        config,
        pod,
        annotations,
        sandbox_pid,
        netns,
        directory,
        rootfs,
    } = from;
    let args: Vec<_> = config.command.iter().chain(&config.args).collect();
    let args = if args.is_empty() {
        json!(["/bin/sh"])
    } else {
        json!(args)
    };
    let hostname = if pod.hostname.is_empty() {
        pod.metadata.as_ref().map_or("", |m| &m.name)
    } else {
        &pod.hostname
    };
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    env.extend(config.envs.iter().map(|e| format!("{}={}", e.key, e.value)));
    let mut mounts = base_mounts();
    mounts.push(json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    }));
    for (to, name) in [
        ("/etc/hostname", "hostname"),
        ("/etc/hosts", "hosts"),
        ("/etc/resolv.conf", "resolv.conf"),
        ("/dev/shm", "shm"),
    ] {
        mounts.push(bind(
            to,
            &directory.join(name),
            &["rbind", "rprivate", "rw"],
        ));
    }
    let root = match flavor {
        Flavor::Containerd => Path::new("rootfs"),
        Flavor::Crio => rootfs,
    };
    serde_json::from_value(json!({
        "ociVersion": OCI_VERSION,
        "annotations": annotations,
        "process": {
            "user": { "uid": 0, "gid": 0, "additionalGids": [0] },
            "args": args,
            "env": env,
            "cwd": if config.working_dir.is_empty() { "/" } else { &config.working_dir },
            "capabilities": capabilities(),
        },
        "root": { "path": root },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": cgroup(pod, id),
            "namespaces": container_namespaces(flavor, config, sandbox_pid, netns),
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        },
    }))
}

fn container_namespaces(
    flavor: Flavor,
    config: &cri::ContainerConfig,
    sandbox_pid: u32,
    netns: Option<&Path>,
) -> Vec<Value> {
    let modes = config
        .linux
        .as_ref()
        .and_then(|l| l.security_context.as_ref())
        .and_then(|s| s.namespace_options.clone())
        .unwrap_or_default();
    let of_sandbox = |kind: &str, file: &str| json!({ "type": kind, "path": format!("/proc/{sandbox_pid}/ns/{file}") });
    let pid = match modes.pid() {
        NamespaceMode::Container => Some(json!({ "type": "pid" })),
        NamespaceMode::Node if flavor == Flavor::Crio => None,
        _ => Some(of_sandbox("pid", "pid")),
    };
    let mut namespaces: Vec<_> = pid.into_iter().collect();
    match flavor {
        Flavor::Containerd => {
            namespaces.push(of_sandbox("ipc", "ipc"));
            namespaces.push(of_sandbox("uts", "uts"));
            namespaces.push(json!({ "type": "mount" }));
            namespaces.push(of_sandbox("network", "net"));
        }
        Flavor::Crio => {
            namespaces.push(json!({ "type": "mount" }));
            if let Some(path) = netns {
                namespaces.push(json!({ "type": "network", "path": path }));
                namespaces.push(json!({ "type": "ipc", "path": pinned(path, "ipcns") }));
                namespaces.push(json!({ "type": "uts", "path": pinned(path, "utsns") }));
            }
        }
    }
    namespaces
}

/// Where CRI-O would pin another namespace of the pod: beside the network's directory,
/// under the same name. Named in specs only.
fn pinned(netns: &Path, kind: &str) -> std::path::PathBuf {
    let name = netns.file_name().unwrap_or_default();
    let above = netns.parent().and_then(Path::parent);
    above.unwrap_or(Path::new("/")).join(kind).join(name)
}

fn cgroup(pod: &cri::PodSandboxConfig, id: &str) -> String {
    let parent = pod.linux.as_ref().map_or("", |l| l.cgroup_parent.as_str());
    if parent.is_empty() {
        format!("/k8s.io/{id}")
    } else {
        format!("{}/{id}", parent.trim_end_matches('/'))
    }
}

fn capabilities() -> Value {
    json!({ "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES })
}

fn base_mounts() -> Vec<Value> {
    let mount = |to: &str, kind: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ]
}

fn bind(to: &str, from: &Path, options: &[&str]) -> Value {
    json!({ "destination": to, "type": "bind", "source": from, "options": options })
}
