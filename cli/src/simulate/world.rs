//! The node of a run: API server, Multus, runtime and kubelet as mocks in this process, the
//! driver in its own, and the handles to strike them with faults.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use ndra_core::event::Recorder;
use ndra_core::gate::{Gate, GateKeeper};
use ndra_mock_apiserver::{Access, ApiServer, Gates, Rbac, ResourceApi};
use ndra_mock_cri::Namespaces;
use ndra_mock_kubelet::{Kubelet, PluginStatus};
use tokio_util::task::AbortOnDropHandle;

use super::KubeletApi;
use super::board::Board;
use super::lane::{Lane, MultusKind};
use super::parts::{Cluster, Network, NodeMultus, NodeRuntime, Setting, part};
use super::plugins::Plugins;
use super::process::DriverProcess;
use super::rights;
use super::roll::Roll;
use super::stream::Inlet;
use super::workdir::WorkDir;
use crate::failure::Failure;
use crate::manifest::{Object, kind};

/// The name of the one node.
pub(crate) const NODE: &str = "laptop";
/// The driver that is run.
pub(crate) const DRIVER: &str = "dra.networking";

/// How a world is made.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) lane: Lane,
    pub(crate) kubelet_api: KubeletApi,
    /// Slots for the driver to offer, where it is not to offer interfaces.
    pub(crate) slots: Option<usize>,
    /// How many attachments the node's uplink takes.
    pub(crate) attachments: usize,
    /// Interfaces of the node beside its uplink.
    pub(crate) interfaces: Vec<String>,
    /// Whether the API server lets claims share devices.
    pub(crate) consumable_capacity: bool,
    /// Further options of `ndra driver`.
    pub(crate) driver: Vec<String>,
    /// What the driver may do; `None` is everything.
    pub(crate) rbac: Option<Rbac>,
    /// Whether somebody will hold steps back.
    pub(crate) gated: bool,
    /// The longest wait.
    pub(crate) timeout: Duration,
    /// Time a driver has to come back before its slices are deleted.
    pub(crate) slice_wipe: Duration,
}

/// How the driver is ended.
pub(crate) use crate::scenario::Stop;

/// A running world.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) work: WorkDir,
    pub(crate) board: Board,
    pub(crate) inlet: Inlet,
    pub(crate) client: kube::Client,
    pub(crate) runtime: NodeRuntime,
    pub(crate) multus: NodeMultus,
    pub(crate) kubelet: Option<Kubelet>,
    pub(crate) driver: Option<DriverProcess>,
    /// In the middle of a rolling update.
    pub(super) roll: Option<Roll>,
    /// Whoever holds steps back takes it for that time.
    pub(crate) gates: Option<GateKeeper>,
    pub(crate) plugins: Plugins,
    pub(crate) network: Network,
    api: ApiServer,
    recorder: Recorder,
    gate: Gate,
    /// UIDs of the ResourceSlices that were there when the kubelet last restarted.
    pub(crate) old_slices: Vec<String>,
    /// How many drivers there were.
    pub(super) lives: u64,
    /// Follows the driver's events.
    pub(super) tail: Option<AbortOnDropHandle<()>>,
    /// Reflect objects; held, not read.
    followers: Vec<AbortOnDropHandle<()>>,
    _files: Box<dyn Send>,
}

impl World {
    /// Starts everything; returns when the kubelet knows the driver and its devices are
    /// published.
    pub(crate) async fn start(
        options: Options,
        work: WorkDir,
        board: Board,
        inlet: Inlet,
        recorder: Recorder,
        objects: &[Object],
    ) -> Result<Self, Failure> {
        let files = Box::new(board.watch_files(work.path())?);
        let api = ApiServer::start(ndra_mock_apiserver::Config {
            rbac: options.rbac.clone().unwrap_or_default(),
            access: match options.lane.multus {
                MultusKind::Played => Access::Open,
                // A client in a pod knows no other.
                MultusKind::Real(_) => Access::Token,
            },
            gates: Gates {
                consumable_capacity: options.consumable_capacity,
            },
            resource_api: match options.kubelet_api {
                KubeletApi::V1alpha3 => ResourceApi::V1alpha2,
                KubeletApi::V1 | KubeletApi::V1beta1 => ResourceApi::V1,
            },
            ..ndra_mock_apiserver::Config::default()
        })
        .await
        .map_err(part("mock API server"))?;
        // Only the driver reads it.
        let kubeconfig = match options.rbac {
            Some(_) => api.kubeconfig_with(rights::TOKEN),
            None => api.kubeconfig(),
        };
        std::fs::write(work.kubeconfig(), kubeconfig)
            .map_err(|error| Failure::run(format!("cannot write the kubeconfig: {error}"), ""))?;
        let client = client(&api).await?;
        let (gate, gates) = if options.gated {
            let (gate, keeper) = Gate::pair();
            (gate, Some(keeper))
        } else {
            (Gate::default(), None)
        };
        let network = Network::new(&options.lane, &work, &options.interfaces)
            .map_err(|error| Failure::run(error, ""))?;
        let plugins = match network.plugins() {
            Ok(played) => Plugins::start(&work, played)?,
            Err(real) => Plugins::real(real),
        };
        let runtime = NodeRuntime::start(
            &options.lane.runtime,
            Setting {
                work: &work,
                recorder: recorder.clone(),
                gate: gate.clone(),
                namespaces: match network.real() {
                    true => Namespaces::Kernel,
                    false => Namespaces::Files,
                },
                board: board.clone(),
            },
        )
        .await?;
        let cluster = Cluster {
            api: &api,
            client: &client,
        };
        let multus = NodeMultus::start(&options.lane, &work, cluster, &network).await?;
        let followers = board.follow(&client, options.kubelet_api == KubeletApi::V1alpha3);
        let mut world = Self {
            options,
            work,
            board,
            inlet,
            client,
            runtime,
            multus,
            kubelet: None,
            driver: None,
            roll: None,
            gates,
            plugins,
            network,
            api,
            recorder,
            gate,
            old_slices: Vec::new(),
            lives: 0,
            tail: None,
            followers,
            _files: files,
        };
        // The slowest to start: a process of its own.
        world.start_driver()?;
        world.ground(objects).await?;
        world.start_kubelet().await?;
        world.ready().await?;
        Ok(world)
    }

