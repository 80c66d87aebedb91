//! The model: events and actions in, everything that a frame shows out. Pure; time is
//! handed in.

mod act;
mod action;
mod attempt;
mod broken;
mod clock;
mod copied;
mod detail;
mod entry;
mod failure;
mod filter;
mod flow;
mod fold;
mod health;
mod histogram;
mod ingest;
pub mod layout;
mod log;
mod look;
mod payload;
mod prompt;
mod rows;
mod select;
mod settle;
mod source;
mod timeline;
mod travel;
mod tree;
mod why;

pub use action::{Action, Control, Effect, Grouping, Screen, Sort};
pub use attempt::{Attempt, Part};
pub use clock::{Mode, SPEEDS};
pub use detail::Detail;
pub use failure::{Failure, explain};
pub use filter::{Filter, FilterError};
pub use flow::{Address, Flow, FlowId};
pub use fold::{Cell, FlowState, HANGS_AFTER, STEPS, Stage, Status};
pub use health::Health;
pub use histogram::{Axis, Histogram};
pub use look::{Look, Prompt, Purpose};
pub use rows::{Row, Rows};
pub(crate) use source::FRESH;
pub use source::{Connection, Driver, Registration, Socket, Source, SourceId};
pub use timeline::{Bar, Critical, Lane, Stretch, Timeline};
pub use tree::{Format, Kind, Line};
pub use why::Why;

use std::collections::HashMap;

use crate::text;
use clock::Clock;
use log::Log;

/// What a model is given once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most memory that events, payloads and flows may take, in bytes.
    pub memory: usize,
    /// Are there keys that ask a running simulation for something?
    pub controls: bool,
    /// The screen's columns and rows, until [`Model::resize`] says otherwise.
    pub size: (u16, u16),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory: 256 * 1024 * 1024,
            controls: false,
            size: (80, 24),
        }
    }
}

/// Everything that is known, and how it is looked at.
///
/// Give it events with [`Model::ingest`], keys with [`Model::act`], and real time with
/// [`Model::tick`], which must come before a frame is drawn from it.
#[derive(Debug)]
pub struct Model {
    settings: Settings,
    sources: Vec<Source>,
    nodes: Vec<Node>,
    log: Log,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    flow_bytes: usize,
    health: Health,
    clock: Clock,
    /// How many events of the log are shown.
    applied: usize,
    /// Failures in order of time, for the scrub bar.
    failures: Vec<log::Key>,
    forgotten: u64,
    blocks_given_up: u64,
    mark: u32,
    look: Look,
    rows: Rows,
    timeline: Timeline,
    why: Why,
    detail: Detail,
    stale: Stale,
}

#[derive(Debug)]
struct Node {
    name: String,
    flows: HashMap<Box<str>, u32>,
}

/// What must be made anew before the next frame.
#[derive(Debug, Default)]
struct Stale {
    rows: bool,
    flow: bool,
    /// The second for which rows were made; hanging flows are told by the clock.
    second: i64,
}

impl Model {
    /// A model without sources.
    pub fn new(settings: Settings) -> Self {
        let look = Look::new(settings.size);
        Self {
            settings,
            sources: Vec::new(),
            nodes: Vec::new(),
            log: Log::default(),
            flows: Vec::new(),
            free: Vec::new(),
            flow_bytes: 0,
            health: Health::default(),
            clock: Clock::new(),
            applied: 0,
            failures: Vec::new(),
            forgotten: 0,
            blocks_given_up: 0,
            mark: 0,
            look,
            rows: Rows::default(),
            timeline: Timeline::default(),
            why: Why::default(),
            detail: Detail::default(),
            stale: Stale::default(),
        }
    }

    /// Adds a source. `node` may be empty; sources of one node share its flows.
    pub fn add_source(&mut self, name: &str, node: &str) -> SourceId {
        let id = SourceId(u16::try_from(self.sources.len()).unwrap_or(u16::MAX));
        let node = self.node(node);
        self.sources.push(Source::new(name, node, id.0));
        id
    }

