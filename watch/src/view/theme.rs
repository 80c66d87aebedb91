//! Colours by role, for what the terminal can show.

use ndra_core::event::Actor;
use ratatui::style::{Color, Modifier, Style};

use super::glyphs::{ASCII, Glyphs, UNICODE};
use crate::state::{Kind, Lane, Stage, Status};

/// How many colours the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// None: `NO_COLOR`, or a terminal that has none.
    None,
    /// The 16 of every terminal, as its user has set them.
    Sixteen,
    /// The 256 of most.
    Palette,
    /// Any.
    True,
}

/// Colours and signs.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    colors: Colors,
    ascii: bool,
}

/// What a colour stands for, with its shades for true colour, 256 and 16 colours.
type Shade = (u32, u8, Color);

const DIM: Shade = (0x8b_949e, 246, Color::DarkGray);
const FAINT: Shade = (0x48_505b, 239, Color::DarkGray);
const STRONG: Shade = (0xf0_f3f6, 255, Color::White);
const ACCENT: Shade = (0x6c_b6ff, 75, Color::Cyan);
const GOOD: Shade = (0x57_c785, 78, Color::Green);
const BUSY: Shade = (0x4c_c9f0, 81, Color::Cyan);
const BAD: Shade = (0xff_6b6b, 203, Color::Red);
const WARN: Shade = (0xf2_c14e, 221, Color::Yellow);
const SELECTED: (u32, u8) = (0x1f_3350, 237);

const KUBELET: Shade = (0x6c_b6ff, 75, Color::Blue);
const DRIVER: Shade = (0x57_c785, 78, Color::Green);
const RUNTIME: Shade = (0xc0_99ff, 141, Color::Magenta);
const HOOK: Shade = (0xf2_c14e, 221, Color::Yellow);
const MULTUS: Shade = (0xff_9e64, 215, Color::Cyan);
const CNI: Shade = (0xff_9e64, 215, Color::Cyan);
const API: Shade = (0x4c_c9f0, 81, Color::White);

impl Theme {
    /// A theme for a terminal with `colors`, and Unicode unless `ascii`.
    pub fn new(colors: Colors, ascii: bool) -> Self {
        Self { colors, ascii }
    }

