//! One HTTP/1.1 exchange over a unix socket, with a bounded answer and no connection kept.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::socket::{self, SocketError, io_text, root_cause};

/// The longest answer that is read, in bytes.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;

pub(super) enum Failure {
    /// No connection.
    Unreachable(SocketError),
    /// A connection that ended before the answer did.
    Closed,
    /// An answer that is none.
    Broken(String),
}

impl Failure {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        let mut closed = false;
        while let Some(error) = cause {
            closed |= is_end(error);
            cause = error.source();
        }
        match closed {
            true => Self::Closed,
            false => Self::Broken(root_cause(error)),
        }
    }
}

fn is_end(error: &(dyn Error + 'static)) -> bool {
    let hyper = error.downcast_ref::<hyper::Error>();
    let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    hyper.is_some_and(hyper::Error::is_incomplete_message)
        || matches!(
            io,
            Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
        )
}

pub(super) async fn exchange(
    path: &Path,
    method: Method,
    uri: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), Failure> {
    socket::check_path(path).map_err(Failure::Unreachable)?;
    let stream = UnixStream::connect(path).await.map_err(|error| {
        Failure::Unreachable(SocketError::Unreachable {
            path: path.into(),
            reason: io_text(&error),
            usually: "the Multus daemon (thick plugin)".into(),
        })
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| Failure::of(&e))?;
    let request = Request::builder()
        .method(method)
        .uri(uri)
        // The daemon's own client sends this name, too; no one looks at it.
        .header(HOST, "dummy")
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|e| Failure::Broken(e.to_string()))?;
    let talk = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|e| Failure::of(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        match body {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::Broken(format!(
                "it is longer than {MAX_ANSWER} bytes"
            ))),
            Err(error) => Err(Failure::of(&*error)),
        }
    };
    tokio::pin!(talk, connection);
    tokio::select! {
        answer = &mut talk => answer,
        // The daemon closed: what it sent is in `talk` already.
        _ = &mut connection => talk.await,
    }
}
