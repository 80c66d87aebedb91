//! What a person can ask of the dashboard, and what it asks of its host.

use ndra_core::event::Step;

use super::flow::FlowId;

/// The screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// One row a claim.
    #[default]
    Flows,
    /// The waterfall of the selected flow.
    Timeline,
    /// The payload of the selected step.
    Detail,
    /// Sources, durations, failures.
    Health,
}

impl Screen {
    /// All of them, in the order of their tabs.
    pub const ALL: [Self; 4] = [Self::Flows, Self::Timeline, Self::Detail, Self::Health];

    /// Its name on the tab.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flows => "Flows",
            Self::Timeline => "Timeline",
            Self::Detail => "Detail",
            Self::Health => "Health",
        }
    }
}

/// How rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// What needs a person first: failed, hanging, moving, ready, ended.
    #[default]
    Attention,
    /// The newest first.
    Newest,
    /// By pod.
    Pod,
    /// By claim.
    Claim,
    /// The slowest first.
    Total,
    /// The most restarts first.
    Restarts,
}

impl Sort {
    /// All of them, in the order in which a key goes through them.
    pub const ALL: [Self; 6] = [
        Self::Attention,
        Self::Newest,
        Self::Pod,
        Self::Claim,
        Self::Total,
        Self::Restarts,
    ];

    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Newest => "newest",
            Self::Pod => "pod",
            Self::Claim => "claim",
            Self::Total => "total",
            Self::Restarts => "restarts",
        }
    }
}

/// How rows are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Not.
    #[default]
    None,
    /// By pod.
    Pod,
    /// By namespace.
    Namespace,
    /// By node.
    Node,
}

impl Grouping {
    /// All of them, in the order in which a key goes through them.
    pub const ALL: [Self; 4] = [Self::None, Self::Pod, Self::Namespace, Self::Node];

    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::Node => "node",
        }
    }
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// End the program.
    Quit,
    /// Draw everything anew.
    Redraw,
    /// Show a screen.
    Show(Screen),
    /// Show the next (or, backwards, the previous) screen.
    Turn {
        /// Backwards?
        back: bool,
    },
    /// Deeper: flow → timeline → detail; in the detail, fold or unfold.
    Open,
    /// Back out: prompt, help, search, filter, then the screen before.
    Back,
    /// Move the selection by lines.
    Move(i32),
    /// Move the selection by pages.
    Page(i32),
    /// Select the first or the last line.
    Edge {
        /// The last?
        last: bool,
    },
    /// Scroll by lines without a key: the wheel.
    Scroll(i32),
    /// Select a flow.
    Select(FlowId),
    /// Select a step of the selected flow.
    SelectStep(Step),
    /// Select a line of the detail.
    SelectLine(usize),
    /// Select the next (previous) flow that failed.
    NextFailure {
        /// Backwards?
        back: bool,
    },
    /// Stop time, or let it go on.
    Pause,
    /// Go event by event.
    Step(i32),
    /// Go by tenths of the recording.
    Leap(i32),
    /// Go to the first event.
    Begin,
    /// Go to the newest event and along with it.
    Live,
    /// Go to a part (0 to 1) of the recorded time.
    Scrub(f64),
    /// Go to the state after that many events.
    GoToEvent(usize),
    /// Go to a moment, nanoseconds after the first event.
    GoToTime(i64),
    /// Replay faster.
    Faster,
    /// Replay slower.
    Slower,
    /// Replay at this speed.
    Speed(f64),
    /// Another order of rows.
    Sort,
    /// The other way round.
    Reverse,
    /// Another grouping of rows.
    Group,
    /// Keep the newest flow selected, or stop it.
    Follow,
    /// Open the filter (in the detail: the search) prompt.
    Prompt,
    /// A character typed into the prompt.
    Type(char),
    /// Text pasted into the prompt.
    Paste(String),
    /// Take back the prompt's last character.
    Erase,
    /// Take back the prompt's last word.
    EraseWord,
    /// Use what the prompt holds.
    Accept,
    /// Set the filter.
    Filter(String),
    /// The next (previous) hit of the search.
    NextHit {
        /// Backwards?
        back: bool,
    },
    /// Fold or unfold the selected line.
    Fold,
    /// Fold or unfold all.
    FoldAll,
    /// JSON or YAML.
    Format,
    /// The next (previous) run of the selected step.
    Run {
        /// Backwards?
        back: bool,
    },
    /// The next (previous) step of the flow, in the detail.
    StepOver {
        /// Backwards?
        back: bool,
    },
    /// Copy what is selected.
    Copy,
    /// Show or hide the help.
    Help,
    /// Ask the running simulation for something.
    Control(Control),
}

/// What a running simulation can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Start another pod.
    StartPod,
    /// Restart a container of the selected flow's pod.
    RestartContainer,
    /// Kill the driver; it is started again.
    KillDriver,
    /// Let the selected step fail next time.
    InjectFault,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End the program.
    Quit,
    /// Draw all of the next frame: another program wrote on the terminal.
    Redraw,
    /// Put a text into the clipboard.
    Copy(String),
    /// Ask the simulation.
    Control {
        /// For what.
        control: Control,
        /// The selected flow's claim UID.
        claim: Option<String>,
        /// The selected flow's pod, `namespace/name`.
        pod: Option<String>,
        /// The selected step, where the screen marks one.
        step: Option<Step>,
    },
}
