//! Lines of one stream, in: what was seen before is left out, what is missing is counted.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::chunk::Chunk;
use super::line::{Cut, Cutter, Garbage, MAX_LINE, Place, scan};
use super::update::{Position, SourceId, Update, is_instance};
use crate::recording::LineKind;

/// Bytes after which a chunk is handed on.
const FULL: usize = 256 * 1024;
/// Lives of drivers whose last number is remembered; only the newest few matter.
const LIVES: usize = 64;

/// The reader is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// What the connection knows of a line beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside<'a> {
    pub(super) instance: Option<&'a str>,
    pub(super) dropped: u64,
}

/// Collects lines into chunks for the reader.
pub(super) struct Intake {
    source: SourceId,
    node: Option<Arc<str>>,
    out: mpsc::Sender<Update>,
    /// Does the stream number its events without gaps and repeats of its own?
    live: bool,
    seen: Vec<Position>,
    /// Has an event come?
    heard: bool,
    /// The life of lines that name none.
    unnamed: Arc<str>,
    lives: u32,
    cutter: Cutter,
    chunk: Option<Chunk>,
    garbage: u64,
    sample: String,
    /// What was said of the end of a recording.
    broken: Option<bool>,
}

impl Intake {
    /// An intake that leaves out what is not after `after`.
    pub(super) fn new(
        source: SourceId,
        out: mpsc::Sender<Update>,
        live: bool,
        after: &[Position],
    ) -> Self {
        Self {
            source,
            node: None,
            out,
            live,
            seen: after.iter().take(LIVES).cloned().collect(),
            heard: false,
            unnamed: "".into(),
            lives: 1,
            cutter: Cutter::default(),
            chunk: None,
            garbage: 0,
            sample: String::new(),
            broken: None,
        }
    }

    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    pub(super) fn node(&self) -> Option<&Arc<str>> {
        self.node.as_ref()
    }

    /// All lines from now on are this node's, and one that says otherwise is garbage.
    pub(super) fn set_node(&mut self, node: &str) {
        self.node = Some(node.into());
    }

    /// Where to resume: the place of the newest event, or before the first one, all places
    /// that the reader has; one of them may be this stream's.
    pub(super) fn resume(&self) -> &[Position] {
        match self.seen.as_slice() {
            [.., last] if self.heard => std::slice::from_ref(last),
            all => all,
        }
    }

    /// Lines that name no life belong to a new one from now on.
    pub(super) fn new_life(&mut self) {
        self.lives = self.lives.saturating_add(1);
        self.unnamed = format!("#{}", self.lives).into();
    }

    pub(super) async fn say(&self, update: Update) -> Result<(), Closed> {
        self.out.send(update).await.map_err(|_| Closed)
    }

    /// Takes a piece of a stream of lines.
    pub(super) async fn feed(&mut self, piece: &[u8]) -> Result<(), Closed> {
        let mut cutter = std::mem::take(&mut self.cutter);
        cutter.push(piece);
        while let Some(cut) = cutter.next() {
            match cut {
                Cut::Line(line) => self.line(line, Beside::default()).await?,
                Cut::TooLong(_) => self.too_long(),
            }
        }
        self.cutter = cutter;
        Ok(())
    }

    /// The stream ends or begins anew: a line without its end counts if it is whole.
    pub(super) async fn end_of_stream(&mut self) -> Result<(), Closed> {
        let rest = self.cutter.rest();
        self.broken = None;
        self.line(&rest, Beside::default()).await?;
        self.flush().await
    }

    /// A recording was read to where it ends now. Its last line counts without its line
    /// feed if it is whole: nothing can be added to it.
    pub(super) async fn end_for_now(&mut self) -> Result<(), Closed> {
        let rest = self.cutter.pending().trim_ascii();
        let whole = serde_json::from_slice::<serde::de::IgnoredAny>(rest).is_ok();
        let broken = !rest.is_empty() && !whole;
        if whole {
            let rest = self.cutter.rest();
            self.line(&rest, Beside::default()).await?;
        }
        self.flush().await?;
        if self.broken.replace(broken) != Some(broken) {
            let source = self.source;
            self.say(Update::Tail { source, broken }).await?;
        }
        Ok(())
    }

    /// Takes one line.
    pub(super) async fn line(&mut self, line: &[u8], beside: Beside<'_>) -> Result<(), Closed> {
        if line.len() > MAX_LINE {
            self.too_long();
            return Ok(());
        }
        match scan(line) {
            Ok(None) => Ok(()),
            Err(Garbage) => {
                self.count_garbage(line);
                Ok(())
            }
            Ok(Some(place)) => match place.kind {
                LineKind::Summary => self.summary(&place).await,
                LineKind::Driver | LineKind::Event => self.numbered(&place, beside).await,
            },
        }
    }

    /// A recording's summary ends the life before it.
    async fn summary(&mut self, place: &Place<'_>) -> Result<(), Closed> {
        let (node, instance) = match &self.chunk {
            Some(chunk) => (chunk.node.clone(), chunk.instance.clone()),
            None => (self.node.clone(), self.unnamed.clone()),
        };
        self.room(node, instance, 0).await?.push(place, "");
        Ok(())
    }

