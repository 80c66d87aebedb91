//! Sets of field paths, in the form `metadata.managedFields` writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::differ::fields_of;
    use crate::resource::CLAIMS;
    use serde_json::json;

    #[test]
    fn the_written_form() {
        let object = json!({
            "metadata": {"name": "c", "labels": {"a": "1"}},
            "status": {"devices": [{
                "driver": "d", "pool": "p", "device": "x",
                "data": {"deep": {"er": 1}},
                "networkData": {"interfaceName": "net1", "ips": ["192.0.2.1/24"]},
                "conditions": [{"type": "Ready", "status": "True"}],
            }]},
        });
        let set = fields_of(&CLAIMS, &object);
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
}
