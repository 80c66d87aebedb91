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

    /// Whether a container named `name` may be started now, when `dead` was its last one.
    /// The first death costs nothing; each further one doubles the wait.
    pub(super) fn check(&mut self, name: &str, dead: &str) -> Result<(), Waiting> {
        let now = Instant::now();
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
    match (seconds / 60, seconds % 60, duration.subsec_millis()) {
        (0, 0, millis) => format!("{millis}ms"),
        (0, s, 0) => format!("{s}s"),
        (0, s, millis) => format!("{s}.{millis:03}s"),
        (m, s, _) => format!("{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_death_is_free_then_waits_double() {
        let mut backoffs = BackOffs::new(&Timing::default());
        let mut waits = Vec::new();
        for death in 0..8 {
            let id = death.to_string();
            backoffs.exits.insert(id.clone(), Instant::now());
            match backoffs.check("c", &id) {
                Ok(()) => waits.push("0s".to_owned()),
                Err(waiting) => {
                    assert!(waiting.news);
                    assert!(!backoffs.check("c", &id).unwrap_err().news);
                    waits.push(go_duration(waiting.wait));
                    tokio::time::advance(waiting.wait).await;
                    assert_eq!(backoffs.check("c", &id), Ok(()));
                }
            }
        }
        assert_eq!(
            waits,
            ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]
        );
        tokio::time::advance(Duration::from_secs(601)).await;
        backoffs.exits.insert("late".into(), Instant::now());
        assert_eq!(backoffs.check("c", "late"), Ok(()), "a long life forgives");
    }
}
