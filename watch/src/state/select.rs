//! What is selected: a flow, a step and its run, a line; and how far a page goes.

use ndra_core::event::Step;

use super::action::Screen;
use super::{FlowId, Model, Stage, layout};

impl Model {
    pub(super) fn page(&self) -> i32 {
        let layout = layout::Layout::of(self);
        let rows = match self.look.screen {
            Screen::Detail => layout.detail_rows(),
            _ => layout.table_rows(),
        };
        i32::try_from(rows.saturating_sub(1).max(1)).unwrap_or(1)
    }

    pub(super) fn go(&mut self, by: i32) {
        let by = isize::try_from(by).unwrap_or(0);
        if self.look.help {
            self.look.help_top = self.look.help_top.saturating_add_signed(by).min(80);
            return;
        }
        match self.look.screen {
            Screen::Flows => self.go_row(by),
            Screen::Timeline => self.other_step(by < 0),
            Screen::Detail => {
                let last = self.detail.lines.len().saturating_sub(1);
                self.look.line = self.look.line.saturating_add_signed(by).min(last);
            }
            Screen::Health => {
                let top = self.look.health_top.saturating_add_signed(by);
                self.look.health_top = top.min(layout::health_lines(self));
            }
        }
    }

    pub(super) fn go_row(&mut self, by: isize) {
        let Some(last) = self.rows.list.len().checked_sub(1) else {
            return;
        };
        let from = self.look.selected.and_then(|id| self.rows.index(id));
        let target = from.unwrap_or(0).saturating_add_signed(by).min(last);
        // Heads of groups are passed over, in the direction of travel.
        let found = if by < 0 {
            (0..=target).rev().find_map(|at| self.rows.flow(at))
        } else {
            (target..=last).find_map(|at| self.rows.flow(at))
        };
        let found = found.or_else(|| (0..=last).find_map(|at| self.rows.flow(at)));
        if let Some(id) = found {
            self.select(id);
        }
    }

    pub(super) fn edge(&mut self, last: bool) {
        if self.look.help {
            self.look.help_top = 0;
            return;
        }
        match self.look.screen {
            Screen::Detail => {
                let end = self.detail.lines.len().saturating_sub(1);
                self.look.line = if last { end } else { 0 };
            }
            Screen::Health => self.look.health_top = 0,
            Screen::Timeline => {
                // The top and the bottom as they are shown, lane by lane.
                let order = layout::step_order(&self.timeline);
                let edge = if last { order.last() } else { order.first() };
                if let Some(step) = edge.copied() {
                    self.select_step(step);
                }
            }
            Screen::Flows => {
                let all = 0..self.rows.list.len();
                let found = if last {
                    all.rev().find_map(|at| self.rows.flow(at))
                } else {
                    all.into_iter().find_map(|at| self.rows.flow(at))
                };
                if let Some(id) = found {
                    self.select(id);
                    // At the top it goes along with what comes to the top.
                    self.look.pinned = last;
                }
            }
        }
    }

    pub(super) fn select(&mut self, id: FlowId) {
        if self.rows.index(id).is_none() {
            return;
        }
        self.look.follow = false;
        self.look.pinned = true;
        if self.look.selected != Some(id) {
            self.look.selected = Some(id);
            self.look.other_flow();
        }
        self.stale.flow = true;
    }

    pub(super) fn select_step(&mut self, step: Step) {
        if self.look.step != Some(step) {
            self.look.step = Some(step);
            self.look.other_step();
        }
        self.look.pinned = true;
        self.stale.flow = true;
    }

    pub(super) fn other_step(&mut self, back: bool) {
        let order = layout::step_order(&self.timeline);
        let now = self
            .step_shown()
            .and_then(|s| order.iter().position(|o| *o == s));
        let next = match (now, back) {
            (None, _) => 0,
            (Some(at), true) => at.saturating_sub(1),
            (Some(at), false) => (at + 1).min(order.len() - 1),
        };
        self.select_step(order[next]);
    }

    pub(super) fn next_failure(&mut self, back: bool) {
        let now = self.now();
        let failed = |at: &usize| {
            self.rows
                .flow(*at)
                .and_then(|id| self.flow(id))
                .is_some_and(|flow| flow.state.stage(now) == Stage::Failed)
        };
        let len = self.rows.list.len();
        let from = self.look.selected.and_then(|id| self.rows.index(id));
        let mut places = (1..=len).map(|by| {
            let by = if back { len - by % len.max(1) } else { by };
            (from.unwrap_or(len.saturating_sub(1)) + by) % len.max(1)
        });
        match places.find(failed).and_then(|at| self.rows.flow(at)) {
            Some(id) => self.select(id),
            None => self.look.notice = Some("no flow that is shown has failed".into()),
        }
    }
}
