//! Cuts a stream of bytes into lines of bounded length and parses them as they come.

use std::io::BufRead;

use super::batch::{Batch, Oddity};

/// The longest line that is read, in bytes. An event is far shorter; what is longer is
/// skipped to its end and counted.
pub const MAX_LINE: usize = 1024 * 1024;

/// An incremental parser of JSON lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come.
    carry: Vec<u8>,
    /// The line under way is too long; wait for its end.
    skipping: bool,
}

impl Lines {
    /// A parser at the beginning of a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the lines that `bytes` complete. Feed it pieces of at most some hundred
    /// kilobytes: a batch is as large as its piece.
    pub fn feed(&mut self, bytes: &[u8]) -> Batch {
        let mut out = Batch::default();
        let mut bytes = bytes;
        if self.skipping {
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                return out;
            };
            self.skipping = false;
            bytes = &bytes[end + 1..];
        }
        if !bytes.contains(&b'\n') {
            self.carry.extend_from_slice(bytes);
            self.too_long(&mut out);
            return out;
        }
        let mut text = std::mem::take(&mut self.carry);
        text.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            let mut rest = &text[start..];
            // Finds the line's end with the standard library's fast search.
            let len = rest.skip_until(b'\n').unwrap_or(0);
            let line = &text[start..start + len];
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            if line.len() > MAX_LINE {
                out.oddities.count(Oddity::TooLong, "");
            } else if !line.trim_ascii().is_empty() {
                out.take(line, start);
            }
            start += len;
        }
        self.carry.extend_from_slice(&text[start..]);
        self.too_long(&mut out);
        out.text = text;
        out
    }

    fn too_long(&mut self, out: &mut Batch) {
        if self.carry.len() > MAX_LINE {
            out.oddities.count(Oddity::TooLong, "");
            self.skipping = true;
            self.carry = Vec::new();
        }
    }

    /// The stream ended. A last line without its end counts as cut, unless it is whole.
    pub fn finish(&mut self) -> Batch {
        let text = std::mem::take(&mut self.carry);
        self.skipping = false;
        let mut out = Batch::default();
        if text.trim_ascii().is_empty() {
            return out;
        }
        if serde_json::from_slice::<&serde_json::value::RawValue>(&text).is_ok() {
            out.take(&text, 0);
        } else {
            out.oddities.count(Oddity::Cut, "");
        }
        out.text = text;
        out
    }

    /// Bytes of a line whose end has not come.
    pub fn pending(&self) -> usize {
        self.carry.len()
    }
}
