//! Keys written down: `jj<enter>`, as `--keys` takes them.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Why keys cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// No key has this name.
    #[error(
        "<{name}> is no key: there are enter, esc, space, tab, up, down, left, right, home, end, \
         pgup, pgdn, bs, f1, lt, each also with s- and c- before it, such as <c-c>"
    )]
    Unknown {
        /// What was given.
        name: String,
    },
    /// A `<` without its `>`.
    #[error("`<` without `>` in the keys; write <lt> for the character itself")]
    Open,
}

/// Reads keys: characters stand for themselves, names stand in `<…>`.
pub fn parse_keys(spec: &str) -> Result<Vec<KeyEvent>, KeysError> {
    let mut keys = Vec::new();
    let mut rest = spec;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '<' {
            let (name, after) = rest.split_once('>').ok_or(KeysError::Open)?;
            keys.push(named(name)?);
            rest = after;
        } else {
            keys.push(plain(c));
        }
    }
    Ok(keys)
}

fn plain(c: char) -> KeyEvent {
    let shift = if c.is_uppercase() {
        KeyModifiers::SHIFT
    } else {
        KeyModifiers::NONE
    };
    KeyEvent::new(KeyCode::Char(c), shift)
}

fn named(name: &str) -> Result<KeyEvent, KeysError> {
    let unknown = || KeysError::Unknown {
        name: name.chars().take(32).collect(),
    };
    let lower = name.to_ascii_lowercase();
    let mut rest = lower.as_str();
    let mut modifiers = KeyModifiers::NONE;
    loop {
        if let Some(after) = rest.strip_prefix("c-") {
            modifiers |= KeyModifiers::CONTROL;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("s-") {
            modifiers |= KeyModifiers::SHIFT;
            rest = after;
        } else {
            break;
        }
    }
    let code = match rest {
        "enter" | "cr" | "return" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "space" => KeyCode::Char(' '),
        "tab" if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        "tab" => KeyCode::Tab,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "bs" => KeyCode::Backspace,
        "f1" => KeyCode::F(1),
        "lt" => KeyCode::Char('<'),
        other => {
            let mut chars = other.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) if !modifiers.is_empty() => KeyCode::Char(c),
                _ => return Err(unknown()),
            }
        }
    };
    Ok(KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_names() {
        let codes = |spec: &str| -> Vec<_> {
            let keys = parse_keys(spec).unwrap();
            keys.iter().map(|key| (key.code, key.modifiers)).collect()
        };
        let none = KeyModifiers::NONE;
        assert_eq!(
            codes("jG<enter><lt><C-c><s-tab>/ü"),
            [
                (KeyCode::Char('j'), none),
                (KeyCode::Char('G'), KeyModifiers::SHIFT),
                (KeyCode::Enter, none),
                (KeyCode::Char('<'), none),
                (KeyCode::Char('c'), KeyModifiers::CONTROL),
                (KeyCode::BackTab, KeyModifiers::SHIFT),
                (KeyCode::Char('/'), none),
                (KeyCode::Char('ü'), none),
            ]
        );
    }

    #[test]
    fn what_is_no_key_is_named() {
        let words = |spec: &str| parse_keys(spec).unwrap_err().to_string();
        insta::assert_snapshot!(words("j<entr>"), @"<entr> is no key: there are enter, esc, space, tab, up, down, left, right, home, end, pgup, pgdn, bs, f1, lt, each also with s- and c- before it, such as <c-c>");
        insta::assert_snapshot!(words("j<enter"), @"`<` without `>` in the keys; write <lt> for the character itself");
        assert!(parse_keys("<>").is_err() && parse_keys("<x>").is_err());
    }
}
