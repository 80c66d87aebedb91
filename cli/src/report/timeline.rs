//! The timeline: one line for each step, in the order in which the steps began.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt::Write;

use jiff::Timestamp;
use ndra_core::event::{Actor, Event, Phase, Step};

use super::fact::fact;
use super::style::{BAD, BOLD, DIM, Look, RESULT, WIDTH, paint, wrap};

/// Columns before the fact.
const INDENT: usize = 5;
const FACT: usize = WIDTH - 60;

/// Turns events, in order of time, into lines.
///
/// A step's line waits for the step's end and for the steps that began before it, so that
/// an outer step stands before those inside it.
pub(crate) struct Timeline {
    look: Look,
    began: Timestamp,
    pods_named: bool,
    pod: Option<String>,
    /// Which pod a claim's UID or a sandbox's id stands for.
    pods: BTreeMap<String, String>,
    waiting: VecDeque<Entry>,
}

enum Entry {
    Open(Box<Event>),
    Done { began_us: u64, event: Box<Event> },
    Note(String),
}

impl Timeline {
    /// A timeline of a run that began at `began`. `pods_named` puts a heading before the
    /// steps of each pod.
    pub(crate) fn new(look: Look, began: Timestamp, pods_named: bool) -> Self {
        Self {
            look,
            began,
            pods_named,
            pod: None,
            pods: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// The line above the first step.
    pub(crate) fn heading(&self) -> String {
        let text = format!(
            "{:>3}  {:<16} {:<17}  {:>8}  {:>8}",
            "#", "step", "who calls whom", "at", "took"
        );
        format!("{}\n", paint(DIM, text))
    }

    /// Learns which pod an event's claim and sandbox belong to. Events before it in the
    /// stream can then be put under the pod's heading, too.
    pub(crate) fn learn(&mut self, event: &Event) {
        let Some(pod) = &event.subject.pod else {
            return;
        };
        if let Some(claim) = &event.subject.claim {
            self.pods
                .entry(claim.uid.clone())
                .or_insert_with(|| pod.clone());
        }
        if let Some(sandbox) = &event.subject.sandbox {
            self.pods
                .entry(sandbox.clone())
                .or_insert_with(|| pod.clone());
        }
    }

    /// The pod that an event is about, as far as it is known by now.
    pub(crate) fn pod_of<'a>(&'a self, event: &'a Event) -> Option<&'a str> {
        let subject = &event.subject;
        let by = |key: Option<&String>| self.pods.get(key?);
        subject
            .pod
            .as_ref()
            .or_else(|| by(subject.sandbox.as_ref()))
            .or_else(|| by(subject.claim.as_ref().map(|claim| &claim.uid)))
            .map(String::as_str)
    }

    /// Takes the next event and returns the lines that are complete now.
    pub(crate) fn push(&mut self, event: &Event) -> String {
        self.learn(event);
        let mut event = Box::new(event.clone());
        if event.phase == Phase::Begin {
            self.waiting.push_back(Entry::Open(event));
            return String::new();
        }
        let duration = event.duration_us.unwrap_or_default();
        let began_us = self.offset(&event).saturating_sub(duration);
        match self.begin_of(&event, began_us) {
            Some(index) => {
                if let Some(Entry::Open(begin)) = self.waiting.get(index) {
                    // What was asked for, beside what came of it.
                    for (key, value) in &begin.detail {
                        event
                            .detail
                            .entry(key.as_str())
                            .or_insert_with(|| value.clone());
                    }
                }
                self.waiting[index] = Entry::Done { began_us, event };
            }
            None => self.waiting.push_back(Entry::Done { began_us, event }),
        }
        self.ready()
    }

    /// A line between the steps, for what the harness itself did.
    pub(crate) fn note(&mut self, text: &str) -> String {
        self.waiting.push_back(Entry::Note(text.to_owned()));
        self.ready()
    }

    /// The lines of all that is left, steps without an end included.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        while let Some(entry) = self.waiting.pop_front() {
            self.draw(&mut text, &entry);
        }
        text
    }

    fn ready(&mut self) -> String {
        let mut text = String::new();
        while let Some(entry) = self
            .waiting
            .pop_front_if(|entry| !matches!(entry, Entry::Open(_)))
        {
            self.draw(&mut text, &entry);
        }
        text
    }

