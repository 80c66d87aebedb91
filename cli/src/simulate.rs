//! `ndra simulate`: the driver and the whole node around it, run through the lives of pods.

mod board;
mod deployment;
mod end;
mod fault;
mod files;
mod ground;
mod home;
mod hooks;
mod inside;
mod judge;
mod lane;
mod life;
mod life_of_driver;
mod objects;
mod parts;
pub(crate) mod plugins;
mod process;
mod rights;
mod roll;
mod run;
mod show;
mod stage;
mod stream;
mod watched;
mod workdir;
mod world;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::failure::Failure;
use crate::scenario::{SHIPPED, Scenario};
use crate::{driver, duration};
pub(crate) use ground::Ground;
use lane::{MultusKind, NetworkKind};

/// Run pods through their whole life on this machine, and show every step.
///
/// The driver runs as a process of its own; kubelet, container runtime, Multus and API
/// server are mocks that behave like the real ones. Nothing needs root, and nothing is
/// touched outside one temporary directory.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 as expected, 1 the flow failed or left something behind, \
                        2 wrong usage or bad input."
)]
pub(crate) struct Args {
    /// Manifests to run, YAML or JSON; `-` reads standard input. Without one, the shipped
    /// examples/pod.yaml.
    #[arg(value_name = "FILE", conflicts_with = "scenario")]
    files: Vec<PathBuf>,
    /// How to show what happens.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// Also write the events to this file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Show it live in the terminal, with keys to start pods and to break things.
    #[arg(long, conflicts_with_all = ["scenario", "pods", "parallel", "output", "list_scenarios"])]
    watch: bool,
    /// Keep the work directory (sockets, CDI specs, logs) and print its path.
    #[arg(long)]
    keep: bool,
    /// Which container runtime the mock behaves like.
    #[arg(long, value_enum, value_name = "FLAVOR")]
    cri_flavor: Option<Flavor>,
    /// Run the pods in a real container runtime: the CRI socket of one that has no pods.
    /// `scripts/real-runtime up` starts one. Needs root.
    #[arg(long, value_name = "SOCKET", value_parser = driver::socket, conflicts_with_all = ["cri_flavor", "watch", "netns"])]
    cri: Option<PathBuf>,
    /// Who answers the driver when it asks for interfaces: the mock, or the real thick daemon,
    /// `multus-daemon` of Multus 4.3 or newer, by its path or by its name on PATH. It runs
    /// real CNI plugins against the mock API server.
    #[arg(long, default_value = "played", value_name = "played|PROGRAM")]
    multus: PathBuf,
    /// Where pods' network namespaces are.
    #[arg(long, value_enum, default_value_t = Netns::Auto, value_name = "KIND")]
    netns: Netns,
    /// An interface that the node has beside its uplink, to be given away whole; may be
    /// repeated.
    #[arg(long = "interface", value_name = "NAME", value_parser = interface, conflicts_with = "scenario")]
    interfaces: Vec<String>,
    /// Who makes interfaces. Without it, the kernel where namespaces are real, else nobody.
    #[arg(long, value_enum, value_name = "BACKEND")]
    cni: Option<Cni>,
    /// Directories with CNI plugins, for `--cni exec` and the real Multus.
    #[arg(
        long,
        env = "CNI_PATH",
        hide_env_values = true,
        default_value = "/opt/cni/bin:/usr/lib/cni",
        value_name = "DIRS"
    )]
    cni_path: OsString,
    /// The DRA version that the kubelet speaks.
    #[arg(long, value_enum, value_name = "VERSION")]
    kubelet_api: Option<KubeletApi>,
    /// Run so many copies of every pod, each with claims of its own.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "scenario")]
    pods: u16,
    /// How many of the copies live at the same time.
    #[arg(long, default_value_t = 8, value_name = "M", value_parser = clap::value_parser!(u16).range(1..=128), conflicts_with = "scenario")]
    parallel: u16,
    /// Run a scenario: objects, what happens to them, and what must come of it.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// List the shipped scenarios, one a line, name first.
    #[arg(long, conflicts_with_all = ["files", "scenario"])]
    list_scenarios: bool,
    /// Let the driver do only what the roles in this file grant its service account; the
    /// output of `helm template` is such a file.
    #[arg(long, value_name = "FILE")]
    rbac: Option<PathBuf>,
    /// Also write which of those permissions were used, as JSON.
    #[arg(long, hide = true, value_name = "FILE", requires = "rbac")]
    rbac_report: Option<PathBuf>,
    /// How long any one wait may take before the run counts as failed.
    #[arg(long, default_value = "20s", value_name = "DURATION", value_parser = duration::parse)]
    timeout: Duration,
}

