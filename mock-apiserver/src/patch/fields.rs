//! Sets of field paths, in the form `metadata.managedFields` writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::shape::{self, List};
use crate::object;
use crate::resource::Resource;

/// Paths of fields, as a tree. One step of a path is kept in its written form:
/// `f:name`, `k:{"type":"Ready"}` or `v:"value"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    members: BTreeSet<String>,
    children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    pub(super) fn has(&self, step: &str) -> bool {
        self.members.contains(step)
    }

    pub(super) fn child(&self, step: &str) -> Option<&FieldSet> {
        self.children.get(step)
    }

    /// Every step that is in the set itself or leads to something that is.
    pub(super) fn steps(&self) -> BTreeSet<&String> {
        self.members.iter().chain(self.children.keys()).collect()
    }

    pub(super) fn insert(&mut self, path: &[String]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(super) fn union(&mut self, other: &FieldSet) {
        self.members.extend(other.members.iter().cloned());
        for (step, child) in &other.children {
            self.children.entry(step.clone()).or_default().union(child);
        }
    }

    pub(super) fn minus(&self, other: &FieldSet) -> FieldSet {
        let none = FieldSet::default();
        FieldSet {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .map(|(step, child)| {
                    (
                        step.clone(),
                        child.minus(other.children.get(step).unwrap_or(&none)),
                    )
                })
                .filter(|(_, child)| !child.is_empty())
                .collect(),
        }
    }

    pub(super) fn intersect(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter_map(|(step, child)| {
                    Some((step.clone(), child.intersect(other.children.get(step)?)))
                })
                .filter(|(_, child)| !child.is_empty())
                .collect(),
        }
    }

    /// The paths as conflicts show them: `.status.devices[driver="d"].networkData`.
    pub(super) fn shown(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.show("", &mut paths);
        paths
    }

    fn show(&self, prefix: &str, paths: &mut Vec<String>) {
        for step in self.steps() {
            let path = format!("{prefix}{}", show_step(step));
            if self.members.contains(step) {
                paths.push(path.clone());
            }
            if let Some(child) = self.children.get(step) {
                child.show(&path, paths);
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for step in self.steps() {
            let mut inner = Map::new();
            if let Some(child) = self.children.get(step) {
                if self.members.contains(step) {
                    inner.insert(".".to_owned(), Value::Object(Map::new()));
                }
                if let Value::Object(fields) = child.to_json() {
                    inner.extend(fields);
                }
            }
            map.insert(step.clone(), Value::Object(inner));
        }
        Value::Object(map)
    }

    pub(super) fn from_json(value: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        for (step, inner) in value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(step, _)| *step != ".")
        {
            let child = FieldSet::from_json(inner);
            if child.is_empty() || inner.get(".").is_some() {
                set.members.insert(step.clone());
            }
            if !child.is_empty() {
                set.children.insert(step.clone(), child);
            }
        }
        set
    }

    /// The fields an object sets.
    pub(super) fn of(resource: &Resource, object: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        let differences = &mut |path: &[String], change: Change| {
            if matches!(change, Change::Set) && is_owned(path) {
                set.insert(path);
            }
        };
        compare(
            resource,
            &mut Path::default(),
            None,
            Some(object),
            differences,
        );
        set
    }
}

fn show_step(step: &str) -> String {
    match step.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("k:", key)) => {
            let key: Value = serde_json::from_str(key).unwrap_or_default();
            let fields: Vec<_> = key
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("[{}]", fields.join(","))
        }
        Some((_, value)) => format!("[={value}]"),
        None => step.to_owned(),
    }
}

/// What happened to a field between two versions of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new or has another value.
    Set,
    /// It is gone.
    Removed,
}

/// The way to a field: by steps of a [`FieldSet`], and by names alone.
#[derive(Default)]
pub(super) struct Path<'a> {
    steps: Vec<String>,
    names: Vec<&'a str>,
}

/// Reports each field that differs between `old` and `new`.
pub(super) fn compare<'a>(
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
    if (maps(old).is_some() || maps(new).is_some())
        && !shape::is_atomic_map(resource, &path.names)
        && maps(old).is_some() >= old.is_some()
        && maps(new).is_some() >= new.is_some()
    {
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
pub(super) fn is_owned(path: &[String]) -> bool {
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
        if emptied && !stays_itself(kept, step) {
            take(resource, names, value, step);
        }
    }
}

fn stays_itself(kept: &FieldSet, step: &str) -> bool {
    kept.has(step)
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
    use crate::resource::CLAIMS;
    use serde_json::json;

    fn report() -> Value {
        json!({
            "metadata": {"name": "c", "labels": {"a": "1"}},
            "status": {"devices": [{
                "driver": "d", "pool": "p", "device": "x",
                "data": {"deep": {"er": 1}},
                "networkData": {"interfaceName": "net1", "ips": ["192.0.2.1/24"]},
                "conditions": [{"type": "Ready", "status": "True"}],
            }]},
        })
    }

    #[test]
    fn the_written_form() {
        let set = FieldSet::of(&CLAIMS, &report());
        insta::assert_snapshot!(serde_json::to_string_pretty(&set.to_json()).unwrap(), @r#"
        {
          "f:metadata": {
            "f:labels": {
              "f:a": {}
            }
          },
          "f:status": {
            "f:devices": {
              "k:{\"device\":\"x\",\"driver\":\"d\",\"pool\":\"p\"}": {
                ".": {},
                "f:conditions": {
                  "k:{\"type\":\"Ready\"}": {
                    ".": {},
                    "f:status": {},
                    "f:type": {}
                  }
                },
                "f:data": {},
                "f:device": {},
                "f:driver": {},
                "f:networkData": {
                  "f:interfaceName": {},
                  "f:ips": {}
                },
                "f:pool": {}
              }
            }
          }
        }
        "#);
        assert_eq!(FieldSet::from_json(&set.to_json()), set);
        insta::assert_snapshot!(set.shown().join("\n"), @r#"
        .metadata.labels.a
        .status.devices[device="x",driver="d",pool="p"]
        .status.devices[device="x",driver="d",pool="p"].conditions[type="Ready"]
        .status.devices[device="x",driver="d",pool="p"].conditions[type="Ready"].status
        .status.devices[device="x",driver="d",pool="p"].conditions[type="Ready"].type
        .status.devices[device="x",driver="d",pool="p"].data
        .status.devices[device="x",driver="d",pool="p"].device
        .status.devices[device="x",driver="d",pool="p"].driver
        .status.devices[device="x",driver="d",pool="p"].networkData.interfaceName
        .status.devices[device="x",driver="d",pool="p"].networkData.ips
        .status.devices[device="x",driver="d",pool="p"].pool
        "#);
    }

    #[test]
    fn removing_keeps_what_others_have() {
        let mut object = report();
        let all = FieldSet::of(&CLAIMS, &object);
        let mut kept = FieldSet::default();
        kept.insert(&["f:metadata".into(), "f:labels".into(), "f:a".into()]);
        remove(&CLAIMS, &mut Vec::new(), &mut object, &all, &kept);
        assert_eq!(
            object,
            json!({"metadata": {"name": "c", "labels": {"a": "1"}}})
        );
    }
}