    /// What a driver says in one of its lives.
    async fn numbered(&mut self, place: &Place<'_>, beside: Beside<'_>) -> Result<(), Closed> {
        let said = place.instance.as_deref();
        if contradicts(beside.instance, said)
            || contradicts(self.node.as_deref(), place.node.as_deref())
            || !beside.instance.is_none_or(is_instance)
        {
            self.count_garbage(place.line.as_bytes());
            return Ok(());
        }
        let instance = self.instance(beside.instance.or(said));
        let mut dropped = 0;
        // How the driver is doing has no number: it is news each time.
        if place.kind == LineKind::Event {
            dropped = place.dropped.unwrap_or_default().max(beside.dropped);
            let before = self.seen.iter().position(|p| p.instance == instance);
            if let Some(last) = before.map(|index| self.seen[index].seq) {
                if place.seq <= last {
                    return Ok(());
                }
                if self.live {
                    dropped = dropped.max(place.seq - last - 1);
                }
            }
            if self.live {
                self.heard = true;
                self.remember(before, &instance, place.seq);
            }
        }
        let node = self.node_of(place);
        let mut tail = self.tail(node.as_ref(), place, beside);
        if dropped > 0 && place.dropped.is_none() {
            add(&mut tail, "dropped", &serde_json::json!(dropped));
        }
        self.room(node, instance, dropped).await?.push(place, &tail);
        Ok(())
    }

    /// Hands on what was collected.
    pub(super) async fn flush(&mut self) -> Result<(), Closed> {
        if self.garbage > 0 {
            let update = Update::Garbage {
                source: self.source,
                count: std::mem::take(&mut self.garbage),
                sample: std::mem::take(&mut self.sample),
            };
            self.say(update).await?;
        }
        match self.chunk.take() {
            Some(chunk) => self.say(Update::Events(Box::new(chunk))).await,
            None => Ok(()),
        }
    }

    /// A chunk that a line of this node and life fits into.
    async fn room(
        &mut self,
        node: Option<Arc<str>>,
        instance: Arc<str>,
        dropped: u64,
    ) -> Result<&mut Chunk, Closed> {
        let fits = |chunk: &Chunk| {
            chunk.text().len() < FULL
                && dropped == 0
                && chunk.node == node
                && chunk.instance == instance
        };
        if !self.chunk.as_ref().is_some_and(fits) {
            self.flush().await?;
        }
        let source = self.source;
        Ok(self
            .chunk
            .get_or_insert_with(|| Chunk::new(source, node, instance, dropped)))
    }

    fn instance(&self, name: Option<&str>) -> Arc<str> {
        match name {
            None => self.unnamed.clone(),
            // Nearly always the same as before.
            Some(name) => match &self.chunk {
                Some(chunk) if *chunk.instance == *name => chunk.instance.clone(),
                _ => name.into(),
            },
        }
    }

    fn node_of(&self, place: &Place<'_>) -> Option<Arc<str>> {
        match (&self.node, place.node.as_deref()) {
            (Some(node), _) => Some(node.clone()),
            (None, Some(node)) => Some(self.known_node(node)),
            (None, None) => None,
        }
    }

    /// What a line does not say itself, so that it can stand alone.
    fn tail(&self, node: Option<&Arc<str>>, place: &Place<'_>, beside: Beside<'_>) -> String {
        let mut tail = String::new();
        if let (Some(node), None) = (node, &place.node) {
            add(&mut tail, "node", &serde_json::json!(&**node));
        }
        if let (Some(instance), None) = (beside.instance, &place.instance) {
            add(&mut tail, "instance", &serde_json::json!(instance));
        }
        tail
    }

    fn known_node(&self, name: &str) -> Arc<str> {
        match self.chunk.as_ref().and_then(|chunk| chunk.node.as_ref()) {
            Some(node) if **node == *name => node.clone(),
            _ => name.into(),
        }
    }

    /// The newest life stands last.
    fn remember(&mut self, before: Option<usize>, instance: &Arc<str>, seq: u64) {
        match before {
            Some(index) if index + 1 == self.seen.len() => self.seen[index].seq = seq,
            _ => {
                if let Some(index) = before {
                    self.seen.remove(index);
                } else if self.seen.len() >= LIVES {
                    self.seen.remove(0);
                }
                self.seen.push(Position {
                    instance: instance.clone(),
                    seq,
                });
            }
        }
    }

    fn too_long(&mut self) {
        self.garbage += 1;
        self.sample = format!("a line of more than {} KiB", MAX_LINE / 1024);
    }

    fn count_garbage(&mut self, line: &[u8]) {
        self.garbage += 1;
        self.sample = one_line(&String::from_utf8_lossy(&line[..line.len().min(512)]), 80);
    }
}

fn contradicts(known: Option<&str>, said: Option<&str>) -> bool {
    matches!((known, said), (Some(known), Some(said)) if known != said)
}

fn add(tail: &mut String, key: &str, value: &serde_json::Value) {
    tail.push_str(&format!(",\"{key}\":{value}"));
}

/// Text from outside, fit for one line of a terminal.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let plain = |c: char| {
        // Marks of direction would change how the rest reads.
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { ' ' } else { c }
    };
    let mut line: String = text.trim().chars().take(most).map(plain).collect();
    if text.trim().chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
