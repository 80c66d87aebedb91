//! `metadata.managedFields`: who set which field.

use serde_json::{Value, json};

use super::differ::changes;
use super::fields::FieldSet;
use crate::object;
use crate::resource::Resource;

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// Who writes, and to which part of the object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author<'a> {
    /// The field manager; at most 128 bytes.
    pub(crate) manager: &'a str,
    pub(crate) operation: Operation,
    /// `status`, or empty for the object itself.
    pub(crate) subresource: &'a str,
    /// The version of the API the writer used.
    pub(crate) api_version: &'a str,
}

/// One entry of the list.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) subresource: String,
    pub(super) api_version: String,
    pub(super) time: String,
    pub(super) fields: FieldSet,
}

impl Entry {
    pub(super) fn is_by(&self, author: &Author<'_>) -> bool {
        self.manager == author.manager
            && self.operation == author.operation
            && self.subresource == author.subresource
            && self.api_version == author.api_version
    }

    /// As conflicts name it: `"kubelet" using v1`.
    pub(super) fn shown(&self) -> String {
        let subresource = if self.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource {:?}", self.subresource)
        };
        format!("{:?}{subresource} using {}", self.manager, self.api_version)
    }
}

pub(super) fn read(object: &Value) -> Vec<Entry> {
    object::list(object, &["metadata", "managedFields"])
        .iter()
        .map(|entry| Entry {
            manager: object::text(entry, &["manager"]).to_owned(),
            operation: if entry["operation"] == "Apply" {
                Operation::Apply
            } else {
                Operation::Update
            },
            subresource: object::text(entry, &["subresource"]).to_owned(),
            api_version: object::text(entry, &["apiVersion"]).to_owned(),
            time: object::text(entry, &["time"]).to_owned(),
            fields: FieldSet::from_json(&entry["fieldsV1"]),
        })
        .collect()
}

pub(super) fn write(object: &mut Value, entries: &[Entry]) {
    let list: Vec<Value> = entries
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(|entry| {
            let mut written = json!({
                "manager": entry.manager,
                "operation": entry.operation.text(),
                "apiVersion": entry.api_version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": entry.fields.to_json(),
            });
            if !entry.subresource.is_empty() {
                written["subresource"] = entry.subresource.as_str().into();
            }
            written
        })
        .collect();
    let list = if list.is_empty() {
        Value::Null
    } else {
        Value::Array(list)
    };
    object::put(object::metadata(object), "managedFields", list);
}

/// Gives what changed from `old` to `new` to the author. Others lose what was changed or
/// removed. `new` carries on from the owners that `old` had.
pub(crate) fn record_update(
    resource: &Resource,
    old: Option<&Value>,
    new: &mut Value,
    author: &Author<'_>,
) {
    let mut entries = old.map(read).unwrap_or_default();
    let (set, removed) = changes(resource, old, new);
    if !set.is_empty() || !removed.is_empty() {
        for entry in &mut entries {
            if !entry.is_by(author) {
                entry.fields = entry.fields.minus(&set);
            }
            entry.fields = entry.fields.minus(&removed);
        }
        if !set.is_empty() {
            own(&mut entries, author).fields.union(&set);
        }
    }
    write(new, &entries);
}

/// The author's entry, with the time set to now.
pub(super) fn own<'a>(entries: &'a mut Vec<Entry>, author: &Author<'_>) -> &'a mut Entry {
    let index = entries
        .iter()
        .position(|entry| entry.is_by(author))
        .unwrap_or_else(|| {
            entries.push(Entry {
                manager: author.manager.to_owned(),
                operation: author.operation,
                subresource: author.subresource.to_owned(),
                api_version: author.api_version.to_owned(),
                time: String::new(),
                fields: FieldSet::default(),
            });
            entries.len() - 1
        });
    let entry = &mut entries[index];
    entry.time = object::now();
    entry
}
