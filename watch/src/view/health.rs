//! How everything is doing: sources, durations by step, failures by kind.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::durations;
use super::ink::Ink;
use crate::recording::Oddity;
use crate::state::layout::Layout;
use crate::state::{Connection, Driver, Model, Registration, Source};
use crate::text;

pub(super) type Pieces = Vec<(String, Style)>;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let body = layout.body;
    let mut lines: Vec<Pieces> = Vec::new();
    rates(ink, model, body, &mut lines);
    sources(ink, model, body, &mut lines);
    lines.push(Vec::new());
    durations::lines(ink, model, body, &mut lines);
    failures(ink, model, body, &mut lines);
    // Where not all fits, the last line says so: laid over numbers it would change them.
    let all_fit = lines.len() <= usize::from(body.height);
    let height = body.height - u16::from(!all_fit);
    let most = lines.len().saturating_sub(height.into());
    let top = model.look().health_top.min(most);
    for (y, line) in (body.y..body.y + height).zip(lines.iter().skip(top)) {
        let pieces: Vec<_> = line.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        ink.pieces(body.x + 1, y, body.width.saturating_sub(2), &pieces);
    }
    if !all_fit {
        let words = format!("{} more", most - top);
        let style = ink.theme().dim();
        let right = body.right().saturating_sub(1);
        ink.put_right(right, body.bottom() - 1, &words, style);
    }
}

fn rates(ink: &Ink<'_>, model: &Model, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let seconds = usize::from(body.width / 4).clamp(15, 60);
    let rates = model.rates(seconds);
    let most = rates.iter().copied().max().unwrap_or(0);
    let (used, limit) = model.memory();
    let line = vec![
        ("events/s ".into(), theme.dim()),
        (spark(ink, &rates), theme.busy()),
        (
            format!(" {} now, {} most", model.rate(), most),
            theme.text(),
        ),
        (
            format!(
                "  memory {} of {}",
                text::bytes(used as u64),
                text::bytes(limit as u64)
            ),
            theme.dim(),
        ),
    ];
    flow(lines, line, body.width.saturating_sub(2).into());
}

/// More lines of a reason than this push away what the others say.
const REASON_LINES: usize = 6;

fn sources(ink: &Ink<'_>, model: &Model, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let room = usize::from(body.width.saturating_sub(2));
    for (id, source) in model.sources_by_node() {
        let (sign, word, reason, style) = connection(ink, source, model.now());
        let mut line: Pieces = vec![
            (format!("{sign} "), style),
            (source.name.clone(), theme.strong()),
            (node(model.source_node(id)), theme.strong()),
            (format!("  {word}"), style),
            (
                format!("  {} events", text::count(source.events)),
                theme.dim(),
            ),
        ];
        let dropped = source.dropped;
        let few = if dropped > 0 {
            theme.warn()
        } else {
            theme.dim()
        };
        line.push((format!("  {} dropped", text::count(dropped)), few));
        for what in Oddity::ALL {
            let n = source.oddities.of(what);
            if n > 0 {
                let sample = source.oddities.sample(what).map(|s| format!(" ({s})"));
                let words = format!("  {}{}", what.words(n), sample.unwrap_or_default());
                line.push((words, theme.warn()));
            }
        }
        flow(lines, line, room);
        if let Some(reason) = reason {
            for words in text::wrap(reason, room.saturating_sub(4), REASON_LINES, glyphs.more) {
                lines.push(vec![("    ".into(), style), (words, style)]);
            }
        }
        // What a driver said before it was lost does not count any more.
        let lost = matches!(
            source.connection,
            Connection::Lost { .. } | Connection::Failed { .. }
        );
        if let Some(driver) = source.driver.as_ref().filter(|_| !lost) {
            self::driver(ink, driver, body, lines);
        }
    }
}

fn node(name: Option<String>) -> String {
    name.map_or_else(String::new, |name| format!(" {name}"))
}

