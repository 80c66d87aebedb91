//! Claims that the kubelet forgot: its checkpoint was lost or the node joined anew, so that
//! no unprepare will ever come for them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::node::{ClaimName, Node};
use crate::attachment::PreparedClaim;
use crate::kube::claims::ClaimReadError;

/// Looks every `interval`, until cancelled, for recorded claims whose object is gone from
/// the API and whose sandboxes have all ended, and unprepares them.
pub(crate) async fn unprepare_forgotten(node: Node, interval: Duration, stop: CancellationToken) {
    let rounds = async {
        loop {
            // First the pause: after a start the kubelet may be about to call.
            tokio::time::sleep(interval).await;
            let held: Vec<PreparedClaim> = node
                .manager
                .store()
                .read(|record| record.claims.values().cloned().collect());
            for claim in held {
                if is_forgotten(&node, &claim).await {
                    let claim = claim.claim;
                    info!(claim = %claim.uid, name = %claim.name, namespace = %claim.namespace,
                        "gone from the API and from the runtime; unprepared without the kubelet");
                    let name = ClaimName {
                        namespace: claim.namespace,
                        name: claim.name,
                        uid: claim.uid.clone(),
                        handle: None,
                    };
                    if let Some(Err(error)) = node.unprepare(vec![name]).await.remove(&claim.uid) {
                        warn!(claim = %claim.uid, error, "a forgotten claim was not unprepared");
                    }
                }
            }
        }
    };
    let _: Option<()> = stop.run_until_cancelled(rounds).await;
}

/// In doubt it is not.
async fn is_forgotten(node: &Node, held: &PreparedClaim) -> bool {
    let claim = &held.claim;
    let gone = match node.claims.get(&claim.namespace, &claim.name).await {
        Ok(current) => current.metadata.uid.as_deref() != Some(claim.uid.as_str()),
        Err(ClaimReadError::NotFound { .. }) => true,
        Err(_) => false,
    };
    if !gone {
        return false;
    }
    for place in held.places() {
        if node.manager.in_use(place).await {
            return false;
        }
    }
    true
}
