//! The waterfall: a line a step on its actor's lane, the critical path solid.

use ndra_core::event::Step;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::flows::step_sign;
use super::ink::Ink;
use super::scale::Scale;
use super::{detail, preview, why};
use crate::state::layout::{Layout, step_order};
use crate::state::{Bar, Flow, Model, Status, Timeline};
use crate::text;

/// Columns for the lane's and the step's name.
const LANE: u16 = 9;
const NAME: u16 = 22;
/// Columns for the time that a step took and how often it ran.
const TOOK: u16 = 11;

/// The whole screen: the waterfall, and under it the selected step.
pub(super) fn screen(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let body = layout.body;
    let Some(flow) = model.selected() else {
        let style = ink.theme().strong();
        ink.center(
            body,
            body.y + body.height / 2,
            "No flow is selected.",
            style,
        );
        return;
    };
    preview::title(ink, model, flow, body);
    draw(ink, model, layout.waterfall, true);
    shares(ink, model, layout.waterfall);
    if layout.detail.height > 0 {
        detail::panel(ink, model, layout.why, layout.detail, false);
    } else if layout.why.height > 0 {
        why::draw(ink, model, layout.why);
    }
}

/// The lines of the waterfall in `area`, its axis in the line above.
pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, area: Rect, choose: bool) {
    let Some(flow) = model.selected() else {
        return;
    };
    let timeline = model.timeline();
    let left = LANE + NAME;
    let width = area.width.saturating_sub(left + TOOK + 2);
    let bars = Rect::new(area.x + left, area.y, width, area.height);
    let scale = Scale::of(timeline, width);
    axis(ink, &scale, bars);
    let order = step_order(timeline);
    let mut lane_before = None;
    for (y, step) in (area.y..area.bottom()).zip(order.iter().copied()) {
        let theme = ink.theme();
        let lane = timeline.lane(step);
        if lane_before != Some(lane) {
            ink.put(area.x + 1, y, LANE - 1, lane.name(), theme.lane(lane));
        }
        lane_before = Some(lane);
        name(ink, model, flow, step, (area.x + LANE, y));
        gaps(ink, &scale, bars, y);
        for (index, bar) in timeline.bars.iter().enumerate() {
            if bar.step == step {
                draw_bar(ink, timeline, &scale, bars, y, index, bar);
            }
        }
        took(ink, flow, step, area.right().saturating_sub(1), y);
        if choose && model.step_shown() == Some(step) {
            ink.select(Rect::new(area.x, y, area.width, 1));
            ink.put(area.x, y, 1, theme.glyphs().pointer, theme.accent());
        }
    }
}

fn name(ink: &mut Ink<'_>, model: &Model, flow: &Flow, step: Step, (x, y): (u16, u16)) {
    let theme = ink.theme();
    let status = flow.state.status(step);
    let sign = step_sign(ink, flow, step, model.now());
    let style = match status {
        Status::Waiting | Status::Skipped => theme.dim(),
        Status::Failed if flow.state.root_failure() == Some(step) => theme.bad(),
        Status::Failed => theme.fell(),
        _ => theme.text(),
    };
    let name = format!("{:>2} {step}", step.number());
    let own = if status == Status::Failed {
        style
    } else {
        theme.status(status)
    };
    ink.sign(x, y, sign, own);
    ink.put(x + 2, y, NAME - 3, &name, style);
}

fn took(ink: &mut Ink<'_>, flow: &Flow, step: Step, right: u16, y: u16) {
    let theme = ink.theme();
    let cell = flow.state.cell(step);
    let words = match flow.state.status(step) {
        Status::Waiting if cell.runs == 0 => return,
        Status::Skipped => "not seen".into(),
        Status::Running => "runs".into(),
        _ => ink.time(
            i64::try_from(cell.took_us)
                .unwrap_or(0)
                .saturating_mul(1000),
        ),
    };
    ink.put_right(right, y, &words, theme.dim());
    if cell.runs > 1 {
        let runs = format!("{}{}", theme.glyphs().times, cell.runs.min(99));
        ink.put_right(right.saturating_sub(7), y, &runs, theme.warn());
    }
}

