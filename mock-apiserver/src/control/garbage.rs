//! Objects whose owners are gone go too.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::object::{self, list, text};
use crate::resource::{ALL, Resource};
use crate::store::{DeleteOptions, Store};

/// Deletes what the object with this UID owned, unless another owner lives.
pub(super) fn collect(store: &Store, uid: &str) {
    for (resource, object) in owned(store) {
        let owners = list(&object, &["metadata", "ownerReferences"]);
        if object::is_deleting(&object) || !owners.iter().any(|owner| text(owner, &["uid"]) == uid)
        {
            continue;
        }
        if owners.iter().any(|owner| is_alive(store, &object, owner)) {
            continue;
        }
        let options = DeleteOptions {
            uid: Some(object::uid(&object).to_owned()),
            ..DeleteOptions::default()
        };
        // Somebody else may have deleted it already.
        let _ = store.delete(
            resource,
            Some(object::namespace(&object)),
            object::name(&object),
            &options,
        );
    }
}

/// The UIDs that objects name as owners and that nobody has.
pub(super) fn missing_owners(store: &Store) -> Vec<String> {
    let mut missing = BTreeSet::new();
    for (_, object) in owned(store) {
        for owner in list(&object, &["metadata", "ownerReferences"]) {
            if !is_alive(store, &object, owner) {
                missing.insert(text(owner, &["uid"]).to_owned());
            }
        }
    }
    missing.into_iter().collect()
}

fn owned(store: &Store) -> Vec<(&'static Resource, Arc<Value>)> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for resource in ALL {
        if seen.insert(resource.table) {
            let objects = store.all(resource).into_iter();
            let objects =
                objects.filter(|object| !list(object, &["metadata", "ownerReferences"]).is_empty());
            found.extend(objects.map(|object| (resource, object)));
        }
    }
    found
}

/// Whether an owner is there. One of a kind that is not served here is believed to be.
fn is_alive(store: &Store, object: &Value, owner: &Value) -> bool {
    let Some(resource) =
        crate::resource::by_kind(text(owner, &["apiVersion"]), text(owner, &["kind"]))
    else {
        return true;
    };
    let namespace = resource.namespaced.then(|| object::namespace(object));
    store
        .get(resource, namespace, text(owner, &["name"]))
        .is_ok_and(|found| object::uid(&found) == text(owner, &["uid"]))
}
