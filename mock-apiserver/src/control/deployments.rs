//! Deployments: one ReplicaSet for each template they have had, and the change from the old
//! ones to the newest.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Value, json};

use super::replicas::{controller, wanted};
use super::{Key, report};
use crate::object::{self, at, text};
use crate::resource::{DEPLOYMENTS, REPLICA_SETS};
use crate::selector::Filter;
use crate::store::{Store, Writer};

/// The field manager of this controller.
const MANAGER: &str = "kube-controller-manager";
/// The source of its events.
const COMPONENT: &str = "deployment-controller";

/// Tells the pods of one template from those of another.
const HASH_LABEL: &str = "pod-template-hash";

/// Brings the sets closer to what the deployment asks for; each change of theirs gives
/// reason to come back.
pub(super) fn sync(store: &Store, key: &Key) {
    let Ok(deployment) = store.get(&DEPLOYMENTS, Some(&key.0), &key.1) else {
        return;
    };
    if !object::is_deleting(&deployment) {
        let hash = hash(&deployment);
        let sets = sets_of(store, &deployment);
        let (new, old): (Vec<_>, Vec<_>) = sets
            .into_iter()
            .partition(|set| text(set, &["metadata", "labels", HASH_LABEL]) == hash);
        let new = match new.into_iter().next() {
            Some(set) => Some(set),
            None => make(store, &deployment, &hash, &old),
        };
        if let Some(new) = new {
            roll(store, &deployment, &new, &old);
        }
    }
    write_status(store, &deployment);
}

/// The deployment that is responsible for a set.
pub(super) fn of_set(set: &Value) -> Option<Key> {
    let owner = controller(set, "Deployment")?;
    let name = text(owner, &["name"]).to_owned();
    Some((object::namespace(set).to_owned(), name))
}

fn sets_of(store: &Store, deployment: &Value) -> Vec<Arc<Value>> {
    let filter = Filter {
        namespace: Some(object::namespace(deployment).to_owned()),
        ..Filter::default()
    };
    let mut sets = store.list(&REPLICA_SETS, &filter).1;
    sets.retain(|set| {
        !object::is_deleting(set)
            && controller(set, "Deployment")
                .is_some_and(|owner| text(owner, &["uid"]) == object::uid(deployment))
    });
    sets
}

/// Of the letters that Kubernetes uses for it: no vowels, nothing to be misread.
fn hash(deployment: &Value) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = DefaultHasher::new();
    at(deployment, &["spec", "template"])
        .to_string()
        .hash(&mut hasher);
    let mut rest = hasher.finish();
    (0..10)
        .map(|_| {
            let base = LETTERS.len() as u64;
            let letter = LETTERS[(rest % base) as usize];
            rest /= base;
            char::from(letter)
        })
        .collect()
}

