//! The table of flows: one row a claim, twelve cells a row.

use ndra_core::event::Step;
use ratatui::layout::Rect;

use super::ink::Ink;
use super::nothing;
use crate::state::layout::Layout;
use crate::state::{Flow, Model, Row, Stage, Status};
use crate::text;

/// Where the columns are. Those of no width are left out.
#[derive(Clone, Copy, Debug, Default)]
struct Columns {
    node: (u16, u16),
    pod: (u16, u16),
    claim: (u16, u16),
    cells: (u16, u16),
    address: (u16, u16),
    total: (u16, u16),
    age: (u16, u16),
    restarts: (u16, u16),
    what: (u16, u16),
    wide: bool,
}

impl Columns {
    fn of(area: Rect, nodes: bool) -> Self {
        let wide = area.width >= 116;
        let cells = if wide { 30 } else { 15 };
        let node = match (nodes, wide) {
            (false, _) => 0,
            (true, true) => 12,
            (true, false) => 8,
        };
        // Sign and pointer, then numbers of fixed width, then one column between all.
        let fixed = 3 + cells + 6 + 4 + 2 + 6 + if node > 0 { node + 1 } else { 0 };
        let room = area.width.saturating_sub(fixed);
        let what = if room >= 84 {
            room.saturating_sub(60).min(48)
        } else {
            0
        };
        let room = room - what;
        let address = (room / 3).clamp(16, 26);
        let claim = (room.saturating_sub(address) / 2).min(28);
        let pod = room.saturating_sub(address + claim).min(34);
        let mut x = area.x + 3;
        let mut next = |width: u16| {
            let at = (x, width);
            if width > 0 {
                x += width + 1;
            }
            at
        };
        Self {
            node: next(node),
            pod: next(pod),
            claim: next(claim),
            cells: next(cells),
            address: next(address),
            total: next(6),
            age: next(4),
            restarts: next(2),
            what: next(what),
            wide,
        }
    }

    /// The column of a step's cell: groups of steps stand together.
    fn cell(&self, step: Step) -> u16 {
        let at = step as u16;
        let gaps = u16::from(at >= 3) + u16::from(at >= 8) + u16::from(at >= 9);
        let own = if self.wide {
            at * 2 + at.saturating_sub(9)
        } else {
            at
        };
        self.cells.0 + own + gaps
    }
}

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let area = layout.table;
    let rows = model.rows();
    if rows.list.is_empty() {
        return nothing::draw(ink, model, layout.body);
    }
    let columns = Columns::of(area, model.many_nodes());
    head(ink, &columns, area.y.saturating_sub(1));
    let top = model.look().top;
    let visible = rows.list.iter().skip(top).take(area.height.into());
    for (y, row) in (area.y..).zip(visible) {
        let line = Rect::new(area.x, y, area.width, 1);
        match row {
            Row::Group {
                name,
                flows,
                failed,
            } => group(ink, line, name, *flows, *failed),
            Row::Flow(id) => {
                if let Some(flow) = model.flow(*id) {
                    let selected = model.look().selected == Some(*id);
                    row_of(ink, model, &columns, line, flow, selected);
                }
            }
        }
    }
    bar(ink, area, top, rows.list.len());
}

fn head(ink: &mut Ink<'_>, columns: &Columns, y: u16) {
    let dim = ink.theme().dim();
    for (name, (x, width)) in [
        ("NODE", columns.node),
        ("POD", columns.pod),
        ("CLAIM", columns.claim),
        ("INTERFACE", columns.address),
        ("NOW", columns.what),
    ] {
        ink.put(x, y, width, name, dim);
    }
    for (name, (x, width)) in [
        ("TOTAL", columns.total),
        ("AGE", columns.age),
        ("R", columns.restarts),
    ] {
        ink.put_right(x + width, y, name, dim);
    }
    for step in Step::ALL {
        let number = if columns.wide {
            step.number().to_string()
        } else {
            (step.number() % 10).to_string()
        };
        ink.put(columns.cell(*step), y, 2, &number, dim);
    }
}

fn group(ink: &mut Ink<'_>, line: Rect, name: &str, flows: usize, failed: usize) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let name = if name.is_empty() { "(none)" } else { name };
    let s = if flows == 1 { "" } else { "s" };
    let count = format!("  {flows} flow{s}");
    let bad = format!("  {} {failed} failed", glyphs.failed);
    let mut pieces = vec![(name, theme.strong()), (&count, theme.dim())];
    if failed > 0 {
        pieces.push((&bad, theme.bad()));
    }
    ink.pieces(line.x + 1, line.y, line.width - 2, &pieces);
}

