//! A flow's runs parted into attempts, so that one of them can be looked at when they are
//! too many to be drawn to scale together.

use std::borrow::Cow;

use ndra_core::event::Step;

use super::timeline::{Bar, Timeline};
use super::{Model, Status};

/// The parts of a flow that are tried as a whole, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The claim is prepared.
    Prepare,
    /// A container is made, and gets its interface.
    Attach,
    /// The claim's status is written by itself, after the first time went wrong.
    Status,
    /// The claim is undone.
    Leave,
}

impl Part {
    const ALL: [Self; 4] = [Self::Prepare, Self::Attach, Self::Status, Self::Leave];
}

/// One try of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Of what.
    pub part: Part,
    /// When it began, nanoseconds since 1970. Names it, as long as events come.
    pub from: i64,
    /// When its outermost step ended; the cursor's time while it runs.
    pub to: i64,
    /// How that ended.
    pub status: Status,
    /// The step that failed first in it, or else its outermost one.
    pub step: Step,
}

/// Fewer columns than this tell nothing of an attempt beside others.
const LEAST_COLUMNS: usize = 12;

/// The step that others are inside of while it runs.
struct Outer {
    attempt: usize,
    step: Step,
    to: i64,
}

/// Parts bars, sorted by their begin, into attempts, and tells each bar its own.
pub(super) fn split(bars: &mut [Bar]) -> Vec<Attempt> {
    let mut all: Vec<Attempt> = Vec::new();
    let mut first_failure: Vec<i64> = Vec::new();
    let mut outer: Option<Outer> = None;
    // Attaching is what the first status write belongs to; it is not waited for.
    let mut without_status: Option<usize> = None;
    let mut leaving = false;
    for bar in bars {
        let begins = matches!(bar.step, Step::Prepare | Step::Unprepare);
        let around = outer
            .as_ref()
            // The same step anew tells that the end of the last one was not seen.
            .filter(|outer| !begins && bar.step != outer.step && bar.from < outer.to);
        let of = if bar.step == Step::Status {
            without_status.take()
        } else {
            around.map(|outer| outer.attempt)
        };
        bar.attempt = of.unwrap_or_else(|| {
            match bar.step {
                Step::Prepare => leaving = false,
                Step::Unprepare => leaving = true,
                _ => {}
            }
            let part = match bar.step {
                Step::Prepare | Step::CdiWrite | Step::Prepared => Part::Prepare,
                Step::Status => Part::Status,
                Step::Unprepare | Step::CdiRemove => Part::Leave,
                Step::CniDel if leaving => Part::Leave,
                _ => Part::Attach,
            };
            let attempt = all.len();
            if part == Part::Attach {
                without_status = Some(attempt);
            }
            if part != Part::Status {
                outer = Some(Outer {
                    attempt,
                    step: bar.step,
                    to: bar.to,
                });
            }
            first_failure.push(i64::MAX);
            all.push(Attempt {
                part,
                from: bar.from,
                to: bar.to,
                status: bar.status,
                step: bar.step,
            });
            attempt
        });
        let first = &mut first_failure[bar.attempt];
        let counts = bar.step != Step::Status || all[bar.attempt].part == Part::Status;
        if bar.status == Status::Failed && counts && bar.to < *first {
            *first = bar.to;
            all[bar.attempt].step = bar.step;
        }
    }
    all
}

