//! Takes events where they happen and keeps the newest for whoever asks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{Actor, Event, Phase, SCHEMA, Step, Subject, bounded, payload::clipped, redact};

/// Where the parts of one program record what they do. Clones share one ring.
///
/// The ring keeps the newest events only; a reader that is too slow is told how many it
/// missed and the recording part never waits.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    began: Instant,
    capacity: usize,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
    observer: Option<Observer>,
}

/// A step that came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// The step.
    pub step: Step,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed, in one word out of few; `None` when it went well.
    pub failed: Option<&'static str>,
}

/// Is told of every step that ends, where it ends: it must not block.
pub type Observer = Box<dyn Fn(Closed) + Send + Sync>;

/// The word for an error by which failures are counted. There must be few of them.
pub trait Reason {
    /// One word in CamelCase, as in the reasons of Kubernetes.
    fn reason(&self) -> &'static str;
}

/// The word for failures that have none of their own.
const FAILED: &str = "Failed";

#[derive(Default)]
struct Ring {
    last_seq: u64,
    events: VecDeque<Arc<Event>>,
}

impl Recorder {
    /// A recorder whose ring holds `capacity` events.
    pub fn new(capacity: usize) -> Self {
        Self::make(capacity, None)
    }

    /// The same, and somebody is told of every step that ends.
    pub fn observed(capacity: usize, observer: Observer) -> Self {
        Self::make(capacity, Some(observer))
    }

    fn make(capacity: usize, observer: Option<Observer>) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            capacity: capacity.max(1),
            ring: Mutex::default(),
            newest: watch::Sender::new(0),
            observer,
        }))
    }

    /// Begins a step. The span must be ended; one that is dropped counts as failed,
    /// because whoever held it was cancelled.
    pub fn begin(&self, step: Step, subject: Subject) -> Span {
        let (from, to) = step.route();
        self.begin_between(step, subject, from, to, Map::new())
    }

    /// Begins a step whose callee or first payload differs from the step's usual one.
    pub fn begin_between(
        &self,
        step: Step,
        subject: Subject,
        from: Actor,
        to: Actor,
        detail: Map<String, Value>,
    ) -> Span {
        let mut span = Span {
            recorder: self.clone(),
            step,
            subject,
            from,
            to,
            began: Instant::now(),
            detail,
            open: true,
            reason: FAILED,
        };
        let detail = std::mem::take(&mut span.detail);
        span.emit(Phase::Begin, detail, None);
        span
    }

    /// Events after `after`, those still in the ring first.
    pub fn subscribe(&self, after: u64) -> Subscription {
        Subscription {
            recorder: self.clone(),
            newest: self.0.newest.subscribe(),
            last: after,
        }
    }

    /// The sequence number of the newest event; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        *self.0.newest.borrow()
    }

    fn push(&self, mut event: Event) {
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last_seq += 1;
        event.seq = ring.last_seq;
        if ring.events.len() == self.0.capacity {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::new(event));
        let seq = ring.last_seq;
        drop(ring);
        self.0.newest.send_if_modified(|newest| {
            let later = seq > *newest;
            *newest = seq.max(*newest);
            later
        });
    }
}

/// A step under way.
#[must_use = "a step that is not ended counts as failed"]
pub struct Span {
    recorder: Recorder,
    step: Step,
    subject: Subject,
    from: Actor,
    to: Actor,
    began: Instant,
    detail: Map<String, Value>,
    open: bool,
    reason: &'static str,
}

impl Span {
    /// Adds to what the end of the step will carry; bounded and redacted here.
    pub fn detail(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.detail.insert(key.into(), bounded(&value.into()));
        self
    }

    /// Completes what is known of the subject, for the event to come.
    pub fn subject(&mut self) -> &mut Subject {
        &mut self.subject
    }

    /// The word for its failure, should it fail.
    pub fn reason(&mut self, word: &'static str) -> &mut Self {
        self.reason = word;
        self
    }

    /// As [`Span::close_with`], with the error's own word for the failure.
    pub fn close_for<T, E: std::fmt::Display + Reason>(
        mut self,
        result: Result<T, E>,
    ) -> Result<T, E> {
        if let Err(error) = &result {
            self.reason = error.reason();
        }
        self.close_with(result)
    }

