//! The payload of one run of one step: request, reply, error, as lines.

use ndra_core::event::{Actor, Step};
use serde_json::Value;

use super::entry::{Brought, brought};
use super::failure::{self, Failure};
use super::log::Rec;
use super::timeline::Bar;
use super::tree::{Line, Writer};
use super::{Model, Status};

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
            let at = self.look.run.or(matters).unwrap_or(newest).min(newest);
            detail.run = (at, runs.len());
            match runs.get(at) {
                Some(bar) => self.fill(&mut detail, *bar),
                None => detail.nothing = Some(self.absence(step)),
            }
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

    fn fill(&self, detail: &mut Detail, bar: Bar) {
        let rec = |id: Option<u32>| id.map(|id| self.log.get(id));
        let (begin, end) = (rec(bar.begin), rec(bar.end));
        detail.bar = Some(bar);
        detail.route = end.or(begin).map(|rec| (rec.from, rec.to));
        let found = |rec: Option<&Rec>| brought(&self.log.payloads, rec?.payload);
        let (asked, answered) = (found(begin), found(end));
        let lost = begin.is_some() && asked.is_none() || end.is_some() && answered.is_none();
        detail.subject = subject(asked, answered);
        if let Some(rec) = end.filter(|_| bar.status == Status::Failed) {
            let error = answered.map_or("", |brought| brought.error).to_owned();
            detail.failure = Some((error, failure::kind(rec.failure)));
        }
        let mut parts = Vec::new();
        for (title, brought) in [("request", asked), ("reply", answered)] {
            if let Some(brought) = brought
                && !brought.detail.is_empty()
            {
                parts.push((title, brought.detail));
            }
        }
        detail.lines = self.write(&parts, 64);
        if detail.lines.len() > OPEN_LINES {
            detail.lines = self.write(&parts, 3);
        }
        if self.look.folded {
            detail.lines = self.write(&parts, 1);
        }
        if parts.is_empty() {
            detail.nothing = Some(if lost {
                "The payload has been given up to stay within the memory."
            } else if bar.status == Status::Running {
                "Nothing yet: the step runs."
            } else {
                "This step carries no payload."
            });
        }
        if !self.look.search.is_empty() {
            let word = self.look.search.to_lowercase();
            let hit = |line: &Line| line.text().to_lowercase().contains(&word);
            let lines = detail.lines.iter().enumerate();
            detail.hits = lines.filter(|(_, l)| hit(l)).map(|(at, _)| at).collect();
        }
    }

    fn write(&self, parts: &[(&str, &[u8])], open: u16) -> Vec<Line> {
        let mut out = Writer {
            format: self.look.format,
            toggled: &self.look.toggled,
            open,
            lines: Vec::new(),
        };
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
        out.lines
    }

    /// What `Copy` copies: the payload with its error, or the flow's line.
    pub(super) fn copied(&self) -> Option<String> {
        let flow = self.selected()?;
        let mut text = format!("{}/{} {}\n", flow.namespace, flow.claim, flow.uid);
        if let Some((error, _)) = &self.detail.failure {
            text.push_str(error);
            text.push('\n');
        }
        for line in &self.detail.lines {
            text.push_str(&line.text());
            text.push('\n');
        }
        Some(text)
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
