//! Time on columns: work to scale, long gaps folded to a few columns.

use crate::state::{Stretch, Timeline};

/// A piece of the axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) stretch: Stretch,
    /// Its columns, from and to.
    pub(super) columns: (f64, f64),
    /// A gap that is too long to be drawn to scale, or with attempts in it that are not
    /// drawn.
    pub(super) folded: bool,
}

/// The whole axis.
#[derive(Clone, Debug, Default)]
pub(super) struct Scale {
    pub(super) pieces: Vec<Piece>,
}

/// Columns of a folded gap.
const FOLDED: f64 = 9.0;

/// Columns of one in which attempts lie, on a wide screen: room for words.
const FOLDED_ATTEMPTS: f64 = 17.0;

impl Scale {
    /// Spreads a timeline over `columns`.
    pub(super) fn of(timeline: &Timeline, columns: u16) -> Self {
        let columns = f64::from(columns);
        let length = |s: &Stretch| nanos(s.to.saturating_sub(s.from)).max(1.0);
        let work: f64 = timeline
            .stretches
            .iter()
            .filter(|s| !s.gap)
            .map(length)
            .sum();
        // A gap that would leave less than half of the columns to the work is folded.
        let long = |s: &Stretch| s.gap && (s.hidden > 0 || length(s) > work * 0.8);
        let gaps = timeline.stretches.iter().filter(|s| long(s)).count();
        #[allow(clippy::cast_precision_loss)]
        let most = columns / 2.0 / (gaps as f64).max(1.0);
        let folded = |s: &Stretch| {
            let wanted = if s.hidden > 0 && columns >= 60.0 {
                FOLDED_ATTEMPTS
            } else {
                FOLDED
            };
            wanted.min(most).max(0.5)
        };
        let to_scale: f64 = timeline
            .stretches
            .iter()
            .filter(|s| !long(s))
            .map(length)
            .sum();
        let all_folded: f64 = timeline
            .stretches
            .iter()
            .filter(|s| long(s))
            .map(folded)
            .sum();
        let room = (columns - all_folded).max(1.0);
        // Every stretch of work is seen, however short it is beside the others.
        let least: f64 = 1.0;
        let wide = |s: &Stretch| {
            if long(s) {
                folded(s)
            } else {
                (length(s) / to_scale * room).max(if s.gap { 0.0 } else { least })
            }
        };
        let all: f64 = timeline.stretches.iter().map(wide).sum();
        let shrink = if all > columns { columns / all } else { 1.0 };
        let mut x = 0.0;
        let pieces = timeline
            .stretches
            .iter()
            .map(|stretch| {
                let from = x;
                x += wide(stretch) * shrink;
                Piece {
                    stretch: *stretch,
                    columns: (from, x),
                    folded: long(stretch),
                }
            })
            .collect();
        Self { pieces }
    }

    /// The column of a moment.
    pub(super) fn at(&self, time: i64) -> f64 {
        let found = self
            .pieces
            .partition_point(|piece| piece.stretch.to < time)
            .min(self.pieces.len().saturating_sub(1));
        let Some(piece) = self.pieces.get(found) else {
            return 0.0;
        };
        let span = nanos(piece.stretch.to.saturating_sub(piece.stretch.from)).max(1.0);
        let part = (nanos(time.saturating_sub(piece.stretch.from)) / span).clamp(0.0, 1.0);
        piece.columns.0 + (piece.columns.1 - piece.columns.0) * part
    }
}

#[allow(clippy::cast_precision_loss)]
fn nanos(n: i64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(stretches: &[(i64, i64, bool)]) -> Timeline {
        Timeline {
            stretches: stretches
                .iter()
                .map(|(from, to, gap)| Stretch {
                    from: *from,
                    to: *to,
                    gap: *gap,
                    hidden: 0,
                })
                .collect(),
            ..Timeline::default()
        }
    }

    #[test]
    fn short_gaps_are_to_scale_and_long_ones_folded() {
        let scale = Scale::of(
            &timeline(&[(0, 50, false), (50, 75, true), (75, 100, false)]),
            40,
        );
        assert_eq!(
            (scale.at(0), scale.at(50), scale.at(100)),
            (0.0, 20.0, 40.0)
        );
        assert!(scale.pieces.iter().all(|piece| !piece.folded));
        let hour = 3_600_000_000_000;
        let long = [(0, 60, false), (60, hour, true), (hour, hour + 40, false)];
        let scale = Scale::of(&timeline(&long), 109);
        assert_eq!(scale.at(60), 60.0);
        assert_eq!(scale.at(hour), 69.0);
        assert_eq!(scale.at(hour + 40), 109.0);
        assert!(scale.pieces[1].folded);
    }

    #[test]
    fn many_pieces_never_leave_the_columns() {
        let many: Vec<_> = (0..500)
            .flat_map(|n| {
                [
                    (n * 1000, n * 1000 + 1, false),
                    (n * 1000 + 1, n * 1000 + 1000, true),
                ]
            })
            .collect();
        let scale = Scale::of(&timeline(&many), 30);
        assert!(scale.at(500_000) <= 30.0001, "{}", scale.at(500_000));
        assert_eq!(Scale::of(&timeline(&[]), 30).at(5), 0.0);
    }
}
