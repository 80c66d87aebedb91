//! How the model is looked at: screen, selection, prompt, folds. No events here.

use std::collections::HashSet;

use ndra_core::event::Step;

use super::action::{Grouping, Screen, Sort};
use super::filter::Filter;
use super::flow::FlowId;
use super::tree::Format;

/// What a prompt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which flows are shown.
    Filter,
    /// What is looked for in the payload.
    Search,
}

/// A line that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub purpose: Purpose,
    /// What has been typed.
    pub text: String,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub struct Look {
    /// Columns and rows.
    pub size: (u16, u16),
    /// Which screen is shown.
    pub screen: Screen,
    /// Is the help shown over it?
    pub help: bool,
    /// The first line of the help that is shown.
    pub help_top: usize,
    /// The prompt, while it is open.
    pub prompt: Option<Prompt>,
    /// The filter as it was typed.
    pub filter_text: String,
    pub(crate) filter: Filter,
    /// What is looked for in the payload.
    pub search: String,
    /// The order of rows.
    pub sort: Sort,
    /// The other way round?
    pub reverse: bool,
    /// The groups of rows.
    pub grouping: Grouping,
    /// Does the selection follow the newest flow?
    pub follow: bool,
    /// The selected flow.
    pub selected: Option<FlowId>,
    /// Has a person selected it? Otherwise it is the first.
    pub pinned: bool,
    /// The first row of the table that is shown.
    pub top: usize,
    /// The selected step; none stands for the one that matters most.
    pub step: Option<Step>,
    /// Which run of it; none stands for the newest.
    pub run: Option<usize>,
    /// The begin of the attempt that was chosen; none stands for that of the run.
    pub attempt: Option<i64>,
    /// The selected line of the detail.
    pub line: usize,
    /// The first line of the detail that is shown.
    pub line_top: usize,
    /// The first line of the health screen that is shown.
    pub health_top: usize,
    /// JSON or YAML.
    pub format: Format,
    pub(crate) toggled: HashSet<u64>,
    pub(crate) folded: bool,
    /// Open what was folded by hand around hits, once.
    pub(crate) reveal: bool,
    /// What the last action had to say.
    pub notice: Option<String>,
    /// The flow whose event time was stepped to.
    pub(crate) touched: Option<FlowId>,
}

impl Look {
    pub(crate) fn new(size: (u16, u16)) -> Self {
        Self {
            size,
            screen: Screen::Flows,
            help: false,
            help_top: 0,
            prompt: None,
            filter_text: String::new(),
            filter: Filter::default(),
            search: String::new(),
            sort: Sort::default(),
            reverse: false,
            grouping: Grouping::default(),
            follow: false,
            selected: None,
            pinned: false,
            top: 0,
            step: None,
            run: None,
            attempt: None,
            line: 0,
            line_top: 0,
            health_top: 0,
            format: Format::default(),
            toggled: HashSet::new(),
            folded: false,
            reveal: false,
            notice: None,
            touched: None,
        }
    }

    pub(crate) fn unselect(&mut self) {
        self.selected = None;
        self.pinned = false;
        self.other_flow();
    }

    /// What belonged to another flow is forgotten.
    pub(crate) fn other_flow(&mut self) {
        self.step = None;
        self.attempt = None;
        self.other_step();
    }

    /// What belonged to another step is forgotten.
    pub(crate) fn other_step(&mut self) {
        self.run = None;
        self.line = 0;
        self.line_top = 0;
        self.reveal = true;
    }
}

/// Keeps `index` within `height` lines from `top`, with `len` lines in all.
pub(crate) fn scroll_to(top: usize, index: usize, height: usize, len: usize) -> usize {
    let height = height.max(1);
    let top = top.min(len.saturating_sub(height));
    if index < top {
        index
    } else if index >= top + height {
        index + 1 - height
    } else {
        top
    }
}
