//! How long each step took, over all its runs.

use std::collections::BTreeMap;

use ndra_core::event::{Event, Step};
use serde::Serialize;

/// One step over a whole run. Times are microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StepStats {
    /// How often it ended, well or not.
    pub(crate) count: usize,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// The steps that ended or failed in `events`, in the order of their numbers.
pub(crate) fn step_stats<'a>(
    events: impl IntoIterator<Item = &'a Event>,
) -> BTreeMap<Step, StepStats> {
    let mut durations: BTreeMap<Step, Vec<u64>> = BTreeMap::new();
    for event in events {
        if let Some(duration) = event.duration_us {
            durations.entry(event.step).or_default().push(duration);
        }
    }
    durations
        .into_iter()
        .map(|(step, mut times)| {
            times.sort_unstable();
            let stats = StepStats {
                count: times.len(),
                p50_us: percentile(&times, 50),
                p99_us: percentile(&times, 99),
                max_us: times.last().copied().unwrap_or_default(),
            };
            (step, stats)
        })
        .collect()
}

/// Nearest rank: the smallest time that at least `percent` of all do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&times, 50), 100);
        assert_eq!(percentile(&times, 99), 198);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[1, 9], 50), 1);
        assert_eq!(percentile(&[1, 9], 99), 9);
        assert_eq!(percentile(&[], 50), 0);
    }
}
