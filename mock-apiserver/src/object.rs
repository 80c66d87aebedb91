//! Reading and touching objects that are kept as plain JSON.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The value at a path of keys; `Null` if there is none.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter()
        .fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

/// The text at a path of keys; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// The elements of the list at a path of keys; none if there is no list.
pub(crate) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path)
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// Whether a deletion has begun.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !at(object, &["metadata", "deletionTimestamp"]).is_null()
}

/// The object behind `key`, made if it is missing or of another type.
pub(crate) fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let parent = as_map(object);
    let slot = parent
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()));
    as_map(slot)
}

/// The value as a map, replaced by an empty one if it is something else.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made a map above"),
    }
}

/// The metadata of an object, as a value.
pub(crate) fn metadata_value(object: &mut Value) -> &mut Value {
    metadata(object);
    &mut object["metadata"]
}

pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    child(object, "metadata")
}

/// Puts `value` under `key`, or takes the key away for `Null`.
pub(crate) fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    if value.is_null() {
        map.shift_remove(key);
    } else {
        map.insert(key.to_owned(), value);
    }
}

/// How deep a value is nested; a plain one is not.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// About as many bytes as a value has when it is written.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(map) => {
            2 + map
                .iter()
                .map(|(key, value)| key.len() + 4 + size(value))
                .sum::<usize>()
        }
        Value::String(text) => 2 + text.len(),
        _ => 4,
    }
}

/// Now, in whole seconds, as `metav1.Time` is written.
pub(crate) fn now() -> String {
    seconds(Timestamp::now())
}

/// A time in whole seconds, as `metav1.Time` is written.
pub(crate) fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_precision_of_the_api() {
        let time: Timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        assert_eq!(seconds(time), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn a_missing_path_is_null() {
        let value = serde_json::json!({"a": {"b": "c"}});
        assert_eq!(text(&value, &["a", "b"]), "c");
        assert!(at(&value, &["a", "x", "y"]).is_null());
        assert!(list(&value, &["a", "b"]).is_empty());
    }
}
