//! NodeUnprepareResources for claims whose last pod on this node is gone.

use std::collections::BTreeMap;

use ndra_core::event::{Step, Subject};

use super::call::{ReplyError, WireClaim, check};
use super::checkpoint::CheckpointError;
use super::resolve::PodId;
use crate::grpc::rpc_error;
use crate::node::Node;

const CALL: &str = "NodeUnprepareResources";

/// Why a pod's claims could not be unprepared, in the kubelet's words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnprepareError {
    #[error("unprepare dynamic resources: DRA driver {0} is not registered")]
    NotRegistered(String),
    #[error("unprepare dynamic resources: NodeUnprepareResources: {0}")]
    Call(String),
    #[error("unprepare dynamic resources: {0}")]
    Reply(#[from] ReplyError),
    #[error("unprepare dynamic resources: checkpoint ResourceClaim state: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// Undoes [`super::prepare`] for one pod, from the checkpoint alone: pod and claims may be
/// gone from the API server. Safe to repeat; a claim that another pod uses is left alone.
pub(crate) async fn unprepare(node: &Node, pod: &PodId) -> Result<(), UnprepareError> {
    let keys = node.claims.of_pod(&pod.uid).into_iter().collect();
    let _held = node.claims.hold(&keys).await;
    let mut batches = BTreeMap::<String, Vec<WireClaim>>::new();
    let mut last = Vec::new();
    for key in &keys {
        let Some(info) = node.claims.get(key) else {
            continue;
        };
        if info.pods.iter().any(|user| *user != pod.uid) {
            continue;
        }
        for driver in info.drivers.keys() {
            batches.entry(driver.clone()).or_default().push(WireClaim {
                namespace: info.namespace.clone(),
                name: info.name.clone(),
                uid: info.uid.clone(),
                handle: info.handles.get(driver).cloned().unwrap_or_default(),
            });
        }
        last.push(key.clone());
    }
    for (driver, claims) in batches {
        for claim in &claims {
            let mut subject = Subject::claim(&claim.namespace, &claim.name, &claim.uid);
            if !pod.name.is_empty() {
                subject = subject.pod(&pod.namespace, &pod.name);
            }
            node.gate.pass(Step::Unprepare, &subject).await;
        }
        let Some(instance) = node.plugins.get(&driver) else {
            return Err(UnprepareError::NotRegistered(driver));
        };
        let reply = instance
            .unprepare(&claims, node.timing.prepare_deadline)
            .await
            .map_err(|status| UnprepareError::Call(rpc_error(&status)))?;
        check(CALL, &claims, reply)?;
    }
    node.claims.update(|known| {
        for key in &keys {
            if last.contains(key) {
                known.remove(key);
            } else if let Some(info) = known.get_mut(key) {
                info.pods.remove(&pod.uid);
            }
        }
        Ok(())
    })
}
