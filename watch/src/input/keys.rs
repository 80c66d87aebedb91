//! Which key does what. The help and the footer say the same.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::state::{Action, Control, Model, Screen};

/// What a key asks for; nothing, if it means nothing here.
pub fn key(model: &Model, event: KeyEvent) -> Option<Action> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    if model.look().prompt.is_some() {
        return typed(event.code, ctrl);
    }
    if ctrl {
        return match event.code {
            KeyCode::Char('c' | 'd' | 'q') => Some(Action::Quit),
            KeyCode::Char('l') => Some(Action::Redraw),
            KeyCode::Char('f') => Some(Action::Page(1)),
            KeyCode::Char('b') => Some(Action::Page(-1)),
            KeyCode::Char('n') => Some(Action::Move(1)),
            KeyCode::Char('p') => Some(Action::Move(-1)),
            KeyCode::Left => Some(Action::Leap(-1)),
            KeyCode::Right => Some(Action::Leap(1)),
            _ => None,
        };
    }
    let shift = event.modifiers.contains(KeyModifiers::SHIFT);
    let detail = model.look().screen == Screen::Detail;
    Some(match event.code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('1') => Action::Show(Screen::Flows),
        KeyCode::Char('2') => Action::Show(Screen::Timeline),
        KeyCode::Char('3') => Action::Show(Screen::Detail),
        KeyCode::Char('4') => Action::Show(Screen::Health),
        KeyCode::Tab => Action::Turn { back: false },
        KeyCode::BackTab => Action::Turn { back: true },
        KeyCode::Enter => Action::Open,
        KeyCode::Esc | KeyCode::Backspace => Action::Back,
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::PageUp => Action::Page(-1),
        KeyCode::PageDown => Action::Page(1),
        KeyCode::Char('g') => Action::Edge { last: false },
        KeyCode::Char('G') => Action::Edge { last: true },
        KeyCode::Char('e') => Action::NextFailure { back: false },
        KeyCode::Char('E') => Action::NextFailure { back: true },
        KeyCode::Char(' ') => Action::Pause,
        KeyCode::Left if shift => Action::Leap(-1),
        KeyCode::Right if shift => Action::Leap(1),
        KeyCode::Left | KeyCode::Char('h') => Action::Step(-1),
        KeyCode::Right | KeyCode::Char('l') => Action::Step(1),
        KeyCode::Char(',' | '<') => Action::Leap(-1),
        KeyCode::Char('.' | '>') => Action::Leap(1),
        KeyCode::Home => Action::Begin,
        KeyCode::End => Action::Live,
        KeyCode::Char('+' | '=') => Action::Faster,
        KeyCode::Char('-') => Action::Slower,
        KeyCode::Char('/') => Action::Prompt,
        KeyCode::Char('s') => Action::Sort,
        KeyCode::Char('S') => Action::Reverse,
        KeyCode::Char('o') => Action::Group,
        KeyCode::Char('f') => Action::Follow,
        KeyCode::Char('n') if detail => Action::NextHit { back: false },
        KeyCode::Char('N') if detail => Action::NextHit { back: true },
        KeyCode::Char('z') => Action::FoldAll,
        KeyCode::Char('y') => Action::Format,
        KeyCode::Char('[') => Action::Run { back: true },
        KeyCode::Char(']') => Action::Run { back: false },
        KeyCode::Char('{') => Action::StepOver { back: true },
        KeyCode::Char('}') => Action::StepOver { back: false },
        KeyCode::Char('c') => Action::Copy,
        KeyCode::Char('P') => Action::Control(Control::StartPod),
        KeyCode::Char('R') => Action::Control(Control::RestartContainer),
        KeyCode::Char('K') => Action::Control(Control::KillDriver),
        KeyCode::Char('I') => Action::Control(Control::InjectFault),
        _ => return None,
    })
}

/// A key while the prompt is open.
fn typed(code: KeyCode, ctrl: bool) -> Option<Action> {
    Some(match code {
        KeyCode::Char('c') if ctrl => Action::Quit,
        KeyCode::Char('u') if ctrl => Action::Filter(String::new()),
        KeyCode::Char('w') if ctrl => Action::EraseWord,
        KeyCode::Char('h') if ctrl => Action::Erase,
        KeyCode::Char(_) if ctrl => return None,
        KeyCode::Char(c) => Action::Type(c),
        KeyCode::Backspace => Action::Erase,
        KeyCode::Enter => Action::Accept,
        KeyCode::Esc => Action::Back,
        KeyCode::Up => Action::Move(-1),
        KeyCode::Down => Action::Move(1),
        _ => return None,
    })
}
