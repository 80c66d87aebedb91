//! What is said instead of a table: where the events would come from, and why none do.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::ink::Ink;
use crate::state::{Connection, Model, Source};
use crate::text;

/// Something said of sources, and the nodes of those that it is true of.
struct Said {
    words: String,
    style: Style,
    nodes: Vec<String>,
}

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, area: Rect) {
    let theme = ink.theme();
    let mut lines: Vec<(String, Style)> = Vec::new();
    if model.rows().all > 0 {
        lines.push(("No flow passes the filter.".into(), theme.strong()));
        lines.push(("esc shows all of them again".into(), theme.dim()));
    } else if model.position().1 > 0 {
        lines.push(("No flow had begun at this moment.".into(), theme.strong()));
        lines.push((
            "the right arrow goes on, End to the newest event".into(),
            theme.dim(),
        ));
    } else if model.sources().next().is_none() {
        lines.push(("There is no source of events.".into(), theme.strong()));
    } else {
        lines = sources(ink, model, area);
    }
    let count = u16::try_from(lines.len()).unwrap_or(0);
    let top = area.y + area.height.saturating_sub(count) / 2;
    for (y, (line, style)) in (top..area.bottom()).zip(lines) {
        ink.center(area, y, &line, style);
    }
}

/// Lines longer than this are harder to read than two.
const MOST_COLUMNS: usize = 100;

/// What is known of the sources, each thing once, in as many lines as there are.
fn sources(ink: &Ink<'_>, model: &Model, area: Rect) -> Vec<(String, Style)> {
    let theme = ink.theme();
    let more = theme.glyphs().more;
    let mut all: Vec<Said> = Vec::new();
    for (id, source) in model.sources_by_node() {
        let (words, style) = said(ink, source);
        let node = model.source_node(id);
        match all.iter_mut().find(|said| said.words == words) {
            Some(said) => said.nodes.extend(node),
            None => all.push(Said {
                words,
                style,
                nodes: node.into_iter().collect(),
            }),
        }
    }
    let columns = usize::from(area.width.saturating_sub(4)).min(MOST_COLUMNS);
    let height = usize::from(area.height);
    let mut lines: Vec<(String, Style)> = Vec::new();
    for (at, said) in all.iter().enumerate() {
        // Each gets its share of what is left of the screen; the last line counts the rest.
        let left = height.saturating_sub(lines.len() + 1);
        let most = (left / (all.len() - at)).clamp(1, 8);
        if left == 0 {
            lines.push((format!("{more} and {} more", all.len() - at), theme.dim()));
            break;
        }
        let words = text::wrap(&said.words, columns, most, more);
        let room = most.saturating_sub(words.len());
        lines.extend(words.into_iter().map(|line| (line, said.style)));
        if room > 0 && !said.nodes.is_empty() {
            lines.push((nodes(&said.nodes, columns), theme.dim()));
        }
    }
    lines
}

/// Names of nodes, as many as fit whole.
fn nodes(all: &[String], columns: usize) -> String {
    let mut line = if all.len() == 1 { "node " } else { "nodes " }.to_owned();
    for (at, node) in all.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let left = all.len() - at;
        let rest = format!(" and {left} more");
        let after = if left > 1 { rest.len() } else { 0 };
        if at > 0 && text::width(&line) + comma.len() + text::width(node) + after > columns {
            line.push_str(&rest);
            break;
        }
        line.push_str(comma);
        line.push_str(node);
    }
    line
}

fn said(ink: &Ink<'_>, source: &Source) -> (String, Style) {
    let theme = ink.theme();
    let name = &source.name;
    let more = theme.glyphs().more;
    match &source.connection {
        Connection::Connecting => (format!("Connecting to {name} {more}"), theme.busy()),
        Connection::Live => (
            format!("Connected to {name}. No claim has come yet."),
            theme.good(),
        ),
        Connection::Loading { .. } => (format!("Reading {name} {more}"), theme.busy()),
        Connection::Ended => (format!("{name} holds no events."), theme.warn()),
        Connection::Lost { reason, .. } => (format!("{name} is lost: {reason}"), theme.warn()),
        Connection::Failed { reason } => (reason.clone(), theme.bad()),
    }
}
