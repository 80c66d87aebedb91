//! Actions: each changes the look or the place in time, and may ask something of the host.

use super::Model;
use super::action::{Action, Effect, Grouping, Screen, Sort};
use super::look::Purpose;
use super::prompt::MAX_PROMPT;
use super::tree::Format;

impl Model {
    /// Does what a person asks for. What comes back is the host's to do.
    pub fn act(&mut self, action: Action) -> Option<Effect> {
        self.look.notice = None;
        let effect = self.change(action);
        self.settle();
        effect
    }

    fn change(&mut self, action: Action) -> Option<Effect> {
        let reorders = matches!(action, Action::Sort | Action::Reverse | Action::Group);
        self.stale.rows |= reorders;
        match action {
            Action::Quit => return Some(Effect::Quit),
            Action::Redraw => return Some(Effect::Redraw),
            Action::Show(screen) => self.show(screen),
            Action::Turn { back } => {
                self.show(turned(&Screen::ALL, self.look.screen, back));
            }
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Move(by) => self.go(by),
            Action::Page(by) => self.go(by.saturating_mul(self.page())),
            Action::Edge { last } => self.edge(last),
            Action::Scroll(by) => self.go(by),
            Action::Select(id) => self.select(id),
            Action::SelectStep(step) => self.select_step(step),
            Action::SelectLine(line) => self.look.line = line,
            Action::NextFailure { back } => self.next_failure(back),
            Action::Pause => self.pause(),
            Action::Step(by) => self.step(by),
            Action::Leap(by) => self.leap(by),
            Action::Begin => self.go_to(0),
            Action::Live => self.go_live(),
            Action::Scrub(part) => self.scrub(part),
            Action::GoToEvent(count) => {
                let gone = usize::try_from(self.forgotten).unwrap_or(usize::MAX);
                self.go_to(count.saturating_sub(gone));
            }
            Action::GoToTime(after) => {
                if let Some((first, _)) = self.bounds() {
                    self.go_to_time(first.saturating_add(after));
                }
            }
            Action::Faster => self.clock.faster(),
            Action::Slower => self.clock.slower(),
            Action::Speed(speed) => self.clock.set_speed(speed),
            Action::Sort => self.look.sort = turned(&Sort::ALL, self.look.sort, false),
            Action::Reverse => self.look.reverse = !self.look.reverse,
            Action::Group => {
                self.look.grouping = turned(&Grouping::ALL, self.look.grouping, false);
                if self.look.grouping == Grouping::Node && !self.many_nodes() {
                    self.look.grouping = Grouping::None;
                }
            }
            Action::Follow => {
                self.look.follow = !self.look.follow;
                self.stale.rows = true;
            }
            Action::Prompt => self.prompt(),
            Action::Type(c) => self.typed(|text| {
                if !c.is_control() && text.len() < MAX_PROMPT {
                    text.push(c);
                }
            }),
            Action::Paste(pasted) => self.typed(|text| {
                let room = MAX_PROMPT.saturating_sub(text.len());
                // A line's end stands between two words.
                let plain = pasted.trim().chars();
                let plain = plain.map(|c| if c.is_control() { ' ' } else { c });
                text.extend(plain.take(room));
            }),
            Action::Erase => self.erase(),
            Action::EraseWord => self.typed(|text| {
                let kept = text.trim_end();
                let cut = kept.rfind(' ').map_or(0, |at| at + 1);
                text.truncate(cut);
            }),
            Action::Accept => self.accept(),
            Action::Filter(text) => self.set_filter(text),
            Action::NextHit { back } => self.next_hit(back),
            Action::Fold => self.fold(),
            Action::FoldAll => {
                self.look.folded = !self.look.folded;
                self.look.toggled.clear();
                self.stale.flow = true;
            }
            Action::Format => {
                self.look.format = match self.look.format {
                    Format::Json => Format::Yaml,
                    Format::Yaml => Format::Json,
                };
                self.stale.flow = true;
            }
            Action::Run { back } => self.other_run(back),
            Action::StepOver { back } => self.other_step(back),
            Action::Copy => {
                let text = self.copied()?;
                self.look.notice = Some(format!("copied {} bytes", text.len()));
                return Some(Effect::Copy(text));
            }
            Action::Help => {
                self.look.help = !self.look.help;
                self.look.help_top = 0;
            }
            Action::Control(control) if self.settings.controls => {
                let flow = self.selected();
                // Elsewhere no step is marked, and a guess would surprise.
                let marked = matches!(self.look.screen, Screen::Timeline | Screen::Detail);
                return Some(Effect::Control {
                    control,
                    claim: flow.map(|flow| flow.uid.to_string()),
                    pod: flow.and_then(|flow| flow.pods.first().map(ToString::to_string)),
                    step: self.step_shown().filter(|_| marked),
                });
            }
            Action::Control(_) => {}
        }
        None
    }

    fn show(&mut self, screen: Screen) {
        self.look.screen = screen;
        self.look.help = false;
    }

    fn open(&mut self) {
        if self.look.help {
            self.look.help = false;
            return;
        }
        match self.look.screen {
            Screen::Flows if self.look.selected.is_some() => {
                self.look.pinned = true;
                self.look.screen = Screen::Timeline;
            }
            Screen::Timeline if self.look.selected.is_some() => {
                self.look.step = self.step_shown();
                self.look.screen = Screen::Detail;
            }
            Screen::Detail => self.fold(),
            _ => {}
        }
    }

    pub(super) fn back(&mut self) {
        let look = &mut self.look;
        if look.prompt.is_some() {
            let filters = look.prompt.as_ref().map(|p| p.purpose) == Some(Purpose::Filter);
            look.prompt = None;
            if filters {
                // What was typed took effect at once; it goes again.
                self.set_filter(String::new());
            }
        } else if look.help {
            look.help = false;
        } else if look.screen == Screen::Detail && !look.search.is_empty() {
            look.search.clear();
            self.stale.flow = true;
        } else if look.screen == Screen::Detail {
            look.screen = Screen::Timeline;
        } else if look.screen != Screen::Flows {
            look.screen = Screen::Flows;
        } else if !look.filter.is_empty() {
            self.set_filter(String::new());
        } else if look.pinned {
            look.pinned = false;
            self.stale.rows = true;
        }
    }

    fn scrub(&mut self, part: f64) {
        let Some((first, last)) = self.bounds() else {
            return;
        };
        let part = if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            1.0
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let after = (last.saturating_sub(first) as f64 * part) as i64;
        self.go_to_time(first.saturating_add(after));
    }

    fn fold(&mut self) {
        let line = self.detail.lines.get(self.look.line);
        if let Some(node) = line.filter(|line| line.fold.is_some()).map(|l| l.node) {
            if !self.look.toggled.remove(&node) {
                self.look.toggled.insert(node);
            }
            self.stale.flow = true;
        }
    }
}

fn turned<T: Copy + PartialEq>(all: &[T], now: T, back: bool) -> T {
    let at = all.iter().position(|one| *one == now).unwrap_or(0);
    let next = if back { at + all.len() - 1 } else { at + 1 };
    all[next % all.len()]
}
