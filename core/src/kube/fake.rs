//! An API server for tests: a function from request to reply, and a log of what came.

use std::io;
use std::sync::{Arc, Mutex};

use ::kube::Client;
use ::kube::client::Body;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) content_type: String,
    pub(super) body: Value,
}

impl Seen {
    /// Method and path, for short assertions.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

pub(super) enum Reply {
    Json(u16, Value),
    /// Answered once the other side of the channel says so.
    Held(oneshot::Receiver<()>, u16, Value),
    /// Newline-delimited JSON for as long as the sender lives.
    Stream(mpsc::UnboundedReceiver<Value>),
    /// No answer at all.
    Never,
    /// The connection breaks.
    Broken,
}

/// A reply with a `Status` body, as every refusal has.
pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Reply {
    Reply::Json(code, status(code, reason, message))
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "code": code, "reason": reason, "message": message,
    })
}

/// All requests so far.
#[derive(Clone)]
pub(super) struct Log(Arc<watch::Sender<Vec<Seen>>>);

impl Log {
    pub(super) fn all(&self) -> Vec<Seen> {
        self.0.borrow().clone()
    }

    /// Waits for `n` requests.
    pub(super) async fn wait(&self, n: usize) -> Vec<Seen> {
        let mut log = self.0.subscribe();
        let seen = log.wait_for(|seen| seen.len() >= n).await.unwrap();
        seen.clone()
    }
}

/// A client whose requests `handler` answers, and their log.
pub(super) fn api(handler: impl FnMut(&Seen) -> Reply + Send + 'static) -> (Client, Log) {
    let log = Log(Arc::new(watch::Sender::new(Vec::new())));
    let handler = Arc::new(Mutex::new(handler));
    let seen = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (handler, log) = (handler.clone(), seen.clone());
        async move {
            let seen = read(request).await;
            let reply = (handler.lock().unwrap())(&seen);
            log.0.send_modify(|all| all.push(seen));
            respond(reply).await
        }
    });
    (Client::new(service, "default"), log)
}

/// Replies in turn, then 200 with `last`.
pub(super) fn in_turn(replies: Vec<Reply>, last: Value) -> impl FnMut(&Seen) -> Reply + Send {
    let mut replies = replies.into_iter();
    move |_| {
        replies
            .next()
            .unwrap_or_else(|| Reply::Json(200, last.clone()))
    }
}

async fn read(request: Request<Body>) -> Seen {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap();
    Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        content_type: parts
            .headers
            .get("content-type")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

async fn respond(reply: Reply) -> Result<Answer, io::Error> {
    let (code, body) = match reply {
        Reply::Json(code, body) => (code, body),
        Reply::Held(wait, code, body) => {
            let _ = wait.await;
            (code, body)
        }
        Reply::Stream(events) => {
            let frames = UnboundedReceiverStream::new(events)
                .map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
            let body = BodyExt::boxed_unsync(StreamBody::new(frames));
            return Ok(Response::builder().status(200).body(body).unwrap());
        }
        Reply::Never => std::future::pending().await,
        Reply::Broken => return Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
    };
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    Ok(Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body.boxed_unsync())
        .unwrap())
}
