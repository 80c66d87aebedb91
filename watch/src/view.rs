//! Draws a model. Reads nothing else, remembers nothing.

mod attempts;
mod chrome;
mod detail;
mod durations;
mod flows;
mod glyphs;
mod health;
mod help;
mod ink;
mod nothing;
mod preview;
mod scale;
mod scrub;
mod status;
mod theme;
mod waterfall;
mod why;

use ratatui::buffer::Buffer;

pub use theme::{Colors, Theme};

use crate::state::layout::{Layout, SMALLEST};
use crate::state::{Model, Screen};
use ink::Ink;

/// Draws `model` at its size into `buf`; what lies outside of `buf` is left out.
pub fn draw(model: &Model, theme: &Theme, buf: &mut Buffer) {
    let layout = Layout::of(model);
    let mut ink = Ink::new(buf, theme);
    if !layout.fits() {
        return too_small(&mut ink, &layout);
    }
    chrome::header(&mut ink, model, &layout);
    match model.look().screen {
        Screen::Flows => {
            flows::draw(&mut ink, model, &layout);
            preview::draw(&mut ink, model, &layout);
        }
        Screen::Timeline => waterfall::screen(&mut ink, model, &layout),
        Screen::Detail => detail::draw(&mut ink, model, &layout),
        Screen::Health => health::draw(&mut ink, model, &layout),
    }
    status::draw(&mut ink, model, &layout);
    scrub::draw(&mut ink, model, &layout);
    chrome::footer(&mut ink, model, &layout);
    if model.look().help {
        help::draw(&mut ink, model, &layout);
    }
}

fn too_small(ink: &mut Ink<'_>, layout: &Layout) {
    let all = layout.all;
    let times = ink.theme().glyphs().times;
    let lines = [
        format!("This window is {}{times}{}.", all.width, all.height),
        format!("ndra watch needs {}{times}{}.", SMALLEST.0, SMALLEST.1),
    ];
    let top = all.height.saturating_sub(2) / 2;
    for (y, line) in (top..).zip(lines) {
        let style = ink.theme().text();
        ink.center(all, y, &line, style);
    }
}
