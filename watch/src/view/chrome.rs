//! The frame around every screen: tabs and totals above, keys below.

use ratatui::style::Style;

use super::ink::Ink;
use crate::state::layout::Layout;
use crate::state::{Connection, Mode, Model, Purpose, Screen, Stage};
use crate::text;

/// Name, tabs, how time goes, how many flows there are.
pub(super) fn header(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let y = layout.header.y;
    ink.put(1, y, 11, "ndra watch", theme.strong());
    for (tab, screen) in layout.tabs.iter().zip(Screen::ALL) {
        let chosen = screen == model.look().screen;
        let style = if chosen { theme.accent() } else { theme.dim() };
        ink.put(tab.x + 1, y, tab.width, screen.name(), style);
        if chosen {
            // Not by colour alone.
            let (open, close) = ("[", "]");
            ink.put(tab.x, y, 1, open, theme.accent());
            ink.put(tab.right() - 1, y, 1, close, theme.accent());
        }
    }
    let right = layout.all.right() - 1;
    let room = right.saturating_sub(layout.tabs[3].right() + 1).into();
    let (mode, style) = mode(ink, model);
    // The shorter words, and then fewer of them, where there is no room.
    let mut parts = totals(ink, model, true);
    let length = |parts: &[(String, Style)]| -> usize {
        let words: usize = parts.iter().map(|(words, _)| text::width(words) + 2).sum();
        words + text::width(&mode)
    };
    if length(&parts) > room {
        parts = totals(ink, model, false);
    }
    while length(&parts) > room && parts.pop().is_some() {}
    let mut x = right.saturating_sub(u16::try_from(length(&parts)).unwrap_or(0));
    x = ink.put(x, y, right - x, &mode, style);
    for (words, style) in &parts {
        x = ink.put(x + 2, y, right.saturating_sub(x + 2), words, *style);
    }
}

/// How time goes.
fn mode(ink: &Ink<'_>, model: &Model) -> (String, Style) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    // A list of pods that is read says nothing of the pods, once there are any.
    let lists_alone = model.sources().all(|(_, source)| source.listing);
    let any = |of: fn(&Connection) -> bool| {
        model
            .sources()
            .filter(|(_, source)| lists_alone || !source.listing)
            .any(|(_, source)| of(&source.connection))
    };
    let (sign, word, style) = match model.mode() {
        Mode::Paused => (glyphs.paused, "paused", theme.warn()),
        Mode::Replaying => (glyphs.playing, "replay", theme.busy()),
        Mode::Live if any(|c| matches!(c, Connection::Loading { .. })) => {
            (glyphs.playing, "loading", theme.busy())
        }
        Mode::Live if any(|c| *c == Connection::Live) => (glyphs.live, "live", theme.good()),
        Mode::Live if any(|c| matches!(c, Connection::Lost { .. })) => {
            (glyphs.warn, "lost", theme.warn())
        }
        Mode::Live if any(|c| *c == Connection::Connecting) => {
            (glyphs.waiting, "connecting", theme.busy())
        }
        Mode::Live if model.sources().next().is_none() => {
            (glyphs.stopped, "no source", theme.dim())
        }
        Mode::Live => (glyphs.stopped, "end", theme.dim()),
    };
    (format!("{sign} {word}"), style)
}

/// How many flows there are, and how many are in trouble.
fn totals(ink: &Ink<'_>, model: &Model, long: bool) -> Vec<(String, Style)> {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let rows = model.rows();
    let mut parts = Vec::new();
    for (stage, word, sign) in [
        (Stage::Failed, " failed", glyphs.failed),
        (Stage::Hanging, " hanging", glyphs.hanging),
    ] {
        let n = rows.at(stage);
        if n > 0 {
            let word = if long { word } else { "" };
            let words = format!("{sign} {}{word}", text::count(n as u64));
            parts.push((words, theme.stage(stage)));
        }
    }
    let all = text::count(rows.all as u64);
    let s = if rows.all == 1 { "" } else { "s" };
    let flows = if rows.shown == rows.all {
        format!("{all} flow{s}")
    } else {
        format!("{}/{all} flow{s}", text::count(rows.shown as u64))
    };
    parts.push((flows, theme.dim()));
    parts
}

/// The keys that matter here, the most useful first.
pub(super) fn footer(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let look = model.look();
    let arrows = glyphs.left_right;
    let mut keys: Vec<(&str, &str)> = Vec::new();
    if let Some(error) = look.prompt.as_ref().and_then(|p| p.error.as_ref()) {
        // What is wrong takes the place of the keys.
        let room = layout.footer.width.saturating_sub(2);
        ink.put(
            layout.footer.x + 1,
            layout.footer.y,
            room,
            error,
            theme.bad(),
        );
        return;
    }
    if let Some(prompt) = &look.prompt {
        keys.push((glyphs.enter, "keep"));
        keys.push(("esc", "drop"));
        match prompt.purpose {
            Purpose::Filter => keys.push(("pod: ns: claim: node: step: error >10ms -not", "")),
            Purpose::Search => keys.push(("n N", "next, previous hit")),
        }
    } else if look.help {
        keys.extend([("?", "close"), (glyphs.up_down, "scroll"), ("q", "quit")]);
    } else {
        keys.extend([("q", "quit"), ("?", "help")]);
        // They are what a simulation is watched for, and nobody would guess them.
        if model.controls() {
            keys.extend([
                ("P", "pod"),
                ("R", "restart"),
                ("K", "kill"),
                ("I", "fault"),
            ]);
        }
        match look.screen {
            Screen::Flows => keys.extend([
                (glyphs.up_down, "select"),
                (glyphs.enter, "open"),
                ("/", "filter"),
                ("e", "next failure"),
            ]),
            Screen::Timeline => keys.extend([
                (glyphs.up_down, "step"),
                (glyphs.enter, "payload"),
                ("esc", "back"),
            ]),
            Screen::Detail => keys.extend([
                ("/", "search"),
                (glyphs.enter, "fold"),
                ("y", "yaml"),
                ("c", "copy"),
                ("esc", "back"),
            ]),
            Screen::Health => keys.extend([(glyphs.up_down, "scroll"), ("esc", "back")]),
        }
        match model.mode() {
            Mode::Live => keys.push(("space", if model.running() { "pause" } else { "replay" })),
            Mode::Paused => keys.extend([("space", "go on"), ("End", "live")]),
            Mode::Replaying => keys.extend([("space", "pause"), ("End", "live"), ("+-", "speed")]),
        }
        keys.push((arrows, "event"));
        match look.screen {
            Screen::Flows => keys.extend([("s", "sort"), ("o", "group"), ("f", "follow")]),
            Screen::Timeline | Screen::Detail => keys.extend([("[ ]", "run")]),
            Screen::Health => {}
        }
    }
    let y = layout.footer.y;
    let end = layout.footer.right().saturating_sub(1);
    let mut x = layout.footer.x + 1;
    for (key, word) in keys {
        let gap = usize::from(!word.is_empty());
        let width = text::width(key) + gap + text::width(word);
        if usize::from(end.saturating_sub(x)) < width {
            break;
        }
        x = ink.put(x, y, end - x, key, theme.accent());
        if gap == 1 {
            x = ink.put(x + 1, y, end - x, word, theme.dim());
        }
        x += 2;
    }
}