    /// Colours as the environment asks: `NO_COLOR` (not empty), `COLORTERM`, `TERM`;
    /// plain ASCII unless one of `LC_ALL`, `LC_CTYPE`, `LANG` (the first that is set)
    /// names UTF-8. `var` reads a variable.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let colors = if set("NO_COLOR").is_some() || term == "dumb" {
            Colors::None
        } else if set("COLORTERM").is_some_and(|c| c == "truecolor" || c == "24bit") {
            Colors::True
        } else if term.contains("256") {
            Colors::Palette
        } else {
            Colors::Sixteen
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self::new(colors, !utf8)
    }

    /// How many colours it uses.
    pub fn colors(&self) -> Colors {
        self.colors
    }

    /// Is the terminal one that knows ASCII only?
    pub(crate) fn is_ascii(&self) -> bool {
        self.ascii
    }

    pub(crate) fn glyphs(&self) -> &'static Glyphs {
        if self.ascii { &ASCII } else { &UNICODE }
    }

    fn of(&self, shade: Shade) -> Style {
        match self.colors {
            Colors::None => Style::new(),
            Colors::Sixteen => Style::new().fg(shade.2),
            Colors::Palette => Style::new().fg(Color::Indexed(shade.1)),
            Colors::True => Style::new().fg(rgb(shade.0)),
        }
    }

    pub(crate) fn text(&self) -> Style {
        Style::new()
    }

    pub(crate) fn dim(&self) -> Style {
        self.of(DIM)
    }

    pub(crate) fn faint(&self) -> Style {
        match self.colors {
            Colors::None => Style::new().add_modifier(Modifier::DIM),
            _ => self.of(FAINT),
        }
    }

    pub(crate) fn strong(&self) -> Style {
        self.of(STRONG).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn accent(&self) -> Style {
        self.of(ACCENT).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn good(&self) -> Style {
        self.of(GOOD)
    }

    pub(crate) fn busy(&self) -> Style {
        self.of(BUSY)
    }

    pub(crate) fn bad(&self) -> Style {
        self.of(BAD).add_modifier(Modifier::BOLD)
    }

    /// Failed because another step did.
    pub(crate) fn fell(&self) -> Style {
        self.of(BAD)
    }

    pub(crate) fn warn(&self) -> Style {
        self.of(WARN)
    }

    /// What is laid over a selected line.
    pub(crate) fn selected(&self) -> Style {
        match self.colors {
            Colors::None | Colors::Sixteen => Style::new().add_modifier(Modifier::REVERSED),
            Colors::Palette => Style::new().bg(Color::Indexed(SELECTED.1)),
            Colors::True => Style::new().bg(rgb(SELECTED.0)),
        }
    }

    /// The colour of plain text on a selected line: the terminal's own may be dark.
    pub(crate) fn on_selected(&self) -> Option<Color> {
        match self.colors {
            Colors::None | Colors::Sixteen => None,
            _ => self.of(STRONG).fg,
        }
    }

    /// A search hit.
    pub(crate) fn hit(&self) -> Style {
        self.warn()
            .add_modifier(Modifier::UNDERLINED | Modifier::BOLD)
    }

    pub(crate) fn status(&self, status: Status) -> Style {
        match status {
            Status::Waiting | Status::Skipped => self.faint(),
            Status::Running => self.busy().add_modifier(Modifier::BOLD),
            Status::Done => self.good(),
            Status::Failed => self.bad(),
        }
    }

    pub(crate) fn stage(&self, stage: Stage) -> Style {
        match stage {
            Stage::Failed => self.bad(),
            Stage::Hanging => self.warn().add_modifier(Modifier::BOLD),
            Stage::Moving => self.busy(),
            Stage::Ready => self.good(),
            Stage::Ended => self.dim(),
        }
    }

    pub(crate) fn lane(&self, lane: Lane) -> Style {
        self.of(match lane {
            Lane::Kubelet => KUBELET,
            Lane::Driver => DRIVER,
            Lane::Runtime => RUNTIME,
            Lane::Hook => HOOK,
            Lane::Multus => MULTUS,
            Lane::Cni => CNI,
            Lane::Api => API,
        })
    }

    pub(crate) fn actor(&self, actor: Actor) -> Style {
        self.lane(Lane::of(actor))
    }

    pub(crate) fn kind(&self, kind: Kind) -> Style {
        match kind {
            Kind::Key => self.of(ACCENT),
            Kind::Text => self.good(),
            Kind::Number => self.warn(),
            Kind::Word => self.of(RUNTIME),
            Kind::Mark => self.dim(),
            Kind::Folded => self.dim().add_modifier(Modifier::ITALIC),
            Kind::Title => self.strong(),
        }
    }
}

fn rgb(hex: u32) -> Color {
    let [_, r, g, b] = hex.to_be_bytes();
    Color::Rgb(r, g, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> (Colors, bool) {
        let theme = Theme::from_env(|name| {
            let found = vars.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        (theme.colors, theme.ascii)
    }

    #[test]
    fn the_environment_decides() {
        let utf8 = ("LANG", "en_US.UTF-8");
        let term = ("TERM", "xterm-256color");
        assert_eq!(env(&[]), (Colors::Sixteen, true));
        assert_eq!(env(&[utf8, term]), (Colors::Palette, false));
        assert_eq!(
            env(&[utf8, term, ("COLORTERM", "truecolor")]),
            (Colors::True, false)
        );
        assert_eq!(env(&[utf8, term, ("NO_COLOR", "1")]), (Colors::None, false));
        assert_eq!(
            env(&[utf8, term, ("NO_COLOR", "")]),
            (Colors::Palette, false)
        );
        assert_eq!(env(&[utf8, ("LC_ALL", "C")]), (Colors::Sixteen, true));
    }
}
