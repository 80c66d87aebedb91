//! The handle: starts the parts, lets a harness look in, and ends them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ndra_core::socket::{SocketError, io_text};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use crate::claim::{CheckpointError, Claims, PreparedClaim};
use crate::config::{ApiVersion, Config};
use crate::cri::Runtime;
use crate::node::{Node, Tasks};
use crate::plugin::{self, HealthMap, Plugin, Plugins};
use crate::pod;
use crate::register;

/// Why a kubelet did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory for registration sockets.
    #[error("cannot watch {} for plugins: {reason}; it must be a directory that this user may write to", path.display())]
    Registry {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The checkpoint of claims.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The runtime's socket.
    #[error(transparent)]
    Runtime(#[from] SocketError),
    /// Something answers on the runtime's socket, but not CRI.
    #[error("{} does not speak CRI v1: {reason}; give the runtime's CRI socket, such as /run/containerd/containerd.sock", path.display())]
    NotCri {
        /// The socket.
        path: PathBuf,
        /// What it answered.
        reason: String,
    },
    /// No DRA version to speak.
    #[error("the kubelet knows no DRA version: give v1, v1beta1 or both")]
    NoVersions,
}

/// A running kubelet. [`Kubelet::stop`] ends it and leaves pods, claims and checkpoint in
/// place, as a restart of the real one does; dropping the handle ends it, too.
pub struct Kubelet {
    node: Arc<Node>,
    _guard: DropGuard,
}

impl Kubelet {
    /// Starts watching plugins and pods. The runtime must answer; the API server may be
    /// away, the kubelet waits for it.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. A checkpoint that cannot be read is moved aside, so that the
    /// next start succeeds.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if config.versions.is_empty() {
            return Err(StartError::NoVersions);
        }
        let registry = config.registry.clone();
        let refuse = |error: io::Error| StartError::Registry {
            path: registry.clone(),
            reason: io_text(&error),
        };
        tokio::fs::create_dir_all(&config.registry)
            .await
            .map_err(refuse)?;
        let claims = Claims::load(&config.checkpoint)?;
        let runtime = Runtime::connect(&config.cri, config.timing.runtime_deadline).await?;
        let tasks = Tasks::default();
        let guard = tasks.cancel.clone().drop_guard();
        let plugins = Plugins::new(
            &config.node,
            config.client.clone(),
            config.timing.clone(),
            tasks.clone(),
        );
        let changes =
            plugin::watch_directory(&config.registry).map_err(|error| StartError::Registry {
                path: config.registry.clone(),
                reason: match error.kind {
                    notify::ErrorKind::Io(io) => io_text(&io),
                    _ => error.to_string(),
                },
            })?;
        let events = pod::Events::start(config.client.clone(), &config.node, &tasks);
        let node = Arc::new(Node {
            name: config.node,
            client: config.client,
            timing: config.timing,
            recorder: config.recorder,
            gate: config.gate,
            runtime,
            plugins,
            claims,
            classic: config.versions.contains(&ApiVersion::V1alpha3),
            events,
            tasks,
        });
        node.tasks.spawn(register::register(node.clone()));
        node.tasks.spawn(plugin::register_all(
            node.clone(),
            config.registry,
            config.versions,
            changes,
        ));
        node.plugins.wipe_all();
        pod::run(&node);
        Ok(Self {
            node,
            _guard: guard,
        })
    }

    /// The registered DRA plugins by driver name, kept up to date.
    pub fn plugins(&self) -> watch::Receiver<BTreeMap<String, Plugin>> {
        self.node.plugins.subscribe()
    }

    /// What plugins say of their devices' health (KEP-4680), by driver and `pool/device`.
    pub fn health(&self) -> watch::Receiver<HealthMap> {
        self.node.plugins.health()
    }

    /// The claims that the kubelet answers for: empty when every pod has ended well.
    pub fn prepared(&self) -> Vec<PreparedClaim> {
        self.node.claims.all()
    }

    /// Ends the kubelet. Sandboxes, claims and the checkpoint stay.
    pub async fn stop(self) {
        self.node.tasks.cancel.cancel();
        self.node.tasks.tracker.close();
        self.node.tasks.tracker.wait().await;
    }
}
