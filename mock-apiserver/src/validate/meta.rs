//! The rules of `metadata`, the same for every kind.

use serde_json::Value;

use super::{Errors, FieldError, immutable, names};
use crate::object;
use crate::resource::Resource;

/// Annotations together may have this many bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

pub(super) fn created(errors: &mut Errors, resource: &Resource, new: &Value) {
    let name = object::name(new);
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        names::subdomain(errors, "metadata.name", name);
    }
    let namespace = object::namespace(new);
    if resource.namespaced {
        if namespace.is_empty() {
            errors.push(FieldError::required("metadata.namespace", ""));
        } else {
            names::label(errors, "metadata.namespace", namespace);
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden(
            "metadata.namespace",
            "not allowed on this type",
        ));
    }
    common(errors, new);
}

fn common(errors: &mut Errors, new: &Value) {
    for (key, value) in object::at(new, &["metadata", "labels"])
        .as_object()
        .into_iter()
        .flatten()
    {
        names::qualified_name(errors, "metadata.labels", key);
        match value.as_str() {
            Some(value) => names::label_value(errors, "metadata.labels", value),
            None => errors.push(FieldError::invalid(
                "metadata.labels",
                value,
                "must be a string",
            )),
        }
    }
    let mut size = 0;
    for (key, value) in object::at(new, &["metadata", "annotations"])
        .as_object()
        .into_iter()
        .flatten()
    {
        names::qualified_name(errors, "metadata.annotations", &key.to_lowercase());
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            ANNOTATIONS_LIMIT,
        ));
    }
    for (index, finalizer) in object::list(new, &["metadata", "finalizers"])
        .iter()
        .enumerate()
    {
        let path = format!("metadata.finalizers[{index}]");
        names::qualified_name(errors, &path, finalizer.as_str().unwrap_or_default());
    }
    let owners = object::list(new, &["metadata", "ownerReferences"]);
    for (index, owner) in owners.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if object::text(owner, &[field]).is_empty() {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                errors.push(FieldError::invalid(&path, &"".into(), "must not be empty"));
            }
        }
    }
    if owners
        .iter()
        .filter(|owner| owner["controller"] == true)
        .count()
        > 1
    {
        let words = "Only one reference can have Controller set to true";
        let path = "metadata.ownerReferences";
        errors.push(FieldError::invalid(
            path,
            object::at(new, &["metadata", "ownerReferences"]),
            words,
        ));
    }
}

pub(super) fn updated(errors: &mut Errors, old: &Value, new: &Value) {
    for field in ["name", "namespace", "uid"] {
        let path = ["metadata", field];
        immutable(
            errors,
            &format!("metadata.{field}"),
            object::at(old, &path),
            object::at(new, &path),
        );
    }
    if object::is_deleting(old) {
        let before = object::list(old, &["metadata", "finalizers"]);
        let added: Vec<Value> = object::list(new, &["metadata", "finalizers"])
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .cloned()
            .collect();
        if !added.is_empty() {
            let listed: Vec<_> = added.iter().map(Value::to_string).collect();
            let words = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                listed.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", words));
        }
    }
    common(errors, new);
}
