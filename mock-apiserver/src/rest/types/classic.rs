//! The kinds of `resource.k8s.io/v1alpha2`, as far as their fields' types can be wrong.

#![allow(dead_code, reason = "they are read for their types alone")]

use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::api::resource::v1::ResourceClaimConsumerReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Claim {
    metadata: ObjectMeta,
    spec: ClaimSpec,
    status: Option<ClaimStatus>,
}

#[derive(Deserialize)]
pub(super) struct Template {
    metadata: ObjectMeta,
    spec: TemplateSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Class {
    metadata: ObjectMeta,
    driver_name: Option<String>,
    parameters_ref: Option<ParametersRef>,
    suitable_nodes: Option<NodeSelector>,
}

#[derive(Deserialize)]
struct TemplateSpec {
    metadata: Option<ObjectMeta>,
    spec: ClaimSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimSpec {
    resource_class_name: Option<String>,
    parameters_ref: Option<ParametersRef>,
    allocation_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParametersRef {
    api_group: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimStatus {
    driver_name: Option<String>,
    allocation: Option<Allocation>,
    reserved_for: Option<Vec<ResourceClaimConsumerReference>>,
    deallocation_requested: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allocation {
    resource_handles: Option<Vec<Handle>>,
    available_on_nodes: Option<NodeSelector>,
    shareable: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handle {
    driver_name: Option<String>,
    data: Option<String>,
}
