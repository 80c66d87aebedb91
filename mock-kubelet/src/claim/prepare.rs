//! NodePrepareResources for a pod that needs a sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use ndra_core::event::{Step, Subject};

use super::cache::{ClaimKey, PreparedClaim};
use super::call::{ReplyError, WireClaim, check};
use super::checkpoint::CheckpointError;
use super::resolve::{PodId, ResolveError, claim_name, fetch, listed};
use crate::grpc::rpc_error;
use crate::node::Node;
use crate::plugin::Instance;

const CALL: &str = "NodePrepareResources";

/// Why a pod's claims could not be prepared, in the kubelet's words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("prepare dynamic resources: {0}")]
    Resolve(#[from] ResolveError),
    #[error("prepare dynamic resources: DRA driver {0} is not registered")]
    NotRegistered(String),
    #[error(
        "prepare dynamic resources: old ResourceClaim with same name {name} and different UID {uid} still exists (previous pod force-deleted?!)"
    )]
    OldClaim { name: String, uid: String },
    #[error("prepare dynamic resources: checkpoint ResourceClaim cache: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("prepare dynamic resources: NodePrepareResources: {0}")]
    Call(String),
    #[error("prepare dynamic resources: {0}")]
    Reply(#[from] ReplyError),
}

/// A claim of the pod and how to reach its drivers.
struct Wanted {
    key: ClaimKey,
    uid: String,
    /// With what the claim holds for each of them.
    drivers: BTreeMap<String, (Arc<Instance>, String)>,
}

/// Prepares those claims of the pod that are not prepared yet: one call a driver. From
/// here on the pod counts as a user of all of them, until [`super::unprepare`].
pub(crate) async fn prepare(node: &Node, pod: &Pod) -> Result<(), PrepareError> {
    let id = PodId::of(pod);
    let mut wanted = Vec::new();
    for claim in listed(pod) {
        let Some((name, must_own)) = claim_name(pod, claim)? else {
            continue;
        };
        let (claim, drivers) = fetch(node, &id, &name, must_own).await?;
        let mut reached = BTreeMap::new();
        for (driver, handle) in drivers {
            // Even for a claim that is prepared already: without its driver the node is
            // not fit to run the pod.
            let Some(instance) = node.plugins.get(&driver) else {
                return Err(PrepareError::NotRegistered(driver));
            };
            reached.insert(driver, (instance, handle));
        }
        wanted.push(Wanted {
            key: (id.namespace.clone(), name),
            uid: claim.metadata.uid.unwrap_or_default(),
            drivers: reached,
        });
    }
    let keys: BTreeSet<_> = wanted.iter().map(|claim| claim.key.clone()).collect();
    let _held = node.claims.hold(&keys).await;
    let mut batches = BTreeMap::<String, (Arc<Instance>, Vec<WireClaim>)>::new();
    let fresh = node.claims.update(|known| take(known, &wanted, &id.uid))?;
    for claim in wanted {
        if !fresh.contains(&claim.key) {
            continue;
        }
        for (driver, (instance, handle)) in claim.drivers {
            let batch = batches.entry(driver).or_insert((instance, Vec::new()));
            let asked = WireClaim {
                namespace: claim.key.0.clone(),
                name: claim.key.1.clone(),
                uid: claim.uid.clone(),
                handle,
            };
            if !batch.1.contains(&asked) {
                batch.1.push(asked);
            }
        }
    }
    for (driver, (instance, claims)) in batches {
        for claim in &claims {
            let subject = Subject::claim(&claim.namespace, &claim.name, &claim.uid);
            let subject = subject.pod(&id.namespace, &id.name);
            node.gate.pass(Step::Prepare, &subject).await;
        }
        let reply = instance
            .prepare(&claims, node.timing.prepare_deadline)
            .await
            .map_err(|status| PrepareError::Call(rpc_error(&status)))?;
        arrives(node, &id, &claims).await?;
        let prepared = check(CALL, &claims, reply)?;
        node.claims.update(|known| {
            for (claim, devices) in prepared {
                let key = (claim.namespace, claim.name);
                if let Some(info) = known.get_mut(&key) {
                    info.drivers.insert(driver.clone(), devices);
                }
            }
            Ok::<_, CheckpointError>(())
        })?;
    }
    node.claims.update(|known| {
        for key in &fresh {
            if let Some(info) = known.get_mut(key) {
                info.prepared = true;
            }
        }
        Ok(())
    })
}

/// Can the kubelet read the driver's answer? It can, unless somebody wants it to be lost on
/// the way; the driver does not learn of that.
async fn arrives(node: &Node, id: &PodId, claims: &[WireClaim]) -> Result<(), PrepareError> {
    for claim in claims {
        let subject = Subject::claim(&claim.namespace, &claim.name, &claim.uid);
        let subject = subject.pod(&id.namespace, &id.name);
        if let Err(words) = node.gate.ask(Step::Prepared, &subject).await {
            node.recorder.begin(Step::Prepared, subject).fail(&words);
            return Err(PrepareError::Call(words));
        }
    }
    Ok(())
}

/// Notes the pod at each claim; returns those that have to be prepared.
fn take(
    known: &mut BTreeMap<ClaimKey, PreparedClaim>,
    wanted: &[Wanted],
    pod: &str,
) -> Result<BTreeSet<ClaimKey>, PrepareError> {
    let mut fresh = BTreeSet::new();
    for claim in wanted {
        let info = known
            .entry(claim.key.clone())
            .or_insert_with(|| PreparedClaim {
                namespace: claim.key.0.clone(),
                name: claim.key.1.clone(),
                uid: claim.uid.clone(),
                pods: BTreeSet::new(),
                drivers: claim
                    .drivers
                    .keys()
                    .map(|d| (d.clone(), Vec::new()))
                    .collect(),
                handles: claim
                    .drivers
                    .iter()
                    .filter(|(_, (_, handle))| !handle.is_empty())
                    .map(|(driver, (_, handle))| (driver.clone(), handle.clone()))
                    .collect(),
                prepared: false,
            });
        if info.uid != claim.uid {
            return Err(PrepareError::OldClaim {
                name: info.name.clone(),
                uid: info.uid.clone(),
            });
        }
        info.pods.insert(pod.into());
        if !info.prepared {
            fresh.insert(claim.key.clone());
        }
    }
    Ok(fresh)
}
