//! Whoever reaches the node can connect to a port of it, and must not use the driver's file
//! descriptors up: connections are few, and none stays.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How many may be connected at the same time; others wait.
pub(super) const CALLERS: usize = 32;

/// How long a connection lasts: longer than a probe, which makes one of its own.
pub(super) const STAY: Duration = Duration::from_secs(10);

/// A connection, for as long as it may last.
pub(super) struct Caller {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// Those who call, `callers` at a time, each for `stay`.
pub(super) fn callers(
    listener: TcpListener,
    callers: usize,
    stay: Duration,
) -> impl Stream<Item = io::Result<Caller>> {
    let places = Arc::new(Semaphore::new(callers));
    futures::stream::unfold((listener, places), move |(listener, places)| async move {
        loop {
            let place = places.clone().acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let caller = Caller {
                        stream,
                        end: Box::pin(tokio::time::sleep(stay)),
                        _place: place,
                    };
                    return Some((Ok(caller), (listener, places)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a caller could not be heard");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

impl AsyncRead for Caller {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Caller {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Caller {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tonic::transport::{Channel, Server};

    use super::*;
    use crate::health::{Duty, HealthService};
    use crate::wire::health::HealthCheckRequest;
    use crate::wire::health::health_client::HealthClient;

    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Server::builder().add_service(HealthService::server(Duty::default()));
        let served = router.serve_with_incoming(callers(listener, 2, SHORT));
        let _served = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(served));

        let mut silent = Vec::new();
        for _ in 0..6 {
            let mut one = TcpStream::connect(address).await.unwrap();
            one.write_all(b"PRI * HTT").await.unwrap();
            silent.push(one);
        }
        let url = format!("http://{address}");
        let asked = async {
            let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
            let request = HealthCheckRequest::default();
            HealthClient::new(channel).check(request).await.unwrap()
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
        assert_eq!(answer.unwrap().into_inner().status, 1);
        let mut rest = Vec::new();
        let closed =
            tokio::time::timeout(Duration::from_secs(20), silent[0].read_to_end(&mut rest));
        let _ = closed.await.expect("it was let stay");
    }
}
