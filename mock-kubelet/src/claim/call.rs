//! The calls to a driver: one shape for every version of the DRA service.

use std::collections::BTreeMap;
use std::time::Duration;

use ndra_core::wire::{dra_v1, dra_v1beta1};
use tonic::Status;

use super::cache::PreparedDevice;
use super::classic;
use crate::config::ApiVersion;
use crate::grpc::{request, within};
use crate::plugin::Instance;

/// A claim as a driver is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WireClaim {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// What the driver's controller wrote into the claim; empty where the API has devices.
    pub(super) handle: String,
}

/// What a driver answered for one claim: devices, or its error text.
pub(super) type Outcome = Result<Vec<PreparedDevice>, String>;

macro_rules! claims {
    ($wire:ident, $claims:expr) => {
        $claims
            .iter()
            .map(|claim| $wire::Claim {
                namespace: claim.namespace.clone(),
                uid: claim.uid.clone(),
                name: claim.name.clone(),
            })
            .collect()
    };
}

macro_rules! prepare_over {
    ($wire:ident, $channel:expr, $claims:expr, $deadline:expr) => {{
        let mut client = $wire::dra_plugin_client::DraPluginClient::new($channel);
        let message = $wire::NodePrepareResourcesRequest {
            claims: claims!($wire, $claims),
        };
        let call = client.node_prepare_resources(request(message, $deadline));
        let reply = within($deadline, call).await?;
        let outcome = |claim: $wire::NodePrepareResourceResponse| match claim.error {
            error if !error.is_empty() => Err(error),
            _ => Ok(claim
                .devices
                .into_iter()
                .map(|device| PreparedDevice {
                    requests: device.request_names,
                    pool: device.pool_name,
                    device: device.device_name,
                    cdi: device.cdi_device_ids,
                })
                .collect()),
        };
        Ok(reply
            .claims
            .into_iter()
            .map(|(uid, claim)| (uid, outcome(claim)))
            .collect())
    }};
}

macro_rules! unprepare_over {
    ($wire:ident, $channel:expr, $claims:expr, $deadline:expr) => {{
        let mut client = $wire::dra_plugin_client::DraPluginClient::new($channel);
        let message = $wire::NodeUnprepareResourcesRequest {
            claims: claims!($wire, $claims),
        };
        let call = client.node_unprepare_resources(request(message, $deadline));
        let reply = within($deadline, call).await?;
        let outcome = |claim: $wire::NodeUnprepareResourceResponse| match claim.error {
            error if !error.is_empty() => Err(error),
            _ => Ok(Vec::new()),
        };
        Ok(reply
            .claims
            .into_iter()
            .map(|(uid, claim)| (uid, outcome(claim)))
            .collect())
    }};
}

impl Instance {
    /// NodePrepareResources for all these claims; what came back, by claim UID.
    pub(super) async fn prepare(
        &self,
        claims: &[WireClaim],
        deadline: Duration,
    ) -> Result<BTreeMap<String, Outcome>, Status> {
        let channel = self.connection.get().await?.channel;
        match self.version {
            ApiVersion::V1 => prepare_over!(dra_v1, channel, claims, deadline),
            ApiVersion::V1beta1 => prepare_over!(dra_v1beta1, channel, claims, deadline),
            ApiVersion::V1alpha3 => classic::prepare(channel, claims, deadline).await,
        }
    }

    /// NodeUnprepareResources for all these claims; what came back, by claim UID.
    pub(super) async fn unprepare(
        &self,
        claims: &[WireClaim],
        deadline: Duration,
    ) -> Result<BTreeMap<String, Outcome>, Status> {
        let channel = self.connection.get().await?.channel;
        match self.version {
            ApiVersion::V1 => unprepare_over!(dra_v1, channel, claims, deadline),
            ApiVersion::V1beta1 => unprepare_over!(dra_v1beta1, channel, claims, deadline),
            ApiVersion::V1alpha3 => classic::unprepare(channel, claims, deadline).await,
        }
    }
}

/// Why a reply as a whole cannot be used; `call` is the method's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplyError {
    #[error("{call} returned result for unknown claim UID {uid}")]
    Unknown { call: &'static str, uid: String },
    #[error("{call} failed for ResourceClaim {name}: {reason}")]
    Failed {
        call: &'static str,
        name: String,
        reason: String,
    },
    #[error("{call} skipped {count} ResourceClaims")]
    Skipped { call: &'static str, count: usize },
}

/// Pairs the reply with what was asked: a result for each claim, and for no other.
pub(super) fn check(
    call: &'static str,
    asked: &[WireClaim],
    reply: BTreeMap<String, Outcome>,
) -> Result<Vec<(WireClaim, Vec<PreparedDevice>)>, ReplyError> {
    let answered = reply.len();
    let mut devices = Vec::with_capacity(answered);
    for (uid, outcome) in reply {
        let Some(claim) = asked.iter().find(|claim| claim.uid == uid) else {
            return Err(ReplyError::Unknown { call, uid });
        };
        let found = outcome.map_err(|reason| ReplyError::Failed {
            call,
            name: claim.name.clone(),
            reason,
        })?;
        devices.push((claim.clone(), found));
    }
    match asked.len() - answered {
        0 => Ok(devices),
        count => Err(ReplyError::Skipped { call, count }),
    }
}