    /// The step ended well.
    pub fn end(mut self) {
        self.close(Phase::End, None);
    }

    /// The step failed.
    pub fn fail(mut self, error: impl std::fmt::Display) {
        self.close(Phase::Fail, Some(error.to_string()));
    }

    /// Ends or fails as `result` says, and hands it back.
    pub fn close_with<T, E: std::fmt::Display>(self, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => self.end(),
            Err(error) => self.fail(error),
        }
        result
    }

    fn close(&mut self, phase: Phase, error: Option<String>) {
        self.open = false;
        if let Some(observer) = &self.recorder.0.observer {
            observer(Closed {
                step: self.step,
                duration: self.began.elapsed(),
                failed: (phase == Phase::Fail).then_some(self.reason),
            });
        }
        let detail = std::mem::take(&mut self.detail);
        self.emit(phase, detail, error);
    }

    fn emit(&self, phase: Phase, detail: Map<String, Value>, error: Option<String>) {
        let error = error.map(|text| clipped(&redact::text(&text), MAX_ERROR));
        let elapsed = self.recorder.0.began.elapsed();
        self.recorder.push(Event {
            schema: SCHEMA,
            seq: 0,
            time: Timestamp::now(),
            elapsed_us: micros(elapsed),
            step: self.step,
            number: self.step.number(),
            phase,
            duration_us: (phase != Phase::Begin).then(|| micros(self.began.elapsed())),
            subject: self.subject.clipped(),
            from: self.from,
            to: self.to,
            detail,
            error,
        });
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.open {
            self.reason = "Cancelled";
            self.close(Phase::Fail, Some("given up before it ended".into()));
        }
    }
}

/// The longest error text, in bytes.
const MAX_ERROR: usize = 4096;

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A reader's place in a recorder's ring.
pub struct Subscription {
    recorder: Recorder,
    newest: watch::Receiver<u64>,
    last: u64,
}

impl Subscription {
    /// The next event, and how many before it were lost because the ring had given them
    /// up. Waits for one; cancel safe.
    pub async fn next(&mut self) -> (Arc<Event>, u64) {
        loop {
            if let Some(found) = self.ready() {
                return found;
            }
            // The recorder is held by `self`, so the sender lives.
            let _ = self.newest.changed().await;
        }
    }

    /// The next event, if it is there already.
    pub fn ready(&mut self) -> Option<(Arc<Event>, u64)> {
        self.newest.mark_unchanged();
        let ring = self
            .recorder
            .0
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let first = ring.events.front()?.seq;
        let next = (self.last + 1).max(first);
        let index = usize::try_from(next - first).ok()?;
        let event = ring.events.get(index)?.clone();
        let dropped = next - self.last - 1;
        self.last = next;
        Some((event, dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_gets_past_events_then_new_ones() {
        let recorder = Recorder::new(8);
        let span = recorder.begin(Step::Prepare, Subject::claim("ns", "c", "u"));
        let mut reader = recorder.subscribe(0);
        assert_eq!(reader.next().await.0.phase, Phase::Begin);
        let waiting = tokio::spawn(async move { reader.next().await });
        span.end();
        let (event, dropped) = waiting.await.unwrap();
        assert_eq!(
            (event.phase, event.seq, event.number, dropped),
            (Phase::End, 2, 1, 0)
        );
    }

    #[test]
    fn a_slow_reader_is_told_what_it_missed() {
        let recorder = Recorder::new(2);
        let mut reader = recorder.subscribe(0);
        for _ in 0..3 {
            recorder.begin(Step::Hook, Subject::default()).end();
        }
        let (event, dropped) = reader.ready().unwrap();
        assert_eq!((event.seq, dropped), (5, 4));
        assert_eq!(reader.ready().unwrap().1, 0);
        assert!(reader.ready().is_none());
    }

    #[test]
    fn a_dropped_span_is_a_failure() {
        let recorder = Recorder::new(8);
        drop(recorder.begin(Step::CniAdd, Subject::default()));
        let mut reader = recorder.subscribe(1);
        let (event, _) = reader.ready().unwrap();
        assert_eq!(event.phase, Phase::Fail);
        assert_eq!(event.error.as_deref(), Some("given up before it ended"));
    }
}