/// Lengths of work and gaps over the bars.
fn axis(ink: &mut Ink<'_>, scale: &Scale, bars: Rect) {
    let theme = ink.theme();
    let y = bars.y.saturating_sub(1);
    for piece in &scale.pieces {
        let (from, to) = (whole(piece.columns.0), whole(piece.columns.1));
        let room = to.saturating_sub(from);
        let time = ink.time(piece.stretch.to.saturating_sub(piece.stretch.from));
        let (words, style) = if piece.stretch.gap {
            (format!("gap {time}"), theme.warn())
        } else {
            (time.clone(), theme.dim())
        };
        let words = if text::width(&words) > room.into() {
            time
        } else {
            words
        };
        if text::width(&words) <= room.into() {
            ink.center(Rect::new(bars.x + from, y, room, 1), y, &words, style);
        }
    }
}

/// A folded gap is a seam through all lines.
fn gaps(ink: &mut Ink<'_>, scale: &Scale, bars: Rect, y: u16) {
    let theme = ink.theme();
    for piece in scale.pieces.iter().filter(|piece| piece.folded) {
        let middle = f64::midpoint(piece.columns.0, piece.columns.1);
        let x = bars.x + whole(middle);
        if x < bars.right() {
            ink.sign(x, y, theme.glyphs().gap, theme.faint());
        }
    }
}

fn draw_bar(
    ink: &mut Ink<'_>,
    timeline: &Timeline,
    scale: &Scale,
    bars: Rect,
    y: u16,
    index: usize,
    bar: &Bar,
) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let style = match bar.status {
        Status::Failed => theme.bad(),
        _ => theme.lane(bar.lane),
    };
    let span = |from: i64, to: i64| {
        let from = whole(scale.at(from)).min(bars.width.saturating_sub(1));
        let to = whole(scale.at(to).ceil()).clamp(from + 1, bars.width.max(from + 1));
        (from, to)
    };
    let (from, to) = span(bar.from, bar.to);
    for x in from..to {
        if ink.is_blank(bars.x + x, y) || x == from {
            ink.sign(bars.x + x, y, glyphs.beside, style);
        }
    }
    for part in timeline.critical.iter().filter(|part| part.bar == index) {
        solid(ink, scale, bars, y, (part.from, part.to), style);
    }
    match bar.status {
        Status::Failed => ink.sign(bars.x + to - 1, y, glyphs.failed, theme.bad()),
        Status::Running => ink.sign(bars.x + to - 1, y, glyphs.onward, theme.busy()),
        _ => {}
    }
}

/// A stretch of the critical path, its end to an eighth of a column.
fn solid(ink: &mut Ink<'_>, scale: &Scale, bars: Rect, y: u16, time: (i64, i64), style: Style) {
    let glyphs = ink.theme().glyphs();
    let (start, end) = (scale.at(time.0), scale.at(time.1));
    let from = whole(start).min(bars.width.saturating_sub(1));
    let to = whole(end).min(bars.width);
    for x in from..to {
        ink.sign(bars.x + x, y, glyphs.critical, style);
    }
    let eighths = whole((end - end.floor()) * 8.0);
    if to < bars.width && (eighths > 0 || to == from) {
        let sign = glyphs.ends[usize::from(eighths.clamp(1, 7)) - 1];
        ink.sign(bars.x + to, y, sign, style);
    }
}

/// What the time was spent on.
pub(super) fn shares(ink: &mut Ink<'_>, model: &Model, area: Rect) {
    let theme = ink.theme();
    let timeline = model.timeline();
    let all = timeline.shares();
    let spent: i64 = all.iter().map(|(_, time)| *time).sum();
    if spent == 0 {
        return;
    }
    let length = |gap: bool| -> i64 {
        let of = timeline.stretches.iter().filter(|s| s.gap == gap);
        of.map(|s| s.to - s.from).sum()
    };
    let mut pieces = vec![
        (format!("critical path {}", ink.time(spent)), theme.strong()),
        (format!("  gaps {}", ink.time(length(true))), theme.warn()),
    ];
    for (step, time) in all.iter().take(6) {
        let lane = timeline.lane(*step);
        let percent = time.saturating_mul(100) / spent;
        pieces.push((format!("  {step} "), theme.lane(lane)));
        pieces.push((format!("{percent}%"), theme.text()));
    }
    let pieces: Vec<_> = pieces.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    ink.pieces(
        area.x + 1,
        area.bottom(),
        area.width.saturating_sub(2),
        &pieces,
    );
}

/// The column that holds a place.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(x: f64) -> u16 {
    x.clamp(0.0, 60_000.0) as u16
}
