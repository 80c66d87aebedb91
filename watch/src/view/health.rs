//! How everything is doing: sources, durations by step, failures by kind.

use ndra_core::event::Step;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::ink::Ink;
use crate::recording::Oddity;
use crate::state::layout::Layout;
use crate::state::{Connection, Driver, Lane, Model, Registration, Source};
use crate::text;

type Pieces = Vec<(String, Style)>;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let body = layout.body;
    let mut lines: Vec<Pieces> = Vec::new();
    rates(ink, model, body, &mut lines);
    sources(ink, model, body, &mut lines);
    lines.push(Vec::new());
    steps(ink, model, body, &mut lines);
    failures(ink, model, &mut lines);
    let most = lines.len().saturating_sub(body.height.into());
    let top = model.look().health_top.min(most);
    for (y, line) in (body.y..body.bottom()).zip(lines.iter().skip(top)) {
        let pieces: Vec<_> = line.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        ink.pieces(body.x + 1, y, body.width.saturating_sub(2), &pieces);
    }
    if top < most {
        let words = format!(" {} more ", most - top);
        let style = ink.theme().dim();
        ink.put_right(
            body.right().saturating_sub(1),
            body.bottom() - 1,
            &words,
            style,
        );
    }
}

fn rates(ink: &Ink<'_>, model: &Model, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let seconds = usize::from(body.width / 4).clamp(15, 60);
    let rates = model.rates(seconds);
    let most = rates.iter().copied().max().unwrap_or(0);
    let (used, limit) = model.memory();
    lines.push(vec![
        ("events/s ".into(), theme.dim()),
        (spark(ink, &rates), theme.busy()),
        (
            format!(" {} now, {} most", model.rate(), most),
            theme.text(),
        ),
        (
            format!(
                "   memory {} of {}",
                text::bytes(used as u64),
                text::bytes(limit as u64)
            ),
            theme.dim(),
        ),
    ]);
}

fn sources(ink: &Ink<'_>, model: &Model, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    for (id, source) in model.sources_by_node() {
        let (sign, word, style) = connection(ink, source, model.now());
        let mut line = vec![
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
        let style = if dropped > 0 {
            theme.warn()
        } else {
            theme.dim()
        };
        line.push((format!("  {} dropped", text::count(dropped)), style));
        for what in Oddity::ALL {
            let n = source.oddities.of(what);
            if n > 0 {
                line.push((format!("  {}", what.words(n)), theme.warn()));
            }
        }
        lines.push(line);
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

fn connection(ink: &Ink<'_>, source: &Source, now: i64) -> (&'static str, String, Style) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    match &source.connection {
        Connection::Connecting => (glyphs.waiting, "connecting".into(), theme.busy()),
        Connection::Live => (glyphs.live, "connected".into(), theme.good()),
        Connection::Loading { read, .. } => (
            glyphs.playing,
            format!("read {}", text::bytes(*read)),
            theme.busy(),
        ),
        Connection::Lost { reason, retry_at } => {
            let wait = text::age(retry_at.saturating_sub(now));
            (
                glyphs.warn,
                format!("lost, next try in {wait}: {reason}"),
                theme.warn(),
            )
        }
        Connection::Ended => (glyphs.stopped, "read to its end".into(), theme.dim()),
        Connection::Failed { reason } => (glyphs.failed, reason.clone(), theme.bad()),
    }
}

fn steps(ink: &Ink<'_>, model: &Model, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let columns = usize::from(body.width.saturating_sub(66)).clamp(8, 60);
    lines.push(vec![(
        format!(
            "{:<19}{:>9}{:>8}  {:>7}{:>8}{:>8}  distribution",
            "STEP", "ENDED", "FAILED", "P50", "P99", "MAX"
        ),
        theme.dim(),
    )]);
    let health = model.health();
    for step in Step::ALL.iter().copied() {
        let all = health.durations(step);
        let failed = health.failed(step);
        let lane = Lane::of(step.route().1);
        let time = |us: Option<u64>| match us {
            Some(us) => ink.time(i64::try_from(us).unwrap_or(i64::MAX).saturating_mul(1000)),
            None => String::new(),
        };
        let plain = theme.text();
        let mut line = vec![
            (format!("{:>2} ", step.number()), theme.dim()),
            (format!("{:<16}", step.as_str()), theme.lane(lane)),
            (format!("{:>9}", text::count(all.count())), plain),
        ];
        let style = if failed > 0 {
            theme.bad()
        } else {
            theme.faint()
        };
        line.push((format!("{:>8}", text::count(failed)), style));
        line.push((format!("  {:>7}", time(all.quantile(0.5))), plain));
        line.push((format!("{:>8}", time(all.quantile(0.99))), plain));
        line.push((format!("{:>8}  ", time(all.max())), plain));
        if let Some((parts, _, _)) = all.columns(columns) {
            line.push((spark(ink, &parts), theme.lane(lane)));
        }
        lines.push(line);
    }
}

fn failures(ink: &Ink<'_>, model: &Model, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let all = model.health().failures();
    if all.is_empty() {
        lines.push(vec![("No step has failed.".into(), theme.good())]);
        return;
    }
    lines.push(vec![("FAILURES BY KIND".into(), theme.dim())]);
    for (kind, n) in all {
        lines.push(vec![
            (
                format!("{:>7}{} ", text::count(n), theme.glyphs().times),
                theme.bad(),
            ),
            (format!("{:<36}", kind.title), theme.text()),
            (kind.means.into(), theme.dim()),
        ]);
    }
}

/// Numbers as heights; what is not nothing can be seen.
fn spark(ink: &Ink<'_>, values: &[u64]) -> String {
    let heights = &ink.theme().glyphs().heights;
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let height = |n: u64| usize::try_from((n * 8).div_ceil(most)).unwrap_or(8).min(8);
    values.iter().map(|n| heights[height(*n)]).collect()
}