fn row_of(
    ink: &mut Ink<'_>,
    model: &Model,
    columns: &Columns,
    line: Rect,
    flow: &Flow,
    selected: bool,
) {
    let theme = ink.theme();
    let now = model.now();
    let y = line.y;
    let state = &flow.state;
    let stage = state.stage(now);
    ink.put(line.x + 1, y, 1, sign(ink, stage), theme.stage(stage));
    let put = |ink: &mut Ink<'_>, (x, width): (u16, u16), text: &str, style| {
        ink.put(x, y, width, text, style);
    };
    let node = model.node_name(flow);
    put(ink, columns.node, node, theme.dim());
    let strong = if stage == Stage::Ended {
        theme.dim()
    } else {
        theme.text()
    };
    put(ink, columns.pod, &pod(flow, columns.pod.1), strong);
    put(ink, columns.claim, claim(flow), theme.dim());
    cells(ink, model, columns, y, flow);
    put(ink, columns.address, &address(flow), theme.text());
    let total = ink.time(state.total(now));
    let style = if state.ready == 0 && !state.ended() {
        theme.busy()
    } else {
        theme.text()
    };
    ink.put_right(columns.total.0 + columns.total.1, y, &total, style);
    let age = text::age(now.saturating_sub(state.first));
    ink.put_right(columns.age.0 + columns.age.1, y, &age, theme.dim());
    if state.restarts > 0 {
        let n = state.restarts.min(99).to_string();
        ink.put_right(columns.restarts.0 + columns.restarts.1, y, &n, theme.warn());
    }
    if columns.what.1 > 0 {
        let (words, style) = what(ink, flow, stage);
        put(ink, columns.what, &words, style);
    }
    if selected {
        ink.select(line);
        ink.put(line.x, y, 1, theme.glyphs().pointer, theme.accent());
    }
}

/// The sign of a stage: told by shape.
pub(super) fn sign(ink: &Ink<'_>, stage: Stage) -> &'static str {
    let glyphs = ink.theme().glyphs();
    match stage {
        Stage::Failed => glyphs.failed,
        Stage::Hanging => glyphs.hanging,
        Stage::Moving => glyphs.moving,
        Stage::Ready => glyphs.ready,
        Stage::Ended => glyphs.ended,
    }
}

/// The sign of a step: told by shape.
pub(super) fn step_sign(ink: &Ink<'_>, flow: &Flow, step: Step, now: i64) -> &'static str {
    let glyphs = ink.theme().glyphs();
    match flow.state.status(step) {
        Status::Waiting => glyphs.waiting,
        Status::Running => {
            let turn = usize::try_from(now.div_euclid(125_000_000).rem_euclid(4)).unwrap_or(0);
            glyphs.running[turn]
        }
        Status::Done if flow.state.cell(step).fails > 0 => glyphs.mended,
        Status::Done => glyphs.done,
        Status::Failed if flow.state.root_failure() == Some(step) => glyphs.failed,
        Status::Failed => glyphs.fell,
        Status::Skipped => glyphs.skipped,
    }
}

fn cells(ink: &mut Ink<'_>, model: &Model, columns: &Columns, y: u16, flow: &Flow) {
    let theme = ink.theme();
    for step in Step::ALL.iter().copied() {
        let sign = step_sign(ink, flow, step, model.now());
        let status = flow.state.status(step);
        let style = if status == Status::Done && flow.state.cell(step).fails > 0 {
            theme.warn()
        } else if status == Status::Failed && flow.state.root_failure() != Some(step) {
            theme.fell()
        } else {
            theme.status(status)
        };
        ink.sign(columns.cell(step), y, sign, style);
    }
}

/// From so many columns on pods are shown with their namespaces.
const NAMESPACES_FROM: u16 = 20;

/// The pod, with its namespace where there is room.
fn pod(flow: &Flow, width: u16) -> String {
    let more = match flow.pods.len() {
        0 | 1 => String::new(),
        n => format!(" +{}", n - 1),
    };
    let name = if width >= NAMESPACES_FROM {
        flow.pods.first().map_or("", |pod| pod)
    } else {
        flow.pod_name()
    };
    format!("{name}{more}")
}

fn claim(flow: &Flow) -> &str {
    match (flow.claim.is_empty(), flow.uid.is_empty()) {
        (false, _) => &flow.claim,
        (true, false) => &flow.uid,
        (true, true) => "(no claim)",
    }
}

fn address(flow: &Flow) -> String {
    let mut all = flow.interfaces();
    let Some(first) = all.next() else {
        return String::new();
    };
    let more = match all.count() {
        0 => String::new(),
        n => format!(" +{n}"),
    };
    let ip = first.ips.split(' ').next().unwrap_or("");
    let ip = ip.split('/').next().unwrap_or(ip);
    format!("{} {ip}{more}", first.interface)
}

fn what(ink: &Ink<'_>, flow: &Flow, stage: Stage) -> (String, ratatui::style::Style) {
    let theme = ink.theme();
    let state = &flow.state;
    if let (Stage::Failed, Some(step)) = (stage, state.root_failure()) {
        let kind = state.failure_kind().map_or("failed", |kind| kind.title);
        return (format!("{step}: {kind}"), theme.bad());
    }
    match (stage, state.running()) {
        (Stage::Ended, _) => ("ended".into(), theme.dim()),
        (Stage::Ready, _) => ("ready".into(), theme.good()),
        (_, Some(step)) => (step.to_string(), theme.stage(stage)),
        (_, None) => (
            state
                .current()
                .map_or(String::new(), |step| format!("after {step}")),
            theme.busy(),
        ),
    }
}

/// Where in the table the visible rows are.
fn bar(ink: &mut Ink<'_>, area: Rect, top: usize, len: usize) {
    let height = usize::from(area.height);
    if len <= height || height == 0 {
        return;
    }
    let theme = ink.theme();
    let size = (height * height / len).max(1);
    let from = top * (height - size) / (len - height);
    for at in 0..height {
        let y = area.y + u16::try_from(at).unwrap_or(0);
        let (sign, style) = if (from..from + size).contains(&at) {
            (theme.glyphs().critical, theme.dim())
        } else {
            (theme.glyphs().wall, theme.faint())
        };
        ink.sign(area.right() - 1, y, sign, style);
    }
}