/// How to show what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A timeline for people.
    Text,
    /// One event a line, then a summary.
    Json,
}

/// Where pods' network namespaces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Netns {
    /// In the kernel where this user may make them, else played.
    Auto,
    /// In the kernel, away from the host's: Linux, no root needed.
    Real,
    /// Played: files stand for them.
    Virtual,
}

/// A further interface's name, with room for that of its other end.
fn interface(name: &str) -> Result<String, String> {
    if name.len() > 14 || !ndra_core::cni::is_if_name(name) || name == ndra_netns::UPLINK {
        return Err(format!(
            "is no name for a further interface: 1 to 14 bytes without `/`, `:` or space, and not {}",
            ndra_netns::UPLINK
        ));
    }
    Ok(name.into())
}

/// Who makes interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cni {
    /// Nobody: what macvlan would do is recorded.
    Record,
    /// The kernel, as the macvlan plugin would ask it.
    Kernel,
    /// Real CNI plugins.
    Exec,
}

/// Which container runtime the mock behaves like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flavor {
    /// containerd with runc.
    Containerd,
    /// CRI-O with crun.
    Crio,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Containerd => "containerd (runc)",
            Self::Crio => "CRI-O (crun)",
        })
    }
}

/// The DRA version that the kubelet speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KubeletApi {
    /// Kubernetes 1.34 and later.
    V1,
    /// Kubernetes 1.32 and 1.33.
    V1beta1,
    /// Kubernetes 1.29 and 1.30: v1alpha3.Node, with claims of resource.k8s.io/v1alpha2 and
    /// the driver's own controller.
    V1alpha3,
}

impl fmt::Display for KubeletApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V1beta1 => "v1beta1",
            Self::V1alpha3 => "v1alpha3",
        })
    }
}

/// Where this process takes a run, before it starts a thread.
pub(crate) fn enter(args: &Args) -> Result<Ground, Failure> {
    if args.list_scenarios {
        return Ok(Ground {
            network: NetworkKind::Record,
            multus: MultusKind::Played,
        });
    }
    ground::enter(args)
}

/// Runs what the command line asks for.
pub(crate) async fn run(args: Args, ground: Ground) -> Result<ExitCode, Failure> {
    if args.list_scenarios {
        list_scenarios()?;
        return Ok(ExitCode::SUCCESS);
    }
    run::run(args, ground).await
}

fn list_scenarios() -> Result<(), Failure> {
    let width = SHIPPED.iter().map(|(name, _)| name.len()).max();
    let mut text = String::new();
    for (name, _) in SHIPPED {
        let scenario = Scenario::find(name)?;
        let width = width.unwrap_or_default();
        text.push_str(&format!("{name:<width$}  {}\n", scenario.title));
    }
    // A reader that has gone away wants no more.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(())
}

impl From<Flavor> for ndra_mock_cri::Flavor {
    fn from(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Containerd => Self::Containerd,
            Flavor::Crio => Self::Crio,
        }
    }
}

impl From<KubeletApi> for ndra_mock_kubelet::ApiVersion {
    fn from(api: KubeletApi) -> Self {
        match api {
            KubeletApi::V1 => Self::V1,
            KubeletApi::V1beta1 => Self::V1beta1,
            KubeletApi::V1alpha3 => Self::V1alpha3,
        }
    }
}
