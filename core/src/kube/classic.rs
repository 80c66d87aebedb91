//! ResourceClaims of Kubernetes 1.29 and 1.30, `resource.k8s.io/v1alpha2`, read as if they
//! were of today.

use ::kube::api::{ApiResource, DynamicObject};
use k8s_openapi::api::resource::v1::{
    ResourceClaim, ResourceClaimConsumerReference, ResourceClaimSpec, ResourceClaimStatus,
};
use serde::Deserialize;
use serde_json::Value;

/// Where they are served.
pub(super) fn resource() -> ApiResource {
    ApiResource {
        group: "resource.k8s.io".into(),
        version: "v1alpha2".into(),
        api_version: "resource.k8s.io/v1alpha2".into(),
        kind: "ResourceClaim".into(),
        plural: "resourceclaims".into(),
    }
}

/// What the driver needs of its status. The allocation is not among it: the kubelet hands
/// it over.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    reserved_for: Vec<ResourceClaimConsumerReference>,
}

/// The claim in today's shape, without its allocation.
pub(super) fn claim(object: DynamicObject) -> Result<ResourceClaim, String> {
    let status = object.data.get("status").cloned().unwrap_or(Value::Null);
    let status: Status = match status {
        Value::Null => Status::default(),
        status => serde_json::from_value(status).map_err(|error| error.to_string())?,
    };
    Ok(ResourceClaim {
        metadata: object.metadata,
        spec: ResourceClaimSpec::default(),
        status: Some(ResourceClaimStatus {
            reserved_for: Some(status.reserved_for),
            ..ResourceClaimStatus::default()
        }),
    })
}
