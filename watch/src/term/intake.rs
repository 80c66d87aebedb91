//! Sources into the model: each stream of updates becomes the model's sources and events.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, SelectAll};

use super::Boxed;
use crate::recording::{Oddities, Oddity};
use crate::source::{Chunk, Feed, LineKind, Options, Source, SourceId as Stream, Update};
use crate::state::{self, Connection, FRESH, Model, SourceId};

/// One piece of news: from which feed, and what.
pub(super) type News = (usize, Update);

/// All feeds, and what the model calls what they bring.
pub(super) struct Intake {
    updates: SelectAll<Boxed<News>>,
    feeds: Vec<Origin>,
    /// One of the model's sources for each stream and node: it counts numbers by them.
    known: HashMap<(usize, Stream, Option<Arc<str>>), SourceId>,
    failed: Vec<(usize, String)>,
    /// Did any stream bring events, or come to a good end?
    gave: bool,
}

/// What a feed reads.
struct Origin {
    first: SourceId,
    recording: bool,
    /// Is its stream 0 a list of others?
    set: bool,
}

impl Intake {
    /// Begins to read all sources, and tells the model of each.
    pub(super) fn open(model: &mut Model, sources: Vec<Source>, options: &Options) -> Self {
        let mut intake = Self {
            updates: SelectAll::new(),
            feeds: Vec::new(),
            known: HashMap::new(),
            failed: Vec::new(),
            gave: false,
        };
        for (number, source) in sources.into_iter().enumerate() {
            let name = source.to_string();
            let id = model.add_source(&name, "");
            let recording = matches!(source, Source::File(_));
            let set = matches!(source, Source::DaemonSet { .. });
            let reading = recording || matches!(source, Source::Stdin);
            if let Some(known) = model.source_mut(id) {
                (known.reading, known.listing) = (reading, set);
            }
            intake.feeds.push(Origin {
                first: id,
                recording,
                set,
            });
            intake.known.insert((number, Stream(0), None), id);
            let feed = Feed::open(source, options.clone());
            let updates = stream::unfold(feed, move |mut feed| async move {
                let update = feed.next().await?;
                Some(((number, update), feed))
            });
            intake.updates.push(Box::pin(updates));
        }
        intake
    }

