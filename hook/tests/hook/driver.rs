//! Plays the driver for the hook's tests: a callback server whose answers and whose
//! death a test decides.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

#[allow(missing_docs, unreachable_pub)] // Generated.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/driver/ndra.callback.v1.rs"));
}

use proto::callback_server::{Callback, CallbackServer};
pub(crate) use proto::{CreateContainerRequest, CreateContainerResponse};

/// A directory for one test's sockets, with a path short enough for them.
pub(crate) struct Room(TempDir);

impl Room {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("nd").tempdir_in("/tmp");
        Self(dir.unwrap())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path().join("hook.sock")
    }

    /// `text` with the directory's name, which changes, replaced.
    pub(crate) fn hide(&self, text: &str) -> String {
        let name = self.0.path().to_str().unwrap();
        text.replace(name, "/run/ndra")
    }
}

/// What the driver says to every call.
pub(crate) enum Answer {
    Good,
    Bad(Status),
    Silence,
}

/// One call, as it came in.
pub(crate) struct Call {
    pub(crate) request: CreateContainerRequest,
    /// The header `grpc-timeout`.
    pub(crate) timeout: Option<String>,
}

struct Stub {
    answer: Answer,
    calls: Mutex<Sender<Call>>,
}

#[tonic::async_trait]
impl Callback for Stub {
    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout");
        let call = Call {
            timeout: timeout.map(|value| value.to_str().unwrap().to_owned()),
            request: request.into_inner(),
        };
        // A test that does not look at the calls has dropped the receiver.
        let _ = self.calls.lock().unwrap().send(call);
        match &self.answer {
            Answer::Good => Ok(Response::new(CreateContainerResponse {})),
            Answer::Bad(status) => Err(status.clone()),
            Answer::Silence => pending().await,
        }
    }
}

/// A driver that listens until it is killed or dropped.
pub(crate) struct Driver {
    runtime: Option<Runtime>,
    socket: PathBuf,
    /// Every call, in order.
    pub(crate) calls: Receiver<Call>,
}

impl Driver {
    /// Listens on `socket` when this returns.
    pub(crate) fn start(socket: &Path, answer: Answer) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (send, calls) = channel();
        let stub = Stub {
            answer,
            calls: Mutex::new(send),
        };
        let listener: io::Result<UnixListener> =
            runtime.block_on(async { UnixListener::bind(socket) });
        let incoming = UnixListenerStream::new(listener.unwrap());
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(CallbackServer::new(stub))
                .serve_with_incoming(incoming),
        );
        Self {
            runtime: Some(runtime),
            socket: socket.to_owned(),
            calls,
        }
    }

    /// Closes listener and connections in the middle of whatever they do, and removes
    /// the socket's file.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            let _ = std::fs::remove_file(&self.socket);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end();
    }
}
