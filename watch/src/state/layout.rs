//! Where things stand on a screen of some size: the view draws there, the mouse hits
//! there, keys page by it.

use ndra_core::event::Step;
use ratatui::layout::Rect;

use super::action::Screen;
use super::{Model, Timeline, Why};
use crate::text;

/// The smallest screen that is drawn on.
pub const SMALLEST: (u16, u16) = (60, 16);

/// Places on the screen. Those that are not shown are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// The whole.
    pub all: Rect,
    /// The line with the tabs.
    pub header: Rect,
    /// The tabs.
    pub tabs: [Rect; 4],
    /// Between header and status line.
    pub body: Rect,
    /// What is odd, or the prompt.
    pub status: Rect,
    /// The line of the scrub bar.
    pub scrub: Rect,
    /// The bar itself.
    pub bar: Rect,
    /// The keys.
    pub footer: Rect,
    /// The table's rows, without their head.
    pub table: Rect,
    /// What is known of the selected flow.
    pub preview: Rect,
    /// The row of attempts, where there are several.
    pub attempts: Rect,
    /// The waterfall, one line a step, without its head.
    pub waterfall: Rect,
    /// How many of its steps are above the first that is shown.
    pub steps_above: usize,
    /// What is the matter with the flow, or the step.
    pub why: Rect,
    /// The payload's lines.
    pub detail: Rect,
}

/// Columns that the scrub line's words take besides two counts of events: two moments,
/// the words between, the speed.
const SCRUB_WORDS: u16 = 42;

impl Layout {
    /// The places for what `model` shows at its size.
    pub fn of(model: &Model) -> Self {
        let (columns, rows) = model.look.size;
        let all = Rect::new(0, 0, columns, rows);
        let mut out = Self {
            all,
            ..Self::default()
        };
        if !out.fits() {
            return out;
        }
        let line = |y: u16| Rect::new(0, y, columns, 1);
        out.header = line(0);
        out.footer = line(rows - 1);
        out.scrub = line(rows - 2);
        out.status = line(rows - 3);
        out.body = Rect::new(0, 1, columns, rows - 4);
        let digits = text::count(model.position().1).len();
        let words = SCRUB_WORDS + 2 * u16::try_from(digits).unwrap_or(0);
        out.bar = Rect::new(1, rows - 2, columns.saturating_sub(words).max(12), 1);
        let mut x = TABS_AT;
        for (tab, screen) in out.tabs.iter_mut().zip(Screen::ALL) {
            let width = u16::try_from(screen.name().len() + 2).unwrap_or(0);
            *tab = Rect::new(x, 0, width, 1);
            x += width + 1;
        }
        match model.look.screen {
            Screen::Flows => out.flows(),
            Screen::Timeline => out.timeline(model),
            Screen::Detail => {
                out.why = out.body;
                out.detail(model, out.body);
            }
            Screen::Health => {}
        }
        out
    }

    /// Is the screen large enough?
    pub fn fits(&self) -> bool {
        self.all.width >= SMALLEST.0 && self.all.height >= SMALLEST.1
    }

    fn flows(&mut self) {
        let body = self.body;
        let preview = match body.height {
            0..16 => 5,
            16..36 => 8,
            tall => (tall * 2 / 5).max(15),
        };
        let table = body.height - preview;
        self.table = rows(body, 1, table - 1);
        self.preview = rows(body, table, preview);
        let inner = rows(self.preview, 1, preview - 1);
        if preview < 15 {
            self.why = inner;
            return;
        }
        if body.width >= 110 {
            // Side by side: what happened, and what it means.
            let left = body.width * 3 / 5;
            self.waterfall = Rect::new(inner.x, inner.y + 1, left, 12);
            let x = left + 2;
            self.why = Rect::new(x, inner.y, body.width - x - 1, inner.height);
        } else {
            self.why = rows(inner, 0, inner.height.saturating_sub(14));
            let y = self.why.height + 1;
            self.waterfall = rows(inner, y, 12);
        }
    }

    fn timeline(&mut self, model: &Model) {
        let body = self.body;
        let attempts = u16::from(model.timeline().repeated());
        self.attempts = rows(body, 1, attempts);
        let head = 2 + attempts;
        let steps = body.height.saturating_sub(head + 1).min(12);
        self.waterfall = rows(body, head, steps);
        // The selected step is always among those that are shown.
        let order = step_order(model.timeline());
        let selected = model.step_shown();
        let place = order.iter().position(|step| Some(*step) == selected);
        self.steps_above = (place.unwrap_or(0) + 1).saturating_sub(steps.into());
        let used = head + steps + 1;
        let rest = rows(body, used, body.height.saturating_sub(used));
        self.why = rest;
        if rest.height >= 8 {
            self.detail(model, rest);
        }
    }

    /// The payload begins under what is said of its step.
    fn detail(&mut self, model: &Model, area: Rect) {
        let head = u16::try_from(detail_head(model, area)).unwrap_or(area.height);
        let head = head.min(area.height);
        self.detail = rows(area, head, area.height - head);
    }

    /// Lines of the table that are visible.
    pub fn table_rows(&self) -> usize {
        self.table.height.into()
    }

    /// Lines of the payload that are visible.
    pub fn detail_rows(&self) -> usize {
        self.detail.height.into()
    }
}

/// Where the first tab begins.
const TABS_AT: u16 = 13;

fn rows(area: Rect, from: u16, height: u16) -> Rect {
    let from = from.min(area.height);
    let height = height.min(area.height - from);
    Rect::new(area.x, area.y + from, area.width, height)
}

/// The lines above the payload: the step, whom it is about, its error.
fn detail_head(model: &Model, area: Rect) -> usize {
    let detail = model.detail();
    let columns = usize::from(area.width).saturating_sub(12);
    let error = match &detail.failure {
        Some((error, kind)) => {
            let lines = |text: &str, most| text::wrap(text, columns, most, "").len();
            let (most, words) = said_lines(area);
            lines(error, most) + lines(kind.means, words) + lines(kind.next, words)
        }
        None => 0,
    };
    2 + error + 1
}

/// How many lines of an error, and of what is said of it, are shown above a payload. All of
/// it is under the heading `error` of that.
pub(crate) fn said_lines(area: Rect) -> (usize, usize) {
    match area.height {
        0..12 => (1, 1),
        12..24 => (2, 1),
        tall => (usize::from(tall / 8).min(6), 2),
    }
}

/// The waterfall's lines: steps by their lanes.
pub fn step_order(timeline: &Timeline) -> Vec<Step> {
    let mut order = Step::ALL.to_vec();
    order.sort_by_key(|step| (timeline.lane(*step), *step));
    order
}

/// How far the health screen scrolls: more than it has lines when none is broken.
pub fn health_lines(model: &Model) -> usize {
    let failures = model.health().failures().len();
    model.sources().count() * 4 + Step::ALL.len() + failures * 3
}

/// Is there something to say about the selected flow?
pub fn troubled(model: &Model) -> bool {
    *model.why() != Why::Well
}
