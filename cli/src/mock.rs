//! `ndra mock`: each mock as a process of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use ndra_core::event::Recorder;
use ndra_core::gate::Gate;
use ndra_mock_apiserver::Access;

use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::signals;
use crate::simulate::plugins::{Call, ask};

/// Events that a mock keeps; nobody reads them here.
const RING: usize = 16;

/// Which mock. Each prints one line when it runs: where it is to be met.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Kubelet(Kubelet),
    Cri(Cri),
    Multus(Multus),
    Apiserver(Apiserver),
    /// Be a CNI plugin of a simulation.
    #[command(hide = true)]
    Plugin(Plugin),
}

/// A kubelet: registers DRA plugins and runs the node's pods over any CRI runtime.
#[derive(Debug, Args)]
pub(crate) struct Kubelet {
    /// The API server.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// The node whose pods it runs.
    #[arg(long, default_value = "laptop", value_name = "NAME")]
    node: String,
    /// The directory that is watched for plugins' sockets.
    #[arg(long, value_name = "DIR")]
    registry: PathBuf,
    /// The runtime's CRI socket.
    #[arg(long, value_name = "SOCKET")]
    cri: PathBuf,
    /// The file that remembers prepared claims.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// A DRA version it knows; may be repeated. One that knows v1alpha3 knows no other.
    #[arg(long = "api", value_enum, default_values = ["v1", "v1beta1"], value_name = "VERSION")]
    versions: Vec<KubeletApi>,
    /// Wait milliseconds where a real kubelet waits seconds.
    #[arg(long)]
    quick: bool,
}

/// A version of the DRA service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KubeletApi {
    /// Kubernetes 1.34 and later.
    V1,
    /// Kubernetes 1.32 and 1.33.
    V1beta1,
    /// Kubernetes 1.29 and 1.30: v1alpha3.Node, with claims of resource.k8s.io/v1alpha2.
    V1alpha3,
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

/// A container runtime without containers: sandboxes, CDI and OCI hooks.
#[derive(Debug, Args)]
pub(crate) struct Cri {
    /// Where it listens.
    #[arg(long, value_name = "SOCKET")]
    socket: PathBuf,
    /// Where CDI specs are; may be repeated, later ones win.
    #[arg(long = "cdi-dir", value_name = "DIR", required = true)]
    cdi_dirs: Vec<PathBuf>,
    /// Where bundles go.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Where the files go that stand for network namespaces.
    #[arg(long, value_name = "DIR")]
    netns_dir: PathBuf,
    /// Which runtime it behaves like.
    #[arg(long, value_enum, default_value_t = crate::simulate::Flavor::Containerd, value_name = "FLAVOR")]
    flavor: crate::simulate::Flavor,
}

/// The Multus daemon, answering as macvlan would.
#[derive(Debug, Args)]
pub(crate) struct Multus {
    /// Where it listens.
    #[arg(long, value_name = "SOCKET")]
    socket: PathBuf,
    /// The API server, where it looks pods up.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// A link of the node; may be repeated. The first has the default route.
    #[arg(long = "link", default_values = ["eth0"], value_name = "NAME")]
    links: Vec<String>,
    /// Run real plugins from these directories (`:` between them) instead.
    #[arg(long, env = "CNI_PATH", hide_env_values = true, value_name = "DIRS")]
    cni_path: Option<std::ffi::OsString>,
    /// Where real plugins' results are kept.
    #[arg(long, default_value = "/var/lib/cni", value_name = "DIR")]
    cni_cache_dir: PathBuf,
}

/// An API server with the objects of the flow, scheduler and controllers.
#[derive(Debug, Args)]
pub(crate) struct Apiserver {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: std::net::SocketAddr,
    /// Also write a kubeconfig for it.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Which Kubernetes it is.
    #[arg(long, value_enum, default_value_t = ResourceApi::V1, value_name = "VERSION")]
    api: ResourceApi,
    /// Serve TLS, with a CA made on the spot, to whoever shows a token. The kubeconfig holds
    /// both.
    #[arg(long)]
    tls: bool,
    /// Also write what a pod finds in /var/run/secrets/kubernetes.io/serviceaccount: token,
    /// ca.crt and namespace.
    #[arg(long, requires = "tls", value_name = "DIR")]
    service_account: Option<PathBuf>,
}

/// A version of resource.k8s.io.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ResourceApi {
    /// Kubernetes 1.34 and later.
    V1,
    /// Kubernetes 1.29: ResourceClasses, and the driver's own controller, which allocates.
    V1alpha2,
}

impl From<ResourceApi> for ndra_mock_apiserver::ResourceApi {
    fn from(api: ResourceApi) -> Self {
        match api {
            ResourceApi::V1 => Self::V1,
            ResourceApi::V1alpha2 => Self::V1alpha2,
        }
    }
}

/// See [`Command::Plugin`].
#[derive(Debug, Args)]
pub(crate) struct Plugin {
    #[arg(long)]
    socket: PathBuf,
    name: String,
}

