//! Claims and calls of Kubernetes 1.29 and 1.30: a controller of the driver's own allocates and
//! writes a resource handle, which the kubelet hands to the driver (KEP-3063).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::resource::v1::{
    ResourceClaim, ResourceClaimConsumerReference, ResourceClaimSpec, ResourceClaimStatus,
};
use kube::api::{Api, ApiResource, DynamicObject};
use ndra_core::wire::dra_v1alpha3 as wire;
use serde::Deserialize;
use tonic::Status;
use tonic::transport::Channel;

use super::cache::PreparedDevice;
use super::call::{Outcome, WireClaim};
use crate::grpc::{request, within};

/// What the kubelet reads of a claim's status (`resource.k8s.io/v1alpha2`).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClassicStatus {
    driver_name: String,
    allocation: Option<Allocation>,
    reserved_for: Vec<ResourceClaimConsumerReference>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Allocation {
    resource_handles: Vec<Handle>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Handle {
    /// Empty: the status's own.
    driver_name: String,
    data: String,
}

/// The drivers of an allocated claim, each with its handle.
type Handles = Vec<(String, String)>;

/// The claim, as far as today's kubelet would know it, and its handles; `None` if it is not
/// allocated.
pub(super) async fn claim(
    client: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<(ResourceClaim, Option<Handles>), kube::Error> {
    let resource = ApiResource {
        group: "resource.k8s.io".into(),
        version: "v1alpha2".into(),
        api_version: "resource.k8s.io/v1alpha2".into(),
        kind: "ResourceClaim".into(),
        plural: "resourceclaims".into(),
    };
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let object = api.get(name).await?;
    let status = object.data.get("status").cloned().unwrap_or_default();
    let status: Option<ClassicStatus> =
        serde_json::from_value(status).map_err(kube::Error::SerdeError)?;
    let status = status.unwrap_or_default();
    let handles = status.allocation.map(|allocation| {
        let mut handles = allocation.resource_handles;
        // Without a handle the driver is still called, with nothing.
        if handles.is_empty() {
            handles.push(Handle::default());
        }
        let handles = handles.into_iter().map(|handle| {
            let driver = match handle.driver_name.as_str() {
                "" => status.driver_name.clone(),
                own => own.to_owned(),
            };
            (driver, handle.data)
        });
        handles.collect()
    });
    let claim = ResourceClaim {
        metadata: object.metadata,
        spec: ResourceClaimSpec::default(),
        status: Some(ResourceClaimStatus {
            reserved_for: Some(status.reserved_for),
            ..ResourceClaimStatus::default()
        }),
    };
    Ok((claim, handles))
}

fn claims(claims: &[WireClaim]) -> Vec<wire::Claim> {
    let claims = claims.iter().map(|claim| wire::Claim {
        namespace: claim.namespace.clone(),
        uid: claim.uid.clone(),
        name: claim.name.clone(),
        resource_handle: claim.handle.clone(),
    });
    claims.collect()
}

/// `v1alpha3.Node/NodePrepareResources`.
pub(super) async fn prepare(
    channel: Channel,
    asked: &[WireClaim],
    deadline: Duration,
) -> Result<BTreeMap<String, Outcome>, Status> {
    let mut client = wire::node_client::NodeClient::new(channel);
    let message = wire::NodePrepareResourcesRequest {
        claims: claims(asked),
    };
    let call = client.node_prepare_resources(request(message, deadline));
    let reply = within(deadline, call).await?;
    let outcome = |claim: wire::NodePrepareResourceResponse| match claim.error {
        error if !error.is_empty() => Err(error),
        // Names are the claim's: no request, pool or device is known.
        _ => Ok(vec![PreparedDevice {
            requests: Vec::new(),
            pool: String::new(),
            device: String::new(),
            cdi: claim.cdi_devices,
        }]),
    };
    let claims = reply.claims.into_iter();
    Ok(claims.map(|(uid, claim)| (uid, outcome(claim))).collect())
}

/// `v1alpha3.Node/NodeUnprepareResources`.
pub(super) async fn unprepare(
    channel: Channel,
    asked: &[WireClaim],
    deadline: Duration,
) -> Result<BTreeMap<String, Outcome>, Status> {
    let mut client = wire::node_client::NodeClient::new(channel);
    let message = wire::NodeUnprepareResourcesRequest {
        claims: claims(asked),
    };
    let call = client.node_unprepare_resources(request(message, deadline));
    let reply = within(deadline, call).await?;
    let outcome = |claim: wire::NodeUnprepareResourceResponse| match claim.error {
        error if !error.is_empty() => Err(error),
        _ => Ok(Vec::new()),
    };
    let claims = reply.claims.into_iter();
    Ok(claims.map(|(uid, claim)| (uid, outcome(claim))).collect())
}
