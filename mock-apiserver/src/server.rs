//! A running server: starting it, reaching into it, stopping it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Credentials};
use crate::authorize::Rbac;
use crate::control;
use crate::faults::Faults;
use crate::gates::Gates;
use crate::listen::Gate;
use crate::object;
use crate::requests::{RequestLog, RequestRecord};
use crate::resource;
use crate::resource_api::ResourceApi;
use crate::rest::{self, Shared};
use crate::selector::Filter;
use crate::store::{DeleteOptions, Part, Store, Writer};
use crate::tls::Tls;

/// How a server is to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may ask.
    pub access: Access,
    /// Whether to do the part of scheduler and controllers, too: make claims from templates,
    /// allocate claims, bind pods, release what ended pods had.
    pub controllers: bool,
    /// Who may do less than everything.
    pub rbac: Rbac,
    /// Feature gates of Kubernetes.
    pub gates: Gates,
    /// Its DRA API, and which Kubernetes it is by that.
    pub resource_api: ResourceApi,
    /// How many changes are kept for watches; a watch that falls behind more gets 410.
    pub history: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            access: Access::Open,
            controllers: true,
            rbac: Rbac::default(),
            gates: Gates::default(),
            resource_api: ResourceApi::default(),
            history: 10_000,
        }
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose another address, or port 0 for any free port"
    )]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no certificate to serve TLS with.
    #[error("cannot make a CA and a certificate: {reason}; serve without TLS")]
    Tls {
        /// What went wrong.
        reason: String,
    },
}

/// A request made directly on the server, without HTTP, that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ObjectError {
    /// The HTTP status code a client would have got.
    pub code: u16,
    /// The message a client would have got.
    pub message: String,
}

impl From<crate::error::ApiError> for ObjectError {
    fn from(error: crate::error::ApiError) -> ObjectError {
        ObjectError {
            code: error.code,
            message: error.message,
        }
    }
}

