//! Text from outside, made fit for a message: bounded, and without control characters.

/// The most characters of a value that a message shows.
const MAX_SHOWN: usize = 64;

/// The value in double quotes, escaped; its beginning and its length when it is long.
pub fn quoted(text: &str) -> String {
    let (head, cut) = head(text, MAX_SHOWN);
    if cut {
        format!("\"{head}…\" ({} bytes)", text.len())
    } else {
        format!("\"{head}\"")
    }
}

/// The value without quotes, escaped and bounded: for names that are mostly harmless.
pub fn plain(text: &str) -> String {
    let (head, cut) = head(text, 253);
    if cut { format!("{head}…") } else { head }
}

/// What a JSON value is, in a reader's words.
pub fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

/// What to do where a string is expected and this stands.
pub fn as_string(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => "put the value in quotes",
        serde_json::Value::Null => "write a value, or remove the field",
        _ => "write one string",
    }
}

fn head(text: &str, max: usize) -> (String, bool) {
    // A misplaced zero-width or direction mark would change how the rest reads.
    let escaped = text
        .chars()
        .take(max)
        .flat_map(char::escape_debug)
        .collect();
    (escaped, text.chars().nth(max).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_marks_are_escaped() {
        assert_eq!(
            quoted("a\n\u{1b}[31m\u{202e}\""),
            r#""a\n\u{1b}[31m\u{202e}\"""#
        );
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let shown = quoted(&"ü".repeat(65));
        assert_eq!(shown, format!("\"{}…\" (130 bytes)", "ü".repeat(64)));
        assert_eq!(quoted(&"ü".repeat(64)), format!("\"{}\"", "ü".repeat(64)));
    }
}
