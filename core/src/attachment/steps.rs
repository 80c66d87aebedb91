//! ADD and DEL as steps of a flow: recorded, bounded in time, DEL tried again.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::report::{addresses, mac};
use super::{Network, NetworkError, Orphan, Place, Times};
use crate::claim::AttachmentPlan;
use crate::cni::CniResult;
use crate::event::{Actor, ClaimRef, Recorder, Step, Subject, details};

/// The way to the network, and where its steps are recorded.
#[derive(Clone)]
pub(crate) struct Steps {
    pub(super) network: Network,
    pub(super) recorder: Recorder,
    pub(super) times: Times,
}

impl Steps {
    /// Wires the parts.
    pub(crate) fn new(network: Network, recorder: Recorder, times: Times) -> Self {
        Self {
            network,
            recorder,
            times,
        }
    }

    /// Makes the interface until `end`.
    pub(super) async fn add(
        &self,
        claim: &ClaimRef,
        plan: &AttachmentPlan,
        place: &Place,
        end: Instant,
    ) -> Result<CniResult, NetworkError> {
        let network = &self.network;
        let detail = json!({
            "ifName": place.if_name,
            "netns": place.netns,
            "device": plan.device.to_string(),
            "config": plan.network,
        });
        let mut span = self.recorder.begin_between(
            Step::CniAdd,
            subject(claim, place),
            Actor::Driver,
            network.actor(),
            details(detail),
        );
        let added = network.add(plan, place, end).await;
        if let Ok(result) = &added {
            span.detail("ifName", place.if_name.as_str());
            if let Some(mac) = mac(result, &place.if_name) {
                span.detail("mac", mac);
            }
            span.detail("ips", addresses(result, place));
            span.detail("result", json!(result));
        }
        span.close_for(added)
    }

    /// DEL, tried as often as configured while time is left.
    pub(super) async fn del_until(
        &self,
        orphan: &Orphan,
        end: Instant,
    ) -> Result<(), NetworkError> {
        let mut pause = Duration::from_millis(50);
        let mut attempt = 1;
        loop {
            let error = match self.del(orphan, end).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= self.times.del_attempts || Instant::now() + pause >= end {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
            attempt += 1;
        }
    }

    /// One DEL, until `end` at most.
    pub(super) async fn del(&self, orphan: &Orphan, end: Instant) -> Result<(), NetworkError> {
        let network = &self.network;
        let place = &orphan.place;
        let detail = json!({
            "ifName": place.if_name,
            "netns": place.netns_at_release(),
            "device": orphan.plan.device.to_string(),
        });
        let span = self.recorder.begin_between(
            Step::CniDel,
            subject(&orphan.claim, place),
            Actor::Driver,
            network.actor(),
            details(detail),
        );
        let deadline = end.min(Instant::now() + self.times.cni);
        let deleted = network
            .del(&orphan.plan, place, orphan.result.as_deref(), deadline)
            .await;
        span.close_for(deleted)
    }
}

fn subject(claim: &ClaimRef, place: &Place) -> Subject {
    Subject {
        claim: Some(claim.clone()),
        pod: Some(place.pod.to_string()),
        sandbox: Some(place.sandbox.clone()),
        container: None,
    }
}
