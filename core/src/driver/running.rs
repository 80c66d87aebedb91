//! The driver's gRPC servers: begun one by one, ended together.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::Router;
use tracing::warn;

use super::port::{CALLERS, STAY, callers};
use crate::event::OwnState;
use crate::socket::{self, Listener, SocketError};

/// gRPC servers and the way to end them. Dropped, they end at once.
pub(super) struct Running {
    own: OwnState,
    stop: CancellationToken,
    servers: Vec<AbortOnDropHandle<()>>,
}

impl Running {
    pub(super) fn new(own: &OwnState) -> Self {
        Self {
            own: own.clone(),
            stop: CancellationToken::new(),
            servers: Vec::new(),
        }
    }

    /// On a TCP port, which whoever reaches its address can ask.
    pub(super) fn serve_port(own: &OwnState, router: Router, listener: TcpListener) -> Self {
        let stop = CancellationToken::new();
        let end = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            let incoming = callers(listener, CALLERS, STAY);
            let served = router.serve_with_incoming_shutdown(incoming, end).await;
            if let Err(error) = served {
                warn!(%error, "the health server ended");
            }
        });
        Self {
            own: own.clone(),
            stop,
            servers: vec![AbortOnDropHandle::new(server)],
        }
    }

    /// Binds `path` and serves there, too.
    pub(super) fn and(
        self,
        name: &'static str,
        router: Router,
        path: &Path,
    ) -> Result<Self, SocketError> {
        Ok(self.on(name, router, path, socket::bind(path)?))
    }

    /// Serves on a socket that is bound already, `path`, too. Who connected before is served
    /// now.
    pub(super) fn on(
        mut self,
        name: &'static str,
        router: Router,
        path: &Path,
        listener: Listener,
    ) -> Self {
        let stop = self.stop.clone();
        let path = path.display().to_string();
        let own = self.own.clone();
        own.socket(name, &path, true);
        let server = tokio::spawn(async move {
            let served = router
                .serve_with_incoming_shutdown(listener.incoming(), stop.cancelled_owned())
                .await;
            if let Err(error) = served {
                warn!(socket = path, %error, "the server ended");
            }
            own.socket(name, &path, false);
        });
        self.servers.push(AbortOnDropHandle::new(server));
        self
    }

    /// No new connections and calls; those under way go on.
    pub(super) fn refuse(&self) {
        self.stop.cancel();
    }

    /// Ends. A connection that its client keeps open is closed after `grace`.
    pub(super) async fn stop(self, grace: Duration) {
        self.refuse();
        let _ = tokio::time::timeout(grace, join_all(self.servers)).await;
    }
}
