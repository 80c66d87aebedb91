//! What goes wrong while events are printed, told no more often than a person reads.

use std::io::Write;
use std::time::{Duration, Instant};

/// Between two remarks on the same trouble.
const SELDOM: Duration = Duration::from_secs(1);

/// A trouble that may come with every line.
#[derive(Debug, Default)]
struct Trouble {
    /// Not told yet.
    count: u64,
    /// What is said with the count: the newest sample, or the only node.
    about: Option<String>,
    told: Option<Instant>,
}

impl Trouble {
    fn add(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
    }

    /// How many are to be told now, and whether some were told before.
    fn due(&mut self, now: Instant, last: bool) -> Option<(u64, &'static str)> {
        let waits = self.told.is_some_and(|told| now < told + SELDOM);
        if self.count == 0 || (waits && !last) {
            return None;
        }
        let more = if self.told.is_some() { " more" } else { "" };
        self.told = Some(now);
        Some((std::mem::take(&mut self.count), more))
    }
}

/// Remarks on standard error.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    lost: Trouble,
    garbage: Trouble,
}

impl Remarks {
    /// Events were lost before some of `node`.
    pub(super) fn lost(&mut self, count: u64, node: Option<&str>) {
        if self.lost.count == 0 {
            self.lost.about = node.map(str::to_owned);
        } else if self.lost.about.as_deref() != node {
            self.lost.about = None;
        }
        self.lost.add(count);
        self.tell(Instant::now(), false);
    }

    /// Lines came that are no events; the newest begins with `sample`.
    pub(super) fn garbage(&mut self, count: u64, sample: String) {
        self.garbage.about = Some(sample);
        self.garbage.add(count);
        self.tell(Instant::now(), false);
    }

    /// Tells what is left to tell.
    pub(super) fn end(&mut self) {
        self.tell(Instant::now(), true);
    }

    fn tell(&mut self, now: Instant, last: bool) {
        if let Some((count, more)) = self.lost.due(now, last) {
            let s = if count == 1 { " was" } else { "s were" };
            let of = self.lost.about.take().map(|node| format!(" of {node}"));
            remark(&format!(
                "{count}{more} event{s} lost{}",
                of.unwrap_or_default()
            ));
        }
        if let Some((count, more)) = self.garbage.due(now, last) {
            let lines = if count == 1 { "line is" } else { "lines are" };
            let sample = self.garbage.about.take().unwrap_or_default();
            remark(&format!("{count}{more} {lines} no event: {sample}"));
        }
    }
}

/// Says something beside the events.
pub(super) fn remark(text: &str) {
    // With standard error closed nobody is left to tell.
    let _ = writeln!(std::io::stderr(), "ndra events: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_together() {
        let begin = Instant::now();
        let mut trouble = Trouble::default();
        assert_eq!(trouble.due(begin, true), None, "nothing happened");
        trouble.add(2);
        assert_eq!(trouble.due(begin, false), Some((2, "")));
        trouble.add(3);
        assert_eq!(trouble.due(begin, false), None);
        trouble.add(4);
        assert_eq!(trouble.due(begin + SELDOM, false), Some((7, " more")));
        trouble.add(1);
        assert_eq!(trouble.due(begin + SELDOM, true), Some((1, " more")));
        assert_eq!(trouble.due(begin + SELDOM, true), None, "all is told");
    }
}