    /// Whether it is Kubernetes 1.29.
    pub(super) fn is_classic(&self) -> bool {
        self.options.kubelet_api == KubeletApi::V1alpha3
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let mut plugins = match &self.kubelet {
            Some(kubelet) => kubelet.plugins(),
            None => return Ok(()),
        };
        let (board, limit) = (self.board.clone(), self.options.timeout);
        // Nothing is published there.
        let publishes = !self.is_classic();
        let Some(driver) = &mut self.driver else {
            return Ok(());
        };
        let known = async {
            let connected = plugins.wait_for(|plugins| {
                plugins
                    .get(DRIVER)
                    .is_some_and(|plugin| plugin.status == PluginStatus::Connected)
            });
            let connected = tokio::time::timeout(limit, connected).await;
            if !publishes {
                return matches!(connected, Ok(Ok(_)));
            }
            let published = board
                .until(limit, |seen| seen.objects(&kind::SLICE).next().map(drop))
                .await;
            matches!(connected, Ok(Ok(_))) && published.is_some()
        };
        tokio::select! {
            known = known => if known { Ok(()) } else {
                Err(Failure::run(
                    "the driver did not register with the kubelet and publish its devices in time",
                    "run again with --keep and read logs/driver.log in the work directory",
                ))
            },
            end = driver.ended() => Err(Failure::run(end, "run again with --keep to keep its whole log")),
        }
    }

    /// Ends the kubelet and starts another.
    pub(crate) async fn restart_kubelet(&mut self) -> Result<(), Failure> {
        if let Some(kubelet) = self.kubelet.take() {
            kubelet.stop().await;
        }
        self.old_slices = self.board.look(|seen| {
            let slices = seen.objects(&kind::SLICE);
            let uids = slices.filter_map(|(_, slice)| slice.pointer("/metadata/uid")?.as_str());
            uids.map(str::to_owned).collect()
        });
        self.start_kubelet().await
    }

    /// Starts a kubelet, over the checkpoint of the one before.
    pub(crate) async fn start_kubelet(&mut self) -> Result<(), Failure> {
        let kubelet = Kubelet::start(ndra_mock_kubelet::Config {
            node: NODE.into(),
            client: self.client.clone(),
            registry: self.work.at("reg"),
            cri: self.runtime.socket().to_owned(),
            checkpoint: self.work.at("kubelet/dra_manager_state"),
            versions: match self.options.kubelet_api {
                KubeletApi::V1 => vec![
                    ndra_mock_kubelet::ApiVersion::V1,
                    ndra_mock_kubelet::ApiVersion::V1beta1,
                ],
                KubeletApi::V1beta1 => vec![ndra_mock_kubelet::ApiVersion::V1beta1],
                KubeletApi::V1alpha3 => vec![ndra_mock_kubelet::ApiVersion::V1alpha3],
            },
            timing: ndra_mock_kubelet::Timing {
                slice_wipe: self.options.slice_wipe,
                ..ndra_mock_kubelet::Timing::quick()
            },
            recorder: self.recorder.clone(),
            gate: self.gate.clone(),
        })
        .await
        .map_err(part("mock kubelet"))?;
        let (mut health, board) = (kubelet.health(), self.board.clone());
        let told = tokio::spawn(async move {
            while health.changed().await.is_ok() {
                health.mark_unchanged();
                board.nudge();
            }
        });
        // The one of the kubelet before ends with it.
        self.followers.push(AbortOnDropHandle::new(told));
        self.kubelet = Some(kubelet);
        Ok(())
    }

    /// How the kubelet takes the devices of the node's pool to be.
    pub(crate) fn health(&self) -> BTreeMap<String, String> {
        let Some(kubelet) = &self.kubelet else {
            return BTreeMap::new();
        };
        let health = kubelet.health();
        let health = health.borrow();
        let devices = health.get(DRIVER).into_iter().flatten();
        let devices = devices.filter_map(|(key, device)| {
            let name = key.strip_prefix(NODE)?.strip_prefix('/')?;
            Some((name.to_owned(), format!("{:?}", device.now())))
        });
        devices.collect()
    }

    /// Orders faults of the API server.
    pub(crate) fn api_faults(&self) -> ndra_mock_apiserver::Faults {
        self.api.faults()
    }

    /// Ends what is left, the driver and the kubelet excepted, which [`super::end`] ends.
    pub(crate) async fn stop(mut self) -> WorkDir {
        self.plugins.stop().await;
        if let Some(kubelet) = self.kubelet.take() {
            kubelet.stop().await;
        }
        self.multus.go().await;
        self.runtime.stop().await;
        self.followers.clear();
        self.api.stop().await;
        self.work
    }
}

async fn client(api: &ApiServer) -> Result<kube::Client, Failure> {
    let fail = |error: &dyn std::fmt::Display| {
        Failure::run(format!("cannot use the mock API server: {error}"), "")
    };
    let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig()).map_err(|e| fail(&e))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    kube::Client::try_from(config.map_err(|e| fail(&e))?).map_err(|e| fail(&e))
}
