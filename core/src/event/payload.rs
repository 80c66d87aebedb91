//! Keeps payloads small and free of secrets before they enter an event.

use serde_json::{Map, Value};

use super::redact;

/// The longest payload value that an event carries, in bytes of JSON.
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// A copy of `value` fit for an event: secrets and environment values redacted, and
/// replaced by a beginning of its text when it is longer than [`MAX_PAYLOAD`] bytes.
pub fn bounded(value: &Value) -> Value {
    let mut value = value.clone();
    redact::value(&mut value);
    let text = value.to_string();
    if text.len() <= MAX_PAYLOAD {
        return value;
    }
    serde_json::json!({
        "truncated": true, "bytes": text.len(), "head": clipped(&text, MAX_PAYLOAD),
    })
}

/// The first bytes of a text, at most `limit`, ending at a character.
pub(super) fn head(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// [`head`], as a text of its own.
pub(super) fn clipped(text: &str, limit: usize) -> String {
    head(text, limit).to_owned()
}

/// An object's entries, each [`bounded`], as an event carries them.
pub fn details(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, bounded(&v))).collect(),
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_payloads_keep_their_beginning_at_a_character() {
        let value = serde_json::json!({ "text": "é".repeat(MAX_PAYLOAD) });
        let bounded = bounded(&value);
        assert_eq!(bounded["truncated"], true);
        assert!(bounded["head"].as_str().unwrap().len() <= MAX_PAYLOAD);
    }
}