/// Registration and sockets, in two lines.
fn driver(ink: &Ink<'_>, driver: &Driver, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let (sign, word, style) = match &driver.registration {
        Registration::Waiting => (
            glyphs.waiting,
            "not registered yet: no kubelet has asked".into(),
            theme.warn(),
        ),
        Registration::Registered {
            called: Some(version),
            ..
        } => (
            glyphs.ready,
            format!("registered, called as {version}"),
            theme.good(),
        ),
        Registration::Registered {
            called: None,
            offers,
        } => (
            glyphs.ready,
            format!("registered, offers {offers}"),
            theme.good(),
        ),
        Registration::Refused { error } => (
            glyphs.failed,
            format!("the kubelet refuses it: {error}"),
            theme.bad(),
        ),
    };
    lines.push(vec![
        (format!("  {}  ", driver.name), theme.text()),
        (format!("{sign} {word}"), style),
    ]);
    if driver.sockets.is_empty() {
        return;
    }
    let closed = driver.sockets.iter().filter(|socket| !socket.open).count();
    let paths: usize = (driver.sockets.iter())
        .map(|socket| socket.name.len() + socket.path.len() + 5)
        .sum();
    let with_paths = paths + 26 <= usize::from(body.width);
    let mut line = vec![("  sockets".to_owned(), theme.dim())];
    for socket in &driver.sockets {
        let (sign, style) = if socket.open {
            (glyphs.ready, theme.good())
        } else {
            (glyphs.failed, theme.bad())
        };
        line.push((format!("  {sign} {}", socket.name), style));
        if with_paths || !socket.open {
            line.push((format!(" {}", socket.path), theme.dim()));
        }
    }
    let word = match closed {
        0 => "  all served".to_owned(),
        n => format!("  {n} not served"),
    };
    line.push((
        word,
        if closed == 0 {
            theme.dim()
        } else {
            theme.bad()
        },
    ));
    lines.push(line);
}

/// Sign and word of a connection, and the reason of one that is lost.
fn connection<'a>(
    ink: &Ink<'_>,
    source: &'a Source,
    now: i64,
) -> (&'static str, String, Option<&'a str>, Style) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    match &source.connection {
        Connection::Connecting => (glyphs.waiting, "connecting".into(), None, theme.busy()),
        Connection::Live => (glyphs.live, "connected".into(), None, theme.good()),
        Connection::Loading { read, .. } => (
            glyphs.playing,
            format!("read {}", text::bytes(*read)),
            None,
            theme.busy(),
        ),
        Connection::Lost { reason, retry_at } => {
            let wait = text::age(retry_at.saturating_sub(now));
            let words = format!("lost, next try in {wait}");
            (glyphs.warn, words, Some(reason), theme.warn())
        }
        Connection::Ended => (glyphs.stopped, "read to its end".into(), None, theme.dim()),
        Connection::Failed { reason } => {
            (glyphs.failed, "failed".into(), Some(reason), theme.bad())
        }
    }
}

/// Columns before what a kind of failure means.
const MEANS_AT: usize = 45;

/// From so many columns on the meaning stands beside the kind.
const BESIDE_FROM: usize = 40;

fn failures(ink: &Ink<'_>, model: &Model, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let all = model.health().failures();
    if all.is_empty() {
        lines.push(vec![("No step has failed.".into(), theme.good())]);
        return;
    }
    lines.push(vec![("FAILURES BY KIND".into(), theme.dim())]);
    let room = usize::from(body.width.saturating_sub(2));
    for (kind, n) in all {
        let mut line = vec![
            (
                format!("{:>7}{} ", text::count(n), theme.glyphs().times),
                theme.bad(),
            ),
            (format!("{:<36}", kind.title), theme.text()),
        ];
        let beside = room.saturating_sub(MEANS_AT) >= BESIDE_FROM;
        let indent = if beside { MEANS_AT } else { 9 };
        let mut means = text::wrap(kind.means, room.saturating_sub(indent), usize::MAX, "")
            .into_iter()
            .map(|words| (words, theme.dim()));
        if beside {
            line.extend(means.next());
        }
        lines.push(line);
        lines.extend(means.map(|words| vec![(" ".repeat(indent), theme.dim()), words]));
    }
}

/// Puts pieces one after the other, each whole: what does not fit goes on in the next line,
/// indented. A piece that is longer than a line is broken between words.
fn flow(lines: &mut Vec<Pieces>, pieces: Pieces, room: usize) {
    const INDENT: usize = 4;
    let mut line: Pieces = Vec::new();
    let mut used = 0;
    for (words, style) in pieces {
        let width = text::width(&words);
        if used + width <= room || line.is_empty() && used + text::width(words.trim()) <= room {
            used += width;
            line.push((words, style));
            continue;
        }
        for part in text::wrap(&words, room.saturating_sub(INDENT), usize::MAX, "") {
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            used = INDENT + text::width(&part);
            line.push((" ".repeat(INDENT), style));
            line.push((part, style));
        }
    }
    lines.push(line);
}

/// Numbers as heights; what is not nothing can be seen.
pub(super) fn spark(ink: &Ink<'_>, values: &[u64]) -> String {
    let heights = &ink.theme().glyphs().heights;
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let height = |n: u64| usize::try_from((n * 8).div_ceil(most)).unwrap_or(8).min(8);
    values.iter().map(|n| heights[height(*n)]).collect()
}
