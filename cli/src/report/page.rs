//! What stands around the timeline: the head of the page, statistics, and the end.

use std::collections::BTreeMap;
use std::fmt::Write;

use ndra_core::event::{Event, Phase, Step};

use super::style::{BAD, BOLD, DIM, GOOD, Look, RESULT, WARN, WIDTH, paint, wrap};
use super::{Outcome, StepStats};

/// Interfaces that the end of a page lists one by one.
const LISTED: usize = 12;

/// The parts of the page, as text.
#[derive(Clone, Copy)]
pub(crate) struct Page(pub(crate) Look);

impl Page {
    /// What runs, and with which parts.
    pub(crate) fn head(self, title: &str, parts: &[String]) -> String {
        let mut text = String::new();
        for line in wrap(title, WIDTH) {
            let _ = writeln!(text, "{}", paint(BOLD, line));
        }
        let parts = parts.join(&format!(" {} ", self.0.dot));
        for line in wrap(&parts, WIDTH) {
            let _ = writeln!(text, "{}", paint(DIM, line));
        }
        text.push('\n');
        text
    }

    /// One line for each step, where there are too many pods to show each.
    pub(crate) fn statistics(self, steps: &BTreeMap<Step, StepStats>) -> String {
        let mut text = String::new();
        let heading = format!(
            "{:>3}  {:<16} {:<17}  {:>7}  {:>8}  {:>8}  {:>8}",
            "#", "step", "who calls whom", "count", "p50", "p99", "max"
        );
        let _ = writeln!(text, "{}", paint(DIM, heading));
        for (step, stats) in steps {
            let (from, to) = step.route();
            let route = format!("{from} {} {to}", self.0.arrow);
            let _ = writeln!(
                text,
                "{:>3}  {:<16} {}  {:>7}  {:>8}  {:>8}  {:>8}",
                step.number(),
                step,
                paint(DIM, format!("{route:<17}")),
                stats.count,
                self.0.duration(stats.p50_us),
                self.0.duration(stats.p99_us),
                self.0.duration(stats.max_us),
            );
        }
        text
    }

    /// The failures among many steps: each text once, with its count.
    pub(crate) fn errors<'a>(self, events: impl IntoIterator<Item = &'a Event>) -> String {
        let mut errors: BTreeMap<(Step, &str), usize> = BTreeMap::new();
        for event in events {
            if event.phase == Phase::Fail {
                let reason = event.error.as_deref().unwrap_or("no reason was given");
                *errors.entry((event.step, reason)).or_default() += 1;
            }
        }
        let mut text = String::new();
        for ((step, reason), count) in errors.into_iter().take(LISTED) {
            let times = if count == 1 {
                String::new()
            } else {
                format!(", {count} times")
            };
            let _ = writeln!(text, "\n{}", paint(BAD, format!("{step} failed{times}")));
            for line in wrap(reason, WIDTH - 7) {
                let _ = writeln!(text, "     {} {line}", paint(BAD, self.0.bar));
            }
        }
        text
    }

    /// Interfaces, proofs and totals.
    pub(crate) fn end(self, outcome: &Outcome) -> String {
        let mut text = String::from("\n");
        self.interfaces(&mut text, outcome);
        self.proofs(&mut text, outcome);
        for failure in &outcome.failures {
            let mut sign = self.0.bad;
            for line in wrap(failure, WIDTH - 3) {
                let _ = writeln!(text, "{} {line}", paint(BAD, format!("{sign:<2}")));
                sign = "";
            }
        }
        let steps: usize = outcome.steps.values().map(|stats| stats.count).sum();
        let counts = format!(
            "{}, {}, {} in {}",
            plural(outcome.pods, "pod"),
            plural(outcome.attached.len(), "attachment"),
            plural(steps, "step"),
            self.0.duration(outcome.wall_us),
        );
        let (style, word) = if outcome.ok() {
            (GOOD, "ok")
        } else {
            (BAD, "failed")
        };
        let _ = writeln!(text, "{} {counts}", paint(style.bold(), format!("{word}:")));
        text
    }

    fn interfaces(self, text: &mut String, outcome: &Outcome) {
        let listed = || outcome.attached.iter().take(LISTED);
        let pods = listed().map(|a| a.pod.len()).max().unwrap_or_default();
        let names = listed()
            .map(|a| a.interface.len())
            .max()
            .unwrap_or_default();
        for attached in listed() {
            let _ = writeln!(
                text,
                "{}  {}  {}  {}",
                paint(BOLD, format!("{:<pods$}", attached.pod)),
                paint(RESULT, format!("{:<names$}", attached.interface)),
                paint(DIM, &attached.mac),
                paint(RESULT, attached.addresses.join(" ")),
            );
        }
        if let Some(more) = outcome.attached.len().checked_sub(LISTED + 1) {
            let line = format!("{} and {} more", self.0.ellipsis, more + 1);
            let _ = writeln!(text, "{}", paint(DIM, line));
        }
        if outcome.attached.is_empty() {
            let _ = writeln!(text, "{}", paint(WARN, "no pod got an interface"));
        }
        if !outcome.inside.is_empty() {
            let line = match outcome.by_containers {
                true => "as `ip addr show` prints it inside the containers",
                false => "as read inside the pods' network namespaces",
            };
            let _ = writeln!(text, "{}", paint(DIM, line));
        }
        for answer in outcome.answers.iter().take(LISTED) {
            let answered = match &answer.took_us {
                Ok(took) => paint(GOOD, format!("answered in {}", self.0.duration(*took))),
                Err(_) => paint(BAD, "no answer".into()),
            };
            let (from, arrow, to) = (&answer.from, self.0.arrow, &answer.to);
            let _ = writeln!(text, "{from} {arrow} {to} {}: {answered}", answer.address);
        }
        text.push('\n');
    }

    fn proofs(self, text: &mut String, outcome: &Outcome) {
        if outcome.checks.is_empty() {
            return;
        }
        let clean = outcome.checks.iter().all(|check| check.left.is_empty());
        let (style, title) = if clean {
            (BOLD, "nothing left behind")
        } else {
            (BAD, "left behind")
        };
        let _ = writeln!(text, "{}", paint(style, title));
        let cells: Vec<_> = outcome
            .checks
            .iter()
            .filter(|c| c.left.is_empty())
            .collect();
        for row in cells.chunks(3) {
            let mut line = String::new();
            for check in row {
                let _ = write!(
                    line,
                    "{} {:<22}",
                    paint(GOOD, format!("{:>3}", self.0.good)),
                    format!("0 {}", check.what),
                );
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for check in outcome.checks.iter().filter(|c| !c.left.is_empty()) {
            let _ = writeln!(
                text,
                "{} {} {}",
                paint(BAD, format!("{:>3}", self.0.bad)),
                check.left.len(),
                check.what,
            );
            for left in &check.left {
                for line in wrap(left, WIDTH - 7) {
                    let _ = writeln!(text, "     {} {line}", paint(BAD, self.0.bar));
                }
            }
        }
        text.push('\n');
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        format!("1 {word}")
    } else {
        format!("{count} {word}s")
    }
}
