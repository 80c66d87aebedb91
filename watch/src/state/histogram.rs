//! Counts durations in buckets that grow with them, so that quantiles cost little memory.

/// Buckets for each doubling; a quantile is at most an eighth too large.
const FINE: usize = 8;

/// Enough for all of `u64`.
const BUCKETS: usize = (64 - 2) * FINE;

/// A histogram of microseconds. Values can be taken out again, for going back in time.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
    max: u64,
    /// The largest value was taken out; the bucket still tells its size.
    max_gone: bool,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
            max_gone: false,
        }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn add(&mut self, us: u64) {
        let slot = &mut self.counts[bucket(us)];
        *slot = slot.saturating_add(1);
        self.total += 1;
        if us >= self.max {
            self.max = us;
            self.max_gone = false;
        }
    }

    /// Takes one value out again.
    pub fn remove(&mut self, us: u64) {
        let slot = &mut self.counts[bucket(us)];
        if *slot == 0 {
            return;
        }
        *slot -= 1;
        self.total -= 1;
        if us == self.max {
            self.max_gone = true;
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The value below which `part` (0 to 1) of all lie, to an eighth.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let rank = ((self.total as f64 * part).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(upper(index).min(self.max().unwrap_or(u64::MAX)));
            }
        }
        self.max()
    }

    /// The largest value; its bucket's bound if the value itself has been taken out.
    pub fn max(&self) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        if !self.max_gone {
            return Some(self.max);
        }
        let last = self.counts.iter().rposition(|count| *count > 0)?;
        Some(upper(last).min(self.max))
    }

    /// The smallest and the largest value, the smallest to an eighth.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        let first = self.counts.iter().position(|count| *count > 0)?;
        let max = self.max()?;
        Some((lower(first).min(max), max))
    }

    /// How many values lie on each of `columns` columns of a logarithmic axis.
    pub fn columns(&self, axis: &Axis) -> Vec<u64> {
        let mut columns = vec![0; axis.columns];
        for (index, count) in self.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            // A bucket is an eighth wide at most: all of it goes where its middle lies.
            let middle = lower(index) + (upper(index) - lower(index)) / 2;
            if let Some(slot) = columns.get_mut(axis.column(middle)) {
                *slot += u64::from(*count);
            }
        }
        columns
    }
}

/// A logarithmic axis over whole powers of ten, the same for all that is compared on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    columns: usize,
    /// The powers of ten at which it begins and ends.
    from: u32,
    to: u32,
}

impl Axis {
    /// An axis of so many columns, at least one, that holds all values between these.
    pub fn new(columns: usize, (least, most): (u64, u64)) -> Self {
        let from = least.checked_ilog10().unwrap_or(0);
        Self {
            columns: columns.max(1),
            from,
            to: (most.checked_ilog10().unwrap_or(0) + 1).max(from + 1),
        }
    }

    /// How many columns it has.
    pub fn width(&self) -> usize {
        self.columns
    }

    /// The column of a value.
    pub fn column(&self, us: u64) -> usize {
        #[allow(clippy::cast_precision_loss)]
        let (value, columns) = (us.max(1) as f64, self.columns as f64);
        let part = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let column = (part.clamp(0.0, 1.0) * columns) as usize;
        column.min(self.columns - 1)
    }

    /// The powers of ten on it, in microseconds, and their columns.
    pub fn marks(&self) -> impl Iterator<Item = (u64, usize)> {
        (self.from..self.to).filter_map(|power| {
            let us = 10_u64.checked_pow(power)?;
            Some((us, self.column(us)))
        })
    }
}

fn bucket(us: u64) -> usize {
    if us < 2 * FINE as u64 {
        return us as usize;
    }
    let shift = 60 - us.leading_zeros() as usize;
    (shift + 1) * FINE + ((us >> shift) as usize - FINE)
}

fn lower(bucket: usize) -> u64 {
    if bucket < 2 * FINE {
        return bucket as u64;
    }
    let shift = bucket / FINE - 1;
    ((FINE + bucket % FINE) as u64) << shift
}

fn upper(bucket: usize) -> u64 {
    match lower(bucket + 1).checked_sub(1) {
        Some(bound) if bucket + 1 < BUCKETS => bound,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        let mut us = 0_u64;
        while us < u64::MAX / 3 {
            let at = bucket(us);
            assert!(lower(at) <= us && us <= upper(at), "{us} in {at}");
            us = us + us / 16 + 1;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_and_taking_out() {
        let mut all = Histogram::default();
        assert_eq!(all.quantile(0.5), None);
        for us in 1..=1000 {
            all.add(us);
        }
        let p50 = all.quantile(0.5).unwrap();
        assert!((500..=563).contains(&p50), "{p50}");
        assert_eq!(all.max(), Some(1000));
        for us in 500..=1000 {
            all.remove(us);
        }
        assert_eq!(all.count(), 499);
        let max = all.max().unwrap();
        assert!((499..=511).contains(&max), "{max}");
        all.remove(999_999);
        assert_eq!(all.count(), 499);
        assert_eq!(all.bounds().unwrap().0, 1);
        let columns = all.columns(&Axis::new(10, all.bounds().unwrap()));
        assert_eq!((columns.len(), columns.iter().sum::<u64>()), (10, 499));
    }

    /// Every value is on one column, and equal ones are on the same.
    #[test]
    fn columns_hold_what_was_counted() {
        let mut all = Histogram::default();
        for us in [20, 90, 700, 6_000, 50_000] {
            for _ in 0..4 {
                all.add(us);
            }
        }
        for width in [1, 7, 54, 300] {
            let columns = all.columns(&Axis::new(width, all.bounds().unwrap()));
            assert_eq!(columns.iter().sum::<u64>(), 20, "{width}");
            if width >= 54 {
                assert!(columns.iter().all(|n| *n == 0 || *n == 4), "{columns:?}");
            }
        }
        let mut same = Histogram::default();
        (0..500).for_each(|_| same.add(1_000));
        let axis = Axis::new(54, (10, 999_999));
        let columns = same.columns(&axis);
        let used: Vec<_> = columns.iter().filter(|n| **n > 0).collect();
        assert_eq!(used, [&500], "one value is one column");
        assert_eq!(columns[axis.column(1_000)], 500);
        let marks: Vec<_> = axis.marks().collect();
        assert_eq!(marks[0], (10, 0));
        assert_eq!(marks.last(), Some(&(100_000, axis.column(100_000))));
        // No value, and values without bounds, are drawn too.
        assert_eq!(Axis::new(0, (0, 0)).column(0), 0);
        assert_eq!(Axis::new(9, (0, u64::MAX)).column(u64::MAX), 8);
        assert_eq!(Axis::new(9, (0, u64::MAX)).marks().count(), 20);
    }
}
