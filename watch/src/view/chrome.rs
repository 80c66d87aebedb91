//! The frame around every screen: tabs and totals above, keys below.

use crate::state::layout::Layout;
use crate::state::{Mode, Model, Purpose, Screen, Stage};
use crate::text;

use super::ink::Ink;

/// Name, tabs, how time goes, how many flows there are.
pub(super) fn header(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
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
    let rows = model.rows();
    let mut parts: Vec<(String, ratatui::style::Style)> = Vec::new();
    let (sign, word, style) = match model.mode() {
        Mode::Live if model.running() => (glyphs.live, "live", theme.good()),
        Mode::Live if model.sources().next().is_none() => (glyphs.stopped, "no source", theme.dim()),
        Mode::Live => (glyphs.stopped, "end", theme.dim()),
        Mode::Paused => (glyphs.paused, "paused", theme.warn()),
        Mode::Replaying => (glyphs.playing, "replay", theme.busy()),
    };
    let loading = model
        .sources()
        .any(|(_, s)| matches!(s.connection, crate::state::Connection::Loading { .. }));
    let (sign, word, style) = if loading && model.mode() == Mode::Live {
        (glyphs.playing, "loading", theme.busy())
    } else {
        (sign, word, style)
    };
    parts.push((format!("{sign} {word}"), style));
    for (stage, word, sign) in [
        (Stage::Failed, "failed", glyphs.failed),
        (Stage::Hanging, "hanging", glyphs.hanging),
    ] {
        let n = rows.at(stage);
        if n > 0 {
            parts.push((format!("{sign} {} {word}", text::count(n as u64)), theme.stage(stage)));
        }
    }
    let flows = if rows.shown == rows.all {
        let s = if rows.all == 1 { "" } else { "s" };
        format!("{} flow{s}", text::count(rows.all as u64))
    } else {
        format!("{}/{} flows", text::count(rows.shown as u64), text::count(rows.all as u64))
    };
    parts.push((flows, theme.dim()));
    let mut right = layout.all.right() - 1;
    let tabs_end = layout.tabs[3].right() + 1;
    for (words, style) in parts.iter().rev() {
        let width = u16::try_from(text::width(words)).unwrap_or(u16::MAX);
        if right < tabs_end + width {
            break;
        }
        right = ink.put_right(right, y, words, *style).saturating_sub(2);
    }
}

/// The keys that matter here, the most useful first.
pub(super) fn footer(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let look = model.look();
    let arrows = glyphs.left_right;
    let mut keys: Vec<(&str, &str)> = Vec::new();
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
        if model.controls() {
            keys.extend([
                ("P", "start pod"),
                ("R", "restart container"),
                ("K", "kill driver"),
                ("I", "inject fault"),
            ]);
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
