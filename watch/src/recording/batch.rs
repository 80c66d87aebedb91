//! Events on their way into the model: text in one block, fields as ranges of it.

use ndra_core::event::{Actor, DriverState, Event, Phase, Step};
use serde::Deserialize;

use crate::text;

/// A range of a [`Batch`]'s text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    start: u32,
    len: u32,
}

/// Of a [`Slice`]'s start: it lies in what the batch wrote out, not in its lines.
const EXTRA: u32 = 1 << 31;

impl Slice {
    /// A range of the lines; an empty one when it lies beyond 2 GiB.
    pub(super) fn of_text(start: usize, len: usize) -> Self {
        match (u32::try_from(start), u32::try_from(len)) {
            (Ok(start), Ok(len)) if start < EXTRA => Self { start, len },
            _ => Self::default(),
        }
    }

    /// Is there nothing in it?
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One event of a batch. Texts are ranges of the batch's text; those that do not apply
/// are empty.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Grows by one with every event of one source.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Microseconds since the source began.
    pub elapsed_us: u64,
    /// Microseconds from the step's begin; on end and fail.
    pub duration_us: Option<u64>,
    /// The step.
    pub step: Step,
    /// Which moment of it.
    pub phase: Phase,
    /// Who calls.
    pub from: Actor,
    /// Who is called.
    pub to: Actor,
    /// Namespace of the claim.
    pub claim_namespace: Slice,
    /// Name of the claim.
    pub claim_name: Slice,
    /// UID of the claim.
    pub claim_uid: Slice,
    /// `namespace/name` of the pod.
    pub pod: Slice,
    /// The CRI sandbox id.
    pub sandbox: Slice,
    /// The container's name or id.
    pub container: Slice,
    /// The payload, JSON as it came.
    pub detail: Slice,
    /// Why it failed.
    pub error: Slice,
}

/// Events in the order in which they came, with what was wrong between them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The lines as they came. Fields without escapes are ranges of it.
    pub(crate) text: Vec<u8>,
    /// Fields that had escapes, written out.
    pub(crate) extra: Vec<u8>,
    /// The events.
    pub entries: Vec<Entry>,
    /// What could not be used.
    pub oddities: Oddities,
    /// The recording's last line, when it came.
    pub summary: Option<Summary>,
    /// How the driver was doing at the end of these.
    pub driver: Option<Box<DriverState>>,
    /// Events that the source says it lost before these.
    pub dropped: u64,
}

impl Batch {
    /// A batch of one event that was parsed elsewhere.
    pub fn of(event: &Event) -> Self {
        let mut batch = Self::default();
        batch.push(event);
        batch
    }

    /// Adds an event that was parsed elsewhere.
    pub fn push(&mut self, event: &Event) {
        let subject = &event.subject;
        let claim = subject.claim.as_ref();
        let detail = if event.detail.is_empty() {
            Slice::default()
        } else {
            let text = serde_json::to_string(&event.detail).unwrap_or_default();
            self.keep(&text)
        };
        let nanos = event.time.as_nanosecond();
        let entry = Entry {
            seq: event.seq,
            time: i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }),
            elapsed_us: event.elapsed_us,
            duration_us: event.duration_us,
            step: event.step,
            phase: event.phase,
            from: event.from,
            to: event.to,
            claim_namespace: self.keep(claim.map_or("", |c| &c.namespace)),
            claim_name: self.keep(claim.map_or("", |c| &c.name)),
            claim_uid: self.keep(claim.map_or("", |c| &c.uid)),
            pod: self.keep(subject.pod.as_deref().unwrap_or_default()),
            sandbox: self.keep(subject.sandbox.as_deref().unwrap_or_default()),
            container: self.keep(subject.container.as_deref().unwrap_or_default()),
            detail,
            error: self.keep(event.error.as_deref().unwrap_or_default()),
        };
        if event.schema != ndra_core::event::SCHEMA {
            self.oddities
                .count(Oddity::Schema, &format!("schema {}", event.schema));
        }
        self.entries.push(entry);
    }

    /// The text of a field; empty when the range is none of this batch's.
    pub fn text(&self, slice: Slice) -> &str {
        std::str::from_utf8(self.bytes(slice)).unwrap_or_default()
    }

    /// The bytes of a field.
    pub fn bytes(&self, slice: Slice) -> &[u8] {
        let from = if slice.start < EXTRA {
            &self.text
        } else {
            &self.extra
        };
        let start = (slice.start & !EXTRA) as usize;
        from.get(start..start + slice.len as usize)
            .unwrap_or_default()
    }

    /// Copies `text` beside the lines.
    pub(crate) fn keep(&mut self, text: &str) -> Slice {
        if text.is_empty() {
            return Slice::default();
        }
        let slice = Slice::of_text(self.extra.len(), text.len());
        self.extra.extend_from_slice(text.as_bytes());
        Slice {
            start: slice.start | EXTRA,
            ..slice
        }
    }
}

