//! A flow as a waterfall: bars on the actors' lanes, gaps between them, the critical path.

use ndra_core::event::{Actor, Phase, Step};

use super::attempt::{self, Attempt};
use super::fold::Status;
use super::log::Rec;

/// Who is at work, in the order of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The kubelet.
    Kubelet,
    /// The driver.
    Driver,
    /// The container runtime.
    Runtime,
    /// The OCI hook.
    Hook,
    /// The Multus daemon.
    Multus,
    /// A CNI plugin that the driver runs itself.
    Cni,
    /// The API server.
    Api,
}

impl Lane {
    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Driver => "driver",
            Self::Runtime => "runtime",
            Self::Hook => "hook",
            Self::Multus => "Multus",
            Self::Cni => "CNI",
            Self::Api => "API",
        }
    }

    /// Whose work a call to `actor` is. The CDI directory is the driver's to write.
    pub fn of(actor: Actor) -> Self {
        match actor {
            Actor::Kubelet => Self::Kubelet,
            Actor::Driver | Actor::Cdi => Self::Driver,
            Actor::Runtime => Self::Runtime,
            Actor::Hook => Self::Hook,
            Actor::Multus => Self::Multus,
            Actor::Cni => Self::Cni,
            Actor::Api => Self::Api,
        }
    }
}

/// One run of one step.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// The step.
    pub step: Step,
    /// The lane it lies on.
    pub lane: Lane,
    /// When it began, nanoseconds since 1970.
    pub from: i64,
    /// When it ended; the cursor's time while it runs.
    pub to: i64,
    /// How it ended.
    pub status: Status,
    /// Which run of its step it is, from 0.
    pub run: usize,
    /// Index of the attempt that it is part of.
    pub attempt: usize,
    /// The event that began it, where it was seen.
    pub(crate) begin: Option<u32>,
    /// The event that ended it.
    pub(crate) end: Option<u32>,
    pub(super) tag: u32,
}

impl Bar {
    /// Are these the same run?
    pub fn is(&self, other: &Self) -> bool {
        (self.step, self.begin, self.end) == (other.step, other.begin, other.end)
    }
}

/// A stretch of time in which something happens, or nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its begin.
    pub from: i64,
    /// Its end.
    pub to: i64,
    /// Nobody is at work.
    pub gap: bool,
    /// So many attempts lie in it that are not drawn.
    pub hidden: usize,
}

/// A stretch of the critical path: the innermost step at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Critical {
    /// Index of its bar.
    pub bar: usize,
    /// Begin.
    pub from: i64,
    /// End.
    pub to: i64,
}

/// A flow's waterfall.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// All runs of all steps, by their begin.
    pub bars: Vec<Bar>,
    /// Work and gaps in turn, from the first begin to the last end.
    pub stretches: Vec<Stretch>,
    /// What the time was spent on, without what ran beside it.
    pub critical: Vec<Critical>,
    /// What was tried, by its begin.
    pub attempts: Vec<Attempt>,
    /// Older runs that are not shown because there are too many.
    pub left_out: usize,
}

/// More runs than this are not shown.
const MAX_BARS: usize = 2_000;

