//! What differs between two versions of an object, field by field.

use serde_json::{Map, Value};

use super::fields::FieldSet;
use super::shape::{self, List};
use crate::resource::Resource;

/// What happened to a field between two versions of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is new or has another value.
    Set,
    /// It is gone.
    Removed,
}

/// The way to a field: by steps of a [`FieldSet`], and by names alone.
#[derive(Default)]
struct Path<'a> {
    steps: Vec<String>,
    names: Vec<&'a str>,
}

/// Reports each field that differs between `old` and `new`.
fn compare<'a>(
    resource: &Resource,
    path: &mut Path<'a>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    report: &mut dyn FnMut(&[String], Change),
) {
    if old == new {
        return;
    }
    let maps = |value: Option<&'a Value>| match value {
        Some(Value::Object(map)) => Some(map),
        _ => None,
    };
    let lists = |value: Option<&'a Value>| match value {
        Some(Value::Array(items)) => Some(items.as_slice()),
        _ => None,
    };
    let empty_map =
        |value: Option<&Value>| value.and_then(Value::as_object).is_some_and(Map::is_empty);
    let both_maps =
        (old.is_none() || maps(old).is_some()) && (new.is_none() || maps(new).is_some());
    if both_maps && !shape::is_atomic_map(resource, &path.names) {
        // An empty map is a value of its own.
        if empty_map(new) {
            report(&path.steps, Change::Set);
        } else if empty_map(old) {
            report(&path.steps, Change::Removed);
        }
        let (old, new) = (maps(old), maps(new));
        let keys = old.into_iter().flat_map(Map::keys).chain(
            new.into_iter()
                .flat_map(Map::keys)
                .filter(|key| old.is_none_or(|old| !old.contains_key(*key))),
        );
        for key in keys {
            path.steps.push(format!("f:{key}"));
            path.names.push(key);
            let (before, after) = (
                old.and_then(|map| map.get(key)),
                new.and_then(|map| map.get(key)),
            );
            compare(resource, path, before, after, report);
            path.steps.pop();
            path.names.pop();
        }
        return;
    }
    let shape = shape::list(resource, &path.names);
    if shape != List::Atomic && (lists(old).is_some() || lists(new).is_some()) {
        let before = keyed(shape, lists(old).unwrap_or_default());
        let after = keyed(shape, lists(new).unwrap_or_default());
        for (step, item) in &before {
            if !after.iter().any(|(other, _)| other == step) {
                path.steps.push(step.clone());
                report(&path.steps, Change::Removed);
                compare(resource, path, Some(item), None, report);
                path.steps.pop();
            }
        }
        for (step, item) in &after {
            let found = before
                .iter()
                .find(|(other, _)| other == step)
                .map(|(_, item)| *item);
            path.steps.push(step.clone());
            if found.is_none() {
                report(&path.steps, Change::Set);
            }
            if shape != List::Set {
                compare(resource, path, found, Some(item), report);
            }
            path.steps.pop();
        }
        return;
    }
    report(
        &path.steps,
        if new.is_some_and(|new| !new.is_null()) {
            Change::Set
        } else {
            Change::Removed
        },
    );
}

/// The items of a list with the step that names each.
pub(super) fn keyed(shape: List, items: &[Value]) -> Vec<(String, &Value)> {
    items
        .iter()
        .map(|item| {
            let step = match shape {
                List::Map(keys) => {
                    let key: Map<String, Value> = keys
                        .iter()
                        .filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())))
                        .collect();
                    format!("k:{}", Value::Object(key))
                }
                List::Set | List::Atomic => format!("v:{item}"),
            };
            (step, item)
        })
        .collect()
}

/// Fields that the server alone sets belong to nobody.
fn is_owned(path: &[String]) -> bool {
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    !matches!(
        steps.as_slice(),
        [] | ["f:apiVersion" | "f:kind" | "f:metadata"]
            | [
                "f:metadata",
                "f:name"
                    | "f:namespace"
                    | "f:generateName"
                    | "f:uid"
                    | "f:creationTimestamp"
                    | "f:resourceVersion"
                    | "f:generation"
                    | "f:selfLink"
                    | "f:deletionTimestamp"
                    | "f:deletionGracePeriodSeconds",
                ..
            ]
            | ["f:metadata", "f:managedFields", ..]
    )
}

/// What changed between two versions: the fields that were set and those that went. Fields
/// that belong to nobody are left out.
pub(super) fn changes(
    resource: &Resource,
    old: Option<&Value>,
    new: &Value,
) -> (FieldSet, FieldSet) {
    let (mut set, mut removed) = (FieldSet::default(), FieldSet::default());
    let report = &mut |path: &[String], change: Change| {
        if is_owned(path) {
            match change {
                Change::Set => set.insert(path),
                Change::Removed => removed.insert(path),
            }
        }
    };
    compare(resource, &mut Path::default(), old, Some(new), report);
    (set, removed)
}

/// The fields an object sets.
pub(super) fn fields_of(resource: &Resource, object: &Value) -> FieldSet {
    changes(resource, None, object).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::CLAIMS;
    use serde_json::json;

    fn shown(old: Value, new: Value) -> String {
        let (set, removed) = changes(&CLAIMS, Some(&old), &new);
        format!(
            "set {} removed {}",
            set.shown().join(" "),
            removed.shown().join(" ")
        )
    }

    #[test]
    fn differences() {
        let labels = |labels: Value| json!({"metadata": {"name": "c", "labels": labels}});
        let devices = |names: &[&str]| {
            let list: Vec<Value> = names
                .iter()
                .map(|name| json!({"driver": "d", "pool": "p", "device": name}))
                .collect();
            json!({"status": {"devices": list}})
        };
        let words = [
            shown(labels(json!({"a": "1"})), labels(json!({"a": "1"}))),
            shown(
                labels(json!({"a": "1", "b": "1"})),
                labels(json!({"a": "2"})),
            ),
            shown(labels(json!({})), labels(json!({"a": "2"}))),
            shown(labels(json!("text")), labels(json!({"a": "2"}))),
            shown(devices(&["x", "y"]), devices(&["y", "z"])),
            shown(devices(&["x"]), json!({})),
            shown(
                json!({"spec": {"devices": {"requests": [1]}}}),
                json!({"spec": {"devices": {"requests": [2]}}}),
            ),
            shown(
                json!({"metadata": {"resourceVersion": "1"}}),
                json!({"metadata": {"resourceVersion": "2"}}),
            ),
        ]
        .join("\n");
        insta::assert_snapshot!(words, @r#"
        set  removed 
        set .metadata.labels.a removed .metadata.labels.b
        set .metadata.labels.a removed .metadata.labels
        set .metadata.labels removed 
        set .status.devices[device="z",driver="d",pool="p"] .status.devices[device="z",driver="d",pool="p"].device .status.devices[device="z",driver="d",pool="p"].driver .status.devices[device="z",driver="d",pool="p"].pool removed .status.devices[device="x",driver="d",pool="p"] .status.devices[device="x",driver="d",pool="p"].device .status.devices[device="x",driver="d",pool="p"].driver .status.devices[device="x",driver="d",pool="p"].pool
        set  removed .status.devices[device="x",driver="d",pool="p"] .status.devices[device="x",driver="d",pool="p"].device .status.devices[device="x",driver="d",pool="p"].driver .status.devices[device="x",driver="d",pool="p"].pool
        set .spec.devices.requests removed 
        set  removed
        "#);
    }
}
