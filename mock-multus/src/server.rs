//! The daemon's HTTP face: one unix socket, four paths, no connection kept alive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use ndra_core::cni::Executor;
use ndra_core::socket::{self, SocketError};
use serde_json::{Map, Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api::Kubernetes;
use crate::call::{Call, Calls};
use crate::daemon::{Daemon, Endpoint};
use crate::fault::Faults;
use crate::plugins::Plugins;
use crate::record::{Allocation, Interface, Record, RecordConfig, State};
use crate::request::MAX_REQUEST;

/// What answers behind the API.
#[derive(Clone, Debug)]
pub enum Backend {
    /// Played plugins.
    Record(RecordConfig),
    /// Played plugins whose links the kernel makes, in the namespace of this process.
    Kernel,
    /// Real programs.
    Exec(ExecConfig),
}

/// Where real plugins are.
#[derive(Clone, Debug)]
pub struct ExecConfig {
    /// Directories with plugins, searched in order.
    pub cni_path: Vec<PathBuf>,
    /// Results of ADD are kept below it.
    pub cache_dir: PathBuf,
}

/// How the daemon is started.
#[derive(Clone)]
pub struct Config {
    /// The socket, usually `/run/multus/multus.sock`. Unlike the real daemon this one
    /// removes nothing else in its directory.
    pub socket: PathBuf,
    /// The API server, where pods are looked up.
    pub client: kube::Client,
    /// What answers.
    pub backend: Backend,
    /// The daemon's own configuration, laid over every request's.
    pub daemon: Map<String, Value>,
    /// What a predecessor left on the node; used by [`Backend::Record`] and [`Backend::Kernel`].
    pub state: State,
}

impl Config {
    /// Played plugins on a new node, with the configuration of the stock manifest.
    pub fn new(socket: impl Into<PathBuf>, client: kube::Client) -> Self {
        Self {
            socket: socket.into(),
            client,
            backend: Backend::Record(RecordConfig::default()),
            daemon: stock_daemon_config(),
            state: State::default(),
        }
    }
}

/// `daemon-config.json` of the stock thick manifest (Multus 4.3).
pub fn stock_daemon_config() -> Map<String, Value> {
    let json = json!({
        "chrootDir": "/hostroot",
        "cniVersion": "0.3.1",
        "logLevel": "verbose",
        "logToStderr": true,
        "cniConfigDir": "/host/etc/cni/net.d",
        "multusAutoconfigDir": "/host/etc/cni/net.d",
        "multusConfigFile": "auto",
        "socketDir": "/host/run/multus/",
    });
    json.as_object().cloned().unwrap_or_default()
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// A running daemon. Dropped, it stops without waiting; its socket goes with it.
pub struct Multus {
    socket: PathBuf,
    daemon: Arc<Daemon>,
    state: State,
    tasks: TaskTracker,
    running: DropGuard,
}

impl Multus {
    /// Binds the socket and serves, until stopped or dropped. Needs a Tokio runtime.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let listener = socket::bind(&config.socket)?;
        let state = config.state;
        let plugins = match config.backend {
            Backend::Record(links) => Plugins::Record(Record::new(links, state.clone())),
            Backend::Kernel => Plugins::Record(Record::kernel(state.clone())),
            Backend::Exec(exec) => Plugins::exec(Executor::new(exec.cni_path, exec.cache_dir)),
        };
        let tasks = TaskTracker::new();
        let daemon = Arc::new(Daemon {
            kubernetes: Kubernetes(config.client),
            plugins,
            overlay: config.daemon,
            faults: Faults::default(),
            calls: Calls::default(),
            pods: Mutex::new(BTreeMap::new()),
            afterwards: tasks.clone(),
        });
        let stop = CancellationToken::new();
        let server = Server {
            daemon: daemon.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(server.serve(listener));
        Ok(Self {
            socket: config.socket,
            daemon,
            state,
            tasks,
            running: stop.drop_guard(),
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.daemon.faults
    }

    /// Interfaces that the played plugins made and that exist now, debris included.
    pub fn interfaces(&self) -> Vec<Interface> {
        self.state.interfaces()
    }

    /// Addresses that the played host-local gave out and has not got back.
    pub fn allocations(&self) -> Vec<Allocation> {
        self.state.allocations()
    }

    /// What the played plugins made: give it to the next daemon of this node.
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// The last calls, oldest first, those under way included.
    pub fn calls(&self) -> Vec<Call> {
        self.daemon.calls.all()
    }

    /// Waits until the calls are as wanted, and returns them.
    pub async fn wait_for_calls(&self, enough: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        self.daemon.calls.wait_until(enough).await
    }

    /// Stops: requests under way break off. Returns when nothing runs any more and the
    /// socket is gone.
    pub async fn stop(self) {
        drop(self.running);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[derive(Clone)]
struct Server {
    daemon: Arc<Daemon>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Server {
    async fn serve(self, listener: socket::Listener) {
        let router = Router::new()
            .route("/cni", any(cni))
            .route("/delegate", any(delegate))
            .route("/healthz", any(healthz))
            .route("/readyz", any(readyz))
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(self.clone());
        let connections = async {
            loop {
                let stream = match listener.accept().await {
                    Ok(stream) => stream,
                    Err(error) => {
                        // Out of descriptors, most likely: some come back with a pause.
                        tracing::warn!(%error, "accept");
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                        continue;
                    }
                };
                let service = TowerToHyperService::new(router.clone());
                let connection = hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                let stop = self.stop.clone();
                self.tasks.spawn(async move {
                    if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
                        tracing::debug!(%error, "connection");
                    }
                });
            }
        };
        let _: Option<()> = self.stop.run_until_cancelled(connections).await;
    }

    /// Works a request off to its end, also when the caller has gone: so does the daemon.
    async fn handle(self, endpoint: Endpoint, method: Method, body: Bytes) -> Response {
        if method != Method::POST {
            return refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        }
        let Self {
            daemon,
            tasks,
            stop,
        } = self;
        let work = tasks.spawn(async move {
            let answer = daemon.handle(endpoint, &body);
            stop.run_until_cancelled(answer).await
        });
        match work.await {
            Ok(Some(Ok(answer))) => plain(StatusCode::OK, answer),
            Ok(Some(Err(text))) => refused(StatusCode::BAD_REQUEST, &text),
            // Stopped in the middle; the connection goes as well.
            Ok(None) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

async fn cni(Shared(server): Shared<Server>, method: Method, body: Bytes) -> Response {
    server.handle(Endpoint::Shim, method, body).await
}

async fn delegate(Shared(server): Shared<Server>, method: Method, body: Bytes) -> Response {
    server.handle(Endpoint::Delegate, method, body).await
}

async fn healthz(method: Method) -> Response {
    probe(&method, StatusCode::OK)
}

async fn readyz(Shared(server): Shared<Server>, method: Method) -> Response {
    let status = match server.daemon.faults.is_shutting_down() {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::OK,
    };
    probe(&method, status)
}

fn probe(method: &Method, status: StatusCode) -> Response {
    match *method {
        Method::GET | Method::POST => status.into_response(),
        _ => refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
    }
}

/// A refusal as Go's HTTP server writes it, with its line end.
fn refused(status: StatusCode, text: &str) -> Response {
    let mut response = plain(status, format!("{text}\n"));
    let nosniff = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// The daemon says JSON too late: what there is is announced as plain text.
fn plain(status: StatusCode, text: String) -> Response {
    if text.is_empty() {
        return status.into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, kind, text).into_response()
}
