//! Blocks and lines of the frame as shapes: in a font they rarely meet.

use super::svg::short;

/// How a sign fills its cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// A part of the cell: from left, top, width, height, each 0 to 1.
    Block(f32, f32, f32, f32),
    /// Slanted stripes: what waits.
    Shade,
    /// A line from left to right.
    Across,
    /// A line from top to bottom, and whether it is dashed.
    Down(bool),
    /// A corner: does it go to the right, does it go down?
    Corner(bool, bool),
}

/// The shape of a sign, if it is drawn as one.
pub(super) fn of(symbol: &str) -> Option<Shape> {
    let mut chars = symbol.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else {
        return None;
    };
    let eighths = |first: char| f32::from(u16::try_from(c as u32 - first as u32).unwrap_or(0));
    Some(match c {
        '█' => Shape::Block(0.0, 0.0, 1.0, 1.0),
        '▁'..='▇' => {
            let height = (eighths('▁') + 1.0) / 8.0;
            Shape::Block(0.0, 1.0 - height, 1.0, height)
        }
        '▉'..='▏' => Shape::Block(0.0, 0.0, (7.0 - eighths('▉')) / 8.0, 1.0),
        '░' => Shape::Shade,
        '─' => Shape::Across,
        '│' => Shape::Down(false),
        '┃' => Shape::Block(0.35, 0.0, 0.3, 1.0),
        '┊' => Shape::Down(true),
        '╭' => Shape::Corner(true, true),
        '╮' => Shape::Corner(false, true),
        '╰' => Shape::Corner(true, false),
        '╯' => Shape::Corner(false, false),
        _ => return None,
    })
}

impl Shape {
    /// Do equal neighbours make one shape?
    pub(super) fn joins(self) -> bool {
        match self {
            Self::Block(_, _, width, _) => width >= 1.0,
            Self::Across | Self::Shade => true,
            Self::Down(_) | Self::Corner(..) => false,
        }
    }

    /// The outline in a place: left, top, width, height.
    pub(super) fn path(self, (x, y, w, h): (f32, f32, f32, f32)) -> String {
        let rect = |x: f32, y: f32, w: f32, h: f32| {
            let (x, y, w, h) = (short(x), short(y), short(w), short(h));
            format!("M{x} {y}h{w}v{h}h-{w}z")
        };
        let (middle_x, middle_y) = (x + w / 2.0, y + h / 2.0);
        match self {
            Self::Block(left, top, width, height) => {
                // A hair of room above, so that bars on neighbouring lines stay apart.
                let inset = if height >= 1.0 && width > 0.0 {
                    0.12
                } else {
                    0.0
                };
                rect(
                    x + left * w,
                    y + (top + inset) * h,
                    width * w,
                    (height - 2.0 * inset) * h,
                )
            }
            Self::Shade => rect(x, y + 0.42 * h, w, 0.16 * h),
            Self::Across => rect(x, middle_y - 0.5, w, 1.0),
            Self::Down(false) => rect(middle_x - 0.5, y, 1.0, h),
            Self::Down(true) => {
                let third = h / 6.0;
                (0..3_u8)
                    .map(|n| {
                        let top = f32::from(n).mul_add(2.0 * third, y + third / 2.0);
                        rect(middle_x - 0.5, top, 1.0, third)
                    })
                    .collect()
            }
            Self::Corner(right, down) => {
                let across = if right { middle_x - 0.5 } else { x };
                let along = if down { middle_y - 0.5 } else { y };
                let wide = rect(across, middle_y - 0.5, w / 2.0 + 0.5, 1.0);
                wide + &rect(middle_x - 0.5, along, 1.0, h / 2.0 + 0.5)
            }
        }
    }
}