    /// Adds a source for another node or stream of what `of` is the first source of.
    pub fn add_stream(&mut self, of: SourceId, node: &str) -> SourceId {
        let like = self.sources.get(usize::from(of.0));
        let (name, group) = like.map_or_else(Default::default, |s| (s.name.clone(), s.group));
        let id = self.add_source(&name, node);
        if let Some(source) = self.source_mut(id) {
            source.group = group;
        }
        id
    }

    /// What is wrong with what each name brought, taken together. Named by the first
    /// source of each.
    pub fn wrong_as_a_whole(&self) -> Vec<(SourceId, Vec<&'static str>)> {
        let now = self.now();
        let firsts = self.sources().filter(|(id, source)| source.group == id.0);
        firsts
            .map(|(id, _)| {
                let of = self.sources.iter().filter(|source| source.group == id.0);
                (id, source::wrong_as_a_whole(&of.collect::<Vec<_>>(), now))
            })
            .collect()
    }

    /// The node of a source that has namesakes on other nodes, where it is known.
    pub fn source_node(&self, id: SourceId) -> Option<String> {
        let source = self.sources.get(usize::from(id.0))?;
        let node = &self.nodes.get(usize::from(source.node))?.name;
        let namesakes = self.sources.iter().filter(|s| s.name == source.name);
        (!node.is_empty() && namesakes.count() > 1).then(|| text::clean(node))
    }

    /// The sources, in the order in which they were added.
    pub fn sources(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        let number = |n: usize| SourceId(u16::try_from(n).unwrap_or(u16::MAX));
        self.sources
            .iter()
            .enumerate()
            .map(move |(at, source)| (number(at), source))
    }

    /// The sources as they are shown: those of one name together, by their nodes.
    pub fn sources_by_node(&self) -> Vec<(SourceId, &Source)> {
        let mut all: Vec<_> = self.sources().collect();
        let node = |source: &Source| self.nodes.get(usize::from(source.node)).map(|n| &n.name);
        all.sort_by_key(|(id, source)| (source.group, node(source), *id));
        all
    }

