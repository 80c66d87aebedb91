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

    /// The distribution as `width` columns from the smallest to the largest value, and
    /// those two.
    pub fn columns(&self, width: usize) -> Option<(Vec<u64>, u64, u64)> {
        let first = self.counts.iter().position(|count| *count > 0)?;
        let last = self.counts.iter().rposition(|count| *count > 0)?;
        let mut columns = vec![0; width];
        let span = last - first + 1;
        for (index, count) in self.counts[first..=last].iter().enumerate() {
            let column = index * width / span;
            // Few buckets on many columns: each fills all of its own.
            let until = ((index + 1) * width).div_ceil(span).max(column + 1);
            for slot in &mut columns[column..until.min(width)] {
                *slot += u64::from(*count);
            }
        }
        Some((columns, lower(first), self.max()?))
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
        let (columns, low, _) = all.columns(10).unwrap();
        assert_eq!((columns.len(), low), (10, 1));
    }
}
