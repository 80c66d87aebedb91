//! Wires the rooms into the process that runs on a node.
//!
//! Started in the order in which others may rely on it: the record first, the sockets
//! next, the registration with the kubelet last. Stopped the other way round.

mod config;
mod handover;
mod offered;
pub mod operator;
mod port;
mod running;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::attachment::operator::Operator;
use crate::attachment::record::{RecordError, Store, boot_id};
use crate::attachment::{Manager, Network, State, device_state, work_off};
use crate::callback::CallbackService;
use crate::cdi::{CdiDir, CdiError, HookCommand};
use crate::cni::Executor;
use crate::cri::Cri;
use crate::devices::SourceError;
use crate::dra::{
    CLASSIC_VERSIONS, Node, NodeConfig, ResourceHealth, V1, V1alpha3, V1beta1, VERSIONS,
    unprepare_forgotten,
};
use crate::event::{EventService, OwnState, Recorder};
use crate::gate::Gate;
use crate::health::{Duty, HealthService, HealthSources};
use crate::kube::claims::{ClaimApi, ClaimReader};
use crate::kube::slices::{Publisher, PublisherConfig};
use crate::kube::status::StatusConfig;
use crate::kube::{self, ConnectError, EventPoster, StatusWriter};
use crate::metadata::{Metadata, MetadataError};
use crate::metrics;
use crate::multus::Multus;
use crate::socket::{self, SocketError};
use crate::tasks::Tasks;
use crate::wire::dra_health_v1::dra_resource_health_server::DraResourceHealthServer as HealthV1Server;
use crate::wire::dra_health_v1alpha1::dra_resource_health_server::DraResourceHealthServer as HealthV1alpha1Server;
use crate::wire::dra_v1::dra_plugin_server::DraPluginServer as DraV1Server;
use crate::wire::dra_v1alpha3::node_server::NodeServer as DraV1alpha3Server;
use crate::wire::dra_v1beta1::dra_plugin_server::DraPluginServer as DraV1beta1Server;

use handover::Front;
use offered::Offered;
use running::Running;

pub use config::{Cni, Config, ConfigError, DeviceSource, KubeletApi};

