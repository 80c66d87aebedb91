//! Made-up recordings with fixed times: for tests, benchmarks and pictures.

mod flow;
mod payload;

use jiff::Timestamp;
use ndra_core::event::Event;

pub use flow::Life;

/// A recording in the making. The same calls make the same recording.
#[derive(Debug)]
pub struct Sample {
    origin: Timestamp,
    events: Vec<Event>,
    flows: usize,
    failed: usize,
}

impl Default for Sample {
    fn default() -> Self {
        Self::new()
    }
}

impl Sample {
    /// An empty one. Its time begins on 24 November 2026, 09:00 UTC.
    pub fn new() -> Self {
        Self {
            origin: Timestamp::from_second(1_795_510_800).unwrap_or_default(),
            events: Vec::new(),
            flows: 0,
            failed: 0,
        }
    }

    /// Adds the flow of claim number `n`, beginning `at_ms` milliseconds after the origin.
    #[must_use]
    pub fn flow(mut self, n: usize, at_ms: u64, life: Life) -> Self {
        flow::write(&mut self.events, self.origin, n, at_ms, life);
        self.flows += 1;
        self.failed += usize::from(life == Life::RangeUsedUp);
        self
    }

    /// Adds flows one after the other, `every_ms` milliseconds apart, of all kinds: most
    /// go well, some restart, few fail.
    #[must_use]
    pub fn crowd(mut self, flows: usize, every_ms: u64) -> Self {
        for n in 0..flows {
            let life = match n % 50 {
                7 => Life::RangeUsedUp,
                19 => Life::Recreated,
                23 | 41 => Life::Restarted,
                31 => Life::Mended,
                k if k % 3 == 0 => Life::Ended,
                _ => Life::Ready,
            };
            self = self.flow(n, n as u64 * every_ms, life);
        }
        self
    }

    /// The events in order of time, numbered.
    pub fn events(mut self) -> Vec<Event> {
        self.events.sort_by_key(|event| event.time);
        let zero = self.events.first().map_or(self.origin, |event| event.time);
        for (at, event) in self.events.iter_mut().enumerate() {
            event.seq = at as u64 + 1;
            let since = event.time.as_microsecond() - zero.as_microsecond();
            event.elapsed_us = u64::try_from(since).unwrap_or(0);
        }
        self.events
    }

    /// The events as lines, with a summary at the end.
    pub fn lines(self) -> Vec<u8> {
        let (pods, failed) = (self.flows, self.failed);
        let mut out = self.lines_without_summary();
        let summary = serde_json::json!({ "summary": {
            "ok": failed == 0, "pods": pods, "attachments": pods - failed, "leaks": [],
            "wall_us": 250_000, "steps": {},
        } });
        out.extend_from_slice(summary.to_string().as_bytes());
        out.push(b'\n');
        out
    }

    /// The events as lines, as if the recording were cut between two.
    pub fn lines_without_summary(self) -> Vec<u8> {
        let mut out = Vec::new();
        for event in self.events() {
            // Writing to a vector does not fail, and an event is made of plain values.
            let _ = serde_json::to_writer(&mut out, &event);
            out.push(b'\n');
        }
        out
    }
}
