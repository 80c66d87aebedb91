//! `ndra driver`: the command line of the driver that runs on a node.

mod log;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use log::LogFormat;
use ndra_core::devices::{Pattern, Source};
use ndra_core::driver::{self, Config, DeviceSource, Driver, StartError};

use crate::duration;
use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::signals;

/// Run the driver on this node.
///
/// It registers with the kubelet, prepares claims, answers the OCI hook, and puts the
/// interfaces into pods through Multus or CNI plugins. It runs until SIGTERM or Ctrl-C and
/// takes up after a restart where it stopped.
#[derive(Debug, clap::Args)]
#[command(next_line_help = true)]
pub(crate) struct Args {
    /// The driver's name, as DeviceClasses, ResourceSlices and claims use it.
    #[arg(
        long,
        default_value = "dra.networking",
        value_name = "NAME",
        help_heading = "Names"
    )]
    driver_name: String,
    /// The node's name in the API.
    #[arg(
        long,
        env = "NODE_NAME",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "Names"
    )]
    node_name: String,

    /// Tells this instance from others of the driver on the node, for rolling updates with
    /// both alive: the pod's UID. Its sockets for the kubelet carry it, and it stands by until
    /// the instance before it ends. Without it, one instance runs at a time.
    #[arg(
        long,
        env = "POD_UID",
        hide_env_values = true,
        value_name = "UID",
        help_heading = "Names"
    )]
    instance: Option<String>,

    /// How to reach the API server; without it, by the pod's service account.
    #[arg(
        long,
        env = "KUBECONFIG",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Kubernetes"
    )]
    kubeconfig: Option<PathBuf>,
    /// What the kubelet and the API server speak.
    #[arg(long, value_enum, default_value_t = KubeletApi::V1, value_name = "VERSION", help_heading = "Kubernetes")]
    kubelet_api: KubeletApi,
    /// How long reading a claim may take, retries included.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = duration::parse, help_heading = "Kubernetes")]
    api_timeout: Duration,

    /// Offer only interfaces whose names fit, of whatever kind; `*` and `?` stand for any
    /// characters and for one; may be repeated. Without it: hardware, bonds and VLANs.
    #[arg(
        long = "include-interface",
        value_name = "PATTERN",
        help_heading = "Devices"
    )]
    include_interfaces: Vec<Pattern>,
    /// Do not offer interfaces whose names fit, whatever else is said; may be repeated.
    #[arg(
        long = "exclude-interface",
        value_name = "PATTERN",
        help_heading = "Devices"
    )]
    exclude_interfaces: Vec<Pattern>,
    /// Offer interfaces whose names fit for virtual interfaces on them, not as a whole; may
    /// be repeated. Uplinks, bonds and VLANs are offered so in any case.
    #[arg(
        long = "share-interface",
        value_name = "PATTERN",
        help_heading = "Devices"
    )]
    share_interfaces: Vec<Pattern>,
    /// How many attachments a shared interface takes at the same time.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Devices")]
    max_attachments: u16,
    /// Where sysfs is: it knows drivers, speeds and where hardware sits.
    #[arg(
        long,
        default_value = "/sys",
        value_name = "DIR",
        help_heading = "Devices"
    )]
    sysfs: PathBuf,
    /// Take the node's interfaces from this file, not from the kernel: a JSON array, read
    /// again when it changes. For simulations.
    #[arg(long, value_name = "FILE", help_heading = "Devices")]
    interfaces_file: Option<PathBuf>,
    /// Look at no interface and offer so many devices that each stand for one virtual
    /// interface on the uplink. For tests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Devices")]
    slots: Option<u16>,

    /// Where the kubelet looks for plugin sockets; the driver puts its registration there.
    #[arg(
        long,
        default_value = "/var/lib/kubelet/plugins_registry",
        value_name = "DIR",
        help_heading = "Kubelet"
    )]
    registry_dir: PathBuf,
    /// Where the driver's own socket for the kubelet goes: dra.sock, or dra-UID.sock.
    /// [default: /var/lib/kubelet/plugins/DRIVER_NAME]
    #[arg(long, value_name = "DIR", help_heading = "Kubelet")]
    plugin_dir: Option<PathBuf>,

    /// The record of what is prepared and attached. It must outlive the driver.
    #[arg(
        long,
        default_value = "/var/lib/ndra",
        value_name = "DIR",
        help_heading = "State"
    )]
    state_dir: PathBuf,
    /// Where the driver's events are served, for `ndra watch` and other readers.
    #[arg(
        long,
        default_value = "/run/ndra/events.sock",
        value_name = "SOCKET",
        help_heading = "State"
    )]
    events_socket: PathBuf,
    /// How often to look for claims that the kubelet forgot, to release what they hold.
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = duration::parse, help_heading = "State")]
    forgotten_check: Duration,
    /// How long calls under way may take after SIGTERM, and how long a successor waits for
    /// the record.
    #[arg(long, default_value = "20s", value_name = "DURATION", value_parser = duration::parse, help_heading = "State")]
    stop_timeout: Duration,
    /// Past events that are kept for new readers.
    #[arg(long, default_value_t = 8192, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "State")]
    event_ring: u32,

    /// Serve grpc.health.v1 (liveness, readiness) on this TCP port, for probes; without it, no
    /// port is opened.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Health")]
    health_port: Option<u16>,
    /// The address of that port: the pod's, where a kubelet asks.
    #[arg(
        long,
        env = "POD_IP",
        hide_env_values = true,
        default_value = "127.0.0.1",
        value_name = "IP",
        help_heading = "Health"
    )]
    health_ip: IpAddr,

    /// Serve Prometheus metrics at /metrics on this TCP port; without it, no port is opened.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Health")]
    metrics_port: Option<u16>,
    /// The address of that port: the pod's, where Prometheus scrapes.
    #[arg(
        long,
        env = "POD_IP",
        hide_env_values = true,
        default_value = "127.0.0.1",
        value_name = "IP",
        help_heading = "Health"
    )]
    metrics_ip: IpAddr,

    /// Where CDI specs go; the runtime must read this directory.
    #[arg(
        long,
        default_value = "/var/run/cdi",
        value_name = "DIR",
        help_heading = "Runtime and hook"
    )]
    cdi_dir: PathBuf,
    /// The runtime's CRI socket; `unix://` before it is allowed.
    #[arg(long, default_value = "/run/containerd/containerd.sock", value_name = "SOCKET", value_parser = socket, help_heading = "Runtime and hook")]
    cri_socket: PathBuf,
    /// Deadline for one CRI call.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration::parse, help_heading = "Runtime and hook")]
    cri_timeout: Duration,
    /// The hook program, as the runtime sees it on the host.
    #[arg(
        long,
        default_value = "/opt/ndra/bin/ndra-hook",
        value_name = "FILE",
        help_heading = "Runtime and hook"
    )]
    hook_path: PathBuf,
    /// An argument for the hook program, before the hook's own; may be repeated.
    #[arg(
        long = "hook-arg",
        value_name = "ARG",
        allow_hyphen_values = true,
        help_heading = "Runtime and hook"
    )]
    hook_args: Vec<String>,
    /// Where the hook calls the driver. Running containers' specs name it: keep it the same
    /// over upgrades.
    #[arg(
        long,
        default_value = "/run/ndra/hook.sock",
        value_name = "SOCKET",
        help_heading = "Runtime and hook"
    )]
    callback_socket: PathBuf,
    /// When the runtime kills the hook; at most a kubelet's CRI time-out of 2 minutes.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration::parse, help_heading = "Runtime and hook")]
    hook_kill_after: Duration,
    /// When the hook gives up by itself; must be shorter than --hook-kill-after.
    #[arg(long, default_value = "25s", value_name = "DURATION", value_parser = duration::parse, help_heading = "Runtime and hook")]
    hook_timeout: Duration,

    /// Who runs the CNI plugins.
    #[arg(long, value_enum, default_value_t = Cni::Multus, help_heading = "Networks")]
    cni: Cni,
    /// The socket of the Multus daemon (thick plugin), for --cni multus.
    #[arg(
        long,
        default_value = "/run/multus/multus.sock",
        value_name = "SOCKET",
        help_heading = "Networks"
    )]
    multus_socket: PathBuf,
    /// Where CNI plugins are, several directories with `:` between. With --cni multus they
    /// are used to release what Multus refuses to.
    #[arg(
        long,
        env = "CNI_PATH",
        hide_env_values = true,
        default_value = "/opt/cni/bin",
        value_name = "DIRS",
        help_heading = "Networks"
    )]
    cni_path: OsString,
    /// Where Multus keeps CNI results, so that a release without it finds and removes them.
    #[arg(
        long,
        default_value = "/var/lib/cni/multus",
        value_name = "DIR",
        help_heading = "Networks"
    )]
    cni_cache_dir: PathBuf,
    /// Deadline for one ADD or DEL; must be shorter than --hook-timeout.
    #[arg(long, default_value = "20s", value_name = "DURATION", value_parser = duration::parse, help_heading = "Networks")]
    cni_timeout: Duration,
    /// The node's interface that claims without parameters get a MACVLAN on.
    #[arg(
        long,
        default_value = "eth0",
        value_name = "NAME",
        help_heading = "Networks"
    )]
    uplink: String,
    /// A plugin type that claims may name, `*` for every type; may be repeated. Plugins run as
    /// root. A DeviceClass may name every type.
    #[arg(
        long = "allow-cni-type",
        value_name = "TYPE",
        value_parser = plugin_type,
        default_values = ndra_core::cni::DEFAULT_TYPES,
        help_heading = "Networks"
    )]
    allow_cni_types: Vec<String>,
    /// Refuse network configuration in claims; only DeviceClasses may carry it.
    #[arg(long, help_heading = "Networks")]
    class_config_only: bool,
    /// Write no files by which programs in containers find their interfaces (KEP-5304). Claims
    /// that are prepared already keep theirs.
    #[arg(long, help_heading = "Networks")]
    no_device_metadata: bool,
    /// How often an interface's removal is tried before the pod is let go and the rest is
    /// done in the background.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Networks")]
    del_attempts: u32,
    /// How long all removals for one claim may take before that.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration::parse, help_heading = "Networks")]
    release_timeout: Duration,
    /// How long between two tries in the background.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration::parse, help_heading = "Networks")]
    orphan_retry: Duration,

    /// What to log: error, warn, info, debug, trace, or a filter such as ndra_core=debug.
    #[arg(
        long,
        default_value = "info",
        env = "NDRA_LOG",
        hide_env_values = true,
        value_name = "FILTER",
        help_heading = "Log"
    )]
    log: String,
    /// How to write the log: for people, or one JSON object a line.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT", help_heading = "Log")]
    log_format: LogFormat,
    /// End when standard input closes, so that a harness that dies leaves no driver behind.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Who runs the CNI plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cni {
    /// The Multus daemon, over its socket.
    Multus,
    /// The driver itself.
    Exec,
}