    /// The next piece of news; waits for ever when nothing more can come. Cancel safe.
    pub(super) async fn next(&mut self) -> News {
        match self.updates.next().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// The next piece of news; none, when nothing more can come.
    pub(super) async fn rest(&mut self) -> Option<News> {
        self.updates.next().await
    }

    /// Did nothing come from anywhere?
    pub(super) fn nothing_came(&self) -> bool {
        !self.gave
    }

    /// Feeds that cannot be read, and why.
    pub(super) fn failed(&self) -> &[(usize, String)] {
        &self.failed
    }

    /// Takes a piece of news in, at `now`, nanoseconds since 1970.
    pub(super) fn take(&mut self, model: &mut Model, (feed, update): News, now: i64) {
        match update {
            Update::Connecting { source, node, .. } => {
                self.id(model, feed, source, node);
                self.each(model, feed, source, |connection| {
                    if !matches!(connection, Connection::Lost { .. }) {
                        *connection = Connection::Connecting;
                    }
                });
            }
            Update::Connected { source } => {
                self.each(model, feed, source, |connection| {
                    *connection = Connection::Live
                });
            }
            Update::Events(chunk) => {
                self.gave = true;
                self.events(model, feed, &chunk, now);
            }
            Update::Garbage {
                source,
                count,
                sample,
            } => {
                let mut oddities = Oddities::default();
                oddities.count_many(Oddity::Garbage, count, &sample);
                let id = self.any(model, feed, source);
                if let Some(source) = model.source_mut(id) {
                    source.oddities.add(&oddities);
                }
            }
            Update::Reading { source, read, of } => {
                self.each(model, feed, source, |connection| {
                    *connection = Connection::Loading { read, of: Some(of) };
                });
            }
            Update::Tail { source, broken } => {
                self.any(model, feed, source);
                self.each_source(model, feed, source, |known| {
                    (known.reading, known.broken) = (false, broken);
                    if matches!(known.connection, Connection::Loading { .. }) {
                        known.connection = Connection::of_recording(known.fresh);
                    }
                });
            }
            Update::Lost {
                source,
                reason,
                retry_in,
            } => {
                let wait = i64::try_from(retry_in.as_nanos()).unwrap_or(i64::MAX);
                self.each(model, feed, source, |connection| {
                    *connection = Connection::Lost {
                        reason: reason.clone(),
                        retry_at: now.saturating_add(wait),
                    };
                });
            }
            Update::Ended { source } => {
                let set = self.feeds.get(feed).is_some_and(|feed| feed.set);
                self.gave |= !(set && source == Stream(0));
                self.each(model, feed, source, |connection| {
                    *connection = Connection::Ended
                });
            }
            Update::Failed { source, reason } => {
                self.each(model, feed, source, |connection| {
                    *connection = Connection::Failed {
                        reason: reason.clone(),
                    };
                });
                self.failed.push((feed, reason));
            }
        }
    }

    fn events(&mut self, model: &mut Model, feed: usize, chunk: &Chunk, now: i64) {
        let id = self.id(model, feed, chunk.source, chunk.node.clone());
        model.instance(id, &chunk.instance);
        model.ingest(id, chunk.batch());
        if !self.feeds.get(feed).is_some_and(|feed| feed.recording) {
            return;
        }
        // It says when it is complete; one that does not is told by its age.
        let Some(last) = chunk.lines().filter(|l| l.kind != LineKind::Driver).last() else {
            return;
        };
        let summary = last.kind == LineKind::Summary;
        let old = last.time < now.saturating_sub(FRESH);
        let fresh = !summary && !old;
        self.each_source(model, feed, chunk.source, |known| known.fresh = fresh);
        self.each(model, feed, chunk.source, |connection| {
            // What is not read to its end yet may be fresher there.
            if !matches!(connection, Connection::Loading { .. }) {
                *connection = Connection::of_recording(fresh);
            }
        });
    }

    /// The model's source for a stream and a node.
    fn id(
        &mut self,
        model: &mut Model,
        feed: usize,
        stream: Stream,
        node: Option<Arc<str>>,
    ) -> SourceId {
        if let Some(id) = self.known.get(&(feed, stream, node.clone())) {
            return *id;
        }
        // The node's name came later than the source: it has been this one all along.
        let nameless = self.known.get(&(feed, stream, None)).copied();
        let node_name = node.as_deref().unwrap_or_default();
        let id = match nameless {
            Some(id) if model.name_node(id, node_name) => id,
            like => {
                let id = match self.feeds.get(feed) {
                    Some(feed) => model.add_stream(feed.first, node_name),
                    None => model.add_source("", node_name),
                };
                let connection = like
                    .and_then(|like| model.source_mut(like))
                    .map(|like| like.connection.clone());
                if let (Some(source), Some(connection)) = (model.source_mut(id), connection) {
                    source.connection = connection;
                }
                id
            }
        };
        self.known.insert((feed, stream, node), id);
        id
    }

    /// One of the model's sources for a stream, whichever node it is of.
    fn any(&mut self, model: &mut Model, feed: usize, stream: Stream) -> SourceId {
        let mut all = self.known.iter();
        let found = all.find(|((of, which, _), _)| (*of, *which) == (feed, stream));
        match found.map(|(_, id)| *id) {
            Some(id) => id,
            None => self.id(model, feed, stream, None),
        }
    }

    /// Changes the connection of all that a stream brings.
    fn each(
        &mut self,
        model: &mut Model,
        feed: usize,
        stream: Stream,
        mut change: impl FnMut(&mut Connection),
    ) {
        self.any(model, feed, stream);
        self.each_source(model, feed, stream, |source| change(&mut source.connection));
    }

    /// Changes all that a stream brings.
    fn each_source(
        &self,
        model: &mut Model,
        feed: usize,
        stream: Stream,
        mut change: impl FnMut(&mut state::Source),
    ) {
        for ((of, which, _), id) in &self.known {
            if (*of, *which) == (feed, stream)
                && let Some(source) = model.source_mut(*id)
            {
                change(source);
            }
        }
    }
}
