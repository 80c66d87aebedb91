//! The life of a claim after its allocation: who has reserved it, and its release.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Key, classic, is_done};
use crate::error::{ApiError, Result};
use crate::object::{self, at, list, text};
use crate::resource::{CLAIMS, CLASSIC_CLAIMS, PODS, Resource};
use crate::store::{DeleteOptions, Store, Writer};

/// Keeps an allocated claim from going away.
pub(super) const FINALIZER: &str = "resource.kubernetes.io/delete-protection";

/// The field manager of this controller.
const MANAGER: &str = "kube-controller-manager";

/// The most pods that can share a claim.
pub(super) const RESERVED_FOR: usize = 256;

/// Whether the claim was made for the pod.
pub(super) fn is_owned_by(claim: &Value, pod: &Value) -> bool {
    owning_pod(claim).is_some_and(|(_, uid)| uid == object::uid(pod))
}

/// Name and UID of the pod a claim was made for.
fn owning_pod(claim: &Value) -> Option<(&str, &str)> {
    list(claim, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| {
            owner["controller"] == true && owner["apiVersion"] == "v1" && owner["kind"] == "Pod"
        })
        .map(|owner| (text(owner, &["name"]), text(owner, &["uid"])))
}

pub(super) fn is_reserved_for(claim: &Value, pod: &Value) -> bool {
    list(claim, &["status", "reservedFor"])
        .iter()
        .any(|user| text(user, &["uid"]) == object::uid(pod))
}

/// Writes the pod into the claim's `reservedFor`.
pub(super) fn reserve(
    store: &Store,
    claim: &Value,
    pod: &Value,
    manager: &str,
) -> Result<Arc<Value>> {
    change_status(store, claim, manager, |status| {
        let users = status.entry("reservedFor").or_insert_with(|| json!([]));
        if let Value::Array(users) = users {
            users.push(user(pod));
        }
    })
}

/// The entry of `reservedFor` for a pod.
pub(super) fn user(pod: &Value) -> Value {
    json!({"resource": "pods", "name": object::name(pod), "uid": object::uid(pod)})
}

/// The kind of a claim: it is stored as it was written, in one of two versions.
fn resource(claim: &Value) -> &'static Resource {
    match classic::is(claim) {
        true => &CLASSIC_CLAIMS,
        false => &CLAIMS,
    }
}

/// Refuses to change a claim that is another of the same name.
pub(super) fn same(old: &Value, claim: &Value) -> Result<()> {
    if object::uid(old) == object::uid(claim) {
        Ok(())
    } else {
        Err(ApiError::stale(&CLAIMS, object::name(claim)))
    }
}

/// Changes a claim's status, if the claim is still what it was.
pub(super) fn change_status(
    store: &Store,
    claim: &Value,
    manager: &str,
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) -> Result<Arc<Value>> {
    let writer = Writer::internal_status(manager);
    store.update(
        resource(claim),
        Some(object::namespace(claim)),
        object::name(claim),
        &writer,
        |old| {
            same(old, claim)?;
            let mut new = old.clone();
            change(object::child(&mut new, "status"));
            Ok(new)
        },
    )
}

/// Adds or removes the finalizer.
pub(super) fn protect(
    store: &Store,
    claim: &Value,
    protect: bool,
    manager: &str,
) -> Result<Arc<Value>> {
    let writer = Writer::internal(manager);
    store.update(
        resource(claim),
        Some(object::namespace(claim)),
        object::name(claim),
        &writer,
        |old| {
            same(old, claim)?;
            let mut finalizers = list(old, &["metadata", "finalizers"]).to_vec();
            finalizers.retain(|finalizer| finalizer != FINALIZER);
            if protect {
                finalizers.push(FINALIZER.into());
            }
            let mut new = old.clone();
            let finalizers = if finalizers.is_empty() {
                Value::Null
            } else {
                finalizers.into()
            };
            object::put(object::metadata(&mut new), "finalizers", finalizers);
            Ok(new)
        },
    )
}

fn is_protected(claim: &Value) -> bool {
    list(claim, &["metadata", "finalizers"])
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
}

/// Takes ended pods out of `reservedFor`; releases a claim that nobody uses any more.
pub(super) fn sync(store: &Store, key: &Key) {
    let Ok(claim) = store.get(&CLAIMS, Some(&key.0), &key.1) else {
        return;
    };
    // A conflict means that the claim changed meanwhile, and that is a reason to come back.
    let _ = release(store, &claim);
}

fn release(store: &Store, claim: &Arc<Value>) -> Result<()> {
    let users = list(claim, &["status", "reservedFor"]);
    let valid: Vec<Value> = users
        .iter()
        .filter(|user| is_using(store, claim, user))
        .cloned()
        .collect();
    let claim = match classic::is(claim) {
        true => {
            let claim = classic::unreserve(store, claim, &valid)?;
            classic::release(store, &claim)?
        }
        false => deallocate(store, claim, &valid)?,
    };
    if valid.is_empty() && !object::is_deleting(&claim) && was_made_in_vain(store, &claim) {
        let options = DeleteOptions {
            uid: Some(object::uid(&claim).to_owned()),
            ..DeleteOptions::default()
        };
        store.delete(
            &CLAIMS,
            Some(object::namespace(&claim)),
            object::name(&claim),
            &options,
        )?;
    }
    Ok(())
}

/// Leaves only those users that are valid, and without any no allocation.
fn deallocate(store: &Store, claim: &Arc<Value>, valid: &[Value]) -> Result<Arc<Value>> {
    let users = list(claim, &["status", "reservedFor"]);
    let mut claim = Arc::clone(claim);
    if valid.len() < users.len() {
        claim = change_status(store, &claim, MANAGER, |status| {
            if valid.is_empty() {
                // Unused is unallocated, so that the next user can get it on any node.
                for field in ["reservedFor", "allocation", "devices"] {
                    status.shift_remove(field);
                }
            } else {
                status.insert("reservedFor".to_owned(), valid.into());
            }
        })?;
    } else if valid.is_empty()
        && object::is_deleting(&claim)
        && is_protected(&claim)
        && !at(&claim, &["status", "allocation"]).is_null()
    {
        claim = change_status(store, &claim, MANAGER, |status| {
            status.shift_remove("allocation");
            status.shift_remove("devices");
        })?;
    }
    let unallocated = at(&claim, &["status", "allocation"]).is_null();
    let released = valid.len() < users.len() || object::is_deleting(&claim);
    if valid.is_empty() && unallocated && released && is_protected(&claim) {
        claim = protect(store, &claim, false, MANAGER)?;
    }
    Ok(claim)
}

/// Whether the pod behind an entry of `reservedFor` is still there and not done.
fn is_using(store: &Store, claim: &Value, user: &Value) -> bool {
    if text(user, &["resource"]) != "pods" || !text(user, &["apiGroup"]).is_empty() {
        return true;
    }
    store
        .get(&PODS, Some(object::namespace(claim)), text(user, &["name"]))
        .is_ok_and(|pod| object::uid(&pod) == text(user, &["uid"]) && !is_done(&pod))
}

/// Whether the pod a claim was made for will not need it any more.
fn was_made_in_vain(store: &Store, claim: &Value) -> bool {
    let Some((name, uid)) = owning_pod(claim) else {
        return false;
    };
    match store.get(&PODS, Some(object::namespace(claim)), name) {
        Ok(pod) => object::uid(&pod) != uid || is_done(&pod),
        Err(_) => true,
    }
}