impl Timeline {
    /// Makes the waterfall of a flow's events, oldest first. What still runs ends at `now`.
    pub(crate) fn of<'a>(events: impl Iterator<Item = (u32, &'a Rec)>, now: i64) -> Self {
        let mut bars: Vec<Bar> = Vec::new();
        let mut runs = [0_usize; Step::ALL.len()];
        let mut open: Vec<usize> = Vec::new();
        let mut newest = i64::MIN;
        for (id, rec) in events {
            newest = newest.max(rec.at);
            if rec.phase == Phase::Begin {
                open.push(bars.len());
                bars.push(bar(rec, rec.at, &mut runs));
                if let Some(bar) = bars.last_mut() {
                    bar.begin = Some(id);
                }
                continue;
            }
            let same = |at: &usize, exact: bool| {
                let bar = &bars[*at];
                bar.step == rec.step && (!exact || bar.tag == rec.tag)
            };
            let found = open
                .iter()
                .rposition(|at| same(at, true))
                .or_else(|| open.iter().rposition(|at| same(at, false)));
            let at = match found {
                Some(place) => open.remove(place),
                None => {
                    let us = i64::try_from(rec.took().unwrap_or(0)).unwrap_or(0);
                    let from = rec.at.saturating_sub(us.saturating_mul(1000));
                    bars.push(bar(rec, from, &mut runs));
                    bars.len() - 1
                }
            };
            let bar = &mut bars[at];
            bar.to = rec.at.max(bar.from);
            bar.lane = lane(rec);
            bar.end = Some(id);
            bar.status = match rec.phase {
                Phase::Fail => Status::Failed,
                _ => Status::Done,
            };
        }
        for at in open {
            bars[at].to = now.max(newest).max(bars[at].from);
        }
        let left_out = bars.len().saturating_sub(MAX_BARS);
        bars.drain(..left_out);
        bars.sort_by_key(|bar| (bar.from, bar.step));
        let mut timeline = Self {
            attempts: attempt::split(&mut bars),
            bars,
            left_out,
            ..Self::default()
        };
        timeline.cut();
        timeline
    }

    /// Finds stretches and the critical path by one sweep over all begins and ends.
    pub(super) fn cut(&mut self) {
        let mut edges: Vec<i64> = self.bars.iter().flat_map(|b| [b.from, b.to]).collect();
        edges.sort_unstable();
        edges.dedup();
        let mut active: Vec<usize> = Vec::new();
        let mut next = 0;
        for pair in edges.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            while self.bars.get(next).is_some_and(|bar| bar.from <= from) {
                active.push(next);
                next += 1;
            }
            active.retain(|at| self.bars[*at].to > from);
            let gap = active.is_empty();
            match self.stretches.last_mut() {
                Some(last) if last.gap == gap => last.to = to,
                _ => self.stretches.push(Stretch {
                    from,
                    to,
                    gap,
                    hidden: 0,
                }),
            }
            // Nobody waits for the status write, unless it is all that goes on.
            let innermost = active
                .iter()
                .copied()
                .max_by_key(|at| (self.bars[*at].step != Step::Status, *at));
            if let Some(bar) = innermost {
                match self.critical.last_mut() {
                    Some(last) if last.bar == bar && last.to == from => last.to = to,
                    _ => self.critical.push(Critical { bar, from, to }),
                }
            }
        }
        if self.stretches.is_empty()
            && let Some(bar) = self.bars.first()
        {
            self.stretches.push(Stretch {
                from: bar.from,
                to: bar.to,
                gap: false,
                hidden: 0,
            });
        }
    }

    /// First begin and last end.
    pub fn span(&self) -> Option<(i64, i64)> {
        let from = self.stretches.first()?.from;
        Some((from, self.stretches.last()?.to))
    }

    /// Time that each step spent on the critical path, the longest first.
    pub fn shares(&self) -> Vec<(Step, i64)> {
        let mut sums = [0_i64; Step::ALL.len()];
        for part in &self.critical {
            let step = self.bars[part.bar].step;
            sums[step as usize] = sums[step as usize].saturating_add(part.to - part.from);
        }
        let mut shares: Vec<_> = Step::ALL
            .iter()
            .map(|step| (*step, sums[*step as usize]))
            .filter(|(_, sum)| *sum > 0)
            .collect();
        shares.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        shares
    }

    /// Runs of one step, in order.
    pub fn runs(&self, step: Step) -> impl DoubleEndedIterator<Item = &Bar> {
        self.bars.iter().filter(move |bar| bar.step == step)
    }

    /// The lane that a step's newest run lies on, or would lie on.
    pub fn lane(&self, step: Step) -> Lane {
        self.runs(step)
            .next_back()
            .map_or_else(|| Lane::of(step.route().1), |bar| bar.lane)
    }
}

fn bar(rec: &Rec, from: i64, runs: &mut [usize]) -> Bar {
    let run = &mut runs[rec.step as usize];
    *run += 1;
    Bar {
        step: rec.step,
        lane: lane(rec),
        from,
        to: from,
        status: Status::Running,
        run: *run - 1,
        attempt: 0,
        begin: None,
        end: None,
        tag: rec.tag,
    }
}

fn lane(rec: &Rec) -> Lane {
    Lane::of(rec.to)
}
