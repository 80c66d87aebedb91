//! One line, borrowed: parsed without copying, its payload left as it is.

use std::borrow::Cow;
use std::fmt;

use ndra_core::event::{Actor, DriverState, Phase, SCHEMA, Step};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::batch::{Batch, Entry, Oddity, Slice, Summary};
use super::stamp;

/// A text that borrows from the line unless it has escapes.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

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

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Claim<'a> {
    #[serde(borrow)]
    namespace: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    uid: Text<'a>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Line<'a> {
    schema: Option<u64>,
    seq: Option<u64>,
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
}

/// What a batch collects while its text is still borrowed.
#[derive(Default)]
pub(super) struct Collector {
    out: Batch,
}

impl Collector {
    /// Reads one line of `text`, which [`Collector::finish`] must be given.
    pub(super) fn line(&mut self, text: &[u8], line: &[u8]) {
        // Looked at as a whole, and not text by text: that is most of the work otherwise.
        let whole = std::str::from_utf8(line).ok();
        let Some(parsed) = whole.and_then(|line| serde_json::from_str::<Line<'_>>(line).ok())
        else {
            return self.odd(Oddity::Garbage, &String::from_utf8_lossy(head(line)));
        };
        if let Some(summary) = parsed.summary {
            match serde_json::from_str::<Summary>(summary.get()) {
                Ok(summary) => self.out.summary = Some(summary),
                Err(error) => self.odd(Oddity::Garbage, &format!("summary: {error}")),
            }
            return;
        }
        if let Some(driver) = parsed.driver {
            match serde_json::from_str::<DriverState>(driver.get()) {
                Ok(state) => self.out.driver = Some(Box::new(state)),
                Err(error) => self.odd(Oddity::Garbage, &format!("driver: {error}")),
            }
            return;
        }
        if parsed.schema != Some(u64::from(SCHEMA)) {
            let sample = match parsed.schema {
                Some(schema) => format!("schema {schema}"),
                None => "no schema".into(),
            };
            self.odd(Oddity::Schema, &sample);
        }
        let (Some(seq), Some(time)) = (parsed.seq, stamp::nanoseconds(&parsed.time.0)) else {
            return self.odd(Oddity::Garbage, &String::from_utf8_lossy(head(line)));
        };
        let Ok(step) = parsed.step.0.parse::<Step>() else {
            return self.odd(Oddity::Step, &parsed.step.0);
        };
        let Ok(phase) = parsed.phase.0.parse::<Phase>() else {
            return self.odd(Oddity::Phase, &parsed.phase.0);
        };
        let (from, to) = step.route();
        let actor = |word: &str, usual: Actor| word.parse().unwrap_or(usual);
        let mut put = Put {
            text,
            extra: &mut self.out.extra,
        };
        let claim = parsed.claim.unwrap_or_default();
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
        self.out.entries.push(entry);
    }

    pub(super) fn odd(&mut self, what: Oddity, sample: &str) {
        self.out.oddities.count(what, sample);
    }

    /// The batch, which now owns the text that its lines came from.
    pub(super) fn finish(mut self, text: Vec<u8>) -> Batch {
        self.out.text = text;
        self.out
    }
}

/// Turns what the parser borrowed into ranges.
struct Put<'a> {
    text: &'a [u8],
    extra: &'a mut Vec<u8>,
}

impl Put<'_> {
    fn text(&mut self, text: &Text<'_>) -> Slice {
        match &text.0 {
            Cow::Borrowed(part) => self.borrowed(part),
            Cow::Owned(own) => {
                let start = self.text.len() + self.extra.len();
                self.extra.extend_from_slice(own.as_bytes());
                slice(start, own.len())
            }
        }
    }

    fn borrowed(&self, part: &str) -> Slice {
        if part.is_empty() {
            return Slice::default();
        }
        // Both are addresses in the same block: the parser borrows from the line.
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        debug_assert!(start + part.len() <= self.text.len());
        slice(start, part.len())
    }
}

fn slice(start: usize, len: usize) -> Slice {
    match (u32::try_from(start), u32::try_from(len)) {
        (Ok(start), Ok(len)) => Slice { start, len },
        _ => Slice::default(),
    }
}

fn head(line: &[u8]) -> &[u8] {
    &line[..line.len().min(120)]
}