/// Ways in which a line or its place can be wrong without stopping anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Not JSON, or not an event.
    Garbage,
    /// Longer than [`super::MAX_LINE`].
    TooLong,
    /// The last line breaks off.
    Cut,
    /// Another version of the schema.
    Schema,
    /// A step that this program does not know.
    Step,
    /// A phase that this program does not know.
    Phase,
    /// A clock that jumped back.
    Clock,
    /// Sequence numbers that never came.
    Missing,
    /// Events that came twice.
    Repeated,
}

impl Oddity {
    /// All of them, the worst first.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Garbage,
        Self::TooLong,
        Self::Cut,
        Self::Schema,
        Self::Step,
        Self::Phase,
        Self::Clock,
        Self::Repeated,
    ];

    /// What happened `n` times, in words.
    pub fn words(self, n: u64) -> String {
        let s = if n == 1 { "" } else { "s" };
        let n = text::count(n);
        match self {
            Self::Garbage => format!("{n} unreadable line{s}"),
            Self::TooLong => format!("{n} line{s} too long"),
            Self::Cut => "the last line is cut".into(),
            Self::Schema => format!("{n} event{s} of another schema"),
            Self::Step => format!("{n} event{s} of unknown steps"),
            Self::Phase => format!("{n} event{s} of unknown phases"),
            Self::Clock => format!("clock jumped back {n} time{s}"),
            Self::Missing => format!("{n} event{s} missing"),
            Self::Repeated => format!("{n} event{s} repeated"),
        }
    }
}

/// How often each [`Oddity`] was met, with the newest sample of each.
#[derive(Clone, Debug, Default)]
pub struct Oddities {
    counts: [u64; Oddity::ALL.len()],
    samples: [Option<Box<str>>; Oddity::ALL.len()],
}

impl Oddities {
    /// Counts one.
    pub fn count(&mut self, what: Oddity, sample: &str) {
        self.count_many(what, 1, sample);
    }

    /// Counts `n`.
    pub fn count_many(&mut self, what: Oddity, n: u64, sample: &str) {
        let index = what as usize;
        self.counts[index] = self.counts[index].saturating_add(n);
        if !sample.is_empty() {
            let short: String = sample
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(80)
                .collect();
            self.samples[index] = Some(short.into());
        }
    }

    /// How often `what` was met.
    pub fn of(&self, what: Oddity) -> u64 {
        self.counts[what as usize]
    }

    /// The newest sample of `what`.
    pub fn sample(&self, what: Oddity) -> Option<&str> {
        self.samples[what as usize].as_deref()
    }

    /// Was everything in order?
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|n| *n == 0)
    }

    /// Adds what another stretch of the source had.
    pub fn add(&mut self, other: &Self) {
        for what in Oddity::ALL {
            if other.of(what) > 0 {
                self.count_many(what, other.of(what), other.sample(what).unwrap_or_default());
            }
        }
    }
}

/// The last line of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// Did everything go as expected?
    #[serde(default)]
    pub ok: bool,
    /// How many pods ran.
    #[serde(default)]
    pub pods: u64,
    /// How many interfaces were attached.
    #[serde(default)]
    pub attachments: u64,
    /// What was left behind.
    #[serde(default)]
    pub leaks: Vec<serde_json::Value>,
    /// How long the run took, in microseconds.
    #[serde(default)]
    pub wall_us: u64,
}
