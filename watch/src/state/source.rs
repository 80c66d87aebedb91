//! Where events come from: connection, registration, losses, and each source's clock.

use ndra_core::event::{DriverState, Registered};

use crate::recording::{Oddities, Oddity, Summary};
use crate::text;

/// Names a source of this model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) u16);

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Being reached for the first time.
    Connecting,
    /// Events come as they happen.
    Live,
    /// A recording is being read.
    Loading {
        /// Bytes read.
        read: u64,
        /// Bytes there are, where known.
        of: Option<u64>,
    },
    /// Lost; tried again.
    Lost {
        /// Why.
        reason: String,
        /// When the next try begins, nanoseconds since 1970.
        retry_at: i64,
    },
    /// Nothing will come any more: the recording is read, or the program ended.
    Ended,
    /// It cannot be used at all.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}

impl Connection {
    /// That of a recording that was read to where it ends now: more may come of a `fresh`
    /// one.
    pub(crate) fn of_recording(fresh: bool) -> Self {
        if fresh { Self::Live } else { Self::Ended }
    }
}

/// How a driver says that it is doing. Its texts are fit for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Its name and the program's version.
    pub name: String,
    /// What the kubelet made of it.
    pub registration: Registration,
    /// What it serves.
    pub sockets: Vec<Socket>,
}

/// What the kubelet made of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// It has not been seen yet.
    Waiting,
    /// It took the driver in.
    Registered {
        /// The version of the service that it calls, once it has called.
        called: Option<String>,
        /// The versions that the driver offers.
        offers: String,
    },
    /// It refused the driver.
    Refused {
        /// In these words.
        error: String,
    },
}

/// A socket that a driver serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What it is for: `dra`, `callback`, `events` …
    pub name: String,
    /// Its path.
    pub path: String,
    /// Is it served?
    pub open: bool,
}

/// The most sockets of a driver that are shown, and the longest text.
const MOST: usize = 16;

impl Driver {
    fn of(state: &DriverState) -> Self {
        let clean = |text: &str| {
            let short: String = text.chars().take(256).collect();
            text::clean(&short)
        };
        let said = &state.registration;
        let offers: Vec<_> = said.offers.iter().take(MOST).map(|o| clean(o)).collect();
        Self {
            name: format!("{} {}", clean(&state.name), clean(&state.version)),
            registration: match said.state {
                Registered::Waiting => Registration::Waiting,
                Registered::Registered => Registration::Registered {
                    called: said.called.as_deref().map(clean),
                    offers: offers.join(", "),
                },
                Registered::Refused => Registration::Refused {
                    error: clean(said.error.as_deref().unwrap_or("no reason was given")),
                },
            },
            sockets: (state.sockets.iter().take(MOST))
                .map(|socket| Socket {
                    name: clean(&socket.name),
                    path: clean(&socket.path),
                    open: socket.open,
                })
                .collect(),
        }
    }
}

/// One source of events.
#[derive(Debug)]
pub struct Source {
    /// What the user called it: a path, `pod://…`.
    pub name: String,
    pub(crate) node: u16,
    /// The first source with this name: all of one file, or of one DaemonSet.
    pub(crate) group: u16,
    /// How it is doing.
    pub connection: Connection,
    /// How the driver is doing, where the source tells.
    pub driver: Option<Driver>,
    /// What was odd about its events.
    pub oddities: Oddities,
    /// The last line of the recording.
    pub summary: Option<Summary>,
    /// Does it only tell which others there are?
    pub listing: bool,
    /// Events taken in.
    pub events: u64,
    /// Events that the source gave up before they could be read.
    pub dropped: u64,
    /// Is it a recording whose end has not been seen yet?
    pub reading: bool,
    /// Does the recording end with a piece of a line?
    pub broken: bool,
    /// Was its newest event young when it was read? Then it may be written still.
    pub fresh: bool,
    instance: Option<String>,
    last_seq: Option<u64>,
    clock: SourceClock,
}

/// A recording whose last event is older than this is not being written any more.
pub(crate) const FRESH: i64 = 60_000_000_000;

/// What is wrong with all that one name brought, taken together, in words.
pub(crate) fn wrong_as_a_whole(group: &[&Source], now: i64) -> Vec<&'static str> {
    let any = |of: fn(&Source) -> bool| group.iter().any(|source| of(source));
    let mut words = Vec::new();
    if any(|source| source.reading) {
        return words;
    }
    let ended = group.iter().all(|s| s.connection == Connection::Ended);
    let under_way = group.iter().any(|source| source.under_way(now));
    let may_come = !ended && !any(|source| source.fresh);
    if any(|source| source.broken) && !under_way && !may_come {
        words.push("the last line is cut");
    }
    if !ended || under_way {
        return words;
    }
    let odd = any(|source| !source.oddities.is_empty() || source.broken);
    if !any(|source| source.events > 0) && !odd {
        words.push("the recording is empty");
    } else if !any(|s| s.summary.is_some() || s.is_of_driver()) {
        words.push("the recording has no summary: it was cut short");
    }
    words
}

/// Events of one source may overtake each other by this much: several parts write it.
const SLACK: i64 = 1_000_000_000;

#[derive(Debug, Default)]
struct SourceClock {
    newest: Option<i64>,
    elapsed_us: u64,
    shift: i64,
}

