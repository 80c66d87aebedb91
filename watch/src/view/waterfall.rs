//! The waterfall: a line a step on its actor's lane, the critical path solid.

use ndra_core::event::Step;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::flows::step_sign;
use super::ink::Ink;
use super::scale::Scale;
use super::{attempts, detail, preview, why};
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
    attempts::draw(ink, model, layout.attempts);
    draw(ink, model, layout, true);
    if layout.detail.height > 0 {
        detail::panel(ink, model, layout.why, layout.detail, false);
    } else if layout.why.height > 0 {
        why::draw(ink, model, layout.why);
    }
}

/// The lines of the waterfall, its axis in the line above, what the time was spent on in
/// the line below.
pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout, choose: bool) {
    let area = layout.waterfall;
    let Some(flow) = model.selected() else {
        return;
    };
    let timeline = model.timeline();
    let left = LANE + NAME;
    let width = area.width.saturating_sub(left + TOOK + 2);
    let bars = Rect::new(area.x + left, area.y, width, area.height);
    let attempt = model.attempt_shown();
    let drawn = timeline.drawn(width, attempt);
    let one = attempt.filter(|_| drawn.bars.len() < timeline.bars.len());
    let scale = Scale::of(&drawn, width);
    axis(ink, &scale, bars);
    if let Some(attempt) = one {
        let (place, of) = timeline.place(attempt);
        let words = format!("only attempt {} of {of}", place + 1);
        let style = ink.theme().strong();
        ink.put(area.x + 1, area.y - 1, left - 2, &words, style);
    }
    let order = step_order(timeline);
    let above = if choose { layout.steps_above } else { 0 };
    let mut lane_before = None;
    for (y, step) in (area.y..area.bottom()).zip(order.iter().copied().skip(above)) {
        let theme = ink.theme();
        let lane = timeline.lane(step);
        if lane_before != Some(lane) {
            ink.put(area.x + 1, y, LANE - 1, lane.name(), theme.lane(lane));
        }
        lane_before = Some(lane);
        let run = one.map(|at| Run {
            bar: drawn.runs(step).next_back(),
            root: timeline.attempts.get(at).map(|a| a.step),
        });
        name(ink, model, flow, step, run, (area.x + LANE, y));
        gaps(ink, &scale, bars, y);
        let chosen = choose && model.step_shown() == Some(step);
        let many = timeline.runs(step).nth(1).is_some();
        let run_shown = model.detail().bar.filter(|_| chosen && many);
        for (index, bar) in drawn.bars.iter().enumerate() {
            if bar.step == step {
                let columns = draw_bar(ink, &drawn, &scale, bars, y, index, bar);
                if run_shown.is_some_and(|shown| shown.is(bar)) {
                    brackets(ink, bars, columns, y);
                }
            }
        }
        took(ink, flow, step, run, area.right().saturating_sub(1), y);
        if chosen {
            ink.select(Rect::new(area.x, y, area.width, 1));
            ink.put(area.x, y, 1, theme.glyphs().pointer, theme.accent());
        }
    }
    let right = area.right().saturating_sub(1);
    let dim = ink.theme().dim();
    if above > 0 {
        ink.put_right(right, area.y - 1, &format!("{above} above"), dim);
    }
    let below = order.len().saturating_sub(above + usize::from(area.height));
    let mut room = area.width.saturating_sub(2);
    if below > 0 {
        let words = format!("{below} below");
        let x = ink.put_right(right, area.bottom(), &words, dim);
        room = x.saturating_sub(area.x + 3);
    }
    if choose || area.bottom() < layout.preview.bottom() {
        shares(ink, &drawn, (area.x + 1, area.bottom()), room);
    }
}

/// The run that a line shows, where only one attempt is drawn.
#[derive(Clone, Copy)]
struct Run<'a> {
    bar: Option<&'a Bar>,
    /// The step that failed first in the attempt.
    root: Option<Step>,
}

