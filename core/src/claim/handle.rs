//! The resource handle: how an allocation reaches the driver where the API has no devices
//! yet (KEP-3063, Kubernetes 1.29 and 1.30).
//!
//! There a controller of the driver's own allocates a claim and writes a text for the
//! driver into it. Ours is JSON:
//!
//! ```json
//! {
//!   "apiVersion": "dra.networking/v1alpha1",
//!   "kind": "ResourceHandle",
//!   "interfaces": [{"source": "FromClaim", "parameters": {"kind": "CNIConfig", "…": "…"}}]
//! }
//! ```
//!
//! It is turned into the allocation that a newer scheduler would have written, so that
//! everything behind it is the same for every version of Kubernetes.

use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult,
    DeviceRequestAllocationResult, OpaqueDeviceConfiguration,
};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::API_VERSION;
use crate::shown::quoted;

/// The `kind` of a handle.
pub const HANDLE_KIND: &str = "ResourceHandle";

/// The longest handle in bytes (`ResourceHandleDataMaxSize` of `resource.k8s.io/v1alpha2`).
pub const MAX_HANDLE: usize = 16 * 1024;

/// The most interfaces of one claim, as of devices in a newer allocation.
const MAX_INTERFACES: usize = 32;

/// What the controller writes for the driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Handle {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`HANDLE_KIND`].
    pub kind: String,
    /// One for each interface that the claim asks for.
    pub interfaces: Vec<HandleInterface>,
}

/// One interface of a handle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HandleInterface {
    /// Who wrote the parameters: a class is the administrator's, a claim anybody's.
    pub source: HandleSource,
    /// The driver's parameters; null for its default.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// Who wrote parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandleSource {
    /// The ResourceClass.
    FromClass,
    /// The ResourceClaim.
    FromClaim,
}

/// Why a handle cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// Too long for any API server to have stored it.
    #[error(
        "the resource handle has {0} bytes, more than {MAX_HANDLE}; let the claim be allocated again"
    )]
    TooLong(usize),
    /// Another program's handle, or a broken one.
    #[error(
        "the resource handle cannot be read: {0}; it must be written by the controller of this driver"
    )]
    Unreadable(String),
    /// Of another kind or version.
    #[error(
        "the resource handle is a {kind} of {api_version}, not a ResourceHandle of dra.networking/v1alpha1; controller and driver must be of one version"
    )]
    Kind {
        /// Its `apiVersion`, shortened.
        api_version: String,
        /// Its `kind`, shortened.
        kind: String,
    },
    /// No interface, or more than a claim may have.
    #[error("the resource handle asks for {0} interfaces; a claim has 1 to {MAX_INTERFACES}")]
    Count(usize),
}

/// The allocation that a handle stands for: one device for each of its interfaces, in the
/// pool of this node.
pub(crate) fn allocation(
    handle: &str,
    driver: &str,
    node: &str,
) -> Result<AllocationResult, HandleError> {
    if handle.len() > MAX_HANDLE {
        return Err(HandleError::TooLong(handle.len()));
    }
    if handle.is_empty() {
        return Err(HandleError::Unreadable("it is empty".into()));
    }
    let handle: Handle =
        serde_json::from_str(handle).map_err(|error| HandleError::Unreadable(error.to_string()))?;
    if handle.api_version != API_VERSION || handle.kind != HANDLE_KIND {
        return Err(HandleError::Kind {
            api_version: quoted(&handle.api_version),
            kind: quoted(&handle.kind),
        });
    }
    let count = handle.interfaces.len();
    if !(1..=MAX_INTERFACES).contains(&count) {
        return Err(HandleError::Count(count));
    }
    let name = |index: usize| format!("interface-{index}");
    let results = (0..count).map(|index| DeviceRequestAllocationResult {
        request: name(index),
        driver: driver.to_owned(),
        pool: node.to_owned(),
        device: name(index),
        ..DeviceRequestAllocationResult::default()
    });
    let results = results.collect();
    let config = handle.interfaces.into_iter().enumerate();
    let config = config
        .filter(|(_, interface)| !interface.parameters.is_null())
        .map(|(index, interface)| DeviceAllocationConfiguration {
            source: match interface.source {
                HandleSource::FromClass => "FromClass".into(),
                HandleSource::FromClaim => "FromClaim".into(),
            },
            requests: Some(vec![name(index)]),
            opaque: Some(OpaqueDeviceConfiguration {
                driver: driver.to_owned(),
                parameters: RawExtension(interface.parameters),
            }),
        });
    Ok(AllocationResult {
        devices: Some(DeviceAllocationResult {
            results: Some(results),
            config: Some(config.collect()),
        }),
        ..AllocationResult::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_interface_becomes_a_device_of_this_node() {
        let handle = json!({
            "apiVersion": "dra.networking/v1alpha1", "kind": "ResourceHandle",
            "interfaces": [
                { "source": "FromClaim", "parameters": { "ifName": "net1" } },
                { "source": "FromClass" },
            ],
        });
        let found = allocation(&handle.to_string(), "d.example", "node-a").unwrap();
        insta::assert_json_snapshot!(found, @r#"
        {
          "devices": {
            "config": [
              {
                "opaque": {
                  "driver": "d.example",
                  "parameters": {
                    "ifName": "net1"
                  }
                },
                "requests": [
                  "interface-0"
                ],
                "source": "FromClaim"
              }
            ],
            "results": [
              {
                "device": "interface-0",
                "driver": "d.example",
                "pool": "node-a",
                "request": "interface-0"
              },
              {
                "device": "interface-1",
                "driver": "d.example",
                "pool": "node-a",
                "request": "interface-1"
              }
            ]
          }
        }
        "#);
    }

    #[test]
    fn words() {
        let refused = |handle: Value| {
            allocation(&handle.to_string(), "d.example", "node-a")
                .unwrap_err()
                .to_string()
        };
        let of = |kind: &str, interfaces: Value| {
            json!({
                "apiVersion": "dra.networking/v1alpha1", "kind": kind, "interfaces": interfaces,
            })
        };
        let all = [
            refused(json!("x".repeat(MAX_HANDLE))),
            refused(json!({ "gpu": 1 })),
            refused(of("Other", json!([]))),
            refused(of(HANDLE_KIND, json!([]))),
            refused(of(
                HANDLE_KIND,
                json!(vec![json!({ "source": "FromClass" }); 33]),
            )),
            refused(of(HANDLE_KIND, json!([{ "source": "Elsewhere" }]))),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        the resource handle has 16386 bytes, more than 16384; let the claim be allocated again
        the resource handle cannot be read: unknown field `gpu`, expected one of `apiVersion`, `kind`, `interfaces` at line 1 column 6; it must be written by the controller of this driver
        the resource handle is a "Other" of "dra.networking/v1alpha1", not a ResourceHandle of dra.networking/v1alpha1; controller and driver must be of one version
        the resource handle asks for 0 interfaces; a claim has 1 to 32
        the resource handle asks for 33 interfaces; a claim has 1 to 32
        the resource handle cannot be read: unknown variant `Elsewhere`, expected `FromClass` or `FromClaim` at line 1 column 99; it must be written by the controller of this driver
        "#);
    }
}
