//! The payload of one run of one step: request, reply, error, as lines.

use std::collections::HashSet;

use ndra_core::event::{Actor, Step};
use serde_json::Value;

use super::broken::{broken, line_of};
use super::entry::{Brought, brought};
use super::failure::{self, Failure};
use super::timeline::Bar;
use super::tree::{Line, Seek, Writer};
use super::{Model, Status};
use crate::text;

/// The selected step, ready to be drawn.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// The step; none when no flow is selected.
    pub step: Option<Step>,
    /// Which run is shown, from 0, and how many there are.
    pub run: (usize, usize),
    /// Who calls whom.
    pub route: Option<(Actor, Actor)>,
    /// The run itself.
    pub bar: Option<Bar>,
    /// Pod, sandbox and container, where they apply.
    pub subject: Vec<(&'static str, String)>,
    /// Its error, and what that means.
    pub failure: Option<(String, &'static Failure)>,
    /// The payload.
    pub lines: Vec<Line>,
    /// Lines in which the search hits.
    pub hits: Vec<usize>,
    /// How often it hits, in folds too.
    pub found: usize,
    /// The nodes around all hits.
    pub(super) around: HashSet<u64>,
    /// Why there is nothing, in words.
    pub nothing: Option<&'static str>,
}

/// Payloads of up to so many lines are open.
const OPEN_LINES: usize = 120;

impl Model {
    /// The selected step, or the one that matters most.
    pub fn step_shown(&self) -> Option<Step> {
        self.look
            .step
            .or_else(|| self.selected().and_then(|flow| flow.state.current()))
    }

    pub(super) fn make_detail(&mut self) {
        let mut detail = Detail {
            step: self.step_shown(),
            ..Detail::default()
        };
        if let Some(step) = detail.step {
            let runs: Vec<Bar> = self.timeline.runs(step).copied().collect();
            let newest = runs.len().saturating_sub(1);
            // Without a choice, a run that failed is what a person came for.
            let matters = runs
                .iter()
                .rposition(|bar| bar.status == Status::Failed)
                .filter(|at| self.stands_failed(step) || *at == newest);
            let chosen = match self.look.run {
                None => self.run_of_attempt(step, &runs),
                run => Some(run),
            };
            let at = match chosen {
                Some(at) => at,
                None => Some(matters.unwrap_or(newest)),
            };
            let at = at.map(|at| at.min(newest));
            detail.run = (at.unwrap_or(0), runs.len());
            match at.and_then(|at| runs.get(at)) {
                Some(bar) => self.fill(&mut detail, *bar),
                None if !runs.is_empty() => {
                    detail.nothing = Some("It did not run in this attempt.");
                }
                None => detail.nothing = Some(self.absence(step)),
            }
        }
        if std::mem::take(&mut self.look.reveal) {
            let around = &detail.around;
            self.look.toggled.retain(|node| !around.contains(node));
        }
        self.detail = detail;
    }

    fn stands_failed(&self, step: Step) -> bool {
        self.selected()
            .is_some_and(|flow| flow.state.root_failure() == Some(step))
    }

    fn absence(&self, step: Step) -> &'static str {
        let status = self.selected().map(|flow| flow.state.status(step));
        match (status, step) {
            (Some(Status::Skipped), Step::CreateContainer | Step::Hook) => {
                "Not seen from here: on a node the kubelet and the runtime record nothing. \
                 A later step shows that it happened."
            }
            (Some(Status::Skipped), _) => {
                "Not seen: it happened before the first event that is still known, or there \
                 was nothing to do."
            }
            (Some(Status::Waiting) | None, _) => "Not begun.",
            (Some(_), _) => "Its events have been given up to stay within the memory.",
        }
    }

    /// What the begin and the end of a run brought, as far as it is still known.
    fn brought(&self, bar: Bar) -> (Option<Brought<'_>>, Option<Brought<'_>>) {
        let found = |id: Option<u32>| brought(&self.log.payloads, self.log.get(id?).payload);
        (found(bar.begin), found(bar.end))
    }

    /// The payloads of a run, each under its name.
    pub(super) fn payloads(&self, bar: Bar) -> Vec<(&'static str, &[u8])> {
        let (asked, answered) = self.brought(bar);
        let parts = [("request", asked), ("reply", answered)];
        parts
            .into_iter()
            .filter_map(|(title, brought)| Some((title, brought?.detail)))
            .filter(|(_, detail)| !detail.is_empty())
            .collect()
    }

    fn fill(&self, detail: &mut Detail, bar: Bar) {
        let rec = |id: Option<u32>| id.map(|id| self.log.get(id));
        let (begin, end) = (rec(bar.begin), rec(bar.end));
        let (asked, answered) = self.brought(bar);
        detail.bar = Some(bar);
        detail.route = end.or(begin).map(|rec| (rec.from, rec.to));
        let lost = begin.is_some() && asked.is_none() || end.is_some() && answered.is_none();
        detail.subject = subject(asked, answered);
        if let Some(rec) = end.filter(|_| bar.status == Status::Failed) {
            let error = answered.map_or("", |brought| brought.error).to_owned();
            detail.failure = Some((error, failure::kind(rec.failure)));
        }
        let parts = self.payloads(bar);
        self.lay_out(detail, &parts);
        if parts.is_empty() {
            let words = if lost {
                "The payload has been given up to stay within the memory."
            } else if bar.status == Status::Running {
                "Nothing yet: the step runs."
            } else {
                "This step carries no payload."
            };
            if !detail.lines.is_empty() {
                detail.lines.push(Line::said(words));
            }
            detail.nothing = Some(words);
        }
    }

    /// Makes the lines, folded as a person wants them and broken to the screen's width, and
    /// finds what is looked for in all of them. What was folded by hand before the search
    /// hides no hit.
    fn lay_out(&self, detail: &mut Detail, parts: &[(&str, &[u8])]) {
        let word = self.look.search.to_lowercase();
        let none = HashSet::new();
        let columns = usize::from(self.look.size.0).saturating_sub(2);
        let error = error_section(detail.failure.as_ref(), columns);
        let all = |open: u16, toggled: &HashSet<u64>, revealed: &HashSet<u64>| {
            let mut out = Writer {
                format: self.look.format,
                toggled,
                open,
                revealed,
                lines: Vec::new(),
                seek: None,
            };
            write_error(&mut out, error.as_ref());
            write(&mut out, parts);
            out.lines
        };
        let mut toggled = std::borrow::Cow::Borrowed(&self.look.toggled);
        if !word.is_empty() {
            let mut out = Writer {
                format: self.look.format,
                toggled: &none,
                open: u16::MAX,
                revealed: &none,
                lines: Vec::new(),
                seek: Some(Seek::new(&word)),
            };
            write_error(&mut out, error.as_ref());
            write(&mut out, parts);
            if let Some(seek) = out.seek {
                (detail.around, detail.found) = (seek.around, seek.hits);
            }
            if self.look.reveal {
                toggled
                    .to_mut()
                    .retain(|node| !detail.around.contains(node));
            }
        }
        let open = if self.look.folded { 1 } else { 64 };
        let mut lines = all(open, &toggled, &detail.around);
        if lines.len() > OPEN_LINES && !self.look.folded {
            lines = all(3, &toggled, &detail.around);
        }
        for line in lines {
            let hit = !word.is_empty() && line.has(&word);
            let parts = broken(line, columns);
            if hit {
                detail
                    .hits
                    .push(detail.lines.len() + line_of(&parts, &word));
            }
            detail.lines.extend(parts);
        }
    }
}

