//! What a line is and where its place is; cuts a stream into lines.

use std::borrow::Cow;
use std::io::BufRead;

use serde::Deserialize;

use super::update::is_instance;
use crate::recording::{Line, LineKind, nanoseconds};

/// The longest line that is read, in bytes. The driver's are far shorter; a longer one is
/// passed over to its end and counted.
pub const MAX_LINE: usize = 256 * 1024;

/// A line that has a place among others.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) kind: LineKind,
    /// Its number in its driver's life; 0 of what is no event.
    pub(super) seq: u64,
    /// Nanoseconds since 1970; 0 of what is no event.
    pub(super) time: i64,
    pub(super) instance: Option<Cow<'a, str>>,
    pub(super) node: Option<Cow<'a, str>>,
    pub(super) dropped: Option<u64>,
    /// The line, trimmed.
    pub(super) line: &'a str,
    /// All that it says; none, when only its place could be read.
    pub(super) parsed: Option<Line<'a>>,
}

/// Not a line of this format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbage;

/// The place alone, of an event whose other keys are not what they are today: another
/// version may have changed them. Keys that only a reader of several sources needs
/// (`instance`, `node`, `dropped`) may be missing.
#[derive(Debug, Deserialize)]
struct Head<'a> {
    seq: u64,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    instance: Option<Cow<'a, str>>,
    #[serde(borrow)]
    node: Option<Cow<'a, str>>,
    dropped: Option<u64>,
}

/// Reads one line, without its line feed. A blank one has no place: it keeps a connection
/// alive.
pub(super) fn scan(line: &[u8]) -> Result<Option<Place<'_>>, Garbage> {
    // Some editors begin a file with a mark of its encoding.
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    // The parser would also read a list as an event whose fields come in order.
    if line.len() > MAX_LINE || line[0] != b'{' {
        return Err(Garbage);
    }
    // Looked at as a whole, and not text by text: that is most of the work otherwise.
    let Ok(line) = std::str::from_utf8(line) else {
        return Err(Garbage);
    };
    let place = place(line).filter(Place::is_plain);
    place.map(Some).ok_or(Garbage)
}

fn place(line: &str) -> Option<Place<'_>> {
    let Some(mut parsed) = Line::parse(line) else {
        let head = serde_json::from_str::<Head<'_>>(line).ok()?;
        return Some(Place {
            kind: LineKind::Event,
            seq: head.seq,
            time: nanoseconds(&head.time)?,
            instance: head.instance,
            node: head.node,
            dropped: head.dropped,
            line,
            parsed: None,
        });
    };
    let kind = parsed.kind();
    let (seq, time) = match kind {
        LineKind::Event => (parsed.seq?, parsed.time()?),
        LineKind::Summary | LineKind::Driver => (0, 0),
    };
    Some(Place {
        kind,
        seq,
        time,
        instance: parsed.instance.take().map(|text| text.0),
        node: parsed.node.take().map(|text| text.0),
        dropped: parsed.dropped,
        line,
        parsed: Some(parsed),
    })
}

impl Place<'_> {
    /// Are its names fit to be shown, and to be written out again?
    fn is_plain(&self) -> bool {
        self.instance.as_deref().is_none_or(is_instance) && self.node.as_deref().is_none_or(is_node)
    }
}

/// A node's name is shown in a terminal; names of the API pass, and others that are plain.
fn is_node(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Cuts pieces of a stream into lines of bounded length.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to here there is no line feed after `start`.
    searched: usize,
    /// The line under way was too long already; wait for its end.
    skipping: bool,
}

