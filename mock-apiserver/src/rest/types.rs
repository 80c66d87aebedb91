//! Whether the fields of an object have the types their kind gives them.

use k8s_openapi::api::{
    apps::v1 as apps, core::v1 as core, events::v1 as events, resource::v1 as dra,
};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::object;
use crate::resource::Resource;

mod classic;

/// Refuses an object that a typed server could not decode. Unknown fields are kept.
pub(super) fn check(resource: &Resource, value: &Value) -> Result<()> {
    let checked = match (resource.group, resource.kind) {
        ("", "Pod") => try_as::<core::Pod>(resource, value),
        ("", "Node") => try_as::<core::Node>(resource, value),
        ("", "Namespace") => try_as::<core::Namespace>(resource, value),
        ("", "Event") => try_as::<core::Event>(resource, value),
        ("apps", "Deployment") => try_as::<apps::Deployment>(resource, value),
        ("apps", "ReplicaSet") => try_as::<apps::ReplicaSet>(resource, value),
        ("events.k8s.io", "Event") => try_as::<events::Event>(resource, value),
        ("resource.k8s.io", kind) if resource.version == "v1alpha2" => match kind {
            "ResourceClaim" => try_as::<classic::Claim>(resource, value),
            "ResourceClaimTemplate" => try_as::<classic::Template>(resource, value),
            _ => try_as::<classic::Class>(resource, value),
        },
        ("resource.k8s.io", "ResourceClaim") => try_as::<dra::ResourceClaim>(resource, value),
        ("resource.k8s.io", "ResourceClaimTemplate") => {
            try_as::<dra::ResourceClaimTemplate>(resource, value)
        }
        ("resource.k8s.io", "ResourceSlice") => try_as::<dra::ResourceSlice>(resource, value),
        ("resource.k8s.io", "DeviceClass") => try_as::<dra::DeviceClass>(resource, value),
        // What a custom kind holds is its program's to check.
        ("dra.networking", _) => Ok(()),
        _ => match object::at(value, &["spec", "config"]) {
            Value::Null | Value::String(_) => Ok(()),
            _ => Err("spec.config must be of type string".to_owned()),
        },
    };
    checked.map_err(|why| {
        let version = resource.version;
        let kind = resource.kind;
        ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        ))
    })
}

fn try_as<T: for<'de> Deserialize<'de>>(resource: &Resource, value: &Value) -> Result<(), String> {
    // The typed form insists on its kind, which a request may leave to the path.
    if value.get("kind").is_some() && value.get("apiVersion").is_some() {
        return T::deserialize(value)
            .map(drop)
            .map_err(|error| error.to_string());
    }
    let mut full = value.clone();
    let map = object::as_map(&mut full);
    map.insert("apiVersion".to_owned(), resource.api_version().into());
    map.insert("kind".to_owned(), resource.kind.into());
    T::deserialize(&full)
        .map(drop)
        .map_err(|error| error.to_string())
}