fn name(
    ink: &mut Ink<'_>,
    model: &Model,
    flow: &Flow,
    step: Step,
    run: Option<Run<'_>>,
    (x, y): (u16, u16),
) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let mut status = flow.state.status(step);
    let mut sign = step_sign(ink, flow, step, model.now());
    let mut root = flow.state.root_failure();
    if let Some(run) = run {
        // Of an older attempt, what became of the step then.
        root = run.root;
        match run.bar.map(|bar| bar.status) {
            None if status != Status::Skipped => (status, sign) = (Status::Waiting, glyphs.waiting),
            Some(Status::Done) => (status, sign) = (Status::Done, glyphs.done),
            Some(Status::Failed) => {
                status = Status::Failed;
                sign = if root == Some(step) {
                    glyphs.failed
                } else {
                    glyphs.fell
                };
            }
            _ => {}
        }
    }
    let style = match status {
        Status::Waiting | Status::Skipped => theme.dim(),
        Status::Failed if root == Some(step) => theme.bad(),
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

fn took(ink: &mut Ink<'_>, flow: &Flow, step: Step, run: Option<Run<'_>>, right: u16, y: u16) {
    let theme = ink.theme();
    let cell = flow.state.cell(step);
    let status = flow.state.status(step);
    let words = match (run.map(|run| run.bar), status) {
        (None, Status::Waiting) if cell.runs == 0 => return,
        (_, Status::Skipped) => "not seen".into(),
        (Some(None), _) => String::new(),
        (Some(Some(bar)), _) if bar.status == Status::Running => "runs".into(),
        (Some(Some(bar)), _) => ink.time(bar.to.saturating_sub(bar.from)),
        (None, Status::Running) => "runs".into(),
        (None, _) => ink.time(
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

/// Lengths of work and gaps over the bars. That of a gap says that it is one, however few
/// columns it has.
fn axis(ink: &mut Ink<'_>, scale: &Scale, bars: Rect) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let y = bars.y.saturating_sub(1);
    for piece in &scale.pieces {
        let (from, to) = (whole(piece.columns.0), whole(piece.columns.1));
        let room = to.saturating_sub(from);
        let time = ink.time(piece.stretch.to.saturating_sub(piece.stretch.from));
        let hidden = piece.stretch.hidden;
        let (variants, style) = if hidden > 0 {
            let cut = glyphs.cut;
            let words = [
                format!("{hidden} hidden, {time}"),
                format!("{hidden} hidden"),
                format!("{cut}{hidden}{cut}"),
                cut.to_owned(),
            ];
            (words.to_vec(), theme.warn())
        } else if piece.stretch.gap {
            let gap = glyphs.gap;
            let words = [
                format!("gap {time}"),
                format!("{gap}{time}{gap}"),
                format!("{gap}{time}"),
                gap.to_owned(),
            ];
            (words.to_vec(), theme.warn())
        } else {
            (vec![time], theme.dim())
        };
        let fits = |words: &&String| text::width(words) <= room.into();
        if let Some(words) = variants.iter().find(fits) {
            ink.center(Rect::new(bars.x + from, y, room, 1), y, words, style);
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
            let sign = if piece.stretch.hidden > 0 {
                theme.glyphs().cut
            } else {
                theme.glyphs().gap
            };
            ink.sign(x, y, sign, theme.faint());
        }
    }
}

/// Marks the run that the detail shows among others on its line.
fn brackets(ink: &mut Ink<'_>, bars: Rect, (from, to): (u16, u16), y: u16) {
    let style = ink.theme().accent();
    if let Some(before) = from.checked_sub(1)
        && ink.is_blank(bars.x + before, y)
    {
        ink.sign(bars.x + before, y, "[", style);
    }
    if to <= bars.width {
        ink.sign(bars.x + to, y, "]", style);
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
) -> (u16, u16) {
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
    (from, to)
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

/// What the time was spent on: as many steps as fit whole, and how many are left.
fn shares(ink: &mut Ink<'_>, timeline: &Timeline, (x, y): (u16, u16), room: u16) {
    let theme = ink.theme();
    let all = timeline.shares();
    let spent: i64 = all.iter().map(|(_, time)| *time).sum();
    if spent == 0 {
        return;
    }
    let gaps = timeline.stretches.iter().filter(|s| s.gap && s.hidden == 0);
    let gaps: i64 = gaps.map(|s| s.to.saturating_sub(s.from)).sum();
    let mut pieces = vec![(format!("critical path {}", ink.time(spent)), theme.strong())];
    if gaps > 0 {
        pieces.push((format!("  gaps {}", ink.time(gaps)), theme.warn()));
    }
    let mut left =
        usize::from(room).saturating_sub(pieces.iter().map(|(words, _)| text::width(words)).sum());
    for (at, (step, time)) in all.iter().enumerate() {
        let after = all.len() - at - 1;
        let name = format!("  {step} ");
        let percent = format!("{}%", time.saturating_mul(100) / spent);
        let width = text::width(&name) + percent.len();
        let more = if after > 0 {
            format!("  and {after} more").len()
        } else {
            0
        };
        if width + more > left {
            let words = format!("  and {} more", after + 1);
            if words.len() <= left {
                pieces.push((words, theme.dim()));
            }
            break;
        }
        left -= width;
        pieces.push((name, theme.lane(timeline.lane(*step))));
        pieces.push((percent, theme.text()));
    }
    let pieces: Vec<_> = pieces.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    ink.pieces(x, y, room, &pieces);
}

/// The column that holds a place.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(x: f64) -> u16 {
    x.clamp(0.0, 60_000.0) as u16
}
