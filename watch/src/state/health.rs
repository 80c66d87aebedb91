//! How the whole is doing at the cursor: durations and failures by step and by kind.

use ndra_core::event::{Phase, Step};

use super::failure::{self, Failure, KINDS};
use super::fold::{STEPS, index};
use super::histogram::Histogram;
use super::log::Rec;

/// Counts over all events up to the cursor, those that were given up included.
#[derive(Debug)]
pub struct Health {
    steps: Vec<Histogram>,
    failed: [u64; STEPS],
    kinds: Vec<u64>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            steps: vec![Histogram::default(); STEPS],
            failed: [0; STEPS],
            kinds: vec![0; KINDS],
        }
    }
}

impl Health {
    pub(crate) fn add(&mut self, rec: &Rec) {
        if rec.phase == Phase::Begin {
            return;
        }
        if let Some(us) = rec.took() {
            self.steps[index(rec.step)].add(us);
        }
        if rec.phase == Phase::Fail {
            self.failed[index(rec.step)] += 1;
            if rec.carried {
                return;
            }
            self.kinds[usize::from(rec.failure).min(KINDS - 1)] += 1;
        }
    }

    pub(crate) fn remove(&mut self, rec: &Rec) {
        if rec.phase == Phase::Begin {
            return;
        }
        if let Some(us) = rec.took() {
            self.steps[index(rec.step)].remove(us);
        }
        if rec.phase == Phase::Fail {
            let failed = &mut self.failed[index(rec.step)];
            *failed = failed.saturating_sub(1);
            if rec.carried {
                return;
            }
            let kind = &mut self.kinds[usize::from(rec.failure).min(KINDS - 1)];
            *kind = kind.saturating_sub(1);
        }
    }

    /// Durations of a step.
    pub fn durations(&self, step: Step) -> &Histogram {
        &self.steps[index(step)]
    }

    /// How often a step failed.
    pub fn failed(&self, step: Step) -> u64 {
        self.failed[index(step)]
    }

    /// Failures by kind, the most frequent first. Each counts where it began, not again for
    /// every step around it that failed with it.
    pub fn failures(&self) -> Vec<(&'static Failure, u64)> {
        let mut all: Vec<_> = (0..KINDS)
            .filter(|at| self.kinds[*at] > 0)
            .map(|at| {
                (
                    failure::kind(u8::try_from(at).unwrap_or(u8::MAX)),
                    self.kinds[at],
                )
            })
            .collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }
}
