//! Tells of attachments: to the claim's status, to the pod's events, to the log.
//! Nothing here is waited for.

use std::sync::Arc;

use serde_json::json;
use tracing::{info, warn};

use super::{Attachment, Place, PreparedClaim, State};
use crate::cni::CniResult;
use crate::event::ClaimRef;
use crate::kube::events::EventKind;
use crate::kube::{DeviceState, EventPoster, PodRef, StatusWriter};

/// Where the news goes.
pub(super) struct Report {
    pub(super) status: Arc<StatusWriter>,
    pub(super) events: Arc<EventPoster>,
}

impl Report {
    /// The interface is there, since now.
    pub(super) fn attached(&self, claim: &ClaimRef, attachment: &Attachment, place: &Place) {
        let State::Attached { result, .. } = &attachment.state else {
            return;
        };
        let ips = addresses(result, place);
        info!(claim = %claim.uid, interface = %place.if_name, pod = %place.pod, ?ips, "attached");
        self.status_ready(claim, attachment);
        let shown = if ips.is_empty() {
            "no address".to_owned()
        } else {
            ips.join(", ")
        };
        self.events.post(
            place.pod.clone(),
            EventKind::Normal,
            "InterfaceAttached",
            format!(
                "{} ({shown}) attached for claim {}",
                place.if_name, claim.name
            ),
        );
    }

    /// The claim's status says so; repeated words cause no write.
    pub(super) fn status_ready(&self, claim: &ClaimRef, attachment: &Attachment) {
        if let State::Attached { place, result, .. } = &attachment.state {
            self.status.set(
                claim,
                attachment.plan.device.clone(),
                device_state(&place.if_name, result),
            );
        }
    }

    /// The claim could not be attached. Those of its devices that are attached stay so.
    pub(super) fn failed(&self, claim: &PreparedClaim, message: &str) {
        warn!(claim = %claim.claim.uid, error = message, "not attached");
        for attachment in &claim.attachments {
            if !matches!(attachment.state, State::Attached { .. }) {
                self.status.set(
                    &claim.claim,
                    attachment.plan.device.clone(),
                    DeviceState::Failed {
                        reason: "AttachFailed".into(),
                        message: message.into(),
                    },
                );
            }
        }
    }

    /// What the pod's user must see.
    pub(super) fn tell(&self, claim: &PreparedClaim, pod: &PodRef, message: &str) {
        self.events.post(
            pod.clone(),
            EventKind::Warning,
            "InterfaceAttachFailed",
            format!("claim {}: {message}", claim.claim.name),
        );
    }
}

/// The interface's addresses, for people.
pub(super) fn addresses(result: &CniResult, place: &Place) -> Vec<String> {
    let addresses = result.addresses(&place.if_name);
    addresses.iter().map(ToString::to_string).collect()
}

/// The interface's hardware address.
pub(super) fn mac(result: &CniResult, if_name: &str) -> Option<String> {
    let interface = result.container_interface(if_name)?;
    (!interface.mac.is_empty()).then(|| interface.mac.clone())
}

/// What `status.devices` says of an interface that is there.
pub(crate) fn device_state(if_name: &str, result: &CniResult) -> DeviceState {
    DeviceState::Ready {
        interface: if_name.to_owned(),
        mac: mac(result, if_name),
        ips: result.addresses(if_name),
        cni_result: json!(result),
    }
}
