//! The table of what steps took: numbers, and where all values lie on one axis.

use ndra_core::event::Step;
use ratatui::layout::Rect;

use super::health::{Pieces, spark};
use super::ink::Ink;
use crate::state::{Axis, Lane, Model};

use crate::text;

/// A distribution on fewer columns than this tells nothing.
const LEAST: usize = 12;
const MOST: usize = 60;

/// Which columns there is room for: a number that is cut would be another number.
struct Columns {
    ended: bool,
    axis: Option<Axis>,
}

impl Columns {
    fn of(model: &Model, room: usize) -> Self {
        let health = model.health();
        let bounds = Step::ALL
            .iter()
            .filter_map(|step| health.durations(*step).bounds())
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let left = room.saturating_sub(NUMBERS + ENDED + 2).min(MOST);
        Self {
            ended: room >= NUMBERS + ENDED,
            axis: bounds
                .filter(|_| left >= LEAST)
                .map(|bounds| Axis::new(left, bounds)),
        }
    }
}

/// Columns of the step, how often it failed, and three times.
const NUMBERS: usize = 19 + 8 + 9 + 8 + 8;
const ENDED: usize = 9;

pub(super) fn lines(ink: &Ink<'_>, model: &Model, body: Rect, lines: &mut Vec<Pieces>) {
    let theme = ink.theme();
    let columns = Columns::of(model, body.width.saturating_sub(2).into());
    let health = model.health();
    let ended = |words: &str| match columns.ended {
        true => format!("{words:>9}"),
        false => String::new(),
    };
    let marks = columns.axis.map_or(String::new(), |axis| scale(ink, &axis));
    lines.push(vec![(
        format!(
            "{:<19}{}{:>8}  {:>7}{:>8}{:>8}  {marks}",
            "STEP",
            ended("ENDED"),
            "FAILED",
            "P50",
            "P99",
            "MAX"
        ),
        theme.dim(),
    )]);
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
            (ended(&text::count(all.count())), plain),
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
        if let Some(axis) = columns.axis.filter(|_| all.count() > 0) {
            line.push((spark(ink, &all.columns(&axis)), theme.lane(lane)));
        }
        lines.push(line);
    }
}

/// The powers of ten over the axis, each beginning in its column, where there is room.
fn scale(ink: &Ink<'_>, axis: &Axis) -> String {
    let wall = ink.theme().glyphs().wall;
    let mut line = String::new();
    let mut used = 0;
    for (us, column) in axis.marks() {
        if column < used {
            continue;
        }
        let words = match us {
            0..1_000 => format!("{wall}{us}{}", ink.theme().glyphs().micro),
            1_000..1_000_000 => format!("{wall}{}ms", us / 1_000),
            _ => format!("{wall}{}s", us / 1_000_000),
        };
        if column + text::width(&words) > axis.width() {
            break;
        }
        line.push_str(&" ".repeat(column - used));
        line.push_str(&words);
        used = column + text::width(&words) + 1;
        line.push(' ');
    }
    line.truncate(line.trim_end().len());
    line
}
