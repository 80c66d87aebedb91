//! The HTTP face: one page, to whoever asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE as TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::Sources;

/// Of the page: OpenMetrics 1.0.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How many may ask at the same time.
const CALLERS: usize = 16;

/// How long a caller may take for one request, and to stay without one.
const LIMIT: Duration = Duration::from_secs(10);

/// Serves `/metrics` on `address` until the handle is dropped. Returns the address, too,
/// which differs where port 0 was asked for.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(
    address: SocketAddr,
    sources: Sources,
) -> std::io::Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let places = Arc::new(Semaphore::new(CALLERS));
    let task = tokio::spawn(async move {
        // Ends with the last of the connections, which end with this task.
        let mut callers = tokio::task::JoinSet::new();
        loop {
            while callers.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a caller for metrics could not be heard");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let sources = sources.clone();
            callers.spawn(async move {
                let _place = place;
                let answer = service_fn(move |request| {
                    let answer = answer(&request, &sources);
                    async { Ok::<_, Infallible>(answer) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(LIMIT)
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(stream), answer);
                if let Err(error) = served.await {
                    tracing::debug!(%error, "a scrape ended early");
                }
            });
        }
    });
    Ok((bound, AbortOnDropHandle::new(task)))
}

fn answer(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "metrics can be read only\n");
        let get = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, get);
        return response;
    }
    let mut response = Response::new(Full::from(sources.scrape()));
    let kind = hyper::header::HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(TYPE, kind);
    response
}
