//! Events on their way from a source to a reader: whole lines of one driver's life.

use std::sync::Arc;

use ndra_core::event::Event;

use super::update::SourceId;

/// Lines of one source, one node and one life of its driver, in order.
///
/// Each line is one JSON document, an event as `docs/events.md` describes it, of which
/// only the place was read: its step or schema may be unknown. Each names its `instance`
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
    /// Events before the first of these that were lost.
    pub dropped: u64,
    text: Vec<u8>,
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

/// What a line of a [`Chunk`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Something happened.
    Event,
    /// The summary that ends a recording.
    Summary,
    /// How the driver is doing.
    Driver,
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
    pub(super) fn new(source: SourceId, node: Option<Arc<str>>, instance: Arc<str>) -> Self {
        Self {
            source,
            node,
            instance,
            dropped: 0,
            text: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Adds an event that was put together from `parts`.
    pub(super) fn push(&mut self, parts: &[&[u8]], place: (u64, i64)) {
        self.add(parts, LineKind::Event, place);
    }

    /// Adds another line, which has no place of its own.
    pub(super) fn push_other(&mut self, parts: &[&[u8]], kind: LineKind) {
        let time = self.marks.last().map_or(0, |mark| mark.time);
        self.add(parts, kind, (0, time));
    }

    fn add(&mut self, parts: &[&[u8]], kind: LineKind, (seq, time): (u64, i64)) {
        for part in parts {
            let from = self.text.len();
            self.text.extend_from_slice(part);
            // Between tokens of JSON a line feed is a space, and elsewhere it cannot be. Most
            // have none, and looking is faster than changing.
            if part.contains(&b'\n') {
                for byte in &mut self.text[from..] {
                    if *byte == b'\n' {
                        *byte = b' ';
                    }
                }
            }
        }
        self.text.push(b'\n');
        self.marks.push(Mark {
            end: u32::try_from(self.text.len()).unwrap_or(u32::MAX),
            seq,
            time,
            kind,
        });
    }

    /// All lines, each with its line feed.
    pub fn text(&self) -> &[u8] {
        &self.text
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
            json: self.text.get(start..mark.end as usize - 1)?,
        })
    }

    /// A chunk of the lines from `from` to before `to`.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        let (start, end) = (self.start(from), self.start(to));
        let marks = self.marks.get(from..to).unwrap_or_default().iter();
        Self {
            source: self.source,
            node: self.node.clone(),
            instance: self.instance.clone(),
            dropped: if from == 0 { self.dropped } else { 0 },
            text: self.text.get(start..end).unwrap_or_default().to_vec(),
            marks: marks
                .map(|mark| Mark {
                    end: mark.end - u32::try_from(start).unwrap_or(u32::MAX),
                    ..*mark
                })
                .collect(),
        }
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

    #[test]
    fn parts_hold_their_lines_and_the_first_the_loss() {
        let mut chunk = Chunk::new(SourceId(3), None, "life".into());
        chunk.dropped = 7;
        chunk.push(&[b"{\"a\":\n1", b",\"b\":2}"], (1, 10));
        chunk.push(&[b"{}"], (2, 20));
        chunk.push_other(&[b"{\"summary\":{}}"], LineKind::Summary);
        assert_eq!(chunk.text(), b"{\"a\": 1,\"b\":2}\n{}\n{\"summary\":{}}\n");
        let first = chunk.part(0, 1);
        assert_eq!(
            (first.dropped, first.text()),
            (7, &b"{\"a\": 1,\"b\":2}\n"[..])
        );
        let rest = chunk.part(1, 3);
        let lines: Vec<_> = rest
            .lines()
            .map(|l| (l.seq, l.time, l.kind, l.json))
            .collect();
        assert_eq!(
            lines,
            [
                (2, 20, LineKind::Event, &b"{}"[..]),
                (0, 20, LineKind::Summary, b"{\"summary\":{}}")
            ]
        );
        assert_eq!((rest.dropped, rest.source), (0, SourceId(3)));
    }
}