impl Timeline {
    /// What is drawn on so many columns: everything, or, where that would be unreadable,
    /// one attempt with what came before it.
    pub fn drawn(&self, columns: u16, attempt: Option<usize>) -> Cow<'_, Self> {
        let crowded = self.attempts.len() > usize::from(columns) / LEAST_COLUMNS;
        match attempt {
            Some(at) if crowded => Cow::Owned(self.one(at)),
            _ => Cow::Borrowed(self),
        }
    }

    /// One attempt, the newest of each part before it, and what followed it if it is the
    /// newest itself.
    fn one(&self, at: usize) -> Self {
        let Some(chosen) = self.attempts.get(at) else {
            return self.clone();
        };
        let of = |part: Part| move |at: &usize| self.attempts[*at].part == part;
        let after = || at + 1..self.attempts.len();
        let newest = !after().any(|at| of(chosen.part)(&at));
        let mut kept = vec![at];
        for part in Part::ALL {
            if part < chosen.part {
                kept.extend((0..at).rev().find(of(part)));
            } else if part > chosen.part && newest {
                kept.extend(after().rev().find(of(part)));
            }
        }
        let bars = self.bars.iter().filter(|bar| kept.contains(&bar.attempt));
        let mut one = Self {
            bars: bars.copied().collect(),
            attempts: self.attempts.clone(),
            ..Self::default()
        };
        one.cut();
        for gap in one.stretches.iter_mut().filter(|s| s.gap) {
            let hidden = self.attempts.iter().enumerate().filter(|(at, other)| {
                !kept.contains(at) && (gap.from..gap.to).contains(&other.from)
            });
            gap.hidden = hidden.count();
        }
        one
    }

    /// Which of the attempts at the same part this is, from 0, and how many there are.
    pub fn place(&self, attempt: usize) -> (usize, usize) {
        let Some(part) = self.attempts.get(attempt).map(|a| a.part) else {
            return (0, 0);
        };
        let same = |all: &[Attempt]| all.iter().filter(|a| a.part == part).count();
        (same(&self.attempts[..attempt]), same(&self.attempts))
    }

    /// Was any part tried more than once?
    pub fn repeated(&self) -> bool {
        let of = |part| self.attempts.iter().filter(move |a| a.part == part);
        Part::ALL.into_iter().any(|part| of(part).nth(1).is_some())
    }

    /// The newest attempt at the part that was tried most often.
    fn newest_of_most(&self) -> Option<usize> {
        let newest = |part| self.attempts.iter().rposition(|a| a.part == part);
        Part::ALL
            .into_iter()
            .filter_map(newest)
            .max_by_key(|at| self.place(*at).1)
    }
}

impl Model {
    /// The attempt that is looked at: the chosen one, or that of the run in the detail; of
    /// a part that came once, the newest attempt at the part that came most often.
    pub fn attempt_shown(&self) -> Option<usize> {
        let timeline = &self.timeline;
        let chosen = self
            .look
            .attempt
            .and_then(|from| timeline.attempts.iter().position(|a| a.from == from))
            .or_else(|| self.detail.bar.map(|bar| bar.attempt));
        chosen
            .filter(|at| timeline.place(*at).1 > 1)
            .or_else(|| timeline.newest_of_most())
    }

    /// The run of `step` that is looked at, among its `runs`, by the attempt that was
    /// chosen. `Some(None)` when it did not run in that.
    pub(super) fn run_of_attempt(&self, step: Step, runs: &[Bar]) -> Option<Option<usize>> {
        let timeline = &self.timeline;
        let from = self.look.attempt?;
        let at = timeline.attempts.iter().position(|a| a.from == from)?;
        let own = |bar: &Bar| bar.attempt == at;
        let failed = |bar: &Bar| own(bar) && bar.status == Status::Failed;
        let found = runs
            .iter()
            .rposition(failed)
            .or_else(|| runs.iter().rposition(own));
        // What belongs to another part is what it is, whichever attempt is chosen.
        let part = timeline.attempts[at].part;
        let elsewhere = |bar: &Bar| timeline.attempts[bar.attempt].part != part;
        match found {
            None if runs.iter().any(elsewhere) || step == Step::Status => None,
            found => Some(found),
        }
    }