fn make(store: &Store, deployment: &Value, hash: &str, old: &[Arc<Value>]) -> Option<Arc<Value>> {
    let mut template = at(deployment, &["spec", "template"]).clone();
    let labels = object::child(object::metadata_value(&mut template), "labels");
    labels.insert(HASH_LABEL.to_owned(), hash.into());
    let labels = Value::Object(labels.clone());
    let mut selector = at(deployment, &["spec", "selector"]).clone();
    object::child(&mut selector, "matchLabels").insert(HASH_LABEL.to_owned(), hash.into());
    // With nothing to replace it begins in full; else `roll` lets it grow.
    let replicas = if old.iter().all(|set| wanted(set) == 0) {
        wanted(deployment)
    } else {
        0
    };
    let set = json!({
        "metadata": {
            "name": format!("{}-{hash}", object::name(deployment)),
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": object::name(deployment),
                "uid": object::uid(deployment),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": { "replicas": replicas, "selector": selector, "template": template },
    });
    let namespace = Some(object::namespace(deployment));
    let writer = Writer::internal(MANAGER);
    match store.create(&REPLICA_SETS, namespace, set, &writer) {
        Ok(set) => {
            let words = format!(
                "Scaled up replica set {} from 0 to {replicas}",
                object::name(&set)
            );
            let about = report::about(store, deployment, &DEPLOYMENTS);
            about.tell("ScalingReplicaSet", COMPONENT, &words);
            Some(set)
        }
        Err(error) => {
            let words = format!("Failed to create new replica set: {error}");
            let about = report::about(store, deployment, &DEPLOYMENTS);
            about.warn("ReplicaSetCreateError", COMPONENT, &words);
            None
        }
    }
}

/// One move from the old sets to the new one, within the bounds of the strategy.
fn roll(store: &Store, deployment: &Value, new: &Value, old: &[Arc<Value>]) {
    let desired = wanted(deployment);
    let left: usize = old.iter().map(|set| wanted(set)).sum();
    if text(deployment, &["spec", "strategy", "type"]) == "Recreate" {
        for set in old {
            scale(store, deployment, set, 0);
        }
        if old.iter().all(|set| count(set, "replicas") == 0) {
            scale(store, deployment, new, desired);
        }
        return;
    }
    let bound = |name: &str, up: bool| {
        let value = at(deployment, &["spec", "strategy", "rollingUpdate", name]);
        share(value, desired, up)
    };
    let surge = bound("maxSurge", true);
    let mut unavailable = bound("maxUnavailable", false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    let room = (desired + surge).saturating_sub(left);
    let grown = desired.min(room).max(wanted(new).min(desired));
    scale(store, deployment, new, grown);
    // Counted from what is wanted, not from what is still there: a pod on its way out must
    // not be counted on again.
    let least = desired.saturating_sub(unavailable);
    let mut may_go = (left + count(new, "readyReplicas")).saturating_sub(least);
    let mut old: Vec<_> = old.iter().collect();
    // What is not ready is missed least.
    old.sort_by_key(|set| count(set, "readyReplicas"));
    for set in old {
        let going = wanted(set).min(may_go);
        may_go -= going;
        scale(store, deployment, set, wanted(set) - going);
    }
}

/// A number, or a percentage of the replicas; 25 % when left out.
fn share(value: &Value, desired: usize, up: bool) -> usize {
    if let Some(number) = value.as_u64() {
        return usize::try_from(number).unwrap_or(usize::MAX);
    }
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.parse::<usize>().ok())
        .unwrap_or(25);
    let whole = desired.saturating_mul(percent.min(100));
    if up { whole.div_ceil(100) } else { whole / 100 }
}

fn count(set: &Value, field: &str) -> usize {
    let count = at(set, &["status", field]).as_u64().unwrap_or(0);
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn scale(store: &Store, deployment: &Value, set: &Value, replicas: usize) {
    let was = wanted(set);
    if was == replicas {
        return;
    }
    let writer = Writer::internal(MANAGER);
    let scaled = store.update(
        &REPLICA_SETS,
        Some(object::namespace(set)),
        object::name(set),
        &writer,
        |old| {
            let mut new = old.clone();
            object::child(&mut new, "spec").insert("replicas".to_owned(), replicas.into());
            Ok(new)
        },
    );
    // A set that is gone cannot be scaled, and need not.
    if scaled.is_ok() {
        let way = if replicas > was { "up" } else { "down" };
        let name = object::name(set);
        let words = format!("Scaled {way} replica set {name} from {was} to {replicas}");
        let about = report::about(store, deployment, &DEPLOYMENTS);
        about.tell("ScalingReplicaSet", COMPONENT, &words);
    }
}

fn write_status(store: &Store, deployment: &Value) {
    let sets = sets_of(store, deployment);
    let hash = hash(deployment);
    let sum = |field: &str| -> usize { sets.iter().map(|set| count(set, field)).sum() };
    let updated: usize = sets
        .iter()
        .filter(|set| text(set, &["metadata", "labels", HASH_LABEL]) == hash)
        .map(|set| count(set, "replicas"))
        .sum();
    let (desired, ready) = (wanted(deployment), sum("readyReplicas"));
    let available = ready >= desired;
    let status = json!({
        "replicas": sum("replicas"),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": desired.saturating_sub(ready),
        "observedGeneration": at(deployment, &["metadata", "generation"]),
        "conditions": [{
            "type": "Available",
            "status": if available { "True" } else { "False" },
            "reason": if available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
            "message": if available { "Deployment has minimum availability." }
                else { "Deployment does not have minimum availability." },
        }],
    });
    if at(deployment, &["status"]) == &status {
        return;
    }
    let writer = Writer::internal_status(MANAGER);
    // A deployment that is gone needs no status.
    let _ = store.update(
        &DEPLOYMENTS,
        Some(object::namespace(deployment)),
        object::name(deployment),
        &writer,
        |old| {
            let mut new = old.clone();
            object::as_map(&mut new).insert("status".to_owned(), status);
            Ok(new)
        },
    );
}
