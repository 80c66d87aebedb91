//! Strategic merge patch: merge patch that knows which lists are keyed.

use serde_json::{Map, Value};

use super::shape::{Strategy, strategy};
use crate::error::{ApiError, Result};
use crate::object;
use crate::resource::Resource;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Lays `patch` over `target`.
pub(super) fn apply(resource: &Resource, target: &mut Value, patch: &Value) -> Result<()> {
    if resource.custom {
        return Err(ApiError::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    let Value::Object(patch) = patch else {
        return Err(ApiError::bad_request(
            "error decoding patch: a strategic merge patch is a JSON object",
        ));
    };
    map(resource, &mut Vec::new(), target, patch)
}

fn map<'p>(
    resource: &Resource,
    path: &mut Vec<&'p str>,
    target: &mut Value,
    patch: &'p Map<String, Value>,
) -> Result<()> {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            let mut replacement = patch.clone();
            replacement.shift_remove(DIRECTIVE);
            *target = Value::Object(replacement);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        _ => {}
    }
    let target = object::as_map(target);
    if let Some(Value::Array(retained)) = patch.get(RETAIN_KEYS) {
        target.retain(|key, _| retained.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            if let (Some(Value::Array(current)), Value::Array(gone)) = (target.get_mut(list), value)
            {
                current.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(ORDER) {
            continue;
        }
        if value.is_null() {
            target.shift_remove(key);
            continue;
        }
        path.push(key);
        let slot = target.entry(key.as_str()).or_insert(Value::Null);
        match value {
            Value::Object(inner) => map(resource, path, slot, inner)?,
            Value::Array(items) => list(resource, path, slot, items)?,
            plain => *slot = plain.clone(),
        }
        path.pop();
    }
    Ok(())
}

fn list<'p>(
    resource: &Resource,
    path: &mut Vec<&'p str>,
    target: &mut Value,
    items: &'p [Value],
) -> Result<()> {
    let current = match target {
        Value::Array(current) => current,
        other => {
            *other = Value::Array(Vec::new());
            match other {
                Value::Array(current) => current,
                _ => return Ok(()),
            }
        }
    };
    match strategy(resource, path) {
        Strategy::Replace => *current = items.to_vec(),
        Strategy::Add => {
            for item in items {
                if !current.contains(item) {
                    current.push(item.clone());
                }
            }
        }
        Strategy::MergeBy(key) => {
            if items.iter().any(|item| item[DIRECTIVE] == "replace") {
                *current = items
                    .iter()
                    .filter(|item| item.get(DIRECTIVE).is_none())
                    .cloned()
                    .collect();
                return Ok(());
            }
            for item in items {
                let Value::Object(fields) = item else {
                    return Err(ApiError::bad_request(format!(
                        "{}: every item must be an object",
                        path.join(".")
                    )));
                };
                let Some(id) = fields.get(key) else {
                    let message = format!("map: {item} does not contain declared merge key: {key}");
                    return Err(ApiError::bad_request(message));
                };
                let found = current.iter().position(|other| other.get(key) == Some(id));
                match (item[DIRECTIVE] == "delete", found) {
                    (true, Some(index)) => {
                        current.remove(index);
                    }
                    (true, None) => {}
                    (false, Some(index)) => map(resource, path, &mut current[index], fields)?,
                    (false, None) => {
                        let mut fresh = Value::Null;
                        map(resource, path, &mut fresh, fields)?;
                        current.push(fresh);
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{NETWORK_ATTACHMENTS, PODS};
    use serde_json::json;

    fn patched(mut target: Value, patch: Value) -> Value {
        apply(&PODS, &mut target, &patch).unwrap();
        target
    }

    #[test]
    fn conditions_are_keyed_by_type() {
        let pod = json!({"status": {"conditions": [{"type": "A", "status": "True", "reason": "R"}, {"type": "B"}]}});
        let patch = json!({"status": {"conditions": [
            {"type": "A", "status": "False"},
            {"type": "C", "status": "True"},
            {"$patch": "delete", "type": "B"},
        ]}});
        let expected = json!({"status": {"conditions": [
            {"type": "A", "status": "False", "reason": "R"},
            {"type": "C", "status": "True"},
        ]}});
        assert_eq!(patched(pod, patch), expected);
    }

    #[test]
    fn plain_lists_are_replaced_or_added_to() {
        let pod =
            json!({"metadata": {"finalizers": ["a"]}, "spec": {"tolerations": [{"key": "x"}]}});
        let patch = json!({
            "metadata": {"finalizers": ["b"], "$deleteFromPrimitiveList/finalizers": ["a"]},
            "spec": {"tolerations": []},
        });
        let expected = json!({"metadata": {"finalizers": ["b"]}, "spec": {"tolerations": []}});
        assert_eq!(patched(pod, patch), expected);
    }

    #[test]
    fn maps_can_be_replaced() {
        let pod = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        let replaced = patched(
            pod.clone(),
            json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}}),
        );
        assert_eq!(replaced, json!({"metadata": {"labels": {"c": "3"}}}));
        let kept = patched(
            pod,
            json!({"metadata": {"labels": {"$retainKeys": ["a"], "a": "9"}}}),
        );
        assert_eq!(kept, json!({"metadata": {"labels": {"a": "9"}}}));
    }

    #[test]
    fn a_custom_resource_has_none() {
        let error = apply(&NETWORK_ATTACHMENTS, &mut json!({}), &json!({})).unwrap_err();
        insta::assert_snapshot!(error, @"the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
    }
}
