//! What pods say about their claims.

use std::sync::Arc;

use serde_json::Value;

use super::{Key, is_finished, key};
use crate::object::{self, list, text};
use crate::resource::PODS;
use crate::resource_api::source;
use crate::selector::Filter;
use crate::store::Store;

/// The pod's entries for claims, by their name in the pod, with the name of the claim. It is
/// missing for a claim that is still to be made from a template.
pub(super) fn claim_names(pod: &Value) -> Vec<(&str, Option<String>)> {
    list(pod, &["spec", "resourceClaims"])
        .iter()
        .map(|entry| {
            let name = text(entry, &["name"]);
            let claim = match text(source(entry), &["resourceClaimName"]) {
                "" => made_claim(pod, name),
                direct => Some(direct.to_owned()),
            };
            (name, claim)
        })
        .collect()
}

/// The name of the claim that was made for an entry, as the pod's status has it.
fn made_claim(pod: &Value, entry: &str) -> Option<String> {
    list(pod, &["status", "resourceClaimStatuses"])
        .iter()
        .find(|status| text(status, &["name"]) == entry)
        .map(|status| text(status, &["resourceClaimName"]).to_owned())
        .filter(|name| !name.is_empty())
}

/// All pods that wait for a node.
pub(super) fn pending(store: &Store) -> Vec<Arc<Value>> {
    let mut pods = store.all(&PODS);
    pods.retain(|pod| is_pending(pod));
    pods
}

/// Whether a pod waits for this scheduler to find it a node.
pub(super) fn is_pending(pod: &Value) -> bool {
    text(pod, &["spec", "nodeName"]).is_empty()
        && text(pod, &["spec", "schedulerName"]) == "default-scheduler"
        && list(pod, &["spec", "schedulingGates"]).is_empty()
        && !object::is_deleting(pod)
        && !is_finished(pod)
}

fn of_namespace(store: &Store, namespace: &str) -> Vec<Arc<Value>> {
    let filter = Filter {
        namespace: Some(namespace.to_owned()),
        ..Filter::default()
    };
    store.list(&PODS, &filter).1
}

/// The pods that use a claim, or were the reason for it.
pub(super) fn users_of(store: &Store, claim: &Value) -> Vec<Key> {
    let name = object::name(claim);
    of_namespace(store, object::namespace(claim))
        .iter()
        .filter(|pod| {
            claim_names(pod)
                .iter()
                .any(|(_, used)| used.as_deref() == Some(name))
                || list(claim, &["metadata", "ownerReferences"])
                    .iter()
                    .any(|owner| owner["uid"] == object::uid(pod))
        })
        .map(|pod| key(pod))
        .collect()
}

/// The pods that name a template from which nothing was made for them yet.
pub(super) fn waiting_for_template(store: &Store, template: &Value) -> Vec<Key> {
    of_namespace(store, object::namespace(template))
        .iter()
        .filter(|pod| {
            list(pod, &["spec", "resourceClaims"]).iter().any(|entry| {
                text(source(entry), &["resourceClaimTemplateName"]) == object::name(template)
            })
        })
        .map(|pod| key(pod))
        .collect()
}
