//! Detaches: claims that are unprepared, orphans, and the namespaces kept for both.

use tokio::time::Instant;
use tracing::{info, warn};

use super::Manager;
use crate::attachment::{Orphan, Place, PreparedClaim, pin};

impl Manager {
    /// Releases everything that a claim has, for unprepare. Never fails: what cannot be
    /// released in time is returned as orphans, for the caller to record.
    pub(crate) async fn release(&self, claim: &PreparedClaim) -> Vec<Orphan> {
        let end = Instant::now() + self.0.times.release;
        let mut orphans = Vec::new();
        for attachment in claim.attachments.iter().rev() {
            let Some(mut orphan) = Orphan::of(&claim.claim, attachment) else {
                continue;
            };
            if let Err(error) = self.0.steps.del_until(&orphan, end).await {
                orphan.gave_up(&error);
                orphans.push(orphan);
            }
        }
        orphans
    }

    /// Whether a pod still lives where an interface is or may be; in doubt it does.
    pub(crate) async fn in_use(&self, place: &Place) -> bool {
        self.0.cri.is_ready(&place.sandbox).await.unwrap_or(true)
    }

    /// The list that the background task works off.
    pub(crate) fn orphans(&self) -> Vec<Orphan> {
        self.0.store.read(|record| record.orphans.clone())
    }

    /// One more attempt for an orphan; it leaves the record when it succeeds. Tells
    /// whether it did.
    pub async fn release_orphan(&self, orphan: &Orphan) -> bool {
        let _lock = self.lock(&orphan.claim.uid).await;
        let released = self
            .0
            .steps
            .del(orphan, Instant::now() + self.0.times.cni)
            .await;
        let error = released.err().map(|error| error.to_string());
        match &error {
            None => info!(claim = %orphan.claim.uid, interface = %orphan.place.if_name,
                pod = %orphan.place.pod, "orphan released"),
            // The same words again are no news, for nobody and for no disk.
            Some(_) if error == orphan.last_error => return false,
            Some(error) => warn!(claim = %orphan.claim.uid, interface = %orphan.place.if_name,
                pod = %orphan.place.pod, %error, "orphan not released yet"),
        }
        let done = error.is_none();
        let written = self.0.store.change(|record| match error {
            None => record.orphans.retain(|other| other.id != orphan.id),
            Some(_) => {
                if let Some(held) = record.orphans.iter_mut().find(|o| o.id == orphan.id) {
                    held.last_error = error;
                }
            }
        });
        match written.await {
            Ok(()) => pin::release_unused(&self.0.store, orphan.place.pin.as_deref()).await,
            Err(error) => warn!(claim = %orphan.claim.uid, %error, "orphan list not written"),
        }
        done
    }

    /// Lets go of the namespaces that were kept for `claim`, once the record has forgotten
    /// it; those that its orphans still need stay.
    pub(crate) async fn unpin(&self, claim: &PreparedClaim) {
        let pins = claim.places().filter_map(|place| place.pin.as_deref());
        pin::release_unused(&self.0.store, pins).await;
    }

    /// Lets go of every namespace that is kept for nothing: an earlier instance died, or a
    /// write failed, between forgetting an attachment and letting go. Safe at any time: the
    /// record knows a namespace and what needs it from one write on.
    pub async fn unpin_forgotten(&self) {
        let pins = self.0.store.read(|record| record.pins.clone());
        pin::release_unused(&self.0.store, pins.iter().map(AsRef::as_ref)).await;
    }
}