/// Runs a mock until SIGTERM or Ctrl-C.
pub(crate) async fn run(command: Command) -> Result<ExitCode, Failure> {
    let end = signals::end()?;
    match command {
        Command::Plugin(plugin) => return run_plugin(plugin).await,
        Command::Kubelet(args) => {
            if args.versions.contains(&KubeletApi::V1alpha3) && args.versions.len() > 1 {
                let place = Place::file("--api");
                let mend = "start one kubelet for each";
                return Err(Problem::new(place, "v1alpha3 goes with no other", mend).into());
            }
            let place = args.registry.display().to_string();
            let client = client(&args.kubeconfig).await?;
            let kubelet = ndra_mock_kubelet::Kubelet::start(ndra_mock_kubelet::Config {
                node: args.node,
                client,
                registry: args.registry,
                cri: args.cri,
                checkpoint: args.checkpoint,
                versions: args.versions.into_iter().map(Into::into).collect(),
                timing: if args.quick {
                    ndra_mock_kubelet::Timing::quick()
                } else {
                    ndra_mock_kubelet::Timing::default()
                },
                recorder: Recorder::new(RING),
                gate: Gate::default(),
            })
            .await
            .map_err(failed)?;
            running(&place);
            end.await;
            kubelet.stop().await;
        }
        Command::Cri(args) => {
            let place = args.socket.display().to_string();
            let runtime = ndra_mock_cri::Runtime::start(ndra_mock_cri::Config {
                socket: args.socket,
                cdi_dirs: args.cdi_dirs,
                state_dir: args.state_dir,
                netns_dir: args.netns_dir,
                namespaces: ndra_mock_cri::Namespaces::Files,
                flavor: args.flavor.into(),
                recorder: Recorder::new(RING),
                gate: Gate::default(),
            })
            .await
            .map_err(failed)?;
            running(&place);
            end.await;
            runtime.stop().await;
        }
        Command::Multus(args) => {
            let place = args.socket.display().to_string();
            let client = client(&args.kubeconfig).await?;
            let multus = ndra_mock_multus::Multus::start(multus_config(args, client))
                .await
                .map_err(failed)?;
            running(&place);
            end.await;
            multus.stop().await;
        }
        Command::Apiserver(args) => {
            let server = ndra_mock_apiserver::ApiServer::start(ndra_mock_apiserver::Config {
                listen: args.listen,
                access: if args.tls {
                    Access::Token
                } else {
                    Access::Open
                },
                resource_api: args.api.into(),
                ..ndra_mock_apiserver::Config::default()
            })
            .await
            .map_err(failed)?;
            let unwritten = |path: &Path, error: std::io::Error| {
                Failure::run(
                    format!("cannot write {}: {error}", path.display()),
                    "name one that can be written",
                )
            };
            if let Some(path) = &args.kubeconfig {
                std::fs::write(path, server.kubeconfig()).map_err(|e| unwritten(path, e))?;
            }
            if let (Some(path), Some(credentials)) = (&args.service_account, server.credentials()) {
                credentials
                    .write_service_account(path, "default")
                    .map_err(|e| unwritten(path, e))?;
            }
            running(&server.url());
            end.await;
            server.stop().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn multus_config(args: Multus, client: kube::Client) -> ndra_mock_multus::Config {
    let mut config = ndra_mock_multus::Config::new(args.socket, client);
    config.backend = match args.cni_path {
        Some(path) => ndra_mock_multus::Backend::Exec(ndra_mock_multus::ExecConfig {
            cni_path: std::env::split_paths(&path).collect(),
            cache_dir: args.cni_cache_dir,
        }),
        None => {
            ndra_mock_multus::Backend::Record(ndra_mock_multus::RecordConfig { links: args.links })
        }
    };
    config
}

/// The one line on standard output: it runs, and can be met there.
fn running(place: &str) {
    let _ = writeln!(std::io::stdout(), "{place}");
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::run(error.to_string(), "")
}

async fn client(kubeconfig: &std::path::Path) -> Result<kube::Client, Failure> {
    let connected = ndra_core::kube::connect(Some(kubeconfig), "ndra-mock").await;
    connected.map_err(|error| {
        let mend = "--kubeconfig names how to reach the API server";
        Problem::new(Place::file("ndra mock"), error.to_string(), mend).into()
    })
}

/// The plugin's protocol is its environment and standard input.
async fn run_plugin(plugin: Plugin) -> Result<ExitCode, Failure> {
    let env = |name| std::env::var(name).unwrap_or_default();
    let stdin = std::io::read_to_string(std::io::stdin()).map_err(failed)?;
    let call = Call {
        plugin: plugin.name,
        command: env("CNI_COMMAND"),
        container_id: env("CNI_CONTAINERID"),
        netns: env("CNI_NETNS"),
        if_name: env("CNI_IFNAME"),
        args: env("CNI_ARGS"),
        stdin,
    };
    let answer = ask(&plugin.socket, &call).await.map_err(failed)?;
    std::io::stdout()
        .write_all(answer.stdout.as_bytes())
        .map_err(failed)?;
    Ok(ExitCode::from(answer.code))
}
