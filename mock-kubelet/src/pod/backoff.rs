//! When a container that died may be started again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timing;
use crate::cri::PodView;

/// Back-offs of one pod's containers. They live as long as its worker; as the real
/// kubelet's, they do not survive a restart.
pub(super) struct BackOffs {
    first: Duration,
    max: Duration,
    entries: HashMap<String, Entry>,
    /// When each dead container was first seen dead.
    exits: HashMap<String, Instant>,
}

struct Entry {
    wait: Duration,
    updated: Instant,
    /// The dead container that a back-off was announced for.
    announced: String,
}

/// A container has to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) wait: Duration,
    pub(super) until: Instant,
    /// Not said before about this death.
    pub(super) news: bool,
}

impl BackOffs {
    pub(super) fn new(timing: &Timing) -> Self {
        Self {
            first: timing.restart_backoff,
            max: timing.restart_backoff_max,
            entries: HashMap::new(),
            exits: HashMap::new(),
        }
    }

    /// Takes note of deaths.
    pub(super) fn observe(&mut self, view: &PodView) {
        let dead = |id: &String| view.containers.iter().any(|c| c.id == *id && c.is_exited());
        self.exits.retain(|id, _| dead(id));
        let now = Instant::now();
        for container in view.containers.iter().filter(|c| c.is_exited()) {
            self.exits.entry(container.id.clone()).or_insert(now);
        }
    }

    /// Whether a container named `name` may be started `now`, when `dead` was its last one.
    /// The first death costs nothing; each further one doubles the wait.
    pub(super) fn check(&mut self, name: &str, dead: &str, now: Instant) -> Result<(), Waiting> {
        let died = self.exits.get(dead).copied().unwrap_or(now);
        match self.entries.get_mut(name) {
            Some(entry) if died.saturating_duration_since(entry.updated) <= self.max * 2 => {
                let until = died + entry.wait;
                if now < until {
                    let news = entry.announced != dead;
                    entry.announced = dead.into();
                    return Err(Waiting {
                        wait: entry.wait,
                        until,
                        news,
                    });
                }
                entry.wait = (entry.wait * 2).min(self.max);
                entry.updated = now;
            }
            _ => {
                let entry = Entry {
                    wait: self.first,
                    updated: now,
                    announced: String::new(),
                };
                self.entries.insert(name.into(), entry);
            }
        }
        Ok(())
    }
}

/// As Go prints a duration: `10s`, `1m20s`, `5m0s`, `20ms`.
pub(super) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes, seconds % 60, duration.subsec_millis()) {
        (0, 0, 0, millis) => format!("{millis}ms"),
        (0, 0, s, 0) => format!("{s}s"),
        (0, 0, s, millis) => format!("{s}.{millis:03}s"),
        (0, m, s, _) => format!("{m}m{s}s"),
        (h, m, s, _) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_is_free_then_waits_double() {
        let mut backoffs = BackOffs::new(&Timing::default());
        let mut waits = Vec::new();
        let mut now = Instant::now();
        for death in 0..8 {
            let id = death.to_string();
            backoffs.exits.insert(id.clone(), now);
            match backoffs.check("c", &id, now) {
                Ok(()) => waits.push("0s".to_owned()),
                Err(waiting) => {
                    assert!(waiting.news);
                    assert!(!backoffs.check("c", &id, now).unwrap_err().news);
                    waits.push(go_duration(waiting.wait));
                    now = waiting.until;
                    assert_eq!(backoffs.check("c", &id, now), Ok(()));
                }
            }
        }
        let doubled = ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"];
        assert_eq!(waits, doubled);
        now += Duration::from_secs(601);
        backoffs.exits.insert("late".into(), now);
        assert_eq!(
            backoffs.check("c", "late", now),
            Ok(()),
            "a long life forgives"
        );
    }
}
