//! What a source tells its reader: events, and how the connection fares.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ndra_core::shown;

use super::chunk::Chunk;

/// Tells the streams of one [`Source`](super::Source) apart: 0, and for the pods of a
/// DaemonSet one number each, never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// One piece of news from a source. Texts are fit for a terminal: bounded, and without
/// control characters.
#[derive(Debug)]
pub enum Update {
    /// It is being connected, for the first time or again.
    Connecting {
        /// Which.
        source: SourceId,
        /// The node that it runs on, where it is known.
        node: Option<Arc<str>>,
        /// What is connected, for a person.
        what: String,
    },
    /// It answers. Events follow when there are any.
    Connected {
        /// Which.
        source: SourceId,
    },
    /// Events, in order.
    Events(Box<Chunk>),
    /// Lines that are no events came, and were passed over.
    Garbage {
        /// Which.
        source: SourceId,
        /// How many since the last time.
        count: u64,
        /// The beginning of the newest, or what is wrong with it.
        sample: String,
    },
    /// A recording is being read, and there is more of it.
    Reading {
        /// Which.
        source: SourceId,
        /// Bytes read so far.
        read: u64,
        /// Bytes that there were when it was opened.
        of: u64,
    },
    /// A recording was read to where it ends now.
    Tail {
        /// Which.
        source: SourceId,
        /// Does it end with a piece of a line? That may be under way, or cut.
        broken: bool,
    },
    /// The connection is gone. It is tried again.
    Lost {
        /// Which.
        source: SourceId,
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// Nothing more comes from it: a recording is read, a pod is gone.
    Ended {
        /// Which.
        source: SourceId,
    },
    /// Nothing more comes from it, because it cannot be read.
    Failed {
        /// Which.
        source: SourceId,
        /// Why, and what to do next.
        reason: String,
    },
}

/// The place of an event: a life of a driver, and a sequence number in it.
///
/// Written `INSTANCE:SEQ`. The instance is empty for a recording that names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The life of the driver.
    pub instance: Arc<str>,
    /// The number of the last event that was seen in it.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.instance, self.seq)
    }
}

/// Why a text is no [`Position`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no place in a stream; write INSTANCE:SEQ with the `instance` and the `seq` of the last \
     event you have"
)]
pub struct PositionError(String);

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        text.rsplit_once(':')
            .filter(|(instance, _)| instance.is_empty() || is_instance(instance))
            .and_then(|(instance, seq)| {
                let digits = seq.bytes().all(|byte| byte.is_ascii_digit());
                let seq = seq.parse().ok().filter(|_| digits)?;
                Some(Self {
                    instance: instance.into(),
                    seq,
                })
            })
            .ok_or_else(|| PositionError(shown::quoted(text)))
    }
}

/// May this name the life of a driver? It travels as an argument and in JSON, so nothing
/// that either could take for something else passes.
pub(super) fn is_instance(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for text in ["life-1:0", "9f6c.A_b:18446744073709551615", ":7"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        let errors: Vec<_> = ["", "7", "life:", "a:-1", "a:+1", "-a:1", "a b:1", "a:b:1"]
            .iter()
            .map(|text| text.parse::<Position>().unwrap_err().to_string())
            .collect();
        assert!(errors.iter().all(|e| e.contains("is no place in a stream")));
        insta::assert_snapshot!(errors[1], @r#""7" is no place in a stream; write INSTANCE:SEQ with the `instance` and the `seq` of the last event you have"#);
    }
}
