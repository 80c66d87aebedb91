//! Several streams into one, by time, holding little and waiting for nobody long.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::chunk::Chunk;
use super::update::SourceId;

/// Bytes that wait to be put in order, over all streams.
const MOST: usize = 8 * 1024 * 1024;

/// The moment at which something is done, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// For waiting.
    pub(super) instant: Instant,
    /// Nanoseconds since 1970, for judging the times of events.
    pub(super) wall: i64,
}

/// Puts events of several streams in order of time.
///
/// The events of one stream never change places. A line goes on when every other stream
/// has a later one, or when it has waited for `window`. A stream that has just come is
/// waited for a little longer, because it begins with the past.
#[derive(Debug)]
pub(super) struct Merge {
    window: Duration,
    lanes: BTreeMap<SourceId, Queue>,
    held: usize,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Waiting>,
    /// Until then the others wait for it, if it has nothing.
    awaited: Option<Instant>,
    /// Nothing more comes.
    ended: bool,
}

#[derive(Debug)]
struct Waiting {
    chunk: Chunk,
    arrived: Now,
    /// The next line to go.
    next: usize,
}

impl Waiting {
    /// What to order the next line by. No event is from the future; a clock that says so
    /// is wrong, and must not make its stream wait for the others to get there.
    fn key(&self, index: usize) -> Option<i64> {
        Some(self.chunk.line(index)?.time.min(self.arrived.wall))
    }
}

