//! What is the matter with the selected flow, in words: error, meaning, mend.

use ndra_core::event::{Actor, Step};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::flows::{sign, step_sign};
use super::ink::Ink;
use crate::state::{Flow, Model, Stage, Status, Why};
use crate::text;

/// Columns of the words before a text.
pub(super) const LABEL: u16 = 8;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, area: Rect) {
    let Some(flow) = model.selected() else {
        return;
    };
    if area.height == 0 {
        return;
    }
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    match model.why() {
        Why::Well => well(ink, model, flow, area),
        Why::Failed {
            step,
            error,
            kind,
            retrying,
            ended,
            times,
        } => {
            let mut head = format!("{} {step} failed: {}", step.number(), kind.title);
            let mut more = Vec::new();
            if *times > 1 {
                more.push(format!("{}{times}", glyphs.times));
            }
            if *retrying {
                more.push("trying again".into());
            }
            if *ended {
                more.push("ended since".into());
            }
            if !more.is_empty() {
                head.push_str(&format!(" ({})", more.join(", ")));
            }
            line(ink, area, glyphs.failed, &head, theme.bad());
            said(ink, below(area, 1), error, kind.means, kind.next);
        }
        Why::Hanging { step, time } => {
            let time = ink.time(*time);
            let head = format!("{} {step} has been running for {time}", step.number());
            let style = theme.stage(Stage::Hanging);
            line(ink, area, glyphs.hanging, &head, style);
            let (means, next) = waits_for(*step);
            said(ink, below(area, 1), "", means, next);
        }
        Why::NoHook { time } => {
            let head = format!(
                "prepared {} ago, and no hook has run since",
                ink.time(*time)
            );
            line(
                ink,
                area,
                glyphs.hanging,
                &head,
                theme.stage(Stage::Hanging),
            );
            said(
                ink,
                below(area, 1),
                "",
                "The image is being pulled, or no container lists the claim under resources.claims.",
                "See `kubectl describe pod`, and `resources.claims` of the pod's containers.",
            );
        }
    }
}

fn line(ink: &mut Ink<'_>, area: Rect, sign: &str, words: &str, style: Style) {
    let room = area.width.saturating_sub(2);
    ink.pieces(
        area.x + 1,
        area.y,
        room,
        &[(sign, style), (" ", style), (words, style)],
    );
}

/// The error as it was, what it means, what to do; the meaning keeps its place when the
/// error is long.
pub(super) fn said(ink: &mut Ink<'_>, area: Rect, error: &str, means: &str, next: &str) {
    let theme = ink.theme();
    let more = theme.glyphs().more;
    let columns = usize::from(area.width.saturating_sub(LABEL + 4));
    let lines = |text: &str, most: usize| text::wrap(text, columns, most, more);
    let height = usize::from(area.height);
    let (means, next) = match height {
        0..=2 => (Vec::new(), lines(next, 1)),
        3..=4 => (lines(means, 1), lines(next, 1)),
        5..=8 => (lines(means, 2), lines(next, 2)),
        _ => (lines(means, 5), lines(next, 5)),
    };
    let room = height.saturating_sub(means.len() + next.len());
    let parts = [
        ("error", lines(error, room.max(1)), theme.text()),
        ("means", means, theme.text()),
        ("do", next, theme.accent()),
    ];
    let mut y = area.y;
    for (label, lines, style) in parts {
        for (at, line) in lines.iter().enumerate() {
            if y >= area.bottom() {
                return;
            }
            if at == 0 {
                ink.put(area.x + 3, y, LABEL, label, theme.dim());
            }
            let room = area.width.saturating_sub(LABEL + 3);
            ink.put(area.x + LABEL + 2, y, room, line, style);
            y += 1;
        }
    }
}

/// A flow without trouble: where it stands, and what its steps took.
fn well(ink: &mut Ink<'_>, model: &Model, flow: &Flow, area: Rect) {
    let theme = ink.theme();
    let now = model.now();
    let state = &flow.state;
    let stage = state.stage(now);
    let total = ink.time(state.total(now));
    let words = match (stage, state.running()) {
        (Stage::Ready, _) => format!("ready after {total}"),
        (Stage::Ended, _) if state.ready != 0 => format!("ended; it was ready after {total}"),
        (Stage::Ended, _) => format!("ended after {total}; it was never ready"),
        (_, Some(step)) => {
            let for_so_long = ink.time(now.saturating_sub(state.cell(step).began));
            format!("{} {step} for {for_so_long}", step.number())
        }
        (_, None) => match state.current() {
            Some(step) => format!("{step} is done; waiting for the next step"),
            None => String::new(),
        },
    };
    let style = theme.stage(stage);
    line(ink, area, sign(ink, stage), &words, style);
    // The steps and their times, in columns.
    let cell = 29;
    let per_line = (area.width.saturating_sub(2) / cell).max(1);
    let mut at = 0;
    for step in Step::ALL.iter().copied() {
        let status = state.status(step);
        if status == Status::Waiting {
            continue;
        }
        let (x, y) = (at % per_line * cell, at / per_line + 1);
        if y >= area.height {
            break;
        }
        at += 1;
        let took = match status {
            Status::Skipped => "not seen".into(),
            Status::Running => "runs".into(),
            _ => ink.time(
                i64::try_from(state.cell(step).took_us)
                    .unwrap_or(0)
                    .saturating_mul(1000),
            ),
        };
        let sign = step_sign(ink, flow, step, now);
        let name = format!(" {} ", step.as_str());
        ink.pieces(
            area.x + 3 + x,
            area.y + y,
            cell - 1,
            &[
                (sign, theme.status(status)),
                (&name, theme.text()),
                (&took, theme.dim()),
            ],
        );
    }
}

/// Who keeps a step from going on, and where to look.
fn waits_for(step: Step) -> (&'static str, &'static str) {
    match step.route().1 {
        Actor::Driver if step == Step::Callback => (
            "The hook waits for the driver, and the container with it.",
            "See the driver's log on this node: which claim it works on, whether it is stuck in step 7 or 8.",
        ),
        Actor::Driver => (
            "The kubelet waits for the driver.",
            "See the driver's log, and whether the API server answers it.",
        ),
        Actor::Cdi => (
            "The driver writes to the CDI directory.",
            "See whether the node's disk answers.",
        ),
        Actor::Kubelet => ("The driver answers the kubelet.", "See the kubelet's log."),
        Actor::Runtime => (
            "The container runtime has not answered.",
            "See the runtime's log on this node (containerd or CRI-O).",
        ),
        Actor::Hook => (
            "The runtime waits for the hook.",
            "See step 6: did the hook reach the driver? If not, see the driver's pod and socket.",
        ),
        Actor::Multus | Actor::Cni => (
            "Multus or its plugin has not answered.",
            "See the log of the Multus daemon on this node; it needs the API server for each call.",
        ),
        Actor::Api => (
            "The API server has not taken the status. The pod does not wait for it.",
            "See whether the API server is up and the driver permitted to write status.",
        ),
    }
}

fn below(area: Rect, by: u16) -> Rect {
    let by = by.min(area.height);
    Rect::new(area.x, area.y + by, area.width, area.height - by)
}
