//! Connections that can be cut from the server's side.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::faults::Faults;
use crate::tls::{Stream, Tls};

/// Accepts connections while the server is up, and drops them at once while it is down.
pub(crate) struct Gate {
    pub(crate) listener: TcpListener,
    /// Without it, plain HTTP.
    pub(crate) tls: Option<Tls>,
    pub(crate) faults: Faults,
    pub(crate) stop: CancellationToken,
}

impl Listener for Gate {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // Subscribed before asked, so that going down can't be missed.
            let mut up = self.faults.subscribe();
            if !self.faults.is_up() {
                drop(stream);
                continue;
            }
            // Small answers must not wait for more to send; slower is all it would be without.
            let _ = stream.set_nodelay(true);
            let stop = self.stop.clone();
            let cut = Box::pin(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    // An error means that the server is gone.
                    _ = up.wait_for(|up| !*up) => {}
                }
            });
            let stream = match &self.tls {
                Some(tls) => tls.accept(stream),
                None => Stream::Plain(stream),
            };
            return (
                Connection {
                    stream,
                    cut: Some(cut),
                },
                address,
            );
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once the server is down or stopped.
pub(crate) struct Connection {
    stream: Stream,
    /// Resolves when the connection is to be cut; gone once it has.
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(cut) = &mut self.cut {
            if cut.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.cut = None;
        }
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
