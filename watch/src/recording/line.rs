//! One line, borrowed: parsed once and without copying, its payload left as it is.

use std::borrow::Cow;
use std::fmt;

use ndra_core::event::{Actor, DriverState, Phase, SCHEMA, Step};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::batch::{Batch, Entry, Oddity, Slice, Summary};
use super::stamp;

/// A text that borrows from the line unless it has escapes.
#[derive(Debug, Default)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        from.deserialize_any(Either)
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Claim<'a> {
    #[serde(borrow)]
    namespace: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    uid: Text<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Line<'a> {
    schema: Option<u64>,
    pub(crate) seq: Option<u64>,
    #[serde(borrow)]
    time: Text<'a>,
    elapsed_us: u64,
    #[serde(borrow)]
    step: Text<'a>,
    #[serde(borrow)]
    phase: Text<'a>,
    duration_us: Option<u64>,
    #[serde(borrow)]
    claim: Option<Claim<'a>>,
    #[serde(borrow)]
    pod: Text<'a>,
    #[serde(borrow)]
    sandbox: Text<'a>,
    #[serde(borrow)]
    container: Text<'a>,
    #[serde(borrow)]
    from: Text<'a>,
    #[serde(borrow)]
    to: Text<'a>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Text<'a>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    driver: Option<&'a RawValue>,
    /// The life of the driver that counts the line, if it says so.
    #[serde(borrow)]
    pub(crate) instance: Option<Text<'a>>,
    /// The node that it is of, if it says so.
    #[serde(borrow)]
    pub(crate) node: Option<Text<'a>>,
    /// Events before it that were lost.
    pub(crate) dropped: Option<u64>,
}

/// What a line is, by the keys that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Something happened.
    Event,
    /// The summary that ends a recording.
    Summary,
    /// How the driver is doing.
    Driver,
}

impl<'a> Line<'a> {
    /// Parses one line. Its texts are then ranges of it.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    pub(crate) fn kind(&self) -> LineKind {
        match (&self.summary, &self.driver) {
            (Some(_), _) => LineKind::Summary,
            (None, Some(_)) => LineKind::Driver,
            (None, None) => LineKind::Event,
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn time(&self) -> Option<i64> {
        stamp::nanoseconds(&self.time.0)
    }
}

impl Batch {
    /// Takes in one line whose first byte stands at `at` of the text that the batch will
    /// have, or has. What it lacks is counted.
    pub(crate) fn take(&mut self, line: &[u8], at: usize) {
        // Looked at as a whole, and not text by text: that is most of the work otherwise.
        let whole = std::str::from_utf8(line).ok();
        let parsed = whole.and_then(|text| Some((text, Line::parse(text)?)));
        let Some((text, parsed)) = parsed else {
            return self.garbage(line);
        };
        match (parsed.kind(), parsed.seq, parsed.time()) {
            (LineKind::Event, Some(seq), Some(time)) => {
                self.take_event(&parsed, (seq, time), text, at);
            }
            (LineKind::Event, ..) => self.garbage(line),
            _ => self.take_other(&parsed),
        }
    }

    /// Takes in the parsed event of a line, as [`Batch::take`] does.
    pub(crate) fn take_event(
        &mut self,
        parsed: &Line<'_>,
        (seq, time): (u64, i64),
        line: &str,
        at: usize,
    ) {
        if parsed.schema != Some(u64::from(SCHEMA)) {
            let sample = match parsed.schema {
                Some(schema) => format!("schema {schema}"),
                None => "no schema".into(),
            };
            self.oddities.count(Oddity::Schema, &sample);
        }
        let Ok(step) = parsed.step.0.parse::<Step>() else {
            return self.oddities.count(Oddity::Step, &parsed.step.0);
        };
        let Ok(phase) = parsed.phase.0.parse::<Phase>() else {
            return self.oddities.count(Oddity::Phase, &parsed.phase.0);
        };
        let (from, to) = step.route();
        let actor = |word: &str, usual: Actor| word.parse().unwrap_or(usual);
        let mut put = Put {
            line,
            at,
            batch: self,
        };
        let none = Claim::default();
        let claim = parsed.claim.as_ref().unwrap_or(&none);
        let entry = Entry {
            seq,
            time,
            elapsed_us: parsed.elapsed_us,
            duration_us: parsed.duration_us,
            step,
            phase,
            from: actor(&parsed.from.0, from),
            to: actor(&parsed.to.0, to),
            claim_namespace: put.text(&claim.namespace),
            claim_name: put.text(&claim.name),
            claim_uid: put.text(&claim.uid),
            pod: put.text(&parsed.pod),
            sandbox: put.text(&parsed.sandbox),
            container: put.text(&parsed.container),
            detail: parsed
                .detail
                .map_or(Slice::default(), |raw| put.borrowed(raw.get())),
            error: put.text(&parsed.error),
        };
        self.entries.push(entry);
    }

    /// Takes in the summary of a recording, or how the driver is doing.
    pub(crate) fn take_other(&mut self, parsed: &Line<'_>) {
        if let Some(summary) = parsed.summary {
            match serde_json::from_str::<Summary>(summary.get()) {
                Ok(summary) => self.summary = Some(summary),
                Err(error) => self
                    .oddities
                    .count(Oddity::Garbage, &format!("summary: {error}")),
            }
        } else if let Some(driver) = parsed.driver {
            match serde_json::from_str::<DriverState>(driver.get()) {
                Ok(state) => self.driver = Some(Box::new(state)),
                Err(error) => self
                    .oddities
                    .count(Oddity::Garbage, &format!("driver: {error}")),
            }
        }
    }

    /// Counts a line that is none of this format.
    pub(crate) fn garbage(&mut self, line: &[u8]) {
        let head = &line[..line.len().min(120)];
        self.oddities
            .count(Oddity::Garbage, &String::from_utf8_lossy(head));
    }
}

/// Turns what the parser borrowed from a line into ranges of the batch's text.
struct Put<'a> {
    line: &'a str,
    at: usize,
    batch: &'a mut Batch,
}

impl Put<'_> {
    fn text(&mut self, text: &Text<'_>) -> Slice {
        match &text.0 {
            Cow::Borrowed(part) => self.borrowed(part),
            Cow::Owned(own) => self.batch.keep(own),
        }
    }

    fn borrowed(&self, part: &str) -> Slice {
        if part.is_empty() {
            return Slice::default();
        }
        // Both are addresses in the same block: the parser borrows from the line.
        let start = (part.as_ptr() as usize).wrapping_sub(self.line.as_ptr() as usize);
        debug_assert!(start + part.len() <= self.line.len());
        Slice::of_text(self.at + start, part.len())
    }
}
