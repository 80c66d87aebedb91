//! Puts a run on standard output and into its recording while it happens.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ndra_core::event::{Event, Phase, Step};
use serde_json::Value;

use super::Format;
use super::stream::Told;
use crate::failure::Failure;
use crate::problem::Problem;
use crate::report::{Attached, Look, Outcome, Page, Recording, Timeline, line, step_stats};

/// How the steps of a run are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As they happen. `named` puts pods' names between them.
    Live { named: bool },
    /// Pod by pod, at the end.
    ByPod,
    /// As statistics, at the end.
    Table,
}

/// The output of one run. Clones share it.
#[derive(Clone)]
pub(crate) struct Show(Arc<Mutex<Inner>>);

struct Inner {
    format: Format,
    layout: Layout,
    look: Look,
    began: Timestamp,
    timeline: Timeline,
    events: Vec<Event>,
    recording: Option<Recording>,
    /// Why the recording is incomplete.
    unrecorded: Option<String>,
    /// Why standard output is.
    unprinted: Option<io::Error>,
}

impl Show {
    /// Opens the recording; nothing is printed yet.
    pub(crate) fn open(
        format: Format,
        layout: Layout,
        record: Option<&Path>,
        began: Timestamp,
    ) -> Result<Self, Problem> {
        let recording = record.map(Recording::create).transpose()?;
        let look = Look::of_locale();
        let named = layout == Layout::ByPod || layout == Layout::Live { named: true };
        Ok(Self(Arc::new(Mutex::new(Inner {
            format,
            layout,
            look,
            began,
            timeline: Timeline::new(look, began, named),
            events: Vec::new(),
            recording,
            unrecorded: None,
            unprinted: None,
        }))))
    }

    /// What runs, and with which parts.
    pub(crate) fn head(&self, title: &str, parts: &[String]) {
        let mut inner = self.lock();
        if inner.format == Format::Text {
            let mut head = Page(inner.look).head(title, parts);
            if inner.layout != Layout::Table {
                head.push_str(&inner.timeline.heading());
            }
            inner.print(&head);
        }
    }

    /// Takes what the stream hands out.
    pub(crate) fn tell(&self, told: &Told<'_>) {
        let mut inner = self.lock();
        match told {
            Told::Event(event) => {
                inner.event(event);
                inner.events.push((*event).clone());
            }
            Told::Note(note) => inner.note(note),
            // What a run shows are its steps.
            Told::Driver(_) => {}
        }
    }

    /// The interfaces that pods had, in the order of their names.
    pub(crate) fn attached(&self) -> Vec<Attached> {
        let inner = self.lock();
        let mut found = BTreeMap::new();
        for event in &inner.events {
            found.extend(attached(event).map(|a| ((natural(&a.pod), a.interface.clone()), a)));
        }
        found.into_values().collect()
    }

    /// Statistics of all steps so far.
    pub(crate) fn complete(&self, outcome: &mut Outcome) {
        let inner = self.lock();
        outcome.steps = step_stats(&inner.events);
        outcome.failures.extend(inner.unrecorded.clone());
    }

    /// The end of the page, or the summary line.
    ///
    /// # Errors
    /// Standard output took not all of it, for another reason than that its reader left.
    pub(crate) fn end(&self, outcome: &Outcome) -> Result<(), Failure> {
        let mut inner = self.lock();
        let summary = outcome.line();
        inner.record(&summary);
        let text = match inner.format {
            Format::Json => format!("{summary}\n"),
            Format::Text => inner.rest(outcome) + &Page(inner.look).end(outcome),
        };
        inner.print(&text);
        match inner.unprinted.take() {
            None => Ok(()),
            Some(error) => Err(Failure::run(
                format!("standard output took not everything: {error}"),
                "make room where it goes, and run again",
            )),
        }
    }

    /// The summary of a run that was cut short, for programs; people read the error.
    pub(crate) fn cut(&self, outcome: &Outcome) {
        let mut inner = self.lock();
        let summary = outcome.line();
        inner.record(&summary);
        if inner.format == Format::Json {
            inner.print(&format!("{summary}\n"));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn event(&mut self, event: &Event) {
        let text = line(event);
        self.record(&text);
        match (self.format, self.layout) {
            (Format::Json, _) => self.print(&format!("{text}\n")),
            (Format::Text, Layout::Live { .. }) => {
                let text = self.timeline.push(event);
                self.print(&text);
            }
            (Format::Text, _) => {}
        }
    }

    fn note(&mut self, note: &str) {
        if let (Format::Text, Layout::Live { .. }) = (self.format, self.layout) {
            let text = self.timeline.note(note);
            self.print(&text);
        }
    }

    /// Writes to standard output; a reader that has gone away wants no more of it, and the
    /// run goes on to tidy up.
    fn print(&mut self, text: &str) {
        let mut out = anstream::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.unprinted.get_or_insert(error);
            }
            _ => {}
        }
    }

    fn record(&mut self, line: &str) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        if let Err(error) = recording.line(line) {
            self.unrecorded = Some(error);
            self.recording = None;
        }
    }

    fn rest(&mut self, outcome: &Outcome) -> String {
        match self.layout {
            Layout::Live { .. } => self.timeline.finish(),
            Layout::ByPod => {
                let mut timeline = Timeline::new(self.look, self.began, true);
                self.events.iter().for_each(|event| timeline.learn(event));
                let mut events: Vec<&Event> = self.events.iter().collect();
                events.sort_by_key(|event| timeline.pod_of(event).map(natural));
                let mut text = String::new();
                for event in events {
                    text.push_str(&timeline.push(event));
                }
                text + &timeline.finish()
            }
            Layout::Table => {
                let page = Page(self.look);
                page.statistics(&outcome.steps) + &page.errors(&self.events)
            }
        }
    }
}

/// The interface that an event says was made.
fn attached(event: &Event) -> Option<Attached> {
    if event.step != Step::CniAdd || event.phase != Phase::End {
        return None;
    }
    let text = |key: &str| event.detail.get(key).and_then(Value::as_str);
    let addresses = event.detail.get("ips").and_then(Value::as_array);
    Some(Attached {
        pod: event.subject.pod.clone()?,
        interface: text("ifName")?.to_owned(),
        mac: text("mac").unwrap_or_default().to_owned(),
        addresses: addresses
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    })
}

/// Sorts `web-2` before `web-10`.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[stem.len()..].parse().unwrap_or_default();
    (stem.to_owned(), number, name.to_owned())
}
