//! Laying an applied configuration over an object, and taking out what was given up.

use serde_json::{Map, Value};

use super::differ::keyed;
use super::fields::FieldSet;
use super::shape::{self, List};
use crate::object;
use crate::resource::Resource;

/// Takes the fields of `gone` out of `value`, unless `kept` has them or something below them.
/// Maps and lists that end up empty go too.
pub(super) fn remove(
    resource: &Resource,
    names: &mut Vec<String>,
    value: &mut Value,
    gone: &FieldSet,
    kept: &FieldSet,
) {
    let none = FieldSet::default();
    for step in gone.steps() {
        let stays = kept.has(step) || kept.child(step).is_some();
        if gone.has(step) && !stays {
            take(resource, names, value, step);
            continue;
        }
        let Some(below) = gone.child(step) else {
            continue;
        };
        let kept_below = kept.child(step).unwrap_or(&none);
        let name = step.strip_prefix("f:").map(str::to_owned);
        if let Some(name) = &name {
            names.push(name.clone());
        }
        let emptied = match find(resource, names, value, step) {
            Some(inner) => {
                remove(resource, names, inner, below, kept_below);
                inner.as_object().is_some_and(Map::is_empty)
                    || inner.as_array().is_some_and(Vec::is_empty)
            }
            None => false,
        };
        if name.is_some() {
            names.pop();
        }
        if emptied && !kept.has(step) {
            take(resource, names, value, step);
        }
    }
}

fn index_of(resource: &Resource, names: &[String], items: &[Value], step: &str) -> Option<usize> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    keyed(shape::list(resource, &names), items)
        .iter()
        .position(|(other, _)| other == step)
}

fn find<'a>(
    resource: &Resource,
    names: &[String],
    value: &'a mut Value,
    step: &str,
) -> Option<&'a mut Value> {
    match value {
        Value::Object(map) => map.get_mut(step.strip_prefix("f:")?),
        Value::Array(items) => {
            let index = index_of(resource, names, items, step)?;
            items.get_mut(index)
        }
        _ => None,
    }
}

fn take(resource: &Resource, names: &[String], value: &mut Value, step: &str) {
    match value {
        Value::Object(map) => {
            if let Some(name) = step.strip_prefix("f:") {
                map.shift_remove(name);
            }
        }
        Value::Array(items) => {
            if let Some(index) = index_of(resource, names, items, step) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

/// Lays `config` over `live`, merging maps and keyed lists, replacing all else.
pub(super) fn lay_over<'a>(
    resource: &Resource,
    path: &mut Vec<&'a str>,
    live: &mut Value,
    config: &'a Value,
) {
    match (&mut *live, config) {
        (Value::Object(live), Value::Object(config)) if !shape::is_atomic_map(resource, path) => {
            for (key, value) in config.iter().filter(|(_, value)| !value.is_null()) {
                path.push(key);
                match live.get_mut(key) {
                    Some(slot) => lay_over(resource, path, slot, value),
                    None => {
                        live.insert(key.clone(), value.clone());
                    }
                }
                path.pop();
            }
        }
        (Value::Array(items), Value::Array(config)) => {
            let shape = shape::list(resource, path);
            if shape == List::Atomic {
                items.clone_from(config);
                return;
            }
            for (step, item) in keyed(shape, config) {
                let found = keyed(shape, items)
                    .iter()
                    .position(|(other, _)| *other == step);
                match found {
                    Some(index) => {
                        if shape != List::Set {
                            lay_over(resource, path, &mut items[index], item);
                        }
                    }
                    None => items.push(item.clone()),
                }
            }
        }
        _ => *live = config.clone(),
    }
}

/// The object without what its own part of the API does not accept.
pub(super) fn only(object: &Value, part_is_status: bool, has_status: bool) -> Value {
    let mut object = object.clone();
    let map = object::as_map(&mut object);
    if part_is_status {
        map.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "status"));
    } else if has_status {
        map.shift_remove("status");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::differ::fields_of;
    use crate::resource::CLAIMS;
    use serde_json::json;

    #[test]
    fn removing_keeps_what_others_have() {
        let mut object = json!({
            "metadata": {"name": "c", "labels": {"a": "1", "b": "1"}},
            "status": {"devices": [{"driver": "d", "pool": "p", "device": "x"}]},
        });
        let all = fields_of(&CLAIMS, &object);
        let mut kept = FieldSet::default();
        kept.insert(&["f:metadata".into(), "f:labels".into(), "f:a".into()]);
        remove(&CLAIMS, &mut Vec::new(), &mut object, &all, &kept);
        assert_eq!(
            object,
            json!({"metadata": {"name": "c", "labels": {"a": "1"}}})
        );
    }
}