/// A mock Kubernetes API server. It owns its tasks: [`stop`](ApiServer::stop) ends them and
/// waits, dropping the server ends them too. All objects are lost with it.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Shared,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ApiServer {
    /// Starts a server with no objects but the namespaces every cluster has.
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub async fn start(config: Config) -> Result<ApiServer, StartError> {
        let failed = |source| StartError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tls = match config.access {
            Access::Open => None,
            Access::Token => {
                let tls = Tls::new(address.ip());
                Some(tls.map_err(|error| StartError::Tls {
                    reason: error.to_string(),
                })?)
            }
        };
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let faults = Faults::new();
        let store = Arc::new(Store::with(
            config.history,
            config.gates,
            config.resource_api,
        ));
        let shared = Shared {
            store: Arc::clone(&store),
            resource_api: config.resource_api,
            faults: faults.clone(),
            requests: RequestLog::default(),
            rbac: config.rbac,
            credentials: tls.as_ref().map(|tls| Credentials::new(tls.ca.clone())),
        };

        let gate = Gate {
            listener,
            tls,
            faults,
            stop: stop.clone(),
        };
        let serve = axum::serve(gate, rest::router(shared.clone()))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        tasks.spawn(async move {
            // It ends only by being told to.
            let _ = serve.await;
        });
        if config.controllers {
            tasks.spawn(stop.clone().run_until_cancelled_owned(control::run(store)));
        }
        tasks.close();
        Ok(ApiServer {
            address,
            shared,
            stop,
            tasks,
        })
    }

    /// `http://127.0.0.1:PORT`, or `https://` where it asks for a token.
    pub fn url(&self) -> String {
        let scheme = match self.shared.credentials {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its clients need; `None` where it is open to everybody.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.shared.credentials.as_ref()
    }

    /// A kubeconfig, as YAML, whose one context is this server. It holds the token, where
    /// there is one.
    pub fn kubeconfig(&self) -> String {
        let credentials = self.shared.credentials.as_ref();
        self.kubeconfig_of(credentials.map(Credentials::token))
    }

    /// The same for whoever has a token of [`Config::rbac`].
    pub fn kubeconfig_with(&self, token: &str) -> String {
        self.kubeconfig_of(Some(token))
    }

    fn kubeconfig_of(&self, token: Option<&str>) -> String {
        let ca = match &self.shared.credentials {
            Some(credentials) => format!(
                "\n    certificate-authority-data: {}",
                STANDARD.encode(credentials.ca())
            ),
            None => String::new(),
        };
        let user = match token {
            Some(token) => format!("{{token: {token:?}}}"),
            None => "{}".to_owned(),
        };
        format!(
            "apiVersion: v1
kind: Config
clusters:
- name: mock
  cluster:
    server: {}{ca}
users:
- name: mock
  user: {user}
contexts:
- name: mock
  context:
    cluster: mock
    user: mock
current-context: mock
",
            self.url()
        )
    }

    /// Orders faults of this server.
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// The requests for objects so far, oldest first; at most the last 65 536. Those that
    /// failed are among them, those made directly are not.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.requests.all()
    }

    /// Creates an object directly. Its `apiVersion` and `kind` say what it is, and its
    /// namespace is `default` if it has none. A `status` is set, too, as an own step.
    ///
    /// # Errors
    /// As for a client.
    pub fn create(&self, object: Value) -> Result<Value, ObjectError> {
        let resource = resource::by_kind(
            object::text(&object, &["apiVersion"]),
            object::text(&object, &["kind"]),
        )
        .ok_or_else(crate::error::ApiError::no_such_resource)?;
        let namespace = match object::namespace(&object) {
            _ if !resource.namespaced => String::new(),
            "" => "default".to_owned(),
            given => given.to_owned(),
        };
        let status = object.get("status").cloned().filter(|_| resource.status);
        let writer = Writer::internal("direct");
        let store = &self.shared.store;
        let mut created = store.create(resource, Some(&namespace), object, &writer)?;
        if let Some(status) = status {
            let writer = Writer {
                part: Part::Status,
                ..writer
            };
            let name = object::name(&created).to_owned();
            created = store.update(resource, Some(&namespace), &name, &writer, |old| {
                let mut new = old.clone();
                object::put(object::as_map(&mut new), "status", status);
                Ok(new)
            })?;
        }
        Ok((*created).clone())
    }

    /// One object; `plural` is its kind's plural name. Cluster-wide kinds ignore the namespace.
    ///
    /// # Errors
    /// As for a client.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, ObjectError> {
        let resource =
            resource::by_plural(plural).ok_or_else(crate::error::ApiError::no_such_resource)?;
        let namespace = resource.namespaced.then_some(namespace);
        Ok((*self.shared.store.get(resource, namespace, name)?).clone())
    }

    /// The objects of a kind, in one namespace or in all of them.
    pub fn list(&self, plural: &str, namespace: Option<&str>) -> Vec<Value> {
        let Some(resource) = resource::by_plural(plural) else {
            return Vec::new();
        };
        let namespace = namespace.filter(|_| resource.namespaced).map(str::to_owned);
        let filter = Filter {
            namespace,
            ..Filter::default()
        };
        self.shared
            .store
            .list(resource, &filter)
            .1
            .iter()
            .map(|object| (**object).clone())
            .collect()
    }

    /// Deletes an object directly. `grace` is in seconds and counts for pods only; 0 is by force.
    ///
    /// # Errors
    /// As for a client.
    pub fn delete(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        grace: Option<i64>,
    ) -> Result<(), ObjectError> {
        let resource =
            resource::by_plural(plural).ok_or_else(crate::error::ApiError::no_such_resource)?;
        let namespace = resource.namespaced.then_some(namespace);
        let options = DeleteOptions {
            grace,
            ..DeleteOptions::default()
        };
        self.shared
            .store
            .delete(resource, namespace, name, &options)?;
        Ok(())
    }

    /// Ends all connections and tasks, and waits for them.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
