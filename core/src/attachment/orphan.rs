//! Attachments whose claim is gone and whose release has not succeeded yet.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Manager, Place};
use crate::claim::AttachmentPlan;
use crate::event::ClaimRef;

/// What is needed to release an attachment when nothing else is left of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orphan {
    /// Names the orphan in the record.
    pub id: String,
    /// The claim it belonged to.
    pub claim: ClaimRef,
    /// What was asked for, the CNI configuration included.
    pub plan: AttachmentPlan,
    /// Where it was made.
    pub place: Place,
    /// Why it could not be released last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Orphan {
    /// An attachment that is to be released from now on.
    pub fn new(claim: ClaimRef, plan: &AttachmentPlan, place: Place) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            claim,
            plan: plan.clone(),
            place,
            last_error: None,
        }
    }
}

/// Works the orphan list off: one round at once, then every `interval`, until cancelled.
/// There is no last attempt: an address that is never released is lost to the network.
pub(crate) async fn work_off(manager: Manager, interval: Duration, stop: CancellationToken) {
    loop {
        let round = async {
            for orphan in manager.orphans() {
                manager.release_orphan(&orphan).await;
            }
            tokio::time::sleep(interval).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}
