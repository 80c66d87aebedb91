//! The row of attempts: which one is looked at, when it began, and how each ended.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::ink::Ink;
use crate::state::{Attempt, Model, Status};
use crate::text;

/// Neighbours that ended alike, told as one: where they begin, how many they are.
type Group = (usize, usize);

/// The row of attempts has so many columns before words are put beside it.
const LEAST: usize = 20;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, area: Rect) {
    let timeline = model.timeline();
    let Some(shown) = model.attempt_shown().filter(|_| area.height > 0) else {
        return;
    };
    let Some(chosen) = timeline.attempts.get(shown) else {
        return;
    };
    let theme = ink.theme();
    let (place, of) = timeline.place(shown);
    let same: Vec<Attempt> = timeline
        .attempts
        .iter()
        .filter(|attempt| attempt.part == chosen.part)
        .copied()
        .collect();
    let head = format!("attempt {} of {of}  ", place + 1);
    let first = model.bounds().map_or(chosen.from, |(first, _)| first);
    let after = text::moment(chosen.from.saturating_sub(first));
    let mut words = vec![format!("  began +{after}")];
    let time = ink.time(chosen.to.saturating_sub(chosen.from));
    words.push(match chosen.status {
        Status::Failed => format!(", {} failed after {time}", chosen.step),
        Status::Running => format!(", runs for {time}"),
        _ => format!(", done in {time}"),
    });
    let room = usize::from(area.width.saturating_sub(2));
    // The row keeps some room; what does not fit beside it is in the detail, too.
    let full: usize = row(ink, &same, place, usize::MAX)
        .iter()
        .map(|(piece, _)| text::width(piece))
        .sum();
    let used = |words: &[String]| -> usize {
        text::width(&head) + words.iter().map(|word| text::width(word)).sum::<usize>()
    };
    while !words.is_empty() && used(&words) + full.min(LEAST) > room {
        words.pop();
    }
    let rest = room.saturating_sub(used(&words));
    let mut pieces = vec![(head, theme.strong())];
    pieces.extend(row(ink, &same, place, rest));
    pieces.extend(words.into_iter().map(|word| (word, theme.dim())));
    let pieces: Vec<_> = pieces.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    ink.pieces(area.x + 1, area.y, area.width.saturating_sub(2), &pieces);
}

/// The attempts in at most `room` columns, the chosen one in brackets and always there.
fn row(ink: &Ink<'_>, all: &[Attempt], chosen: usize, room: usize) -> Vec<(String, Style)> {
    let more = ink.theme().glyphs().more;
    let groups = groups(all, chosen);
    let pieces: Vec<_> = groups
        .iter()
        .map(|group| piece(ink, all, *group, chosen))
        .collect();
    let Some(middle) = groups.iter().position(|(from, _)| *from == chosen) else {
        return Vec::new();
    };
    let width = |at: usize| text::width(&pieces[at].0) + 1;
    // From the chosen one outwards, the older ones first, as far as there is room.
    let all_wide: usize = (0..pieces.len()).map(width).sum();
    let marks = 2 * (text::width(more) + 1);
    let room = if all_wide <= room.saturating_add(1) {
        all_wide
    } else {
        room.saturating_sub(marks)
    };
    let (mut from, mut to, mut used) = (middle, middle + 1, width(middle));
    loop {
        let older = from > 0 && used + width(from - 1) <= room;
        if older {
            from -= 1;
            used += width(from);
        }
        let newer = to < pieces.len() && used + width(to) <= room;
        if newer {
            used += width(to);
            to += 1;
        }
        if !older && !newer {
            break;
        }
    }
    let dim = ink.theme().dim();
    let mut out = Vec::new();
    if from > 0 {
        out.push((format!("{more} "), dim));
    }
    for (at, (words, style)) in pieces[from..to].iter().enumerate() {
        let space = if at > 0 { " " } else { "" };
        out.push((format!("{space}{words}"), *style));
    }
    if to < pieces.len() {
        out.push((format!(" {more}"), dim));
    }
    out
}

fn groups(all: &[Attempt], chosen: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let alike = |a: &Attempt, b: &Attempt| (a.status, a.step) == (b.status, b.step);
    for (at, attempt) in all.iter().enumerate() {
        match groups.last_mut() {
            Some((from, n)) if at != chosen && *from != chosen && alike(&all[*from], attempt) => {
                *n += 1;
            }
            _ => groups.push((at, 1)),
        }
    }
    groups
}

/// A sign for how it ended, and the number of the step that failed.
fn piece(ink: &Ink<'_>, all: &[Attempt], (from, n): Group, chosen: usize) -> (String, Style) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let attempt = &all[from];
    let (sign, style) = match attempt.status {
        Status::Failed => (glyphs.failed, theme.bad()),
        Status::Running => (glyphs.running[0], theme.busy()),
        _ => (glyphs.done, theme.good()),
    };
    let number = match attempt.status {
        Status::Failed => attempt.step.number().to_string(),
        _ => String::new(),
    };
    let times = match n {
        1 => String::new(),
        n => format!("{}{n}", glyphs.times),
    };
    let words = format!("{sign}{number}{times}");
    if from == chosen {
        (format!("[{words}]"), style)
    } else {
        (words, style)
    }
}
