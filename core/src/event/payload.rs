//! Keeps payloads small and free of secrets before they enter an event.

use serde_json::{Map, Value};

/// The longest payload value that an event carries, in bytes of JSON.
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// A copy of `value` fit for an event: tokens and environment values redacted, and
/// replaced by a beginning of its text when it is longer than [`MAX_PAYLOAD`] bytes.
pub fn bounded(value: &Value) -> Value {
    let mut value = value.clone();
    redact(&mut value, 0);
    let text = value.to_string();
    if text.len() <= MAX_PAYLOAD {
        return value;
    }
    serde_json::json!({
        "truncated": true, "bytes": text.len(), "head": clipped(&text, MAX_PAYLOAD),
    })
}

/// The first bytes of a text, at most `limit`, ending at a character.
pub(super) fn clipped(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// An object's entries, each [`bounded`], as an event carries them.
pub fn details(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, bounded(&v))).collect(),
        _ => Map::new(),
    }
}

fn redact(value: &mut Value, depth: usize) {
    if depth > 64 {
        *value = Value::String("[too deep]".into());
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if secret(key) && !inner.is_null() {
                    *inner = Value::String(REDACTED.into());
                } else if matches!(key.as_str(), "env" | "envs") {
                    redact_env(inner);
                } else {
                    redact(inner, depth + 1);
                }
            }
        }
        Value::Array(list) => {
            for inner in list {
                redact(inner, depth + 1);
            }
        }
        _ => {}
    }
}

/// Environment entries keep their names: they tell what was set, not to what.
fn redact_env(value: &mut Value) {
    let Value::Array(list) = value else {
        if let Value::Object(map) = value {
            for (name, inner) in map.iter_mut() {
                // CNI's own variables are the call itself.
                if !name.starts_with("CNI_") && !name.starts_with("K8S_") {
                    *inner = Value::String(REDACTED.into());
                }
            }
        } else {
            *value = Value::String(REDACTED.into());
        }
        return;
    };
    for entry in list {
        match entry {
            Value::String(text) => {
                if let Some((name, _)) = text.split_once('=') {
                    *text = format!("{name}={REDACTED}");
                }
            }
            Value::Object(map) => {
                if let Some(inner) = map.get_mut("value") {
                    *inner = Value::String(REDACTED.into());
                }
            }
            other => *other = Value::String(REDACTED.into()),
        }
    }
}

fn secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "password", "secret", "authorization", "apikey"]
        .iter()
        .any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_and_environment_values_are_redacted() {
        let value = json!({
            "spec": { "token": "abc", "env": ["PATH=/bin", "KEY=hunter2"] },
            "list": [{ "envs": [{ "name": "A", "value": "b" }] }],
            "env": { "CNI_IFNAME": "net1", "HOME": "/root" },
            "bearerToken": null,
        });
        assert_eq!(
            bounded(&value),
            json!({
                "spec": { "token": "[redacted]", "env": ["PATH=[redacted]", "KEY=[redacted]"] },
                "list": [{ "envs": [{ "name": "A", "value": "[redacted]" }] }],
                "env": { "CNI_IFNAME": "net1", "HOME": "[redacted]" },
                "bearerToken": null,
            })
        );
    }

    #[test]
    fn long_payloads_keep_their_beginning_at_a_character() {
        let value = json!({ "text": "é".repeat(MAX_PAYLOAD) });
        let bounded = bounded(&value);
        assert_eq!(bounded["truncated"], true);
        assert!(bounded["head"].as_str().unwrap().len() <= MAX_PAYLOAD);
    }
}
