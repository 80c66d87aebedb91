//! ReplicaSets: as many pods of one template as are wanted, no more and no fewer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Key, is_finished, report};
use crate::object::{self, at, list, text};
use crate::resource::{PODS, REPLICA_SETS};
use crate::selector::Filter;
use crate::store::{DeleteOptions, Store, Writer};

/// The field manager of this controller.
const MANAGER: &str = "kube-controller-manager";
/// The source of its events.
const COMPONENT: &str = "replicaset-controller";

/// The most pods that are made in one go. The next change goes on.
const BURST: usize = 500;

/// Makes what is missing, deletes what is too much, and writes the status.
pub(super) fn sync(store: &Store, key: &Key) {
    let Ok(set) = store.get(&REPLICA_SETS, Some(&key.0), &key.1) else {
        return;
    };
    if !object::is_deleting(&set) {
        let mut pods = pods_of(store, &set);
        pods.retain(|pod| !object::is_deleting(pod));
        let wanted = wanted(&set);
        if pods.len() < wanted {
            for _ in 0..(wanted - pods.len()).min(BURST) {
                if !make(store, &set) {
                    break;
                }
            }
        } else {
            pods.sort_by_key(|pod| expendable(pod));
            let surplus = pods.len() - wanted;
            for pod in &pods[..surplus] {
                remove(store, pod);
            }
        }
    }
    write_status(store, &set);
}

/// The set that is responsible for a pod.
pub(super) fn of_pod(pod: &Value) -> Option<Key> {
    let owner = controller(pod, "ReplicaSet")?;
    let name = text(owner, &["name"]).to_owned();
    Some((object::namespace(pod).to_owned(), name))
}

/// The owner that controls an object, if it is of this kind of workload.
pub(super) fn controller<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| {
            owner["controller"] == true && owner["apiVersion"] == "apps/v1" && owner["kind"] == kind
        })
}

/// How many pods its author wants.
pub(super) fn wanted(set: &Value) -> usize {
    let replicas = at(set, &["spec", "replicas"]).as_u64().unwrap_or(1);
    usize::try_from(replicas).unwrap_or(usize::MAX)
}

/// The set's pods that are not done.
fn pods_of(store: &Store, set: &Value) -> Vec<Arc<Value>> {
    let filter = Filter {
        namespace: Some(object::namespace(set).to_owned()),
        ..Filter::default()
    };
    let mut pods = store.list(&PODS, &filter).1;
    pods.retain(|pod| {
        !is_finished(pod)
            && controller(pod, "ReplicaSet")
                .is_some_and(|owner| text(owner, &["uid"]) == object::uid(set))
    });
    pods
}

/// Sorts first what is missed least: without a node, then not ready, then the youngest.
fn expendable(pod: &Value) -> (bool, bool, std::cmp::Reverse<String>) {
    let placed = !text(pod, &["spec", "nodeName"]).is_empty();
    let born = text(pod, &["metadata", "creationTimestamp"]).to_owned();
    (placed, is_ready(pod), std::cmp::Reverse(born))
}

fn is_ready(pod: &Value) -> bool {
    list(pod, &["status", "conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Says whether it could.
fn make(store: &Store, set: &Value) -> bool {
    let template = at(set, &["spec", "template"]);
    let mut base = object::name(set).to_owned();
    // A generated name is cut so that it fits a DNS label.
    base.truncate(57);
    let pod = json!({
        "metadata": {
            "generateName": format!("{base}-"),
            "labels": at(template, &["metadata", "labels"]),
            "annotations": at(template, &["metadata", "annotations"]),
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": object::name(set),
                "uid": object::uid(set),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": at(template, &["spec"]),
    });
    let writer = Writer::internal(MANAGER);
    match store.create(&PODS, Some(object::namespace(set)), pod, &writer) {
        Ok(made) => {
            let words = format!("Created pod: {}", object::name(&made));
            report::about(store, set, &REPLICA_SETS).tell("SuccessfulCreate", COMPONENT, &words);
            true
        }
        Err(error) => {
            let words = format!("Error creating: {error}");
            report::about(store, set, &REPLICA_SETS).warn("FailedCreate", COMPONENT, &words);
            false
        }
    }
}

fn remove(store: &Store, pod: &Value) {
    let options = DeleteOptions {
        uid: Some(object::uid(pod).to_owned()),
        ..DeleteOptions::default()
    };
    // Somebody else may have deleted it already.
    let _ = store.delete(
        &PODS,
        Some(object::namespace(pod)),
        object::name(pod),
        &options,
    );
}

fn write_status(store: &Store, set: &Value) {
    let mut pods = pods_of(store, set);
    pods.retain(|pod| !object::is_deleting(pod));
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let status = json!({
        "replicas": pods.len(),
        "fullyLabeledReplicas": pods.len(),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "observedGeneration": at(set, &["metadata", "generation"]),
    });
    if at(set, &["status"]) == &status {
        return;
    }
    let writer = Writer::internal_status(MANAGER);
    // A set that is gone needs no status.
    let _ = store.update(
        &REPLICA_SETS,
        Some(object::namespace(set)),
        object::name(set),
        &writer,
        |old| {
            let mut new = old.clone();
            object::as_map(&mut new).insert("status".to_owned(), status);
            Ok(new)
        },
    );
}
