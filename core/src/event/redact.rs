//! Takes secrets out of what enters an event: who watches a node need not know them.
//!
//! A CNI configuration is free text of its author, so this errs on the side of too much:
//! what has a name like a secret's is one.

use std::borrow::Cow;

use serde_json::Value;

use super::payload::head;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// JSON in texts is looked into up to this length, in bytes.
const MAX_NESTED: usize = 256 * 1024;

/// What a text has beyond this, in bytes, is left out: an event shows far less of it.
const MAX_TEXT: usize = 64 * 1024;

/// JSON deeper than this is left out.
const MAX_DEPTH: usize = 64;

/// Takes the secrets out of a payload: values under telling names, values of environment
/// variables, and what [`text`] finds in all other texts.
pub(super) fn value(value: &mut Value) {
    walk(value, 0);
}

fn walk(value: &mut Value, depth: usize) {
    if depth > MAX_DEPTH {
        *value = Value::String("[too deep]".into());
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if telling(key) && !inner.is_null() {
                    *inner = Value::String(REDACTED.into());
                } else if matches!(key.as_str(), "env" | "envs") {
                    environment(inner);
                } else {
                    walk(inner, depth + 1);
                }
            }
        }
        Value::Array(list) => {
            for inner in list {
                walk(inner, depth + 1);
            }
        }
        Value::String(string) => {
            if let Some(clean) = nested(string, depth) {
                *string = clean;
            } else if let Cow::Owned(clean) = text(string) {
                *string = clean;
            }
        }
        _ => {}
    }
}

/// JSON within a string, cleaned, if it is such and had secrets.
fn nested(string: &str, depth: usize) -> Option<String> {
    if string.len() > MAX_NESTED || !string.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let before: Value = serde_json::from_str(string).ok()?;
    let mut after = before.clone();
    walk(&mut after, depth + 1);
    (after != before).then(|| after.to_string())
}

/// Environment entries keep their names: they tell what was set, not to what.
fn environment(value: &mut Value) {
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

/// Is what bears this name a secret? Case and `-`, `_` and `.` say nothing.
fn telling(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | '.' | ' '))
        .flat_map(char::to_lowercase)
        .collect();
    let holds = [
        "token",
        "passw",
        "passphrase",
        "secret",
        "authorization",
        "credential",
        "cookie",
        "psk",
        "apikey",
        "privatekey",
        "keydata",
    ];
    let ends = ["pass", "auth", "key"];
    // A key of a selector is a label's name, and public ones are public.
    let harmless = ["key", "publickey", "topologykey", "bypass"];
    !harmless.contains(&name.as_str())
        && (holds.iter().any(|word| name.contains(word))
            || ends.iter().any(|word| name.ends_with(word)))
}

/// A text without the secrets that can be told from the text around them: keys in PEM, the
/// user in an address (`https://user:password@host`), `"password": "…"`, `token=…`, and
/// what follows `Bearer` and `Basic`.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    let shown = head(text, MAX_TEXT);
    let mut out = String::new();
    let mut rest = shown;
    while let Some((before, len)) = find(rest) {
        out.push_str(&rest[..before]);
        out.push_str(REDACTED);
        rest = &rest[before + len..];
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the first secret of a text begins, and how long it is, in bytes.
fn find(text: &str) -> Option<(usize, usize)> {
    [pem(text), user(text), named(text)]
        .into_iter()
        .flatten()
        .min()
}

fn pem(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(begin) = text[from..].find("-----BEGIN ").map(|at| at + from) {
        let line = text[begin..].split(['\n', '\\']).next().unwrap_or_default();
        if line.contains("PRIVATE KEY") {
            let end = text[begin..].find("-----END ").map_or(text.len(), |end| {
                let end = begin + end + "-----END ".len();
                text[end..]
                    .find("-----")
                    .map_or(text.len(), |at| end + at + 5)
            });
            return Some((begin, end - begin));
        }
        from = begin + 1;
    }
    None
}

fn user(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("://").map(|at| at + from + 3) {
        let end = text[at..]
            .find(|c: char| c == '/' || c == '"' || c == '\'' || c.is_whitespace())
            .map_or(text.len(), |end| at + end);
        match text[at..end].rfind('@') {
            Some(len) if len > 0 && &text[at..at + len] != REDACTED => return Some((at, len)),
            _ => from = at,
        }
    }
    None
}

fn named(text: &str) -> Option<(usize, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut at = 0;
    while let Some(begin) = text[at..].find(is_word).map(|from| at + from) {
        let end = text[begin..]
            .find(|c| !is_word(c))
            .map_or(text.len(), |to| begin + to);
        let word = &text[begin..end];
        let secret = match word {
            "Bearer" | "bearer" | "Basic" => bearer(text, end),
            _ if telling(word) => after(text, end),
            _ => None,
        };
        match secret {
            Some((from, to)) if from < to && &text[from..to] != REDACTED => {
                return Some((from, to - from));
            }
            _ => at = end,
        }
    }
    None
}

/// From where to where the value is of a name that ends at `end`: after `=`, or, when the
/// name was quoted, after `:`. An unquoted `:` is a sentence: `cannot read the token: …`.
fn after(text: &str, end: usize) -> Option<(usize, usize)> {
    let rest = &text[end..];
    // In JSON within a text the quotes have backslashes.
    let quote = ["\\\"", "\""]
        .into_iter()
        .find(|quote| rest.starts_with(quote));
    let rest = rest[quote.map_or(0, str::len)..].trim_start();
    let rest = match (rest.strip_prefix('='), rest.strip_prefix(':'), quote) {
        (Some(rest), _, None) => rest,
        (_, Some(rest), Some(_)) => rest.trim_start(),
        _ => return None,
    };
    let (rest, len) = match quote.and_then(|quote| Some((rest.strip_prefix(quote)?, quote))) {
        Some((rest, quote)) => (rest, closing(rest, quote)),
        None => {
            let ends =
                |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '&' | '"' | '}' | ']');
            (rest, rest.find(ends).unwrap_or(rest.len()))
        }
    };
    let from = text.len() - rest.len();
    Some((from, from + len))
}