/// What the kubelet speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KubeletApi {
    /// Kubernetes 1.34 and newer (DRAPlugin v1 and v1beta1, resource.k8s.io/v1).
    V1,
    /// Kubernetes 1.29 and 1.30, with the driver's own controller (v1alpha3.Node,
    /// resource.k8s.io/v1alpha2).
    V1alpha3,
}

/// A socket's path; `unix://` before it is allowed.
pub(crate) fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.is_empty() {
        return Err("is empty: name the socket's path".into());
    }
    Ok(path.into())
}

impl Args {
    /// The settings that these options make.
    pub(crate) fn config(self) -> Config {
        let plugin_dir = self
            .plugin_dir
            .unwrap_or_else(|| PathBuf::from("/var/lib/kubelet/plugins").join(&self.driver_name));
        Config {
            driver_name: self.driver_name,
            node_name: self.node_name,
            instance: self.instance,
            kubeconfig: self.kubeconfig,
            kubelet_api: match self.kubelet_api {
                KubeletApi::V1 => driver::KubeletApi::Current,
                KubeletApi::V1alpha3 => driver::KubeletApi::V1alpha3,
            },
            registry_dir: self.registry_dir,
            plugin_dir,
            state_dir: self.state_dir,
            cdi_dir: self.cdi_dir,
            hook_path: self.hook_path,
            hook_args: self.hook_args,
            callback_socket: self.callback_socket,
            events_socket: self.events_socket,
            health: self
                .health_port
                .map(|port| SocketAddr::new(self.health_ip, port)),
            metrics: self
                .metrics_port
                .map(|port| SocketAddr::new(self.metrics_ip, port)),
            cri_socket: self.cri_socket,
            cni: match self.cni {
                Cni::Multus => driver::Cni::Multus {
                    socket: self.multus_socket,
                },
                Cni::Exec => driver::Cni::Exec,
            },
            cni_path: std::env::split_paths(&self.cni_path).collect(),
            cni_cache_dir: self.cni_cache_dir,
            uplink: self.uplink,
            devices: match self.slots {
                Some(count) => DeviceSource::Slots(count.into()),
                None => DeviceSource::Interfaces {
                    source: match self.interfaces_file {
                        Some(file) => Source::File(file),
                        None => Source::Kernel { sysfs: self.sysfs },
                    },
                    include: self.include_interfaces,
                    exclude: self.exclude_interfaces,
                    share: self.share_interfaces,
                    attachments: self.max_attachments.into(),
                },
            },
            allow_cni_types: ndra_core::cni::Policy::types(
                self.allow_cni_types.iter().map(String::as_str),
            ),
            class_config_only: self.class_config_only,
            device_metadata: !self.no_device_metadata,
            hook_kill_after: self.hook_kill_after,
            hook_timeout: self.hook_timeout,
            cni_timeout: self.cni_timeout,
            cri_timeout: self.cri_timeout,
            api_timeout: self.api_timeout,
            del_attempts: self.del_attempts,
            release_timeout: self.release_timeout,
            orphan_retry: self.orphan_retry,
            forgotten_check: self.forgotten_check,
            stop_timeout: self.stop_timeout,
            event_ring: self.event_ring as usize,
        }
    }
}

