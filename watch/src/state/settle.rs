//! Makes what a change left stale anew, once, before a frame is drawn.

use super::look::scroll_to;
use super::{Model, Row, Timeline, layout};

/// More events of one flow than this are not looked at for its waterfall.
const MAX_SHOWN: usize = 4_000;

impl Model {
    /// Makes what is stale anew, and brings the selection into view.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.stale.rows) {
            self.stale.second = self.now() / 1_000_000_000;
            self.make_rows();
            self.keep_selection();
        }
        if std::mem::take(&mut self.stale.flow) {
            let limit = self.clock.limit();
            // A flow may have very many events; the newest tell enough.
            let events: Vec<_> = match self.selected() {
                Some(flow) => self
                    .log
                    .chained_back(flow.chain)
                    .skip_while(|(_, rec)| limit.is_some_and(|limit| rec.key() > limit))
                    .take(MAX_SHOWN)
                    .map(|(id, rec)| (id, *rec))
                    .collect(),
                None => Vec::new(),
            };
            let oldest_first = events.iter().rev().map(|(id, rec)| (*id, rec));
            self.timeline = Timeline::of(oldest_first, self.now());
            self.make_why();
            self.make_detail();
        }
        self.bring_into_view();
    }

    fn keep_selection(&mut self) {
        let touched = self.look.touched.take();
        let kept = self
            .look
            .selected
            .filter(|id| self.rows.index(*id).is_some());
        let newest = || {
            let flows = self.rows.list.iter().filter_map(|row| match row {
                Row::Flow(id) => Some(*id),
                Row::Group { .. } => None,
            });
            flows.max_by_key(|id| self.flow(*id).map(|flow| (flow.state.first, *id)))
        };
        let first = || (0..self.rows.list.len()).find_map(|at| self.rows.flow(at));
        let chosen = if self.look.follow {
            newest()
        } else if self.look.pinned && kept.is_some() {
            kept
        } else if touched.is_some_and(|id| self.rows.index(id).is_some()) {
            // Stepping through time shows whose event it is.
            touched
        } else {
            first()
        };
        if chosen != self.look.selected {
            self.look.selected = chosen;
            self.look.pinned = false;
            self.look.other_flow();
        }
        self.stale.flow = true;
    }

    pub(super) fn bring_into_view(&mut self) {
        let layout = layout::Layout::of(self);
        if let Some(index) = self.look.selected.and_then(|id| self.rows.index(id)) {
            // The head of the selected flow's group stays visible.
            let near = if index == 1 { 0 } else { index };
            let (height, len) = (layout.table_rows(), self.rows.list.len());
            let top = scroll_to(self.look.top, index, height, len);
            self.look.top = if near == 0 && height > 1 { 0 } else { top };
        }
        let len = self.detail.lines.len();
        self.look.line = self.look.line.min(len.saturating_sub(1));
        let height = layout.detail_rows();
        self.look.line_top = scroll_to(self.look.line_top, self.look.line, height, len);
    }
}