    /// Events carry no mark of their begin: it is the one of the same step and claim whose
    /// time fits best.
    fn begin_of(&self, end: &Event, began_us: u64) -> Option<usize> {
        let uid = |event: &Event| event.subject.claim.as_ref().map(|claim| claim.uid.clone());
        self.waiting
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| match entry {
                Entry::Open(begin)
                    if begin.step == end.step
                        && (uid(begin).is_none()
                            || uid(end).is_none()
                            || uid(begin) == uid(end)) =>
                {
                    Some((self.offset(begin).abs_diff(began_us), index))
                }
                _ => None,
            })
            .min()
            .map(|(_, index)| index)
    }

    fn offset(&self, event: &Event) -> u64 {
        let since = event.time.duration_since(self.began);
        u64::try_from(since.as_micros()).unwrap_or_default()
    }

    fn draw(&mut self, text: &mut String, entry: &Entry) {
        let (event, began_us) = match entry {
            Entry::Note(note) => {
                let lines = wrap(note, WIDTH - INDENT);
                for line in lines {
                    let _ = writeln!(text, "{:>3}  {}", self.look.dot, paint(DIM, line));
                }
                return;
            }
            Entry::Open(event) => (event, self.offset(event)),
            Entry::Done { began_us, event } => (event, *began_us),
        };
        self.pod_heading(text, event);
        let look = self.look;
        let route = route(look, event.from, event.to);
        let took = match event.duration_us {
            Some(us) => look.duration(us),
            None => look.ellipsis.to_owned(),
        };
        let _ = write!(
            text,
            "{:>3}  {:<16} {}  {}  {:>8}",
            event.number,
            event.step,
            paint(DIM, format!("{route:<17}")),
            paint(DIM, format!("{:>8}", look.duration(began_us))),
            took,
        );
        match event.phase {
            Phase::Begin => {
                let _ = writeln!(text, "  {}", paint(BAD, "did not end"));
            }
            Phase::End => {
                let fact = look.fit(&ascii(look, &fact(event)), FACT);
                if fact.is_empty() {
                    text.push('\n');
                } else if event.step == Step::CniAdd {
                    let _ = writeln!(text, "  {}", paint(RESULT, fact));
                } else {
                    let _ = writeln!(text, "  {fact}");
                }
            }
            Phase::Fail => {
                let _ = writeln!(text, "  {}", paint(BAD, "failed"));
                let error = self.own_words(event);
                for line in wrap(&error, WIDTH - INDENT - 2) {
                    let _ = writeln!(text, "{:INDENT$}{} {}", "", paint(BAD, look.bar), line);
                }
            }
        }
    }

    /// An outer step fails with the words of the step inside it; those stand below
    /// already, where that step has its line.
    fn own_words(&self, event: &Event) -> String {
        let error = event.error.as_deref().unwrap_or("no reason was given");
        let inner = self
            .waiting
            .iter()
            .filter_map(|entry| match entry {
                Entry::Done { event, .. } => Some((event.number, event.error.as_deref()?)),
                _ => None,
            })
            .filter(|(number, inner)| *number > event.number && error.contains(inner))
            .max_by_key(|(_, inner)| inner.len());
        match inner {
            Some((number, inner)) if error == inner => format!("as step {number} below"),
            Some((number, inner)) => error.replacen(inner, &format!("(as step {number} below)"), 1),
            None => error.to_owned(),
        }
    }

    fn pod_heading(&mut self, text: &mut String, event: &Event) {
        if !self.pods_named {
            return;
        }
        let Some(pod) = self.pod_of(event).map(str::to_owned) else {
            return;
        };
        if self.pod.as_deref() != Some(&pod) {
            let _ = writeln!(text, "{}", paint(BOLD, &pod));
            self.pod = Some(pod);
        }
    }
}

fn route(look: Look, from: Actor, to: Actor) -> String {
    format!("{from} {} {to}", look.arrow)
}

fn ascii(look: Look, text: &str) -> String {
    if look == Look::ASCII {
        text.replace('…', look.ellipsis)
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests;
