//! Streams of changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::dress;
use super::query::Query;
use crate::error::{ApiError, Result};
use crate::resource::Resource;
use crate::selector::Filter;
use crate::store::{Change, Happened, Store};
use crate::validate::FieldError;

/// How long a watch lasts if the client does not say.
const DEFAULT_DURATION: Duration = Duration::from_secs(30 * 60);

/// The longest a watch lasts, whatever the client says.
const LONGEST_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The annotation that tells the end of the initial events.
const INITIAL_END: &str = "k8s.io/initial-events-end";

struct Watch {
    store: Arc<Store>,
    resource: &'static Resource,
    filter: Filter,
    latest: tokio::sync::watch::Receiver<u64>,
    /// All changes up to this revision were looked at.
    position: u64,
    /// The newest revision the client knows from an event.
    told: u64,
    bookmarks: bool,
    deadline: Instant,
    ended: bool,
}

/// The answer to a watch request.
pub(super) fn answer(
    store: Arc<Store>,
    resource: &'static Resource,
    filter: Filter,
    query: &Query,
) -> Result<Response> {
    let version = query.version()?;
    let initial = initial_events(query, version)?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let seconds = query
        .number("timeoutSeconds")?
        .and_then(|seconds| u64::try_from(seconds).ok());
    let duration = seconds
        .filter(|seconds| *seconds > 0)
        .map_or(DEFAULT_DURATION, Duration::from_secs)
        .min(LONGEST_DURATION);

    // Subscribed before anything is read, so nothing can slip in between.
    let latest = store.subscribe();
    let mut first = Vec::new();
    let mut position = version;
    if version > store.revision() {
        return Err(ApiError::too_large_version(version, store.revision()));
    }
    if initial != Initial::None {
        let (revision, objects) = store.list(resource, &filter);
        for object in &objects {
            frame(&mut first, "ADDED", dress::shown(resource, object).as_ref());
        }
        position = revision;
        if initial == Initial::Marked && bookmarks {
            frame(&mut first, "BOOKMARK", &bookmark(resource, revision, true));
        }
    }
    let watch = Watch {
        store,
        resource,
        filter,
        latest,
        position,
        told: position,
        bookmarks,
        deadline: Instant::now() + duration,
        ended: false,
    };
    let first = (!first.is_empty()).then(|| Ok::<_, Infallible>(Bytes::from(first)));
    let rest = stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok(chunk), watch))
    });
    let stream = futures::StreamExt::chain(stream::iter(first), rest);
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Initial {
    /// Changes only.
    None,
    /// First the objects there are.
    Plain,
    /// And then a bookmark that says so.
    Marked,
}

fn initial_events(query: &Query, version: u64) -> Result<Initial> {
    let forbidden = |field: &str, words: &str| {
        Err(ApiError::invalid_options(
            "ListOptions",
            &FieldError::forbidden(field, words),
        ))
    };
    let not_older = query.text("resourceVersionMatch") == "NotOlderThan";
    match query.text("sendInitialEvents") {
        "" if !query.text("resourceVersionMatch").is_empty() => forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        "" => Ok(if version == 0 {
            Initial::Plain
        } else {
            Initial::None
        }),
        _ if !not_older => forbidden(
            "sendInitialEvents",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        "true" => Ok(Initial::Marked),
        _ => Ok(Initial::None),
    }
}

impl Watch {
    /// The next events, as text; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            self.latest.borrow_and_update();
            let mut text = Vec::new();
            match self.store.since(self.position) {
                Ok(changes) => self.write(&mut text, &changes),
                Err(error) => {
                    frame(&mut text, "ERROR", &error.status());
                    self.ended = true;
                }
            }
            if !text.is_empty() {
                return Some(Bytes::from(text));
            }
            let timed_out = tokio::select! {
                changed = self.latest.changed() => {
                    changed.ok()?;
                    false
                }
                () = tokio::time::sleep_until(self.deadline) => true,
            };
            if timed_out {
                self.ended = true;
                if self.bookmarks && self.position > self.told {
                    frame(
                        &mut text,
                        "BOOKMARK",
                        &bookmark(self.resource, self.position, false),
                    );
                    return Some(Bytes::from(text));
                }
            }
        }
        None
    }

    fn write(&mut self, text: &mut Vec<u8>, changes: &[Arc<Change>]) {
        for change in changes {
            self.position = change.revision;
            if change.table != self.resource.table {
                continue;
            }
            let is = self.filter.matches(&change.object);
            let was = change
                .previous
                .as_ref()
                .is_some_and(|previous| self.filter.matches(previous));
            // Leaving the selection looks like a deletion, entering it like a creation.
            let event = match (change.happened, was, is) {
                (Happened::Deleted, true, _) | (Happened::Modified, true, false) => "DELETED",
                (Happened::Added, _, true) | (Happened::Modified, false, true) => "ADDED",
                (Happened::Modified, true, true) => "MODIFIED",
                _ => continue,
            };
            frame(
                text,
                event,
                dress::shown(self.resource, &change.object).as_ref(),
            );
            self.told = change.revision;
        }
        // A client that hears nothing must not fall out of the history unawares.
        let half = u64::try_from(self.store.history() / 2)
            .unwrap_or(u64::MAX)
            .max(1);
        if self.bookmarks && text.is_empty() && self.position.saturating_sub(self.told) >= half {
            frame(
                text,
                "BOOKMARK",
                &bookmark(self.resource, self.position, false),
            );
            self.told = self.position;
        }
    }
}

fn frame(text: &mut Vec<u8>, event: &str, object: &Value) {
    text.extend_from_slice(format!("{{\"type\":\"{event}\",\"object\":{object}}}\n").as_bytes());
}

fn bookmark(resource: &Resource, revision: u64, initial_end: bool) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({INITIAL_END: "true"});
    }
    json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata})
}
