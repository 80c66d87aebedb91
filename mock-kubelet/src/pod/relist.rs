//! The pod lifecycle event generator: lists the runtime's pods and wakes the workers of
//! those that changed.

use std::sync::Arc;

use super::dispatch::Workers;
use crate::cri::Snapshot;
use crate::grpc::rpc_error;
use crate::node::Node;

pub(super) async fn relist(node: Arc<Node>, workers: Workers) {
    let mut old = Snapshot::default();
    let mut period = tokio::time::interval(node.timing.relist);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        match node.runtime.snapshot().await {
            Ok(new) => {
                for uid in old.pods.keys().filter(|uid| !new.pods.contains_key(*uid)) {
                    workers.wake(uid);
                }
                for (uid, seen) in &new.pods {
                    if old.pods.get(uid) != Some(seen) {
                        workers.wake(uid);
                    }
                }
                old = new;
            }
            Err(status) => tracing::debug!(error = rpc_error(&status), "relist failed"),
        }
    }
}
