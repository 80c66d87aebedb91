//! The selected step: who called whom, its error, its payload.

use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::ink::Ink;
use super::why::LABEL;
use crate::state::layout::{Layout, said_lines};
use crate::state::{Line, Model, Status};
use crate::text;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    if model.selected().is_none() {
        let body = layout.body;
        let style = ink.theme().strong();
        ink.center(
            body,
            body.y + body.height / 2,
            "No flow is selected.",
            style,
        );
        return;
    }
    panel(ink, model, layout.why, layout.detail, true);
}

/// Head and error in `area`, the payload in `lines`, which lies at its end.
pub(super) fn panel(ink: &mut Ink<'_>, model: &Model, area: Rect, lines: Rect, choose: bool) {
    let used = head(ink, model, area);
    let detail = model.detail();
    let y = (area.y + used).min(lines.y.saturating_sub(1));
    let mut title = Vec::new();
    let theme = ink.theme();
    let top = model.look().line_top;
    let mut place = String::new();
    if choose && !detail.lines.is_empty() {
        place = format!("{}/{}", model.look().line + 1, detail.lines.len());
    }
    let left = detail
        .lines
        .len()
        .saturating_sub(top + usize::from(lines.height));
    if left > 0 && lines.height > 0 {
        let space = if place.is_empty() { "" } else { "  " };
        place.push_str(&format!("{space}{left} more below"));
    }
    if !place.is_empty() {
        title.push((place.as_str(), theme.dim()));
    }
    ink.rule(area, y, &title);
    if detail.lines.is_empty() {
        let words = detail.nothing.unwrap_or("Nothing to show.");
        let columns = usize::from(lines.width.saturating_sub(4));
        let more = theme.glyphs().more;
        let wrapped = text::wrap(words, columns, lines.height.into(), more);
        for (y, line) in (lines.y..lines.bottom()).zip(wrapped) {
            ink.put(
                lines.x + 2,
                y,
                lines.width.saturating_sub(3),
                &line,
                theme.dim(),
            );
        }
        return;
    }
    let visible = detail.lines.iter().enumerate().skip(top);
    for (y, (at, line)) in (lines.y..lines.bottom()).zip(visible) {
        payload_line(ink, line, (lines.x + 1, y), lines.width.saturating_sub(2));
        if detail.hits.binary_search(&at).is_ok() {
            mark_hits(
                ink,
                line,
                &model.look().search,
                (lines.x + 1, y),
                lines.width,
            );
        }
        if choose && at == model.look().line {
            ink.select(Rect::new(lines.x, y, lines.width, 1));
            ink.put(lines.x, y, 1, theme.glyphs().pointer, theme.accent());
        }
    }
}

/// Returns how many lines it took.
fn head(ink: &mut Ink<'_>, model: &Model, area: Rect) -> u16 {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let detail = model.detail();
    let Some(step) = detail.step else {
        return 0;
    };
    let mut pieces = vec![(format!("{} {step}", step.number()), theme.strong())];
    if let Some((from, to)) = detail.route {
        pieces.push((format!("   {from}"), theme.actor(from)));
        pieces.push((format!(" {} ", glyphs.arrow), theme.dim()));
        pieces.push((to.to_string(), theme.actor(to)));
    }
    if let Some(bar) = detail.bar {
        let (word, style) = match bar.status {
            Status::Failed => ("failed after", theme.bad()),
            Status::Running => ("running for", theme.busy()),
            _ => ("done in", theme.good()),
        };
        let time = ink.time(bar.to.saturating_sub(bar.from));
        pieces.push((format!("   {word} {time}"), style));
        if detail.run.1 > 1 {
            let run = format!("   run {} of {}", detail.run.0 + 1, detail.run.1);
            pieces.push((run, theme.warn()));
        }
        let first = model.bounds().map_or(bar.from, |(first, _)| first);
        let after = text::moment(bar.from.saturating_sub(first));
        let clock = text::clock(bar.from);
        let used: usize = pieces.iter().map(|(words, _)| text::width(words)).sum();
        let room = usize::from(area.width.saturating_sub(2)).saturating_sub(used);
        let when = [
            format!("   at {clock} (+{after})"),
            format!("   at +{after}"),
        ];
        if let Some(when) = when.into_iter().find(|words| text::width(words) <= room) {
            pieces.push((when, theme.dim()));
        }
    }
    let room = area.width.saturating_sub(2);
    let shown: Vec<_> = pieces.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    ink.pieces(area.x + 1, area.y, room, &shown);
    let mut about = Vec::new();
    for (name, value) in &detail.subject {
        let value = text::fit(value, if *name == "pod" { 60 } else { 14 }, glyphs.more);
        about.push((format!("{name} "), theme.dim()));
        about.push((format!("{value}   "), theme.text()));
    }
    if let Some(flow) = model.selected() {
        about.push(("claim ".into(), theme.dim()));
        let claim = if flow.claim.is_empty() {
            flow.uid.to_string()
        } else {
            format!("{}/{}", flow.namespace, flow.claim)
        };
        about.push((claim, theme.text()));
    }
    let shown: Vec<_> = about.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    ink.pieces(area.x + 1, area.y + 1, room, &shown);
    let mut y = area.y + 2;
    if let Some((error, kind)) = &detail.failure {
        let columns = usize::from(area.width).saturating_sub(12);
        let (most, words) = said_lines(area);
        for (label, text, most, style) in [
            ("error", error.as_str(), most, theme.bad()),
            ("means", kind.means, words, theme.text()),
            ("do", kind.next, words, theme.accent()),
        ] {
            let lines = text::wrap(text, columns, most, glyphs.more);
            for (at, line) in lines.iter().enumerate() {
                if y + 1 >= area.bottom() {
                    return y - area.y;
                }
                if at == 0 {
                    ink.put(area.x + 1, y, LABEL, label, theme.dim());
                }
                ink.put(
                    area.x + LABEL + 1,
                    y,
                    room.saturating_sub(LABEL),
                    line,
                    style,
                );
                y += 1;
            }
        }
    }
    y - area.y
}

fn payload_line(ink: &mut Ink<'_>, line: &Line, (x, y): (u16, u16), room: u16) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let sign = match line.fold {
        Some(true) => glyphs.folded,
        Some(false) => glyphs.open,
        None if line.rest => glyphs.rest,
        None => " ",
    };
    let mut at = x + 2 * line.depth;
    ink.sign(at, y, sign, theme.faint());
    at += 2;
    let end = x + room;
    for (kind, piece) in &line.pieces {
        at = ink.put(at, y, end.saturating_sub(at), piece, theme.kind(*kind));
    }
}

/// Where the search hits in a line.
fn mark_hits(ink: &mut Ink<'_>, line: &Line, search: &str, (x, y): (u16, u16), width: u16) {
    let style = ink.theme().hit().add_modifier(Modifier::UNDERLINED);
    let text = line.text();
    let lower = text.to_lowercase();
    let word = search.to_lowercase();
    // Byte places agree only where lower case is as long; elsewhere the line is marked
    // by its number among the hits alone.
    if word.is_empty() || lower.len() != text.len() {
        return;
    }
    for (at, hit) in lower.match_indices(&word) {
        let Some((before, found)) = text.get(..at).zip(text.get(at..at + hit.len())) else {
            continue;
        };
        let column = u16::try_from(text::width(before)).unwrap_or(u16::MAX);
        let from = x.saturating_add(column).saturating_add(2);
        let end = x + width.saturating_sub(2);
        ink.put(from, y, end.saturating_sub(from), found, style);
    }
}
