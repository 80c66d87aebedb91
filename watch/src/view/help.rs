//! The help, laid over the screen: every key, every sign.

use ratatui::layout::Rect;

use super::ink::Ink;
use crate::state::Model;
use crate::state::layout::Layout;

/// Key and what it does; a line without a key is a heading.
const KEYS: &[(&str, &str)] = &[
    ("", "Where"),
    ("1 2 3 4  tab", "flows, timeline, detail, health"),
    ("enter  esc", "deeper, back"),
    ("up down  j k", "select; pgup, pgdn, g and G go far"),
    ("e  E", "next, previous failed flow"),
    ("", "Time"),
    ("space", "pause, go on"),
    ("left right", "event by event"),
    (", .", "a tenth of the recording back, on"),
    ("Home  End", "first event, live"),
    ("+ -", "replay faster, slower (0.1 to 100)"),
    ("", "Flows"),
    ("/", "filter: pod: ns: claim: node: step: error"),
    ("", "  >10ms <2s, -word leaves out, words search all"),
    ("s  S", "sort, the other way round"),
    ("o", "group by pod, namespace, node"),
    ("f", "follow the newest"),
    ("", "Detail"),
    ("/  n N", "search, next, previous hit"),
    ("enter  z", "fold the line, fold all"),
    ("[ ]", "another run of the step"),
    ("{ }", "another step"),
    ("y  c", "JSON or YAML, copy"),
];

const CONTROLS: &[(&str, &str)] = &[
    ("", "Simulation"),
    ("P  R", "start a pod, restart the container"),
    ("K  I", "kill the driver, fail the selected step once"),
];

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let signs = format!(
        "{} waiting  {} running  {} done  {} done at last  {} failed  {} failed by it  {} not seen",
        glyphs.waiting,
        glyphs.running[0],
        glyphs.done,
        glyphs.mended,
        glyphs.failed,
        glyphs.fell,
        glyphs.skipped
    );
    let stages = format!(
        "{} failed  {} hanging  {} moving  {} ready  {} ended",
        glyphs.failed, glyphs.hanging, glyphs.moving, glyphs.ready, glyphs.ended
    );
    let bars = format!(
        "{} critical path  {} waits for a step inside  {} gap",
        glyphs.critical, glyphs.beside, glyphs.gap
    );
    let mut lines: Vec<(&str, &str)> = KEYS.to_vec();
    if model.controls() {
        lines.extend(CONTROLS);
    }
    lines.extend([
        ("", "Signs"),
        ("steps", &*signs),
        ("flows", &*stages),
        ("bars", &*bars),
    ]);
    let body = layout.body;
    let width = body.width.min(98);
    let height = u16::try_from(lines.len() + 2)
        .unwrap_or(body.height)
        .min(body.height);
    let x = body.x + (body.width - width) / 2;
    let y = body.y + (body.height - height) / 2;
    let area = Rect::new(x, y, width, height);
    ink.clear(area);
    frame(ink, area);
    let room = usize::from(height - 2);
    let top = model.look().help_top.min(lines.len().saturating_sub(room));
    for (y, (key, words)) in (area.y + 1..area.bottom() - 1).zip(lines.iter().skip(top)) {
        let inner = width - 4;
        if key.is_empty() && !words.starts_with(' ') {
            ink.put(x + 2, y, inner, words, theme.strong());
        } else {
            ink.put(x + 3, y, 14, key, theme.accent());
            ink.put(
                x + 18,
                y,
                inner.saturating_sub(16),
                words.trim_start(),
                theme.text(),
            );
        }
    }
    if top + room < lines.len() {
        let words = format!(" {} more ", lines.len() - top - room);
        ink.put_right(area.right() - 2, area.bottom() - 1, &words, theme.dim());
    }
}

fn frame(ink: &mut Ink<'_>, area: Rect) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let style = theme.accent();
    let (right, bottom) = (area.right() - 1, area.bottom() - 1);
    for x in area.x..=right {
        ink.sign(x, area.y, glyphs.rule, style);
        ink.sign(x, bottom, glyphs.rule, style);
    }
    for y in area.y..=bottom {
        ink.sign(area.x, y, glyphs.wall, style);
        ink.sign(right, y, glyphs.wall, style);
    }
    let corners = [
        (area.x, area.y),
        (right, area.y),
        (area.x, bottom),
        (right, bottom),
    ];
    for ((x, y), sign) in corners.into_iter().zip(glyphs.corners) {
        ink.sign(x, y, sign, style);
    }
    ink.put(area.x + 2, area.y, 12, " Help ", theme.strong());
}