/// A line, or the beginning of one that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut<'a> {
    Line(&'a [u8]),
    TooLong(&'a [u8]),
}

impl Cutter {
    /// Takes the next piece. Call [`Cutter::next`] until it has no more, then give another:
    /// so it holds one line and one piece at most.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next complete line, without its line feed.
    pub(super) fn next(&mut self) -> Option<Cut<'_>> {
        loop {
            let mut rest = self.bytes.get(self.searched..).unwrap_or_default();
            // The standard library's fast search, on bytes that are there already.
            let skipped = rest.skip_until(b'\n').unwrap_or(0);
            self.searched += skipped;
            let ended = skipped > 0 && self.bytes.get(self.searched - 1) == Some(&b'\n');
            let (from, to) = (self.start, self.searched);
            if ended {
                self.start = to;
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                return Some(if to - 1 - from > MAX_LINE {
                    Cut::TooLong(&self.bytes[from..to - 1])
                } else {
                    Cut::Line(&self.bytes[from..to - 1])
                });
            }
            if self.skipping {
                self.start = to;
                return None;
            }
            if to - from > MAX_LINE {
                self.start = to;
                self.skipping = true;
                return Some(Cut::TooLong(&self.bytes[from..to]));
            }
            return None;
        }
    }

    /// What stands after the last line feed; nothing of a line that is too long.
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// What stands after the last line feed, and forgets it.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..self.start);
        *self = Self::default();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        let long = "x".repeat(MAX_LINE + 1);
        let text = format!("a\n\nbc\r\n{long}\nd\n{}\ne", "y".repeat(MAX_LINE));
        for size in [1, 7, 4096, MAX_LINE, text.len()] {
            let mut cutter = Cutter::default();
            let mut seen = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                cutter.push(piece);
                while let Some(cut) = cutter.next() {
                    seen.push(match cut {
                        Cut::Line(line) => String::from_utf8_lossy(line).into_owned(),
                        Cut::TooLong(head) => format!("long:{}", char::from(head[0])),
                    });
                }
                assert!(cutter.bytes.len() <= MAX_LINE + 1 + size, "{size}");
            }
            assert_eq!(cutter.rest(), b"e");
            assert_eq!(seen[..5], ["a", "", "bc\r", "long:x", "d"], "{size}");
            assert_eq!(seen[5].len(), MAX_LINE);
            assert_eq!(seen.len(), 6);
        }
    }

    #[test]
    fn only_objects_with_a_place_are_events() {
        let time = r#""time":"2026-11-24T04:09:00.000000001Z""#;
        let event = |rest: &str| format!("{{{time},{rest}}}");
        let kind = |line: &str| match scan(line.as_bytes()) {
            Ok(Some(place)) => Some((place.kind, place.parsed.is_some())),
            Ok(None) | Err(Garbage) => None,
        };
        let is_event = |line: &str| kind(line) == Some((LineKind::Event, true));
        assert!(is_event(&event(r#""seq":1,"new key":[[{}]]"#)));
        assert!(is_event(&event(r#""seq":1,"instance":"a-1","node":"n""#)));
        assert!(is_event(&format!("  {} \r", event(r#""seq":1"#))));
        assert!(is_event(&format!("\u{feff}{}", event(r#""seq":1"#))));
        // A later version may say more of a claim than this one can read.
        let newer = event(r#""seq":1,"claim":"a/b""#);
        assert_eq!(kind(&newer), Some((LineKind::Event, false)));
        let deep = "[".repeat(100_000);
        for bad in [
            "null",
            "[1,\"2026-11-24T04:09:00Z\"]",
            "{}",
            "{\"seq\":1}",
            &event(r#""seq":-1"#),
            &event(r#""seq":1,"time":"now""#),
            &event(r#""seq":1,"instance":"a b""#),
            &event(r#""seq":1,"instance":"""#),
            &event(r#""seq":1,"node":"a\u001b[2J""#),
            &event(r#""seq":1} {"#),
            &event(&format!("\"seq\":1,\"a\":{deep}")),
            &event("\"seq\":1,\"a\":\"\u{7}\""),
            r#"{"seq":1,"time":"9999-12-31T00:00:00Z"}"#,
        ] {
            let head: String = bad.chars().take(80).collect();
            assert_eq!(scan(bad.as_bytes()).unwrap_err(), Garbage, "{head}");
        }
        assert!(scan(b"{\"a\":\"\xff\"}").is_err());
        assert_eq!(kind("{\"summary\":{}}"), Some((LineKind::Summary, true)));
        assert_eq!(kind("{\"driver\":{}}"), Some((LineKind::Driver, true)));
        assert!(scan(b" \r").unwrap().is_none());
    }
}
