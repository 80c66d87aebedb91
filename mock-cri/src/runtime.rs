//! The handle: starts the server, lets a test kill what runs, and ends it all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use ndra_core::event::Recorder;
use ndra_core::gate::Gate;
use ndra_core::socket::{self, SocketError};
use ndra_core::wire::cri::runtime_service_server::RuntimeServiceServer;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::Flavor;
use crate::bundle::Layout;
use crate::cdi::Cdi;
use crate::cut::Cut;
use crate::fault::Faults;
use crate::network::Namespaces;
use crate::service::Service;
use crate::state::{ContainerInfo, SandboxInfo, Store};

/// The largest request that is taken, in bytes; containerd's own limit.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// Where the runtime works and what it behaves like.
pub struct Config {
    /// The CRI socket; made here, mode 0600, removed at the end.
    pub socket: PathBuf,
    /// CDI directories, the later of which win. They need not exist yet.
    pub cdi_dirs: Vec<PathBuf>,
    /// For bundles; made when missing. What is made in it is removed at the end.
    pub state_dir: PathBuf,
    /// For network namespaces; made when missing.
    pub netns_dir: PathBuf,
    /// What they are.
    pub namespaces: Namespaces,
    /// Which runtime to be.
    pub flavor: Flavor,
    /// Takes step `hook`.
    pub recorder: Recorder,
    /// Held before each recorded hook.
    pub gate: Gate,
}

/// Why the runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A directory.
    #[error("cannot use the {what} directory {}: {}: create it or choose another", path.display(), socket::io_text(source))]
    Directory {
        /// What it is for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The watch of the CDI directories.
    #[error(
        "cannot watch the CDI directories: {source}: is the limit of inotify instances reached?"
    )]
    Watch {
        /// Why.
        source: notify::Error,
    },
}

/// Why something could not be killed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No ready sandbox of this pod.
    #[error("pod {namespace}/{pod} has no ready sandbox: run the pod first")]
    NoSandbox {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
    },
    /// No running container of this name.
    #[error("pod {namespace}/{pod} has no running container {container}: start it first")]
    NoContainer {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The container's name.
        container: String,
    },
}

/// A running mock runtime. Ends when stopped or dropped.
pub struct Runtime {
    inner: Arc<Inner>,
}

/// What the service, its operations and the handle share.
pub(crate) struct Inner {
    pub(crate) flavor: Flavor,
    pub(crate) layout: Layout,
    pub(crate) state_dir: PathBuf,
    pub(crate) netns_dir: PathBuf,
    pub(crate) namespaces: Namespaces,
    pub(crate) cdi_dirs: Vec<PathBuf>,
    pub(crate) cdi: Cdi,
    pub(crate) recorder: Recorder,
    pub(crate) gate: Gate,
    pub(crate) faults: Faults,
    /// Stands for the pid of every process that does not exist.
    pub(crate) pid: u32,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    store: Mutex<Store>,
}

impl Runtime {
    /// Binds the socket and serves until stopped or dropped.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let state_dir = directory("state", &config.state_dir)?;
        let netns_dir = directory("network namespace", &config.netns_dir)?;
        let layout = Layout::new(config.flavor, state_dir.clone());
        let marks = directory("CDI watch", &layout.marks())?;
        let cdi_dirs: Vec<_> = config
            .cdi_dirs
            .iter()
            .map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone()))
            .collect();
        let cdi =
            Cdi::start(cdi_dirs.clone(), &marks).map_err(|source| StartError::Watch { source })?;
        let listener = socket::bind(&config.socket)?;
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            flavor: config.flavor,
            layout,
            state_dir,
            netns_dir,
            namespaces: config.namespaces,
            cdi_dirs,
            cdi,
            recorder: config.recorder,
            gate: config.gate,
            faults: Faults::default(),
            pid: std::process::id(),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            store: Mutex::default(),
        });
        let service = RuntimeServiceServer::new(Service::new(inner.clone()))
            .max_decoding_message_size(MAX_REQUEST);
        let connections = {
            let stop = stop.clone();
            listener
                .incoming()
                .map(move |stream| stream.map(|stream| Cut::new(stream, stop.clone())))
        };
        inner.tasks.spawn(async move {
            let serve = Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
            if let Err(error) = serve.await {
                tracing::error!("the CRI server ended: {}", socket::root_cause(&error));
            }
        });
        Ok(Self { inner })
    }

    /// Ends the running container of this name as if its process had died by itself with
    /// `exit_code`. Returns when its state says so.
    pub async fn kill_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        exit_code: i32,
    ) -> Result<(), ControlError> {
        let found = {
            let store = self.inner.store();
            store
                .containers
                .values()
                .filter(|c| c.running() && c.metadata.name == container)
                .find(|c| {
                    store
                        .sandboxes
                        .get(&c.sandbox)
                        .is_some_and(|s| s.pod.namespace == namespace && s.pod.name == pod)
                })
                .map(|c| c.id.clone())
        };
        let id = found.ok_or_else(|| ControlError::NoContainer {
            namespace: namespace.into(),
            pod: pod.into(),
            container: container.into(),
        })?;
        self.inner.end_container(&id, exit_code).await;
        Ok(())
    }

    /// Ends the pod's sandbox as if its own process had died: the sandbox is not ready, its
    /// containers have exited, the network namespace is there until the kubelet stops the
    /// sandbox.
    pub async fn kill_sandbox(&self, namespace: &str, pod: &str) -> Result<(), ControlError> {
        let found = self
            .inner
            .store()
            .sandboxes
            .values()
            .find(|s| s.ready && s.pod.namespace == namespace && s.pod.name == pod)
            .map(|s| s.id.clone());
        let id = found.ok_or_else(|| ControlError::NoSandbox {
            namespace: namespace.into(),
            pod: pod.into(),
        })?;
        self.inner.sandbox_died(&id).await;
        Ok(())
    }

    /// Orders faults of this runtime.
    pub fn faults(&self) -> Faults {
        self.inner.faults.clone()
    }

    /// All sandboxes now, in no particular order.
    pub fn sandboxes(&self) -> Vec<SandboxInfo> {
        let store = self.inner.store();
        store.sandboxes.values().map(|s| s.snapshot()).collect()
    }

    /// All containers now, in no particular order.
    pub fn containers(&self) -> Vec<ContainerInfo> {
        let store = self.inner.store();
        let pod = |sandbox: &str| store.sandboxes.get(sandbox).map(|s| &s.pod);
        let containers = store.containers.values();
        containers.map(|c| c.snapshot(pod(&c.sandbox))).collect()
    }

    /// Ends like a killed daemon: connections break, hooks under way are killed, the socket
    /// goes; and so do bundles and namespace files.
    pub async fn stop(self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.clear();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.clear();
    }
}

impl Inner {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything, and with it goes what it has on disk.
    fn clear(&self) {
        let store = std::mem::take(&mut *self.store());
        drop(store);
        self.layout.clear();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A task that outlived the handle may have written after the handle's own clearing.
        self.layout.clear();
    }
}

fn directory(what: &'static str, path: &Path) -> Result<PathBuf, StartError> {
    let fail = |source| StartError::Directory {
        what,
        path: path.into(),
        source,
    };
    std::fs::create_dir_all(path).map_err(fail)?;
    std::path::absolute(path).map_err(fail)
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// A time as annotations carry it.
pub(crate) fn rfc3339(nanoseconds: i64) -> String {
    Timestamp::from_nanosecond(nanoseconds.into())
        .map(|time| time.to_string())
        .unwrap_or_default()
}
