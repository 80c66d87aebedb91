//! The part of scheduler and controllers: one task that reacts to each change.

mod claims;
mod classic;
mod deployments;
mod garbage;
mod pods;
mod replicas;
mod report;
mod schedule;
mod templates;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use schedule::bind;

use crate::object::{self, text};
use crate::resource::{
    CLAIMS, CLASSES, CNI_CONFIGS, DEPLOYMENTS, NODES, PODS, REPLICA_SETS, RESOURCE_CLASSES, SLICES,
    TEMPLATES,
};
use crate::store::{Change, Happened, Store};

/// Namespace and name.
type Key = (String, String);

fn key(object: &Value) -> Key {
    (
        object::namespace(object).to_owned(),
        object::name(object).to_owned(),
    )
}

/// What a batch of changes gives reason to look at.
#[derive(Debug, Default)]
struct Work {
    pods: BTreeSet<Key>,
    claims: BTreeSet<Key>,
    replica_sets: BTreeSet<Key>,
    deployments: BTreeSet<Key>,
    /// UIDs of objects that are gone, with what they may have owned.
    gone: Vec<String>,
    /// Something changed that unscheduled pods may wait for.
    retry: bool,
}

/// Reacts to the store's changes, for ever.
pub(crate) async fn run(store: Arc<Store>) {
    let mut latest = store.subscribe();
    let mut position = 0;
    loop {
        latest.borrow_and_update();
        let work = match store.since(position) {
            Ok(changes) if changes.is_empty() => {
                if latest.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Ok(changes) => {
                position = changes.last().map_or(position, |change| change.revision);
                Work::of(&store, &changes)
            }
            // Too far behind to know what changed: look at everything.
            Err(_) => {
                position = store.revision();
                Work::everything(&store)
            }
        };
        work.carry_out(&store);
        // Clients get their turn between two batches, on however few threads.
        tokio::task::yield_now().await;
    }
}

impl Work {
    fn everything(store: &Store) -> Work {
        Work {
            pods: store.all(&PODS).iter().map(|pod| key(pod)).collect(),
            claims: store.all(&CLAIMS).iter().map(|claim| key(claim)).collect(),
            replica_sets: store
                .all(&REPLICA_SETS)
                .iter()
                .map(|set| key(set))
                .collect(),
            deployments: store.all(&DEPLOYMENTS).iter().map(|one| key(one)).collect(),
            gone: garbage::missing_owners(store),
            retry: true,
        }
    }

    fn of(store: &Store, changes: &[Arc<Change>]) -> Work {
        let mut work = Work::default();
        for change in changes {
            let object = &change.object;
            if change.happened == Happened::Deleted {
                work.gone.push(object::uid(object).to_owned());
            }
            if change.table == PODS.table {
                work.pods.insert(key(object));
                work.replica_sets.extend(replicas::of_pod(object));
                for (_, claim) in pods::claim_names(object) {
                    work.claims
                        .extend(claim.map(|name| (object::namespace(object).to_owned(), name)));
                }
            } else if change.table == CLAIMS.table {
                work.claims.insert(key(object));
                work.pods.extend(pods::users_of(store, object));
                // Devices may have become free.
                let allocated =
                    |claim: &Value| !object::at(claim, &["status", "allocation"]).is_null();
                let was = change
                    .previous
                    .as_ref()
                    .is_some_and(|previous| allocated(previous));
                work.retry |= was && (change.happened == Happened::Deleted || !allocated(object));
            } else if change.table == REPLICA_SETS.table {
                work.replica_sets.insert(key(object));
                work.deployments.extend(deployments::of_set(object));
            } else if change.table == DEPLOYMENTS.table {
                work.deployments.insert(key(object));
            } else if change.table == TEMPLATES.table {
                work.pods.extend(pods::waiting_for_template(store, object));
            } else {
                work.retry |= [&SLICES, &CLASSES, &RESOURCE_CLASSES, &CNI_CONFIGS]
                    .into_iter()
                    .any(|resource| resource.table == change.table)
                    || (change.table == NODES.table && node_counts(change));
            }
        }
        work
    }

    fn carry_out(self, store: &Store) {
        for key in &self.pods {
            templates::sync(store, key);
        }
        for uid in &self.gone {
            garbage::collect(store, uid);
        }
        for key in &self.deployments {
            deployments::sync(store, key);
        }
        for key in &self.replica_sets {
            replicas::sync(store, key);
        }
        for key in &self.claims {
            claims::sync(store, key);
        }
        let pending: BTreeSet<Key> = if self.retry {
            pods::pending(store).iter().map(|pod| key(pod)).collect()
        } else {
            self.pods
        };
        schedule::sync(store, &pending);
    }
}

/// Whether a change of a node can matter to the scheduler: heartbeats don't.
fn node_counts(change: &Change) -> bool {
    let Some(previous) = &change.previous else {
        return true;
    };
    let differs = |path: &[&str]| object::at(previous, path) != object::at(&change.object, path);
    change.happened == Happened::Deleted || differs(&["metadata", "labels"]) || differs(&["spec"])
}

/// The phase of a pod after which its containers never run again.
fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// Whether it is certain that none of the pod's containers runs or ever will.
fn is_done(pod: &Value) -> bool {
    is_finished(pod) || (object::is_deleting(pod) && text(pod, &["spec", "nodeName"]).is_empty())
}

#[cfg(test)]
mod tests;