impl Source {
    pub(crate) fn new(name: &str, node: u16, group: u16) -> Self {
        Self {
            name: name.into(),
            node,
            group,
            connection: Connection::Connecting,
            driver: None,
            oddities: Oddities::default(),
            summary: None,
            listing: false,
            events: 0,
            dropped: 0,
            reading: false,
            broken: false,
            fresh: false,
            instance: None,
            last_seq: None,
            clock: SourceClock::default(),
        }
    }

    /// The program's life and the last number seen of it: where to resume.
    pub fn resume(&self) -> Option<(String, u64)> {
        Some((self.instance.clone()?, self.last_seq?))
    }

    /// Do its events name the life of a driver? Such a stream has no summary.
    fn is_of_driver(&self) -> bool {
        let named = |name: &str| !name.is_empty() && !name.starts_with('#');
        self.instance.as_deref().is_some_and(named)
    }

    /// May a recording be written still, at the moment `now`?
    fn under_way(&self, now: i64) -> bool {
        let newest = self.clock.newest.unwrap_or(now);
        self.fresh && now.saturating_sub(newest) <= FRESH
    }

    /// The driver has said how it is doing.
    pub fn learn(&mut self, state: &DriverState) {
        self.driver = Some(Driver::of(state));
    }

    /// Events now belong to this life of the program.
    pub(crate) fn live_in(&mut self, instance: &str) {
        // Of several runs in one recording none has a name; their numbers tell them apart.
        let instance = Some(instance).filter(|name| !name.is_empty());
        if self.instance.as_deref() != instance {
            self.instance = instance.map(Into::into);
            self.last_seq = None;
            self.clock.elapsed_us = 0;
        }
    }

    /// Is this event new? Counts what is missing before it.
    pub(crate) fn accept(&mut self, seq: u64, elapsed_us: u64) -> bool {
        if let Some(last) = self.last_seq {
            if seq <= last {
                let anew = self.instance.is_none() && elapsed_us < self.clock.elapsed_us;
                if !anew {
                    self.oddities.count(Oddity::Repeated, "");
                    return false;
                }
            } else if seq - last > 1 {
                let sample = format!("after {last}");
                self.oddities
                    .count_many(Oddity::Missing, seq - last - 1, &sample);
            }
        }
        self.last_seq = Some(seq);
        self.events += 1;
        true
    }

    /// The event's time, or a later one when the source's clock was set back: what came
    /// later happened later.
    pub(crate) fn settle_clock(&mut self, time: i64, elapsed_us: u64) -> i64 {
        let clock = &mut self.clock;
        let went_on = elapsed_us.saturating_sub(clock.elapsed_us);
        clock.elapsed_us = elapsed_us;
        let Some(newest) = clock.newest else {
            clock.newest = Some(time);
            return time;
        };
        if time >= newest {
            clock.shift = 0;
        }
        let mut at = time.saturating_add(clock.shift);
        if at < newest.saturating_sub(SLACK) {
            let on = i64::try_from(went_on.saturating_mul(1000)).unwrap_or(0);
            at = newest.saturating_add(on.min(3_600_000_000_000));
            clock.shift = at.saturating_sub(time);
            let by = newest.saturating_sub(time) / 1_000_000;
            self.oddities.count(Oddity::Clock, &format!("by {by} ms"));
        }
        clock.newest = Some(newest.max(at));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_clock_that_is_set_back_does_not_turn_time_around() {
        let mut source = Source::new("a", 0, 0);
        assert_eq!(source.settle_clock(100 * S, 1_000_000), 100 * S);
        // Overtaken by half a second: two parts of one program.
        assert_eq!(
            source.settle_clock(100 * S - S / 2, 1_000_000),
            100 * S - S / 2
        );
        assert!(source.oddities.is_empty());
        assert_eq!(source.settle_clock(40 * S, 3_000_000), 102 * S);
        assert_eq!(source.settle_clock(41 * S, 4_000_000), 103 * S);
        assert_eq!(source.oddities.of(Oddity::Clock), 1);
        // It is right again.
        assert_eq!(source.settle_clock(104 * S, 5_000_000), 104 * S);
        assert_eq!(source.settle_clock(105 * S, 6_000_000), 105 * S);
        assert_eq!(source.oddities.of(Oddity::Clock), 1);
    }

    #[test]
    fn numbers_that_are_missing_or_come_twice_are_counted() {
        let mut source = Source::new("a", 0, 0);
        source.live_in("life-1");
        assert!(source.accept(7, 0) && source.accept(8, 1) && source.accept(11, 2));
        assert!(!source.accept(9, 3));
        assert_eq!(source.oddities.of(Oddity::Missing), 2);
        assert_eq!(source.oddities.of(Oddity::Repeated), 1);
        assert_eq!(source.resume(), Some(("life-1".into(), 11)));
        source.live_in("life-2");
        assert_eq!(source.resume(), None);
        assert!(source.accept(1, 0));
    }

    #[test]
    fn a_recording_of_two_runs_begins_anew() {
        let mut source = Source::new("a", 0, 0);
        assert!(source.accept(1, 10));
        source.settle_clock(S, 10);
        assert!(source.accept(2, 20));
        source.settle_clock(2 * S, 20);
        assert!(source.accept(1, 5), "elapsed went back: another run");
        source.settle_clock(3 * S, 5);
        assert!(!source.accept(1, 5));
    }
}
