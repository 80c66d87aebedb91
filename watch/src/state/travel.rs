//! Moves the view through time: only flows with events in between change.

use super::clock::Mode;
use super::log::Key;
use super::{FlowId, Model};

impl Model {
    /// Makes flows and health what they were at the cursor.
    pub(super) fn travel(&mut self) {
        let limit = self.clock.limit();
        let target = match limit {
            None => self.log.len(),
            Some(limit) => self.log.until(limit),
        };
        if target > self.applied {
            for id in self.log.ids(self.applied, target) {
                let rec = self.log.get(id);
                self.health.add(rec);
                if let Some(Some(flow)) = self.flows.get_mut(rec.flow as usize) {
                    flow.state.apply(rec);
                }
            }
        } else {
            self.mark = self.mark.wrapping_add(1);
            let mut again = Vec::new();
            for id in self.log.ids(target, self.applied) {
                let rec = self.log.get(id);
                self.health.remove(rec);
                if let Some(Some(flow)) = self.flows.get_mut(rec.flow as usize)
                    && flow.mark != self.mark
                {
                    flow.mark = self.mark;
                    again.push(rec.flow);
                }
            }
            for id in again {
                if let Some(Some(flow)) = self.flows.get_mut(id as usize) {
                    flow.refold(&self.log, limit);
                }
            }
        }
        self.applied = target;
        self.stale.rows = true;
        self.stale.flow = true;
    }

    /// Pauses with exactly `count` events shown.
    pub(super) fn go_to(&mut self, count: usize) {
        let count = count.min(self.log.len());
        let (cursor, at) = match count.checked_sub(1).and_then(|last| self.log.at(last)) {
            Some(rec) => (rec.key(), rec.at),
            None => (Key::START, self.bounds().map_or(0, |(first, _)| first)),
        };
        self.clock.stop_at(cursor, at);
        self.travel();
        if count > 0
            && let Some(rec) = self.log.at(count - 1)
        {
            self.look.touched = Some(FlowId(rec.flow));
        }
    }

    /// Pauses at a moment.
    pub(super) fn go_to_time(&mut self, at: i64) {
        let Some((first, last)) = self.bounds() else {
            return;
        };
        let at = at.clamp(first, last);
        self.clock.stop_at(Key::after(at), at);
        self.travel();
    }

    /// Goes on by some events.
    pub(super) fn step(&mut self, by: i32) {
        let by = isize::try_from(by).unwrap_or(0);
        self.go_to(self.applied.saturating_add_signed(by));
    }

    /// Goes on by tenths of the recorded time.
    pub(super) fn leap(&mut self, by: i32) {
        if let Some((first, last)) = self.bounds() {
            let tenth = last.saturating_sub(first) / 10;
            let from = self.now().clamp(first, last);
            self.go_to_time(from.saturating_add(tenth.saturating_mul(by.into())));
        }
    }

    /// Pauses, or goes on from where it stands; from the begin, when a recording is at
    /// its end.
    pub(super) fn pause(&mut self) {
        match self.clock.mode {
            Mode::Replaying => self.clock.mode = Mode::Paused,
            Mode::Paused => {
                self.clock.mode = Mode::Replaying;
                self.clock.cursor = Key::after(self.clock.at).max(self.clock.cursor);
            }
            Mode::Live if self.running() || self.log.len() == 0 => {
                let at = self.now();
                let last = self.log.len().checked_sub(1).and_then(|at| self.log.at(at));
                let cursor = last.map_or(Key::START, |rec| rec.key());
                self.clock.stop_at(cursor, at);
                self.travel();
            }
            Mode::Live => {
                self.go_to(0);
                self.clock.mode = Mode::Replaying;
            }
        }
    }

    /// Goes to the newest event and along with it.
    pub(super) fn go_live(&mut self) {
        self.clock.mode = Mode::Live;
        self.travel();
    }
}
