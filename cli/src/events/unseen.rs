//! Characters that command a terminal, or that a reader cannot see.

use std::borrow::Cow;
use std::fmt::Write;

/// Does it move the cursor, turn the reading direction, or take no room at all?
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// JSON lines with such characters written as `\u` escapes, which mean the same: within
/// JSON they can stand in strings alone. Line feeds stay.
pub(crate) fn escaped(json: &[u8]) -> Cow<'_, [u8]> {
    // Of plain ASCII, DEL alone is none to show; JSON refuses the others.
    if json.iter().all(|byte| byte.is_ascii() && *byte != 0x7f) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in String::from_utf8_lossy(json).chars() {
        // What separates tokens is no part of a string.
        if !is_unseen(c) || matches!(c, '\n' | '\r' | '\t') {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // A String takes everything.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Cow::Owned(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_mean_the_same_and_command_nothing() {
        let odd = "a\u{7f}b\u{9b}31m\u{202e}c\u{200b}\u{e0041}d \u{fc} \u{7f51}";
        let line = format!("{}\n{{}}\n", serde_json::json!({ "error": odd }));
        let shown = String::from_utf8(escaped(line.as_bytes()).into_owned()).unwrap();
        assert!(
            !shown.chars().any(|c| c != '\n' && is_unseen(c)),
            "{shown:?}"
        );
        assert!(
            shown.contains(r"\u009b31m") && shown.contains("\u{fc} \u{7f51}"),
            "{shown}"
        );
        let first = shown.lines().next().unwrap();
        let read: serde_json::Value = serde_json::from_str(first).unwrap();
        assert_eq!(read["error"], odd);
        assert_eq!(shown.lines().count(), 2);
        assert!(matches!(escaped(b"{}\n"), Cow::Borrowed(_)));
    }
}
