//! Attachments whose claim is gone and whose release has not succeeded yet.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use super::{Attachment, Manager, NetworkError, Place, State};
use crate::claim::AttachmentPlan;
use crate::cni::CniResult;
use crate::event::{ClaimRef, claim_span};

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
    /// What the ADD had answered, for plugins that want to know at DEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<CniResult>>,
    /// Why it could not be released last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Orphan {
    /// What an ADD that failed may have left.
    pub(super) fn attaching(claim: &ClaimRef, plan: &AttachmentPlan, place: &Place) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            claim: claim.clone(),
            plan: plan.clone(),
            place: place.clone(),
            result: None,
            last_error: None,
        }
    }

    /// From now on this is the background task's.
    pub(super) fn gave_up(&mut self, error: &NetworkError) {
        warn!(claim = %self.claim.uid, interface = %self.place.if_name, pod = %self.place.pod,
            %error, "not released; kept as an orphan and tried again");
        self.last_error = Some(error.to_string());
    }

    /// What an attachment of `claim` has, or may have, somewhere; `None` when it has
    /// nothing.
    pub fn of(claim: &ClaimRef, attachment: &Attachment) -> Option<Self> {
        let (place, result) = match &attachment.state {
            State::Planned => return None,
            State::Attaching { place } => (place, None),
            State::Attached { place, result, .. } => (place, Some(result.clone())),
        };
        Some(Self {
            result,
            ..Self::attaching(claim, &attachment.plan, place)
        })
    }
}

/// The longest pause between two attempts for one orphan.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Works the orphan list off, every `interval` until cancelled; an orphan that fails again
/// and again is tried less and less often. There is no last attempt: an address that is
/// never released is lost to the network.
pub(crate) async fn work_off(manager: Manager, interval: Duration, stop: CancellationToken) {
    let mut pauses: HashMap<String, (Instant, Duration)> = HashMap::new();
    let rounds = async {
        loop {
            let orphans = manager.orphans();
            pauses.retain(|id, _| orphans.iter().any(|orphan| orphan.id == *id));
            for orphan in orphans {
                let (due, pause) = pauses
                    .get(&orphan.id)
                    .copied()
                    .unwrap_or((Instant::now(), interval));
                let log = claim_span(&orphan.claim.uid);
                if due <= Instant::now() && !manager.release_orphan(&orphan).instrument(log).await {
                    let next = (pause * 2).min(MAX_PAUSE.max(interval));
                    pauses.insert(orphan.id, (Instant::now() + pause, next));
                }
            }
            tokio::time::sleep(interval).await;
        }
    };
    let _: Option<()> = stop.run_until_cancelled(rounds).await;
}
