//! One gRPC connection to a plugin whose loss is noticed at once, even between calls.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use ndra_core::socket::{io_text, root_cause};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// A connection that is dialled when needed and knows when it is gone.
pub(crate) struct Connection {
    endpoint: PathBuf,
    live: Mutex<Option<Live>>,
}

/// An established connection.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) channel: Channel,
    /// Cancelled when the other side or ours has closed it.
    pub(crate) closed: CancellationToken,
}

impl Connection {
    pub(crate) fn new(endpoint: &Path) -> Self {
        Self {
            endpoint: endpoint.into(),
            live: Mutex::new(None),
        }
    }

    /// The connection, dialled anew when there is none.
    pub(crate) async fn get(&self) -> Result<Live, Status> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref().filter(|live| !live.closed.is_cancelled()) {
            return Ok(live.clone());
        }
        let fresh = dial(&self.endpoint).await.map_err(|reason| {
            Status::unavailable(format!(
                "connection error: desc = \"transport: Error while dialing: dial unix {}: {reason}\"",
                self.endpoint.display()
            ))
        })?;
        *live = Some(fresh.clone());
        Ok(fresh)
    }
}

async fn dial(path: &Path) -> Result<Live, String> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| format!("connect: {}", lower(&io_text(&error))))?;
    let closed = CancellationToken::new();
    let mut once = Some(TokioIo::new(Noticed {
        stream,
        _closed: closed.clone().drop_guard(),
    }));
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            // The channel must not reconnect behind our back: the next `get` does.
            let io = once.take().ok_or(io::ErrorKind::NotConnected);
            async move { io.map_err(io::Error::from) }
        }))
        .await
        .map_err(|error| lower(&root_cause(&error)))?;
    Ok(Live { channel, closed })
}

/// Go writes its errors in lower case.
pub(crate) fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// A stream whose end cancels a token.
struct Noticed {
    stream: UnixStream,
    _closed: DropGuard,
}

impl AsyncRead for Noticed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noticed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
