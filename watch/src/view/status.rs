//! The status line: the prompt, the last notice, what is odd about the sources, how the
//! table is filtered and sorted.

use ratatui::style::Style;

use super::ink::Ink;
use crate::recording::Oddity;
use crate::state::layout::Layout;
use crate::state::{Connection, Grouping, Model, Purpose, Screen, Source};
use crate::text;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let area = layout.status;
    let (y, width) = (area.y, area.width.saturating_sub(2));
    if let Some(prompt) = &model.look().prompt {
        let head = match prompt.purpose {
            Purpose::Filter => "filter: ",
            Purpose::Search => "search: ",
        };
        let pieces = [
            (head, theme.accent()),
            (prompt.text.as_str(), theme.text()),
            (glyphs.caret, theme.accent()),
        ];
        ink.pieces(area.x + 1, y, width, &pieces);
        return;
    }
    let settings = settings(model);
    let right = area.right().saturating_sub(1);
    let taken = right - ink.put_right(right, y, &settings, theme.dim());
    let room = width.saturating_sub(taken + 2);
    let (text, style) = message(ink, model);
    ink.put(area.x + 1, y, room, &text, style);
}

/// What differs from the usual in how rows are chosen and ordered.
fn settings(model: &Model) -> String {
    let look = model.look();
    let mut parts = Vec::new();
    if !look.filter_text.is_empty() {
        parts.push(format!("filter {}", text::fit(&look.filter_text, 30, "~")));
    }
    if look.screen == Screen::Detail && !look.search.is_empty() {
        let detail = model.detail();
        let hits = detail.found;
        // Folded hits are counted, and have no place.
        let place = detail.hits.binary_search(&look.line).ok();
        let place = place.filter(|_| detail.hits.len() == hits);
        let words = place.map_or(hits.to_string(), |at| format!("{} of {hits}", at + 1));
        parts.push(format!(
            "search {} ({words})",
            text::fit(&look.search, 30, "~")
        ));
    }
    if look.screen == Screen::Flows {
        let reverse = if look.reverse { " reversed" } else { "" };
        parts.push(format!("sort {}{reverse}", look.sort.name()));
        if look.grouping != Grouping::None {
            parts.push(format!("group {}", look.grouping.name()));
        }
        if look.follow {
            parts.push("following".into());
        }
    }
    parts.join("  ")
}

/// The most important thing to say.
fn message(ink: &Ink<'_>, model: &Model) -> (String, Style) {
    let theme = ink.theme();
    let warn = theme.glyphs().warn;
    if let Some(notice) = &model.look().notice {
        return (notice.clone(), theme.accent());
    }
    let now = model.now();
    let all = model.sources_by_node();
    let one_name = all.iter().all(|(_, source)| source.name == all[0].1.name);
    let mut parts = Vec::new();
    let mut whole = model.wrong_as_a_whole();
    for (id, source) in &all {
        let mut words = trouble(source, now);
        let whole = whole.iter_mut().find(|(first, _)| first == id);
        let whole = whole.map_or_else(Vec::new, |(_, words)| std::mem::take(words));
        words.extend(whole.into_iter().map(String::from));
        if words.is_empty() {
            continue;
        }
        let words = words.join(", ");
        let words = match model.source_node(*id) {
            Some(node) if one_name => format!("{node}: {words}"),
            Some(node) => format!("{} {node}: {words}", source.name),
            None if all.len() > 1 => format!("{}: {words}", source.name),
            None => words,
        };
        let lost = matches!(
            source.connection,
            Connection::Lost { .. } | Connection::Failed { .. }
        );
        parts.push((!lost, words));
    }
    // There may be room for one alone.
    parts.sort_by_key(|(well, _)| *well);
    let parts: Vec<_> = parts.into_iter().map(|(_, words)| words).collect();
    if !parts.is_empty() {
        return (format!("{warn} {}", parts.join("; ")), theme.warn());
    }
    for (_, source) in model.sources() {
        if let Connection::Loading { read, of } = source.connection {
            let words = match of.filter(|of| *of > 0) {
                Some(of) => format!(
                    "reading {}, {} %",
                    source.name,
                    read.saturating_mul(100) / of
                ),
                None => format!("reading {}, {}", source.name, text::bytes(read)),
            };
            return (words, theme.dim());
        }
    }
    if model.forgotten() > 0 {
        let words = format!(
            "the oldest {} events were given up to stay within {}",
            text::count(model.forgotten()),
            text::bytes(model.memory().1 as u64)
        );
        return (words, theme.dim());
    }
    if model.payloads_given_up() {
        let words = "the oldest payloads were given up to stay within the memory".into();
        return (words, theme.dim());
    }
    // How it ended is known at its end: not before, when time stands further back.
    let (shown, all) = model.position();
    let summary = model.sources().find_map(|(_, s)| s.summary.as_ref());
    if let Some(summary) = summary.filter(|_| shown == all) {
        let s = |n: u64| if n == 1 { "" } else { "s" };
        let (pods, attached) = (summary.pods, summary.attachments);
        let left = if summary.leaks.is_empty() {
            "nothing left behind".to_owned()
        } else {
            format!("{} left behind", summary.leaks.len())
        };
        let verdict = if summary.ok {
            "as expected"
        } else {
            "not as expected"
        };
        let words = format!(
            "the run ended {verdict}: {pods} pod{}, {attached} interface{}, {left}",
            s(pods),
            s(attached)
        );
        let style = if summary.ok {
            theme.good()
        } else {
            theme.bad()
        };
        return (words, style);
    }
    (String::new(), theme.dim())
}

/// What is wrong with a source, if anything is.
fn trouble(source: &Source, now: i64) -> Vec<String> {
    let mut parts = Vec::new();
    match &source.connection {
        Connection::Lost { reason, retry_at } => {
            let wait = text::age(retry_at.saturating_sub(now));
            parts.push(format!("lost: {reason}; next try in {wait}"));
        }
        Connection::Failed { reason } => parts.push(reason.clone()),
        _ => {}
    }
    if source.dropped > 0 {
        let n = text::count(source.dropped);
        let s = if source.dropped == 1 { "" } else { "s" };
        parts.push(format!("{n} event{s} dropped at the source"));
    }
    for what in Oddity::ALL {
        let n = source.oddities.of(what);
        if n > 0 {
            let mut words = what.words(n);
            if let Some(sample) = source.oddities.sample(what)
                && matches!(what, Oddity::Step | Oddity::Schema | Oddity::Phase)
            {
                words.push_str(&format!(" ({})", text::clean(sample)));
            }
            parts.push(words);
        }
    }
    parts
}
