//! Where in time the view stands: live, paused at an event, or replaying at some speed.

use super::log::Key;

/// How the view moves through time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// At the newest event, going along.
    Live,
    /// At one place, while events may go on arriving.
    Paused,
    /// Going through recorded time.
    Replaying,
}

/// The slowest and the fastest replay.
pub const SPEEDS: (f64, f64) = (0.1, 100.0);

/// The speeds that keys step through.
const STEPS: [f64; 10] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// The view's place in time. Real time is handed in.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) mode: Mode,
    /// The last event that is shown; all, when live.
    pub(crate) cursor: Key,
    /// The moment that is shown, nanoseconds since 1970.
    pub(crate) at: i64,
    pub(crate) speed: f64,
    /// Real time of the last tick.
    pub(crate) now: i64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            mode: Mode::Live,
            cursor: Key::START,
            at: 0,
            speed: 1.0,
            now: 0,
        }
    }

    /// The last key to show; none when all are.
    pub(crate) fn limit(&self) -> Option<Key> {
        (self.mode != Mode::Live).then_some(self.cursor)
    }

    /// Moves replayed time on by the real time that passed.
    pub(crate) fn tick(&mut self, now: i64) {
        let passed = now.saturating_sub(self.now).max(0);
        self.now = now;
        if self.mode == Mode::Replaying {
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let on = (passed as f64 * self.speed) as i64;
            self.at = self.at.saturating_add(on);
            self.cursor = Key::after(self.at);
        }
    }

    pub(crate) fn stop_at(&mut self, cursor: Key, at: i64) {
        self.mode = Mode::Paused;
        self.cursor = cursor;
        self.at = at;
    }

    pub(crate) fn faster(&mut self) {
        if let Some(next) = STEPS.iter().find(|step| **step > self.speed * 1.001) {
            self.speed = *next;
        }
    }

    pub(crate) fn slower(&mut self) {
        if let Some(next) = STEPS.iter().rev().find(|step| **step < self.speed * 0.999) {
            self.speed = *next;
        }
    }

    pub(crate) fn set_speed(&mut self, speed: f64) {
        if speed.is_finite() {
            self.speed = speed.clamp(SPEEDS.0, SPEEDS.1);
        }
    }
}
