//! The registered plugins: how to reach them, and what is lost when they are.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::Connection;
use super::handshake::Taken;
use super::health::HealthMap;
use super::slices;
use crate::config::{ApiVersion, Timing};
use crate::node::Tasks;

/// A registered DRA plugin, as a harness sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// The version that the kubelet chose.
    pub version: ApiVersion,
    /// The socket that serves it.
    pub endpoint: PathBuf,
    /// Whether it can be reached.
    pub status: PluginStatus,
}

/// Whether a registered plugin can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginStatus {
    /// The kubelet holds a connection.
    Connected,
    /// Registered, but nobody answers; ResourceSlices are deleted if it stays so.
    Disconnected,
}

/// One registered instance of a driver. During a rolling update there are two.
pub(crate) struct Instance {
    /// Where it registered; before 1.32 also where those did that it replaced.
    registrations: Vec<PathBuf>,
    endpoint: PathBuf,
    pub(crate) version: ApiVersion,
    /// Its highest version, where versions are numbers.
    number: Option<[u64; 3]>,
    pub(crate) connection: Connection,
    connected: std::sync::atomic::AtomicBool,
    _monitor: DropGuard,
}

impl Instance {
    fn is_connected(&self) -> bool {
        self.connected.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// All registered plugins. Clones share them.
#[derive(Clone)]
pub(crate) struct Plugins(Arc<Inner>);

struct Inner {
    node: String,
    client: kube::Client,
    timing: Timing,
    tasks: Tasks,
    state: Mutex<State>,
    shown: watch::Sender<BTreeMap<String, Plugin>>,
    health: watch::Sender<HealthMap>,
}

#[derive(Default)]
struct State {
    /// By driver, in the order of their registration.
    instances: BTreeMap<String, Vec<Arc<Instance>>>,
    /// Drivers whose slices will go unless this is dropped.
    wipes: HashMap<String, DropGuard>,
}

impl Plugins {
    pub(crate) fn new(node: &str, client: kube::Client, timing: Timing, tasks: Tasks) -> Self {
        Self(Arc::new(Inner {
            node: node.into(),
            client,
            timing,
            tasks,
            state: Mutex::default(),
            shown: watch::Sender::default(),
            health: watch::Sender::default(),
        }))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<String, Plugin>> {
        self.0.shown.subscribe()
    }

    pub(crate) fn health(&self) -> watch::Receiver<HealthMap> {
        self.0.health.subscribe()
    }

    /// Where to reach a driver: its newest connected instance, else its newest.
    pub(crate) fn get(&self, driver: &str) -> Option<Arc<Instance>> {
        let state = self.state();
        newest(state.instances.get(driver)?).cloned()
    }

    /// Registers an instance and begins to watch its connection. Where versions are numbers
    /// a driver has one instance, which only a higher one takes the place of.
    pub(crate) fn add(
        &self,
        driver: &str,
        registration: &Path,
        endpoint: &Path,
        version: ApiVersion,
        number: Option<[u64; 3]>,
        health_v1: bool,
    ) -> Result<(), Taken> {
        let cancel = CancellationToken::new();
        let mut state = self.state();
        let instances = state.instances.entry(driver.into()).or_default();
        let mut registrations = vec![registration.to_path_buf()];
        if let Some(number) = number {
            let present = instances.iter().filter_map(|other| other.number).max();
            if let Some(present) = present.filter(|present| *present >= number) {
                return Err(Taken::Number {
                    driver: driver.into(),
                    present,
                });
            }
            let replaced = instances.drain(..);
            registrations.extend(replaced.flat_map(|other| other.registrations.clone()));
        }
        if instances.iter().any(|other| other.endpoint == endpoint) {
            return Err(Taken::Endpoint {
                driver: driver.into(),
                endpoint: endpoint.into(),
            });
        }
        let instance = Arc::new(Instance {
            registrations,
            endpoint: endpoint.into(),
            version,
            number,
            connection: Connection::new(endpoint),
            connected: false.into(),
            _monitor: cancel.clone().drop_guard(),
        });
        instances.push(instance.clone());
        self.sync(&mut state, driver);
        drop(state);
        let watched = Arc::downgrade(&instance);
        let heard = super::health::listen(
            driver.to_owned(),
            watched.clone(),
            health_v1,
            self.0.timing.health_retry,
            self.0.health.clone(),
        );
        let listening = cancel.clone();
        self.0.tasks.spawn(async move {
            let _ = listening.run_until_cancelled(heard).await;
        });
        let (plugins, driver) = (self.clone(), driver.to_owned());
        self.0.tasks.spawn(async move {
            let monitor = plugins.monitor(&driver, watched);
            let _ = cancel.run_until_cancelled(monitor).await;
        });
        Ok(())
    }

    /// Forgets the instance that registered on this socket.
    pub(crate) fn remove(&self, registration: &Path) {
        let mut state = self.state();
        let mut touched = Vec::new();
        for (driver, instances) in &mut state.instances {
            let before = instances.len();
            instances.retain(|one| !one.registrations.iter().any(|path| path == registration));
            if instances.len() != before {
                touched.push(driver.clone());
            }
        }
        state.instances.retain(|_, instances| !instances.is_empty());
        for driver in touched {
            self.sync(&mut state, &driver);
        }
    }

    /// Deletes all of the node's ResourceSlices: at its start the kubelet cannot know
    /// which drivers will come back.
    pub(crate) fn wipe_all(&self) {
        let inner = self.0.clone();
        self.0.tasks.spawn(async move {
            slices::wipe(inner.client.clone(), &inner.node, None, &inner.timing).await;
        });
    }

    async fn monitor(&self, driver: &str, instance: std::sync::Weak<Instance>) {
        loop {
            let Some(held) = instance.upgrade() else {
                return;
            };
            let live = held.connection.get().await;
            self.set_connected(driver, &held, live.is_ok());
            drop(held);
            match live {
                Ok(live) => {
                    let closed = live.closed.clone();
                    // A clone of the channel would keep the connection alive.
                    drop(live);
                    closed.cancelled().await;
                    tracing::debug!(driver, "connection lost");
                    if let Some(held) = instance.upgrade() {
                        self.set_connected(driver, &held, false);
                    }
                }
                Err(status) => {
                    tracing::debug!(driver, error = status.message(), "cannot connect");
                    tokio::time::sleep(self.0.timing.reconnect).await;
                }
            }
        }
    }

    fn set_connected(&self, driver: &str, instance: &Instance, connected: bool) {
        let mut state = self.state();
        instance
            .connected
            .store(connected, std::sync::atomic::Ordering::Release);
        self.sync(&mut state, driver);
    }

    /// After every change: shows it, and plans or calls off the deletion of slices.
    fn sync(&self, state: &mut State, driver: &str) {
        let instances = state.instances.get(driver);
        let usable = instances.is_some_and(|all| all.iter().any(|one| one.is_connected()));
        if usable {
            state.wipes.remove(driver);
        } else if !state.wipes.contains_key(driver) {
            state.wipes.insert(driver.into(), self.plan_wipe(driver));
        }
        let shown = state.instances.iter().filter_map(|(driver, instances)| {
            let instance = newest(instances)?;
            let plugin = Plugin {
                version: instance.version,
                endpoint: instance.endpoint.clone(),
                status: match instance.is_connected() {
                    true => PluginStatus::Connected,
                    false => PluginStatus::Disconnected,
                },
            };
            Some((driver.clone(), plugin))
        });
        let shown: BTreeMap<_, _> = shown.collect();
        self.0.shown.send_if_modified(|old| {
            let changed = *old != shown;
            *old = shown;
            changed
        });
    }

    fn plan_wipe(&self, driver: &str) -> DropGuard {
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let (inner, driver) = (self.0.clone(), driver.to_owned());
        self.0.tasks.spawn(async move {
            let wait = tokio::time::sleep(inner.timing.slice_wipe);
            if token.run_until_cancelled(wait).await.is_none() {
                return;
            }
            let client = inner.client.clone();
            slices::wipe(client, &inner.node, Some(&driver), &inner.timing).await;
        });
        cancel.drop_guard()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn newest(instances: &[Arc<Instance>]) -> Option<&Arc<Instance>> {
    let connected = instances.iter().rev().find(|one| one.is_connected());
    connected.or(instances.last())
}
