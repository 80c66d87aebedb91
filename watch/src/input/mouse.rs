//! What the mouse points at: the same places in which the view draws.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use crate::state::layout::{Layout, step_order};
use crate::state::{Action, Model, Screen};

/// What a click, a drag or the wheel asks for.
pub fn mouse(model: &Model, event: MouseEvent) -> Option<Action> {
    let layout = Layout::of(model);
    if !layout.fits() {
        return None;
    }
    let at = Position::new(event.column, event.row);
    match event.kind {
        MouseEventKind::ScrollUp if layout.scrub.contains(at) => Some(Action::Step(-1)),
        MouseEventKind::ScrollDown if layout.scrub.contains(at) => Some(Action::Step(1)),
        MouseEventKind::ScrollUp => Some(Action::Scroll(-3)),
        MouseEventKind::ScrollDown => Some(Action::Scroll(3)),
        MouseEventKind::Drag(MouseButton::Left) => {
            // A hand that drags along the bar does not keep its line exactly.
            let near = event.row.abs_diff(layout.bar.y) <= 1;
            near.then(|| scrub(layout.bar, event.column))
        }
        MouseEventKind::Down(MouseButton::Left) => click(model, &layout, at),
        _ => None,
    }
}

fn click(model: &Model, layout: &Layout, at: Position) -> Option<Action> {
    if layout.bar.contains(at) {
        return Some(scrub(layout.bar, at.x));
    }
    if let Some(tab) = layout.tabs.iter().position(|tab| tab.contains(at)) {
        return Some(Action::Show(Screen::ALL[tab]));
    }
    let look = model.look();
    if look.help {
        return Some(Action::Help);
    }
    let line = |area: Rect| usize::from(at.y - area.y);
    if look.screen == Screen::Flows && layout.table.contains(at) {
        let id = model.rows().flow(look.top + line(layout.table))?;
        let again = look.selected == Some(id) && look.pinned;
        return Some(if again {
            Action::Open
        } else {
            Action::Select(id)
        });
    }
    if layout.waterfall.contains(at) {
        let place = layout.steps_above + line(layout.waterfall);
        let step = *step_order(model.timeline()).get(place)?;
        if look.screen == Screen::Flows {
            return Some(Action::Show(Screen::Timeline));
        }
        let again = look.step == Some(step);
        return Some(if again {
            Action::Open
        } else {
            Action::SelectStep(step)
        });
    }
    if look.screen == Screen::Detail && layout.detail.contains(at) {
        let line = look.line_top + line(layout.detail);
        let again = look.line == line;
        return Some(if again {
            Action::Open
        } else {
            Action::SelectLine(line)
        });
    }
    None
}

/// The part of the recorded time that a column of the bar stands for.
fn scrub(bar: Rect, column: u16) -> Action {
    let on = column
        .saturating_sub(bar.x)
        .min(bar.width.saturating_sub(1));
    let last = bar.width.saturating_sub(1).max(1);
    Action::Scrub(f64::from(on) / f64::from(last))
}
