//! The scrub bar: how dense the events are, where steps failed, where the view stands.

use super::ink::Ink;
use crate::state::layout::Layout;
use crate::state::{Mode, Model};
use crate::text;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let (bar, y) = (layout.bar, layout.scrub.y);
    let Some((first, last)) = model.bounds() else {
        for x in bar.left()..bar.right() {
            ink.sign(x, y, glyphs.rule, theme.faint());
        }
        return;
    };
    let columns = usize::from(bar.width).max(1);
    let density = model.density(columns);
    let most = density.iter().map(|(n, _)| *n).max().unwrap_or(0).max(1);
    let live = model.mode() == Mode::Live;
    let now = model.now().clamp(first, last);
    let stand = column(now, first, last, columns);
    for (at, (n, failed)) in density.iter().enumerate() {
        let x = bar.x + u16::try_from(at).unwrap_or(0);
        let past = live || at <= stand;
        let base = if past { theme.busy() } else { theme.faint() };
        if *failed {
            let style = if past { theme.bad() } else { theme.faint() };
            ink.sign(x, y, glyphs.failed, style);
        } else if *n == 0 {
            ink.sign(x, y, glyphs.heights[0], base);
        } else {
            ink.sign(x, y, glyphs.heights[height(*n, most)], base);
        }
    }
    if !live {
        let x = bar.x + u16::try_from(stand).unwrap_or(0);
        ink.sign(x, y, glyphs.cursor, theme.accent());
    }
    let (shown, all) = model.position();
    let moment = text::moment(now.saturating_sub(first));
    let whole = text::moment(last.saturating_sub(first));
    let times = glyphs.times;
    let mut pieces = vec![
        (moment, theme.strong()),
        (format!(" / {whole}"), theme.dim()),
    ];
    let events = if shown == all {
        format!("  {} events", text::count(all))
    } else {
        format!("  event {} / {}", text::count(shown), text::count(all))
    };
    pieces.push((events, theme.dim()));
    if model.mode() != Mode::Live {
        let speed = model.speed();
        pieces.push((format!("  {speed}{times}"), theme.dim()));
    }
    let pieces: Vec<_> = pieces.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    let x = bar.right() + 2;
    ink.pieces(x, y, layout.scrub.right().saturating_sub(x + 1), &pieces);
}

/// The column of a moment.
fn column(at: i64, first: i64, last: i64, columns: usize) -> usize {
    let span = i128::from(last) - i128::from(first);
    let on = i128::from(at) - i128::from(first);
    let column = (on * columns as i128).checked_div(span).unwrap_or(0);
    usize::try_from(column).unwrap_or(0).min(columns - 1)
}

/// 1 to 8, so that few events next to many can still be seen.
fn height(n: usize, most: usize) -> usize {
    let bits = |n: usize| (usize::BITS - n.leading_zeros()) as usize;
    (bits(n) * 8).div_ceil(bits(most).max(1)).clamp(1, 8)
}