    /// Goes to another run of the step; of one that ran once, to another attempt.
    pub(super) fn other_run(&mut self, back: bool) {
        let turned = |at: usize, len: usize| {
            if back {
                at.checked_sub(1)
            } else {
                Some(at + 1).filter(|at| *at < len)
            }
        };
        let (at, runs) = self.detail.run;
        if runs > 1
            && self.detail.bar.is_some()
            && let Some(step) = self.detail.step
        {
            let Some(next) = turned(at, runs) else {
                return;
            };
            let bar = self.timeline.runs(step).nth(next);
            let attempt = bar.and_then(|bar| self.timeline.attempts.get(bar.attempt));
            let from = attempt.map(|attempt| attempt.from);
            self.look.other_step();
            self.look.run = Some(next);
            self.look.attempt = from;
        } else {
            let Some(at) = self.attempt_shown() else {
                return;
            };
            let all = &self.timeline.attempts;
            let part = all[at].part;
            let same: Vec<usize> = (0..all.len()).filter(|n| all[*n].part == part).collect();
            let now = same.iter().position(|n| *n == at).unwrap_or(0);
            let Some(next) = turned(now, same.len()) else {
                return;
            };
            let from = all[same[next]].from;
            self.look.other_step();
            self.look.attempt = Some(from);
        }
        self.stale.flow = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Lane;

    fn bar(step: Step, from: i64, to: i64, status: Status) -> Bar {
        Bar {
            step,
            lane: Lane::of(step.route().1),
            from,
            to,
            status,
            run: 0,
            attempt: 0,
            begin: None,
            end: None,
            tag: 0,
        }
    }

    /// A flow that is prepared and then tried `times` times, a thousand apart.
    fn tried(times: i64) -> Timeline {
        use Status::{Done, Failed};
        let mut bars = vec![
            bar(Step::Prepare, 0, 100, Done),
            bar(Step::CdiWrite, 10, 60, Done),
        ];
        for at in (1..=times).map(|n| n * 1000) {
            bars.push(bar(Step::CreateContainer, at, at + 100, Failed));
            bars.push(bar(Step::Callback, at + 10, at + 90, Failed));
            bars.push(bar(Step::CniAdd, at + 20, at + 50, Failed));
            bars.push(bar(Step::Status, at + 80, at + 110, Done));
        }
        let mut timeline = Timeline {
            attempts: split(&mut bars),
            bars,
            ..Timeline::default()
        };
        timeline.cut();
        timeline
    }

    #[test]
    fn what_begins_outside_of_all_others_is_an_attempt() {
        let timeline = tried(3);
        let parts: Vec<_> = timeline.attempts.iter().map(|a| (a.part, a.from)).collect();
        assert_eq!(
            parts,
            [
                (Part::Prepare, 0),
                (Part::Attach, 1000),
                (Part::Attach, 2000),
                (Part::Attach, 3000)
            ]
        );
        assert_eq!(timeline.attempts[2].step, Step::CniAdd);
        assert_eq!((timeline.place(2), timeline.place(0)), ((1, 3), (0, 1)));
        assert!(timeline.repeated() && !tried(1).repeated());
    }

    #[test]
    fn an_attempt_whose_end_was_not_seen_does_not_swallow_the_next() {
        let mut bars = vec![
            bar(Step::CreateContainer, 0, 9_000, Status::Running),
            bar(Step::CreateContainer, 1_000, 1_100, Status::Done),
            bar(Step::Unprepare, 2_000, 2_100, Status::Done),
            bar(Step::Status, 5_000, 5_100, Status::Failed),
            bar(Step::Status, 6_000, 6_100, Status::Failed),
        ];
        let parts: Vec<_> = split(&mut bars).iter().map(|a| a.part).collect();
        use Part::{Attach, Leave, Status as Write};
        assert_eq!(parts, [Attach, Attach, Leave, Write]);
    }

    #[test]
    fn of_many_attempts_one_is_drawn_and_the_rest_is_counted() {
        let timeline = tried(40);
        let one = timeline.drawn(70, Some(39));
        assert_eq!(one.bars.len(), 6);
        let gaps: Vec<_> = one.stretches.iter().filter(|s| s.gap).collect();
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            (gaps[0].from, gaps[0].to, gaps[0].hidden),
            (100, 39_000, 38)
        );
        assert_eq!(one.span(), Some((0, 39_110)));
        // The newest has nothing after it, and few of them are drawn together.
        assert_eq!(timeline.drawn(70, Some(40)).span(), Some((0, 40_110)));
        assert_eq!(tried(3).drawn(70, Some(1)).bars.len(), 14);
    }
}
