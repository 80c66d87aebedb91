//! Under the table: who the selected flow is, what is the matter with it, its waterfall.

use super::ink::Ink;
use super::{waterfall, why};
use crate::state::Model;
use crate::state::layout::Layout;

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let area = layout.preview;
    let Some(flow) = model.selected() else {
        return;
    };
    title(ink, model, flow, area);
    why::draw(ink, model, layout.why);
    if layout.waterfall.height > 0 {
        waterfall::draw(ink, model, layout, false);
    }
    if layout.waterfall.width > 0 && layout.waterfall.width < area.width {
        let x = layout.waterfall.right();
        for y in area.y + 1..area.bottom() {
            ink.sign(x, y, ink.theme().glyphs().wall, ink.theme().faint());
        }
    }
}

/// A rule that names a flow.
pub(super) fn title(
    ink: &mut Ink<'_>,
    model: &Model,
    flow: &crate::state::Flow,
    area: ratatui::layout::Rect,
) {
    let theme = ink.theme();
    let dot = format!(" {} ", theme.glyphs().dot);
    let pod = flow.pods.first().map_or("(no pod yet)", |pod| pod);
    let claim = if flow.claim.is_empty() {
        &flow.uid
    } else {
        &flow.claim
    };
    let mut pieces = vec![
        (pod, theme.strong()),
        (&*dot, theme.faint()),
        (claim, theme.text()),
    ];
    let addresses: Vec<String> = flow
        .interfaces()
        .map(|a| format!("{} {}", a.interface, a.ips))
        .collect();
    for address in &addresses {
        pieces.push((&dot, theme.faint()));
        pieces.push((address, theme.good()));
    }
    let node = model.node_name(flow);
    if !node.is_empty() {
        pieces.push((&dot, theme.faint()));
        pieces.push((node, theme.dim()));
    }
    ink.rule(area, area.y, &pieces);
}
