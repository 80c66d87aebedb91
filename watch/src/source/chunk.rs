//! Events on their way from a source to a reader: whole lines of one driver's life.

use std::sync::Arc;

use ndra_core::event::Event;

use super::line::{Place, scan};
use super::update::SourceId;
use crate::recording::{Batch, LineKind};

/// Lines of one source, one node and one life of its driver, in order.
///
/// Each line is one JSON document, an event as `docs/events.md` describes it, of which
/// only the place is sure: its step or schema may be unknown. Each names its `instance`
/// and `node` as far as they are known, so that it can stand alone.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Which source.
    pub source: SourceId,
    /// The node that the driver runs on, where it is known.
    pub node: Option<Arc<str>>,
    /// The driver's life that the sequence numbers belong to; empty, or `#2`, `#3` … after
    /// a file was replaced, where the source names none.
    pub instance: Arc<str>,
    /// All lines, and what they say.
    batch: Batch,
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Where the line ends, its line feed included.
    end: u32,
    seq: u64,
    time: i64,
    kind: LineKind,
}

/// One line of a [`Chunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The event's number in its driver's life; 0 for other lines.
    pub seq: u64,
    /// Nanoseconds since 1970; of other lines, those of the event before it, or 0.
    pub time: i64,
    /// What it is.
    pub kind: LineKind,
    /// The line, without its line feed.
    pub json: &'a [u8],
}

impl Chunk {
    /// A chunk of nothing yet, before which `dropped` events were lost.
    pub(super) fn new(
        source: SourceId,
        node: Option<Arc<str>>,
        instance: Arc<str>,
        dropped: u64,
    ) -> Self {
        Self {
            source,
            node,
            instance,
            batch: Batch {
                dropped,
                ..Batch::default()
            },
            marks: Vec::new(),
        }
    }

    /// Adds a line, with `tail` before its last brace.
    pub(super) fn push(&mut self, place: &Place<'_>, tail: &str) {
        let (line, at) = (place.line, self.batch.text.len());
        let mut time = place.time;
        match (&place.parsed, place.kind) {
            (None, _) => self.batch.garbage(line.as_bytes()),
            (Some(parsed), LineKind::Event) => {
                self.batch
                    .take_event(parsed, (place.seq, time), place.line, at);
            }
            (Some(parsed), LineKind::Summary | LineKind::Driver) => {
                time = self.marks.last().map_or(0, |mark| mark.time);
                self.batch.take_other(parsed);
            }
        }
        match line.strip_suffix('}') {
            Some(open) if !tail.is_empty() => self.add(&[open, tail, "}"]),
            _ => self.add(&[line]),
        }
        self.marks.push(Mark {
            end: u32::try_from(self.batch.text.len()).unwrap_or(u32::MAX),
            seq: place.seq,
            time,
            kind: place.kind,
        });
    }

    fn add(&mut self, parts: &[&str]) {
        let text = &mut self.batch.text;
        for part in parts {
            let from = text.len();
            text.extend_from_slice(part.as_bytes());
            // Between tokens of JSON a line feed is a space, and elsewhere it cannot be. Most
            // have none, and looking is faster than changing.
            if part.as_bytes().contains(&b'\n') {
                for byte in &mut text[from..] {
                    if *byte == b'\n' {
                        *byte = b' ';
                    }
                }
            }
        }
        text.push(b'\n');
    }

    /// Events before the first of these that were lost.
    pub fn dropped(&self) -> u64 {
        self.batch.dropped
    }

    /// What the lines say, read: events, and what could not be used.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// All lines, each with its line feed.
    pub fn text(&self) -> &[u8] {
        &self.batch.text
    }

    /// How many lines it has.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Has it no lines?
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The lines, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        (0..self.marks.len()).filter_map(|index| self.line(index))
    }

    /// The events, in order. A line that cannot be read says why: its step may be newer
    /// than this program.
    pub fn events(&self) -> impl Iterator<Item = Result<Event, serde_json::Error>> {
        self.lines()
            .filter(|line| line.kind == LineKind::Event)
            .map(|line| serde_json::from_slice(line.json))
    }

    pub(super) fn line(&self, index: usize) -> Option<Line<'_>> {
        let mark = self.marks.get(index)?;
        let start = self.start(index);
        Some(Line {
            seq: mark.seq,
            time: mark.time,
            kind: mark.kind,
            json: self.batch.text.get(start..mark.end as usize - 1)?,
        })
    }

    /// A chunk of the lines from `from` to before `to`. Reads them anew: streams that must be
    /// put in order are few, and cut seldom.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        let dropped = if from == 0 { self.dropped() } else { 0 };
        let mut part = Self::new(
            self.source,
            self.node.clone(),
            self.instance.clone(),
            dropped,
        );
        for index in from..to {
            let (Some(line), Some(mark)) = (self.line(index), self.marks.get(index)) else {
                break;
            };
            if let Ok(Some(place)) = scan(line.json) {
                part.push(&place, "");
                if let Some(last) = part.marks.last_mut() {
                    last.time = mark.time;
                }
            }
        }
        part
    }

    fn start(&self, index: usize) -> usize {
        match index.checked_sub(1) {
            Some(before) => self.marks.get(before).map_or(0, |mark| mark.end as usize),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Oddity;

    #[test]
    fn parts_hold_their_lines_and_the_first_the_loss() {
        let mut chunk = Chunk::new(SourceId(3), None, "life".into(), 7);
        let event = |seq, rest: &str| {
            format!("{{\"seq\":{seq},\n\"time\":\"1970-01-01T00:00:00.00000000{seq}Z\",{rest}}}")
        };
        let known = r#""schema":1,"step":"hook","phase":"begin","pod":"a/\u0062""#;
        for (line, tail) in [
            (event(1, known), ",\"node\":\"n\""),
            (event(2, "\"claim\":7"), ""),
            (event(3, known), ""),
            ("{\"summary\":{\"pods\":3}}".into(), ""),
        ] {
            let Ok(Some(place)) = scan(line.as_bytes()) else {
                panic!("{line}");
            };
            chunk.push(&place, tail);
        }
        let first = chunk.part(0, 1);
        let words = std::str::from_utf8(first.text()).unwrap();
        assert!(words.starts_with("{\"seq\":1, \"time\""), "{words}");
        assert!(words.ends_with(",\"node\":\"n\"}\n"), "{words}");
        assert_eq!(first.dropped(), 7);
        assert!(first.batch().summary.is_none());
        let rest = chunk.part(1, 4);
        let kinds: Vec<_> = rest.lines().map(|l| (l.seq, l.time, l.kind)).collect();
        assert_eq!(
            kinds,
            [
                (2, 2, LineKind::Event),
                (3, 3, LineKind::Event),
                (0, 3, LineKind::Summary)
            ]
        );
        assert_eq!(rest.batch().oddities.of(Oddity::Garbage), 1);
        assert_eq!(rest.batch().summary.as_ref().unwrap().pods, 3);
        for batch in [first.batch(), rest.batch()] {
            let [entry] = batch.entries.as_slice() else {
                panic!("{batch:?}");
            };
            assert_eq!(batch.text(entry.pod), "a/b");
        }
        assert_eq!((rest.dropped(), rest.source), (0, SourceId(3)));
    }
}