/// How long a connection may take to carry the last answer. Clients may hold connections
/// open for ever, so waiting for their end is no way to stop.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Why the driver could not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict each other or reality.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The API server cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A socket cannot be used.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A CDI spec of a prepared claim cannot be written.
    #[error(transparent)]
    Cdi(#[from] CdiError),
    /// The node's interfaces cannot be looked at.
    #[error(transparent)]
    Devices(#[from] SourceError),
    /// The port for metrics cannot be had.
    #[error(
        "cannot serve metrics on {address}: {reason}; choose another --metrics-port (the chart's metrics.port) or --metrics-ip"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// A file that a prepared claim's containers read cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The port for probes cannot be had.
    #[error(
        "cannot serve the health on {address}: {reason}; choose another --health-port (the chart's health.port) or --health-ip"
    )]
    Health {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// A running driver. Owns its sockets and tasks; they end with [`Driver::stop`], and
/// less gently when it is dropped.
pub struct Driver {
    config: Config,
    registered: watch::Receiver<Option<Result<(), String>>>,
    recorder: Recorder,
    manager: Manager,
    status: Arc<StatusWriter>,
    events: Arc<EventPoster>,
    /// None where the API has no devices.
    publisher: Option<Publisher>,
    _offered: Offered,
    /// Registration ends first, so that the kubelet calls nobody who is leaving.
    registration: Running,
    calls: Running,
    stream: Running,
    health: Option<Running>,
    metrics: Option<AbortOnDropHandle<()>>,
    background: CancellationToken,
    tasks: Tasks,
    _guards: [DropGuard; 2],
}

impl Driver {
    /// Starts a driver: takes the record over, restores what depends on it, serves its
    /// sockets, publishes its devices and registers with the kubelet.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let client = kube::connect(config.kubeconfig.as_deref(), &config.user_agent()).await?;
        let versions: &'static [&'static str] = match config.kubelet_api {
            KubeletApi::Current => &VERSIONS,
            KubeletApi::V1alpha3 => &CLASSIC_VERSIONS,
        };
        let own = OwnState::new(&config.driver_name, env!("CARGO_PKG_VERSION"), versions);
        let (registered_tx, registered) = watch::channel(None);
        let mut front = Front::new(&own, registered_tx);
        let duty = Duty::default();
        let mut health = None;
        let store = match config.instance {
            None => {
                let patience = config.stop_timeout;
                let (state_dir, driver) = (&config.state_dir, &config.driver_name);
                Store::take_over(state_dir, driver, &boot_id(), patience).await?
            }
            Some(_) => {
                // Where the pods have an address of their own, or the port has changed. Else
                // the instance before answers on it, as it serves the node.
                match serve_health(&config, &own, &duty).await {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    served => health = served.map_err(|error| no_health(&config, &error))?,
                }
                handover::stand_by(&config, &mut front).await?
            }
        };
        handover::sweep(&config);
        let steps = metrics::Steps::new();
        let recorder = Recorder::observed(config.event_ring, steps.observer());
        let status = Arc::new(StatusWriter::start(
            client.clone(),
            StatusConfig {
                driver: config.driver_name.clone(),
                field_manager: config.driver_name.clone(),
                recorder: recorder.clone(),
                gate: Gate::default(),
                written: config.kubelet_api == KubeletApi::Current,
            },
        ));
        let events = Arc::new(EventPoster::start(
            client.clone(),
            config.driver_name.clone(),
            config.node_name.clone(),
        ));
        let claims = ClaimReader::new(
            client.clone(),
            match config.kubelet_api {
                KubeletApi::Current => ClaimApi::V1,
                KubeletApi::V1alpha3 => ClaimApi::V1alpha2,
            },
            config.api_timeout,
        );
        let manager = Manager::new(
            store,
            Cri::new(&config.cri_socket, config.cri_timeout)?,
            network(&config),
            claims.clone(),
            status.clone(),
            events.clone(),
            recorder.clone(),
            config.times(),
            metadata(&config),
        );
        let cdi = cdi(&config);
        manager.unpin_forgotten().await;
        restore(&manager, &cdi, &status)?;

        let offered = Offered::start(&config, manager.store()).await?;
        let background = CancellationToken::new();
        let tasks = Tasks::default();
        let node = Node::new(
            NodeConfig {
                driver: config.driver_name.clone(),
                node: config.node_name.clone(),
                defaults: config.defaults(),
                devices: offered.devices(),
                policy: config.policy(),
                api_timeout: config.api_timeout,
            },
            manager.clone(),
            cdi.clone(),
            client.clone(),
            claims,
            events.clone(),
            recorder.clone(),
            tasks.clone(),
            background.clone(),
        );
        let instance = uuid::Uuid::new_v4().to_string();
        let events_service = EventService::of_driver(recorder.clone(), instance, &own);
        let stream = Running::new(&own).and(
            "events",
            Server::builder()
                .add_service(events_service)
                .add_service(Operator::of_driver(manager.clone(), cdi).server()),
            &config.events_socket,
        )?;
        let callback = CallbackService::server(
            manager.clone(),
            recorder.clone(),
            tasks.clone(),
            config.hook_timeout,
        );
        let dra = match config.kubelet_api {
            KubeletApi::Current => {
                let health = ResourceHealth::new(
                    &config.node_name,
                    offered.devices(),
                    manager.store().clone(),
                    background.clone(),
                );
                Server::builder()
                    .add_service(DraV1Server::new(V1(node.clone(), own.clone())))
                    .add_service(DraV1beta1Server::new(V1beta1(node.clone(), own.clone())))
                    .add_service(HealthV1Server::new(health.clone()))
                    .add_service(HealthV1alpha1Server::new(health))
            }
            KubeletApi::V1alpha3 => {
                Server::builder().add_service(DraV1alpha3Server::new(V1alpha3(node.clone())))
            }
        };
        let callback = Server::builder().add_service(callback);
        let calls = Running::new(&own)
            .and("callback", callback, &config.callback_socket)?
            .on("dra", dra, &config.dra_socket(), front.dra(&config)?);
        let publisher = (config.kubelet_api == KubeletApi::Current).then(|| {
            Publisher::start(
                client,
                PublisherConfig {
                    driver: config.driver_name.clone(),
                    node: config.node_name.clone(),
                },
                offered.offer(),
            )
        });
        tasks.spawn(work_off(
            manager.clone(),
            config.orphan_retry,
            background.clone(),
        ));
        tasks.spawn(unprepare_forgotten(
            node,
            config.forgotten_check,
            background.clone(),
        ));
        let registration = front.registration(&config)?;
        // Last: who asks for it asks the other sockets.
        duty.begin(HealthSources {
            registration: config.registration_socket(),
            dra: config.dra_socket(),
            registered: registered.clone(),
            published: publisher.as_ref().map(Publisher::published),
        });
        if health.is_none() {
            let served = serve_health(&config, &own, &duty).await;
            health = served.map_err(|error| no_health(&config, &error))?;
        }
        let metrics = match config.metrics {
            None => None,
            Some(address) => {
                let sources = metrics::Sources {
                    steps,
                    store: manager.store().clone(),
                    registered: registered.clone(),
                    published: publisher.as_ref().map(Publisher::published),
                    devices: offered.devices(),
                };
                let served = metrics::serve(address, sources).await;
                let (_, server) = served.map_err(|error| StartError::Metrics {
                    address,
                    reason: socket::io_text(&error),
                })?;
                Some(server)
            }
        };
        info!(driver = %config.driver_name, node = %config.node_name, "started");
        Ok(Self {
            registered,
            recorder,
            manager,
            status,
            events,
            publisher,
            _offered: offered,
            registration,
            calls,
            stream,
            health,
            metrics,
            _guards: [background.clone().drop_guard(), tasks.guard()],
            tasks,
            background,
            config,
        })
    }

    /// What the kubelet said last: nothing yet, registered, or why not.
    pub fn registered(&self) -> watch::Receiver<Option<Result<(), String>>> {
        self.registered.clone()
    }

    /// The driver's events.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Attachments and their record.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Stops: no new calls, those under way come to their end, what waits for the API
    /// server is written, all within the configured time. Attachments, CDI specs and
    /// ResourceSlices stay: pods live on, and the next instance goes on from the record.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.config.stop_timeout;
        handover::leave(&self.config, self.manager.store(), deadline).await;
        // A successor on the same address takes these ports.
        if let Some(health) = self.health {
            health.stop(LAST_WORDS).await;
        }
        if let Some(metrics) = self.metrics {
            metrics.abort();
            let _ = metrics.await;
        }
        self.registration.stop(LAST_WORDS).await;
        self.background.cancel();
        self.calls.refuse();
        if !self.tasks.close(deadline).await {
            warn!("calls under way were given up; the next instance clears what they left");
        }
        self.calls.stop(LAST_WORDS).await;
        if let Some(publisher) = self.publisher {
            publisher.stop().await;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let (written, ()) = tokio::join!(self.status.flush(left), self.events.stop(left));
        if !written {
            warn!("claim statuses were left unwritten; the next instance writes them");
        }
        // Last, so that a watcher sees all of it.
        self.stream.stop(LAST_WORDS).await;
        info!(driver = %self.config.driver_name, "stopped");
    }
}

