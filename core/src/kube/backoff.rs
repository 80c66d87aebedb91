//! How long to wait before the next try: doubling, bounded, and never the same for two nodes.

use std::time::Duration;

/// The delays of one series of tries.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            tries: 0,
        }
    }

    /// The next delay: between half and all of `first · 2ⁿ`, at most `longest`, and at
    /// least what the server asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self
            .first
            .saturating_mul(1 << self.tries.min(20))
            .min(self.longest);
        self.tries = self.tries.saturating_add(1);
        let jittered = whole.mul_f64(0.5 + 0.5 * fraction());
        jittered.max(asked.unwrap_or_default().min(self.longest))
    }

    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Something in 0..1. A random UUID is random enough to keep nodes from marching in step.
fn fraction() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    f64::from((high >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(300));
        for whole in [100, 200, 300, 300] {
            let delay = backoff.next(None);
            assert!((ms(whole / 2)..=ms(whole)).contains(&delay), "{delay:?}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= ms(100));
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_ever() {
        let s = Duration::from_secs;
        let mut backoff = Backoff::new(Duration::from_millis(100), s(30));
        assert_eq!(backoff.next(Some(s(7))), s(7));
        assert_eq!(backoff.next(Some(s(7000))), s(30));
    }
}
