//! One gRPC connection over a unix socket. Not tonic's channel: it balances,
//! buffers and reconnects, and hides why a connection failed.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response, Uri};

#[allow(missing_docs, unreachable_pub)] // Generated.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/ndra.callback.v1.rs"));
}

pub(crate) use proto::CreateContainerRequest;
use proto::callback_client::CallbackClient;

/// HTTP/2 wants an authority; a unix socket has none.
const ORIGIN: &str = "http://localhost";
/// Room for the driver's message, which gRPC sends as a header. The message shown is
/// cut to far less.
const HEADER_LIMIT: u32 = 64 * 1024;
/// Tonic 0.14 panics when this header is not base64. Nothing here reads it.
const DETAILS: &str = "grpc-status-details-bin";

/// A client for one connection to whatever listens on `socket` now.
pub(crate) async fn connect(socket: &Path) -> io::Result<CallbackClient<Connection>> {
    let stream = UnixStream::connect(socket).await?;
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(HEADER_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, error))?;
    // How it ends shows in the call that it carries.
    tokio::spawn(connection);
    let connection = Connection(requests);
    Ok(CallbackClient::with_origin(
        connection,
        Uri::from_static(ORIGIN),
    ))
}

/// The sending half of a connection.
pub(crate) struct Connection(http2::SendRequest<tonic::body::Body>);

impl Service<Request<tonic::body::Body>> for Connection {
    type Response = Response<Answer>;
    type Error = Lost;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Lost>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.0.poll_ready(cx).map_err(Lost::new)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let answer = self.0.send_request(request);
        Box::pin(async move {
            let mut answer = answer.await.map_err(Lost::new)?;
            without_details(answer.headers_mut());
            Ok(answer.map(Answer))
        })
    }
}

/// The body of a response, its errors marked as the connection's.
pub(crate) struct Answer(Incoming);

impl Body for Answer {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        Pin::new(&mut self.0).poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                let mut frame = frame.map_err(Lost::new)?;
                if let Some(trailers) = frame.trailers_mut() {
                    without_details(trailers);
                }
                Ok(frame)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn without_details(headers: &mut HeaderMap) {
    headers.remove(DETAILS);
}

/// The connection ended before the answer did. Keeps the cause's words only: tonic
/// would otherwise make a status of it that looks like the driver's.
#[derive(Debug)]
pub(crate) struct Lost(String);

impl Lost {
    fn new(error: hyper::Error) -> Self {
        let mut cause: &dyn Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Self(cause.to_string())
    }

    /// The lost connection that `status` stands for; nothing when the driver sent it.
    pub(crate) fn behind(status: &Status) -> Option<&Self> {
        status.source()?.downcast_ref()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Lost {}