/// Serves the health, where a port is given for it.
async fn serve_health(config: &Config, own: &OwnState, duty: &Duty) -> io::Result<Option<Running>> {
    let Some(address) = config.health else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await?;
    let router = Server::builder().add_service(HealthService::server(duty.clone()));
    Ok(Some(Running::serve_port(own, router, listener)))
}

fn no_health(config: &Config, error: &io::Error) -> StartError {
    StartError::Health {
        address: config.health.unwrap_or(([0, 0, 0, 0], 0).into()),
        reason: socket::io_text(error),
    }
}

fn cdi(config: &Config) -> CdiDir {
    CdiDir::new(
        config.cdi_dir.clone(),
        config.driver_name.clone(),
        HookCommand {
            path: config.hook_path.clone(),
            args: config.hook_args.clone(),
            socket: config.callback_socket.clone(),
            timeout: config.hook_timeout,
            kill_after: config.hook_kill_after,
        },
    )
}

fn metadata(config: &Config) -> Metadata {
    Metadata::new(
        &config.driver_name,
        &config.plugin_dir,
        &config.cdi_dir,
        config.device_metadata,
    )
}

fn network(config: &Config) -> Network {
    let direct = Executor::new(config.cni_path.clone(), config.cni_cache_dir.clone());
    match &config.cni {
        Cni::Multus { socket } => Network::Multus {
            multus: Multus::new(socket),
            direct,
        },
        Cni::Exec => Network::Direct(direct),
    }
}

/// Brings back what lives outside the record: CDI specs (their directory is emptied by a
/// reboot) and the states that the status writer must repeat with every write.
fn restore(manager: &Manager, cdi: &CdiDir, status: &StatusWriter) -> Result<(), StartError> {
    let claims = manager
        .store()
        .read(|record| record.claims.values().cloned().collect::<Vec<_>>());
    for claim in &claims {
        let Ok(uid) = claim.claim.uid.parse() else {
            continue;
        };
        cdi.write(&uid)?;
        if claim.metadata {
            manager.metadata().write(claim)?;
        }
        for attachment in &claim.attachments {
            if let State::Attached {
                place,
                result,
                since,
            } = &attachment.state
            {
                status.seed(
                    &claim.claim,
                    attachment.plan.device.clone(),
                    device_state(&place.if_name, result),
                    *since,
                );
            }
        }
        status.rewrite(&claim.claim.uid);
    }
    // A spec without a record is of a claim that was unprepared, or never held.
    for uid in cdi.list() {
        if !claims.iter().any(|claim| claim.claim.uid == uid.as_str()) {
            cdi.remove(&uid)?;
        }
    }
    manager.metadata().remove_others(claims.iter())?;
    if !claims.is_empty() {
        info!(claims = claims.len(), "went on from the record");
    }
    Ok(())
}
