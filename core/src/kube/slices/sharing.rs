//! Whether the API server keeps what lets many claims share a device (KEP-5075).
//!
//! A server whose feature gate is off drops the fields and says nothing. A device would then
//! belong to the first claim alone.

use ::kube::Api;
use ::kube::api::PostParams;
use k8s_openapi::api::resource::v1::{Device, ResourcePool, ResourceSlice, ResourceSliceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::sync::REQUEST_TIMEOUT;
use super::{PublishError, PublisherConfig, SLICES};
use crate::kube::failure::call;

/// A device that is to be shared, if there is one.
pub(super) fn wanted(devices: &[Device]) -> Option<&Device> {
    let mut devices = devices.iter();
    devices.find(|device| device.allow_multiple_allocations == Some(true))
}

/// What the server would keep of such a device: a dry run, which leaves nothing behind.
pub(super) async fn ask(
    api: &Api<ResourceSlice>,
    config: &PublisherConfig,
    device: &Device,
) -> Result<bool, PublishError> {
    let slice = ResourceSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-{}-", config.driver, config.node)),
            ..ObjectMeta::default()
        },
        spec: ResourceSliceSpec {
            driver: config.driver.clone(),
            node_name: Some(config.node.clone()),
            pool: ResourcePool {
                name: config.node.clone(),
                generation: 0,
                resource_slice_count: 1,
            },
            devices: Some(vec![device.clone()]),
            ..ResourceSliceSpec::default()
        },
    };
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let kept = call(REQUEST_TIMEOUT, api.create(&params, &slice))
        .await
        .map_err(|failure| PublishError::new("create", SLICES, &failure))?;
    Ok(wanted(kept.spec.devices.as_deref().unwrap_or_default()).is_some())
}