    /// Changes what is known of a source: its connection, driver.
    pub fn source_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        self.stale.rows = true;
        self.sources.get_mut(usize::from(id.0))
    }

    /// Whether more than one node is watched, so that rows name theirs.
    pub fn many_nodes(&self) -> bool {
        let seen = self.nodes.iter().filter(|node| !node.flows.is_empty());
        seen.count() > 1
    }

    /// The node of a source that was added without one is now known. Refused, when it has
    /// events that count as another's.
    pub fn name_node(&mut self, id: SourceId, node: &str) -> bool {
        let Some(source) = self.sources.get(usize::from(id.0)) else {
            return false;
        };
        let known = self.nodes.get(usize::from(source.node));
        let free = source.events == 0 && known.is_some_and(|known| known.name.is_empty());
        if free {
            let node = self.node(node);
            if let Some(source) = self.sources.get_mut(usize::from(id.0)) {
                source.node = node;
            }
        }
        free
    }

    fn node(&mut self, name: &str) -> u16 {
        let found = self.nodes.iter().position(|known| known.name == name);
        let node = found.unwrap_or_else(|| {
            self.nodes.push(Node {
                name: name.into(),
                flows: HashMap::new(),
            });
            self.nodes.len() - 1
        });
        u16::try_from(node).unwrap_or(u16::MAX)
    }

    /// A node's name.
    pub fn node_name(&self, flow: &Flow) -> &str {
        self.nodes
            .get(usize::from(flow.node))
            .map_or("", |node| &node.name)
    }

    /// Says something in the status line until the next action.
    pub fn notice(&mut self, text: String) {
        self.look.notice = Some(text);
    }

    /// The screen's size has changed.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.look.size = (columns, rows);
        // Long lines are broken to its width.
        self.stale.flow = true;
        self.settle();
    }

    /// Real time goes on: nanoseconds since 1970. Makes everything ready for a frame.
    pub fn tick(&mut self, now: i64) {
        self.clock.tick(now);
        if self.clock.mode == Mode::Replaying {
            self.travel();
            if self.applied == self.log.len() {
                self.clock.mode = Mode::Live;
            }
        }
        if self.now() / 1_000_000_000 != self.stale.second {
            self.stale.rows = true;
        }
        if self.clock.mode == Mode::Live && self.running() {
            self.stale.flow = true;
        }
        self.settle();
    }

    /// Does any source still bring events?
    pub fn running(&self) -> bool {
        self.sources.iter().any(|source| {
            matches!(
                source.connection,
                Connection::Connecting | Connection::Live | Connection::Lost { .. }
            )
        })
    }

    /// The moment that is shown, nanoseconds since 1970.
    pub fn now(&self) -> i64 {
        let newest = self.bounds().map_or(0, |(_, last)| last);
        match self.clock.mode {
            Mode::Live if self.running() => self.clock.now.max(newest),
            Mode::Live => newest,
            Mode::Paused | Mode::Replaying => self.clock.at,
        }
    }

    /// Times of the oldest and the newest event.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let first = self.log.at(0)?.at;
        Some((first, self.log.at(self.log.len() - 1)?.at))
    }

    /// How the view moves through time.
    pub fn mode(&self) -> Mode {
        self.clock.mode
    }

    /// How fast it replays.
    pub fn speed(&self) -> f64 {
        self.clock.speed
    }

    /// How many events are shown, and how many there are; those that were given up
    /// included.
    pub fn position(&self) -> (u64, u64) {
        let gone = self.forgotten;
        (gone + self.applied as u64, gone + self.log.len() as u64)
    }

    /// How many events were given up to stay within the memory.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Memory in use by events, payloads and flows, and the limit.
    pub fn memory(&self) -> (usize, usize) {
        (self.log.bytes() + self.flow_bytes, self.settings.memory)
    }

    /// Have payloads been given up to stay within the memory?
    pub fn payloads_given_up(&self) -> bool {
        self.blocks_given_up > 0
    }

    /// Events in each of `columns` equal parts of the recorded time, and whether a step
    /// failed in it.
    pub fn density(&self, columns: usize) -> Vec<(usize, bool)> {
        let Some((first, last)) = self.bounds() else {
            return vec![(0, false); columns];
        };
        let mut before = (0, 0);
        (1..=columns)
            .map(|column| {
                let key = log::Key::after(part(first, last, column, columns));
                let until = (
                    self.log.until(key),
                    self.failures.partition_point(|failure| *failure <= key),
                );
                let found = (until.0 - before.0, until.1 > before.1);
                before = until;
                found
            })
            .collect()
    }

    /// Events of the second before the moment that is shown.
    pub fn rate(&self) -> usize {
        self.rate_at(self.now())
    }

    /// Events of each of the last `seconds` seconds, the newest last.
    pub fn rates(&self, seconds: usize) -> Vec<u64> {
        let now = self.now();
        let back = |n: usize| i64::try_from(n).unwrap_or(0) * 1_000_000_000;
        (0..seconds)
            .rev()
            .map(|ago| self.rate_at(now.saturating_sub(back(ago))) as u64)
            .collect()
    }

    fn rate_at(&self, at: i64) -> usize {
        let before = log::Key::after(at.saturating_sub(1_000_000_000));
        let until = self.log.until(log::Key::after(at)).min(self.applied);
        until.saturating_sub(self.log.until(before))
    }

    /// Durations and failures up to the moment that is shown.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// How it is looked at: screen, selection, prompt.
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// The rows of the table of flows.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// A flow.
    pub fn flow(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(id.0 as usize)?.as_ref()
    }

    /// The selected flow.
    pub fn selected(&self) -> Option<&Flow> {
        self.flow(self.look.selected?)
    }

    /// The waterfall of the selected flow.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// What is the matter with the selected flow.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// The payload of the selected step.
    pub fn detail(&self) -> &Detail {
        &self.detail
    }

    /// Has it keys for a running simulation?
    pub fn controls(&self) -> bool {
        self.settings.controls
    }
}

/// The end of the `column`th of `columns` equal parts.
fn part(first: i64, last: i64, column: usize, columns: usize) -> i64 {
    let span = i128::from(last) - i128::from(first);
    let (column, columns) = (column as i128, columns.max(1) as i128);
    i64::try_from(i128::from(first) + span * column / columns).unwrap_or(last)
}