/// Where the quote closes; the end of the text when it does not.
fn closing(rest: &str, quote: &str) -> usize {
    let mut at = 0;
    while let Some(found) = rest[at..].find(quote).map(|found| at + found) {
        if quote == "\"" && rest[..found].ends_with('\\') {
            at = found + quote.len();
        } else {
            return found;
        }
    }
    rest.len()
}

/// What follows `Bearer`, when it looks like a token and not like a word.
fn bearer(text: &str, end: usize) -> Option<(usize, usize)> {
    let rest = text[end..].strip_prefix(' ')?;
    let of_token = |c: char| c.is_ascii_alphanumeric() || "+/=._-~".contains(c);
    let len = rest.find(|c| !of_token(c)).unwrap_or(rest.len());
    (len >= 12).then_some((end + 1, end + 1 + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cleaned(mut json: Value) -> Value {
        value(&mut json);
        json
    }

    #[test]
    fn environment_values_go_and_their_names_stay() {
        let json = json!({
            "spec": { "env": ["PATH=/bin", "KEY=hunter2"] },
            "list": [{ "envs": [{ "name": "A", "value": "b" }] }],
            "env": { "CNI_IFNAME": "net1", "HOME": "/root" },
        });
        assert_eq!(
            cleaned(json),
            json!({
                "spec": { "env": ["PATH=[redacted]", "KEY=[redacted]"] },
                "list": [{ "envs": [{ "name": "A", "value": "[redacted]" }] }],
                "env": { "CNI_IFNAME": "net1", "HOME": "[redacted]" },
            })
        );
    }

    #[test]
    fn what_is_called_like_a_secret_is_one() {
        for name in [
            "token",
            "bearerToken",
            "password",
            "passwd",
            "psk",
            "wpa_psk",
            "presharedKey",
            "privateKey",
            "private_key",
            "api_key",
            "api-key",
            "apiKey",
            "passphrase",
            "pass",
            "db.pass",
            "auth",
            "k8s_auth",
            "client-key-data",
            "access_key",
            "Cookie",
            "X-Auth",
            "credentials",
            "clientSecret",
            "Authorization",
        ] {
            let json = cleaned(json!({ name: "hunter2", "deep": [{ name: { "a": "hunter2" } }] }));
            assert!(!json.to_string().contains("hunter2"), "{name}: {json}");
        }
        let harmless = json!({
            "key": "app", "publicKey": "x", "bypass": true, "mode": "passthru", "author": "me",
            "name": "net1", "master": "eth0", "keys": ["a"], "token": null,
        });
        assert_eq!(cleaned(harmless.clone()), harmless);
    }

    #[test]
    fn secrets_within_texts_are_found() {
        let pem = "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----";
        for secret in [
            format!("before {pem} after"),
            pem.replace('\n', "\\n"),
            "-----BEGIN PRIVATE KEY-----\nhunter2".into(),
            "GET https://me:hunter2@host/path failed".into(),
            "https://hunter2@host".into(),
            r#"bad config {"type":"x","password":"hunter2","mtu":1}"#.into(),
            r#"bad config "{\"psk\": \"hunter2\", \"mtu\": 1}""#.into(),
            r#"{"password":"a\"hunter2"}"#.into(),
            "exec: --token=hunter2 failed".into(),
            "api_key=hunter2&x=1".into(),
            "Authorization: Bearer hunter2hunter2".into(),
            r#"{"token":12345,"secret":hunter2}"#.into(),
            r#"{"token":"[redacted]","secret":"hunter2"}"#.into(),
        ] {
            let clean = text(&secret);
            assert!(
                clean.contains(REDACTED) && !clean.contains("hunter2"),
                "{clean}"
            );
        }
        assert_eq!(
            text("at https://me:x@host/p, then token=y"),
            "at https://[redacted]@host/p, then token=[redacted]"
        );
        let nested = cleaned(json!({ "data": "{\"token\":\"hunter2\",\"mtu\":1}" }));
        assert_eq!(
            nested,
            json!({ "data": "{\"token\":\"[redacted]\",\"mtu\":1}" })
        );
    }

    #[test]
    fn sentences_stay_as_they_are() {
        for sentence in [
            "cannot read the token: permission denied",
            "failed to find plugin \"macvlan\" in path [/opt/cni/bin]",
            "unix:///run/x.sock: mail me@host",
            "https://host/a@b",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "Basic help, bearer of news",
            "password",
            "token=",
            "\"token\":",
            "é=ü token",
        ] {
            assert_eq!(text(sentence), sentence);
            assert_eq!(cleaned(json!(sentence)), json!(sentence));
        }
    }

    #[test]
    fn what_is_too_deep_is_left_out() {
        let mut json = json!({ "token": "hunter2" });
        for _ in 0..100 {
            json = json!([json]);
        }
        assert!(!cleaned(json).to_string().contains("hunter2"));
    }
}