/// A plugin's type, or `*`. What can be no type would allow nothing and say nothing.
pub(crate) fn plugin_type(text: &str) -> Result<String, String> {
    if text == "*" || ndra_core::cni::is_plugin_type(text) {
        return Ok(text.to_owned());
    }
    Err("write a CNI plugin's name, such as macvlan, or `*` for every type".into())
}

/// Runs the driver until SIGTERM or Ctrl-C.
pub(crate) async fn run(args: Args) -> Result<ExitCode, Failure> {
    log::init(&args.log, args.log_format)?;
    // Before the start, so that a signal during it is not lost.
    let end = signals::end()?;
    let orphaned = args.until_stdin_closes.then(stdin_closes);
    let end = async {
        match orphaned {
            Some(orphaned) => tokio::select! {
                () = end => {}
                _ = orphaned => {}
            },
            None => end.await,
        }
    };
    tokio::pin!(end);
    // It may stand by for long.
    let driver = tokio::select! {
        started = Driver::start(args.config()) => started.map_err(failed)?,
        () = &mut end => return Ok(ExitCode::SUCCESS),
    };
    end.await;
    driver.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn failed(error: StartError) -> Failure {
    let next = match &error {
        StartError::Config(_) => "`ndra driver --help` lists every option",
        StartError::Connect(_) => "--kubeconfig names how to reach the API server",
        _ => return Failure::run(error.to_string(), ""),
    };
    Problem::new(Place::file("ndra driver"), error.to_string(), next).into()
}

/// Resolves when standard input ends. The thread that reads it is never joined: a read
/// cannot be given up, and the process ends without it.
pub(crate) fn stdin_closes() -> tokio::sync::oneshot::Receiver<()> {
    let (closed, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = closed.send(());
    });
    wait
}
