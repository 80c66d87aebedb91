//! `ndra driver`: the command line of the driver that runs on a node.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

/// Run the driver on this node.
///
/// It registers with the kubelet, prepares claims, answers the OCI hook, and puts the
/// interfaces into pods through Multus or CNI plugins. It runs until SIGTERM or Ctrl-C and
/// takes up after a restart where it stopped.
#[derive(Debug, clap::Args)]
#[command(next_line_help = true)]
pub(crate) struct Args {
    /// The driver's name, as DeviceClasses, ResourceSlices and claims use it.
    #[arg(long, default_value = "dra.networking", value_name = "NAME", help_heading = "Names")]
    driver_name: String,
    /// The node's name in the API.
    #[arg(long, env = "NODE_NAME", value_name = "NAME", help_heading = "Names")]
    node_name: String,

    /// How to reach the API server; without it, as a pod does (service account), or as
    /// KUBECONFIG and ~/.kube/config say.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE", help_heading = "Kubernetes")]
    kubeconfig: Option<PathBuf>,
    /// Deadline for one request to the API server.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = crate::duration::parse, help_heading = "Kubernetes")]
    api_timeout: Duration,
    /// Devices to publish for this node: each stands for one virtual interface.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Kubernetes")]
    slots: u32,

    /// Where the kubelet looks for plugin sockets; the driver puts its registration there.
    #[arg(long, default_value = "/var/lib/kubelet/plugins_registry", value_name = "DIR", help_heading = "Kubelet")]
    registry_dir: PathBuf,
    /// Where the driver's own socket for the kubelet, dra.sock, goes.
    /// [default: /var/lib/kubelet/plugins/DRIVER_NAME]
    #[arg(long, value_name = "DIR", help_heading = "Kubelet")]
    plugin_dir: Option<PathBuf>,

    /// The record of what is prepared and attached. It must outlive the driver.
    #[arg(long, default_value = "/var/lib/ndra", value_name = "DIR", help_heading = "State")]
    state_dir: PathBuf,
    /// Where the driver's events are served, for `ndra watch` and other readers.
    #[arg(long, default_value = "/run/ndra/events.sock", value_name = "SOCKET", help_heading = "State")]
    events_socket: PathBuf,
    /// Past events that are kept for new readers.
    #[arg(long, default_value_t = 8192, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "State")]
    event_ring: u32,

    /// Where CDI specs go; the runtime must read this directory.
    #[arg(long, default_value = "/var/run/cdi", value_name = "DIR", help_heading = "Runtime and hook")]
    cdi_dir: PathBuf,
    /// The runtime's CRI socket; `unix://` before it is allowed.
    #[arg(long, default_value = "/run/containerd/containerd.sock", value_name = "SOCKET", value_parser = socket, help_heading = "Runtime and hook")]
    cri_socket: PathBuf,
    /// Deadline for one CRI call.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = crate::duration::parse, help_heading = "Runtime and hook")]
    cri_timeout: Duration,
    /// The hook program, as the runtime sees it on the host.
    #[arg(long, default_value = "/opt/ndra/bin/ndra-hook", value_name = "FILE", help_heading = "Runtime and hook")]
    hook_path: PathBuf,
    /// An argument for the hook program, before the hook's own; may be repeated.
    #[arg(long = "hook-arg", value_name = "ARG", allow_hyphen_values = true, help_heading = "Runtime and hook")]
    hook_args: Vec<String>,
    /// Where the hook calls the driver. Running containers' specs name it: keep it the same
    /// over upgrades.
    #[arg(long, default_value = "/run/ndra/hook.sock", value_name = "SOCKET", help_heading = "Runtime and hook")]
    callback_socket: PathBuf,
    /// When the runtime kills the hook; at most a kubelet's CRI time-out of 2 minutes.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = crate::duration::parse, help_heading = "Runtime and hook")]
    hook_kill_after: Duration,
    /// When the hook gives up by itself; must be shorter than --hook-kill-after.
    #[arg(long, default_value = "25s", value_name = "DURATION", value_parser = crate::duration::parse, help_heading = "Runtime and hook")]
    hook_timeout: Duration,

    /// Who runs the CNI plugins.
    #[arg(long, value_enum, default_value_t = Cni::Multus, help_heading = "Networks")]
    cni: Cni,
    /// The socket of the Multus daemon (thick plugin), for --cni multus.
    #[arg(long, default_value = "/run/multus/multus.sock", value_name = "SOCKET", help_heading = "Networks")]
    multus_socket: PathBuf,
    /// Where CNI plugins are, for --cni exec; several directories with `:` between.
    #[arg(long, default_value = "/opt/cni/bin", value_name = "DIRS", help_heading = "Networks")]
    cni_path: String,
    /// Where results of CNI plugins are kept, for --cni exec.
    #[arg(long, default_value = "/var/lib/ndra/cni", value_name = "DIR", help_heading = "Networks")]
    cni_cache_dir: PathBuf,
    /// Deadline for one ADD or DEL; must be shorter than --hook-timeout.
    #[arg(long, default_value = "20s", value_name = "DURATION", value_parser = crate::duration::parse, help_heading = "Networks")]
    cni_timeout: Duration,
    /// The node's interface that claims without parameters get a MACVLAN on.
    #[arg(long, default_value = "eth0", value_name = "NAME", help_heading = "Networks")]
    uplink: String,
    /// A plugin type that claims may name; may be repeated. Without it, every type.
    #[arg(long = "allow-cni-type", value_name = "TYPE", help_heading = "Networks")]
    allow_cni_types: Vec<String>,
    /// Refuse network configuration in claims; only DeviceClasses may carry it.
    #[arg(long, help_heading = "Networks")]
    class_config_only: bool,
    /// How often an interface's removal is tried before the pod is let go and the rest is
    /// done in the background.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Networks")]
    del_attempts: u32,
    /// How long between two tries in the background.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = crate::duration::parse, help_heading = "Networks")]
    orphan_retry: Duration,

    /// What to log: error, warn, info, debug, trace, or a filter such as ndra_core=debug.
    #[arg(long, default_value = "info", env = "NDRA_LOG", value_name = "FILTER", help_heading = "Log")]
    log: String,
}

/// Who runs the CNI plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cni {
    /// The Multus daemon, over its socket.
    Multus,
    /// The driver itself.
    Exec,
}

fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.is_empty() {
        return Err("is empty: name the socket's path".into());
    }
    Ok(path.into())
}
