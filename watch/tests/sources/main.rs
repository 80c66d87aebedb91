//! Sources as their readers see them: real sockets and files, stand-ins for other programs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod file;
mod live;
mod pods;
mod remote;

use std::path::Path;
use std::time::Duration;

use ndra_watch::source::{Chunk, Feed, LineKind, Options, Pace, Source, Update};
use tempfile::TempDir;

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with a path that leaves room for a socket's name.
fn dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap()
}

/// Follows, and tries again at once.
fn following() -> Options {
    Options {
        follow: true,
        pace: Pace {
            first_retry: Duration::from_millis(5),
            last_retry: Duration::from_millis(20),
            ..Pace::default()
        },
        ..Options::default()
    }
}

/// One event's line, without its line feed.
fn line(seq: u64, time: u64, more: &str) -> String {
    format!(
        "{{\"schema\":1,\"seq\":{seq},\"time\":\"2026-11-24T04:09:00.{time:09}Z\",\
         \"elapsed_us\":0,\"step\":\"prepare\",\"number\":1,\"phase\":\"begin\",\
         \"from\":\"kubelet\",\"to\":\"driver\"{more}}}"
    )
}

/// Lines numbered from `from` to `to`, with line feeds.
fn lines(from: u64, to: u64) -> String {
    (from..=to).map(|seq| line(seq, seq, "") + "\n").collect()
}

/// A feed, and what was read of it.
struct Reader(Feed);

impl Reader {
    fn open(source: &str, options: Options) -> Self {
        Self(Feed::open(source.parse().unwrap(), options))
    }

    fn file(path: &Path, options: Options) -> Self {
        Self(Feed::open(Source::File(path.into()), options))
    }

    /// The next news, but for how far a recording is read; `None` at the end.
    async fn next(&mut self) -> Option<Update> {
        loop {
            let news = self.any().await;
            if !matches!(news, Some(Update::Reading { .. })) {
                return news;
            }
        }
    }

    async fn any(&mut self) -> Option<Update> {
        tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .expect("no news")
    }

    /// All to the end, in words.
    async fn all(mut self) -> String {
        let mut words = Vec::new();
        while let Some(update) = self.next().await {
            words.push(in_words(&update));
        }
        words.join("\n")
    }

    /// Up to the first update whose words begin so.
    async fn until(&mut self, begin: &str) -> String {
        let mut words = Vec::new();
        loop {
            let update = self.next().await.expect("the feed ended");
            words.push(in_words(&update));
            if words[words.len() - 1].starts_with(begin) {
                return words.join("\n");
            }
        }
    }

    /// The next chunk with events, whatever stands before it.
    async fn chunk(&mut self) -> Chunk {
        loop {
            match self.next().await {
                Some(Update::Events(chunk)) => return *chunk,
                Some(_) => {}
                None => panic!("the feed ended"),
            }
        }
    }

    /// The numbers of the next `count` events.
    async fn seqs(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.len() < count {
            seqs.extend(self.chunk().await.lines().map(|line| line.seq));
        }
        seqs
    }
}

fn in_words(update: &Update) -> String {
    match update {
        Update::Connecting { source, node, what } => {
            let node = node.as_deref().unwrap_or("-");
            format!("{} connecting {what} ({node})", source.0)
        }
        Update::Connected { source } => format!("{} connected", source.0),
        Update::Events(chunk) => {
            let lines = chunk.lines().map(|line| match line.kind {
                LineKind::Event => line.seq.to_string(),
                LineKind::Summary => "summary".to_owned(),
                LineKind::Driver => "driver".to_owned(),
            });
            format!(
                "{} events {} of [{}] on {}, dropped {}",
                chunk.source.0,
                lines.collect::<Vec<_>>().join(" "),
                chunk.instance,
                chunk.node.as_deref().unwrap_or("-"),
                chunk.dropped()
            )
        }
        Update::Garbage {
            source,
            count,
            sample,
        } => format!("{} garbage {count}: {sample}", source.0),
        Update::Reading { source, read, of } => format!("{} read {read} of {of}", source.0),
        Update::Tail { source, broken } => format!("{} broken {broken}", source.0),
        Update::Lost { source, reason, .. } => format!("{} lost: {reason}", source.0),
        Update::Ended { source } => format!("{} ended", source.0),
        Update::Failed { source, reason } => format!("{} failed: {reason}", source.0),
    }
}

/// `text` without what differs from run to run.
fn plain(text: &str, dir: &TempDir) -> String {
    text.replace(dir.path().to_str().unwrap(), "DIR")
}
