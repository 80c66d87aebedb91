//! Claims that are made for a pod from a ResourceClaimTemplate.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Key, claims, is_done, pods, report};
use crate::error::Result;
use crate::object::{self, at, list, text};
use crate::resource::{CLAIMS, CLASSIC_CLAIMS, CLASSIC_TEMPLATES, PODS, TEMPLATES};
use crate::resource_api::source;
use crate::selector::Filter;
use crate::store::{Store, Writer};

/// The field manager of this controller.
const MANAGER: &str = "kube-controller-manager";

/// Tells which of the pod's entries a claim was made for.
const ANNOTATION: &str = "resource.kubernetes.io/pod-claim-name";

/// A generated name is cut so that it fits a DNS label.
const NAME_BASE: usize = 57;

/// Makes what is missing for a pod, and writes the names into its status. For a pod that was
/// bound without the scheduler it also reserves what is allocated.
pub(super) fn sync(store: &Store, key: &Key) {
    let Ok(pod) = store.get(&PODS, Some(&key.0), &key.1) else {
        return;
    };
    if object::is_deleting(&pod) || is_done(&pod) {
        return;
    }
    match make_claims(store, &pod) {
        Ok(made) if made.is_empty() => {}
        Ok(made) => {
            let writer = Writer::internal_status(MANAGER);
            // The pod may be gone by now; then so will be its claims.
            let _ = store.update(&PODS, Some(&key.0), &key.1, &writer, |old| {
                Ok(with_statuses(old, &made))
            });
        }
        Err((entry, why)) => {
            let message = format!("PodResourceClaim {entry}: {why}");
            report::warn(
                store,
                &pod,
                "FailedResourceClaimCreation",
                "resource_claim",
                &message,
            );
        }
    }
    if !text(&pod, &["spec", "nodeName"]).is_empty() {
        reserve_allocated(store, &pod);
    }
}

/// Returns the names of the new claims by their entry in the pod.
fn make_claims(store: &Store, pod: &Value) -> Result<Vec<(String, String)>, (String, String)> {
    let mut made = Vec::new();
    for entry in list(pod, &["spec", "resourceClaims"]) {
        let template = text(source(entry), &["resourceClaimTemplateName"]);
        if template.is_empty() {
            continue;
        }
        let name = text(entry, &["name"]);
        let recorded = pods::claim_names(pod)
            .into_iter()
            .find(|(other, _)| *other == name)
            .and_then(|(_, claim)| claim);
        // Most often it is recorded already; this only saves looking through all claims.
        if let Some(recorded) = &recorded
            && store
                .get(&CLAIMS, Some(object::namespace(pod)), recorded)
                .is_ok_and(|claim| claims::is_owned_by(&claim, pod))
        {
            continue;
        }
        let claim = match existing(store, pod, name) {
            Some(claim) => claim,
            None => make(store, pod, name, template).map_err(|why| (name.to_owned(), why))?,
        };
        made.push((name.to_owned(), object::name(&claim).to_owned()));
    }
    Ok(made)
}

/// A claim that was made for this entry but never recorded.
fn existing(store: &Store, pod: &Value, entry: &str) -> Option<Arc<Value>> {
    let filter = Filter {
        namespace: Some(object::namespace(pod).to_owned()),
        ..Filter::default()
    };
    store.list(&CLAIMS, &filter).1.into_iter().find(|claim| {
        claims::is_owned_by(claim, pod)
            && text(claim, &["metadata", "annotations", ANNOTATION]) == entry
    })
}

fn make(store: &Store, pod: &Value, entry: &str, template: &str) -> Result<Arc<Value>, String> {
    let namespace = object::namespace(pod);
    let template = store
        .get(&TEMPLATES, Some(namespace), template)
        .map_err(|error| format!("resource claim template {template:?}: {error}"))?;
    let mut annotations = at(&template, &["spec", "metadata", "annotations"]).clone();
    object::as_map(&mut annotations).insert(ANNOTATION.to_owned(), entry.into());
    let mut claim = json!({
        "metadata": {
            "generateName": name_base(object::name(pod), entry),
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "v1",
                "kind": "Pod",
                "name": object::name(pod),
                "uid": object::uid(pod),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": at(&template, &["spec", "spec"]),
    });
    let labels = at(&template, &["spec", "metadata", "labels"]).clone();
    object::put(object::metadata(&mut claim), "labels", labels);
    let version = text(&template, &["apiVersion"]);
    let resource = match version == CLASSIC_TEMPLATES.api_version() {
        true => &CLASSIC_CLAIMS,
        false => &CLAIMS,
    };
    store
        .create(resource, Some(namespace), claim, &Writer::internal(MANAGER))
        .map_err(|error| format!("create ResourceClaim: {error}"))
}

/// `<pod>-<entry>-`; both are cut in proportion if that is too long.
fn name_base(pod: &str, entry: &str) -> String {
    let whole = format!("{pod}-{entry}-");
    if whole.len() <= NAME_BASE {
        return whole;
    }
    let cut = |text: &str| {
        text.chars()
            .take(text.len() * NAME_BASE / whole.len())
            .collect::<String>()
    };
    format!("{}-{}", cut(pod), cut(entry))
}

fn with_statuses(pod: &Value, made: &[(String, String)]) -> Value {
    let mut pod = pod.clone();
    let status = object::child(&mut pod, "status");
    let mut statuses = status
        .get("resourceClaimStatuses")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (entry, claim) in made {
        statuses.retain(|status| text(status, &["name"]) != entry);
        statuses.push(json!({"name": entry, "resourceClaimName": claim}));
    }
    status.insert("resourceClaimStatuses".to_owned(), statuses.into());
    pod
}

/// For a pod that its author put on a node, the scheduler reserves nothing; this controller
/// does, as soon as a claim is allocated by whatever means.
fn reserve_allocated(store: &Store, pod: &Value) {
    for (_, name) in pods::claim_names(pod) {
        let Some(name) = name else { continue };
        let Ok(claim) = store.get(&CLAIMS, Some(object::namespace(pod)), &name) else {
            return;
        };
        if at(&claim, &["status", "allocation"]).is_null() || claims::is_reserved_for(&claim, pod) {
            continue;
        }
        // A claim that is being deleted or has too many users refuses; that is its users' to see.
        let _ = claims::reserve(store, &claim, pod, MANAGER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_in_proportion() {
        assert_eq!(name_base("web", "net"), "web-net-");
        let base = name_base(&"p".repeat(60), &"e".repeat(20));
        assert_eq!(base, format!("{}-{}", "p".repeat(41), "e".repeat(13)));
    }
}