impl Merge {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            lanes: BTreeMap::new(),
            held: 0,
        }
    }

    /// From now on the others wait for `source` until `until`, or until it has something.
    pub(super) fn wait_for(&mut self, source: SourceId, until: Instant) {
        self.lanes.entry(source).or_default().awaited = Some(until);
    }

    /// Nobody waits for `source` any more.
    pub(super) fn not_wait_for(&mut self, source: SourceId) {
        if let Some(queue) = self.lanes.get_mut(&source) {
            queue.awaited = None;
        }
    }

    /// Nothing more comes from `source`.
    pub(super) fn end(&mut self, source: SourceId) {
        if !self.holds(source) {
            self.lanes.remove(&source);
        } else if let Some(queue) = self.lanes.get_mut(&source) {
            queue.ended = true;
        }
    }

    /// Has `source` lines that wait?
    pub(super) fn holds(&self, source: SourceId) -> bool {
        self.lanes
            .get(&source)
            .is_some_and(|queue| !queue.chunks.is_empty())
    }

    /// Takes lines in.
    pub(super) fn push(&mut self, now: Now, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        self.held += chunk.text().len();
        let queue = self.lanes.entry(chunk.source).or_default();
        queue.chunks.push_back(Waiting {
            chunk,
            arrived: now,
            next: 0,
        });
    }

    /// Are there as many lines as may wait?
    pub(super) fn is_full(&self) -> bool {
        self.held >= MOST
    }

    /// The next lines whose turn has come.
    pub(super) fn next(&mut self, now: Instant) -> Option<Chunk> {
        let (source, arrived) = self.first()?;
        let sure = self.lanes.values().all(|queue| !queue.chunks.is_empty());
        let waited = arrived + self.window <= now && self.awaited_until(now).is_none();
        (sure || waited || self.is_full())
            .then(|| self.take(source))
            .flatten()
    }

    /// The next lines, whether or not their turn has come.
    pub(super) fn next_of_rest(&mut self) -> Option<Chunk> {
        let (source, _) = self.first()?;
        self.take(source)
    }

    /// When to ask for the next lines again.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let (_, arrived) = self.first()?;
        let waited = arrived + self.window;
        Some(match self.awaited_until(now) {
            Some(until) => waited.max(until),
            None => waited,
        })
    }

    /// The stream with the earliest line, and when that arrived.
    fn first(&self) -> Option<(SourceId, Instant)> {
        self.lanes
            .iter()
            .filter_map(|(source, queue)| {
                let waiting = queue.chunks.front()?;
                let key = waiting.key(waiting.next)?;
                Some((key, *source, waiting.arrived.instant))
            })
            .min()
            .map(|(_, source, arrived)| (source, arrived))
    }

    /// Until when an empty stream is waited for.
    fn awaited_until(&self, now: Instant) -> Option<Instant> {
        self.lanes
            .values()
            .filter(|queue| queue.chunks.is_empty())
            .filter_map(|queue| queue.awaited)
            .filter(|until| *until > now)
            .max()
    }

    /// The run of lines of `source` that come before all others.
    fn take(&mut self, source: SourceId) -> Option<Chunk> {
        let limit = self
            .lanes
            .iter()
            .filter(|(other, _)| **other != source)
            .filter_map(|(other, queue)| {
                let waiting = queue.chunks.front()?;
                Some((waiting.key(waiting.next)?, *other))
            })
            .min();
        let queue = self.lanes.get_mut(&source)?;
        let waiting = queue.chunks.front_mut()?;
        let from = waiting.next;
        let before_others = |index: usize| {
            waiting
                .key(index)
                .is_some_and(|key| limit.is_none_or(|limit| (key, source) <= limit))
        };
        let mut to = from + 1;
        while before_others(to) {
            to += 1;
        }
        if to < waiting.chunk.len() {
            waiting.next = to;
            return Some(waiting.chunk.part(from, to));
        }
        let waiting = queue.chunks.pop_front()?;
        if queue.ended && queue.chunks.is_empty() {
            self.lanes.remove(&source);
        }
        self.held = self.held.saturating_sub(waiting.chunk.text().len());
        Some(if from == 0 {
            waiting.chunk
        } else {
            waiting.chunk.part(from, to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::line::scan;

    const WINDOW: Duration = Duration::from_millis(250);

    struct Bench {
        merge: Merge,
        now: Now,
    }

    impl Bench {
        fn new() -> Self {
            let now = Now {
                instant: Instant::now(),
                wall: 1_000_000,
            };
            Self {
                merge: Merge::new(WINDOW),
                now,
            }
        }

        fn push(&mut self, source: u32, times: &[i64]) {
            let mut chunk = Chunk::new(SourceId(source), None, "".into(), 0);
            for time in times {
                let line = format!(
                    "{{\"seq\":1,\"time\":\"{}\"}}",
                    jiff::Timestamp::from_nanosecond(i128::from(*time)).unwrap()
                );
                let Ok(Some(place)) = scan(line.as_bytes()) else {
                    panic!("{line}");
                };
                chunk.push(&place, "");
            }
            self.merge.push(self.now, chunk);
        }

        fn pass(&mut self, time: Duration) {
            self.now.instant += time;
        }

        /// `source:time` of all lines whose turn has come.
        fn out(&mut self) -> String {
            let mut out = Vec::new();
            while let Some(chunk) = self.merge.next(self.now.instant) {
                out.extend(
                    chunk
                        .lines()
                        .map(|l| format!("{}:{}", chunk.source.0, l.time)),
                );
            }
            out.join(" ")
        }
    }

    #[test]
    fn lines_come_in_order_of_time_across_streams() {
        let mut bench = Bench::new();
        bench.push(1, &[10, 20, 30, 60]);
        bench.push(2, &[15, 25, 26, 50]);
        assert_eq!(bench.out(), "1:10 2:15 1:20 2:25 2:26 1:30 2:50");
        bench.push(2, &[55, 70]);
        assert_eq!(bench.out(), "2:55 1:60");
    }

    #[test]
    fn a_stream_that_stalls_holds_the_others_back_for_the_window_only() {
        let mut bench = Bench::new();
        bench.push(1, &[10]);
        bench.push(2, &[11]);
        assert_eq!(bench.out(), "1:10");
        bench.push(2, &[12]);
        assert_eq!(bench.out(), "");
        let due = bench.merge.due(bench.now.instant).unwrap();
        assert_eq!(due, bench.now.instant + WINDOW);
        bench.pass(WINDOW);
        assert_eq!(bench.out(), "2:11 2:12");
        assert_eq!(bench.merge.due(bench.now.instant), None);
        // Too late for its place: better late than never.
        bench.push(1, &[5]);
        bench.pass(WINDOW);
        assert_eq!(bench.out(), "1:5");
    }

    #[test]
    fn a_stream_that_comes_is_awaited_until_it_fails_or_time_is_up() {
        let mut bench = Bench::new();
        let later = Duration::from_secs(2);
        for end in ["data", "failure", "time"] {
            bench.merge.wait_for(SourceId(2), bench.now.instant + later);
            bench.push(1, &[10]);
            bench.pass(WINDOW * 2);
            assert_eq!(bench.out(), "", "{end}");
            match end {
                "data" => {
                    bench.push(2, &[9]);
                    assert_eq!(bench.out(), "2:9");
                    bench.merge.not_wait_for(SourceId(2));
                }
                "failure" => bench.merge.end(SourceId(2)),
                _ => {
                    let due = bench.merge.due(bench.now.instant).unwrap();
                    bench.pass(due - bench.now.instant);
                }
            }
            assert_eq!(bench.out(), "1:10", "{end}");
        }
    }

    #[test]
    fn a_stream_that_ended_is_not_waited_for_once_its_lines_are_out() {
        let mut bench = Bench::new();
        bench.push(1, &[10, 30]);
        bench.push(2, &[20]);
        bench.push(3, &[40]);
        bench.merge.end(SourceId(2));
        assert!(bench.merge.holds(SourceId(2)));
        assert_eq!(bench.out(), "1:10 2:20 1:30");
        bench.push(1, &[50]);
        assert_eq!(bench.out(), "3:40");
    }

    #[test]
    fn a_clock_that_is_ahead_or_jumps_starves_nobody() {
        let mut bench = Bench::new();
        bench.push(1, &[9_000_000, 20, 9_000_001]);
        bench.push(2, &[10, 30]);
        bench.now.wall += 10;
        bench.push(2, &[1_000_005]);
        assert_eq!(bench.out(), "2:10 2:30 1:9000000 1:20 1:9000001");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut bench = Bench::new();
        bench
            .merge
            .wait_for(SourceId(2), bench.now.instant + WINDOW * 100);
        let times: Vec<i64> = (0..10_000).collect();
        bench.push(1, &times);
        let size = bench.merge.held;
        let mut pushed = 1;
        while !bench.merge.is_full() {
            bench.push(1, &times);
            pushed += 1;
        }
        assert_eq!(pushed, MOST.div_ceil(size));
        assert!(bench.merge.next(bench.now.instant).is_some());
        assert!(!bench.merge.is_full());
        assert!(bench.merge.next(bench.now.instant).is_none());
        let mut rest = 1;
        while bench.merge.next_of_rest().is_some() {
            rest += 1;
        }
        assert_eq!((rest, bench.merge.held), (pushed, 0));
    }
}