/// A failure in all its words, and what stands for them when they are folded.
struct ErrorSection {
    lines: [String; 3],
    folds: String,
}

fn error_section(
    failure: Option<&(String, &'static Failure)>,
    columns: usize,
) -> Option<ErrorSection> {
    let (error, kind) = failure?;
    let lines = [
        text::clean(error),
        format!("means: {}", kind.means),
        format!("do: {}", kind.next),
    ];
    let room = columns.saturating_sub(4).max(8);
    let wrapped: usize = lines
        .iter()
        .map(|line| text::width(line).div_ceil(room))
        .sum();
    Some(ErrorSection {
        lines,
        folds: format!("all of it, {wrapped} lines"),
    })
}

/// Writes the parts of a payload, each under its heading.
fn write(out: &mut Writer<'_>, parts: &[(&str, &[u8])]) {
    for (title, bytes) in parts {
        if !out.title(title) {
            continue;
        }
        match serde_json::from_slice::<Value>(bytes) {
            // One field alone needs no name: the part's title says enough.
            Ok(Value::Object(map)) if map.len() == 1 && map.contains_key(*title) => {
                out.value(title, &map[*title]);
            }
            Ok(value) => out.value(title, &value),
            Err(_) => out.text(&String::from_utf8_lossy(bytes)),
        }
    }
}

/// It is folded by itself: what it begins with stands in the head.
fn write_error(out: &mut Writer<'_>, error: Option<&ErrorSection>) {
    if let Some(error) = error
        && out.heading("error", Some(&error.folds))
    {
        error.lines.iter().for_each(|line| out.text(line));
    }
}

fn subject(
    asked: Option<Brought<'_>>,
    answered: Option<Brought<'_>>,
) -> Vec<(&'static str, String)> {
    let pick = |of: fn(Brought<'_>) -> &str| {
        let from = |side: Option<Brought<'_>>| side.map(|b| of(b).to_owned()).unwrap_or_default();
        let last = from(answered);
        if last.is_empty() { from(asked) } else { last }
    };
    [
        ("pod", pick(|b| b.pod)),
        ("sandbox", pick(|b| b.sandbox)),
        ("container", pick(|b| b.container)),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .collect()
}
