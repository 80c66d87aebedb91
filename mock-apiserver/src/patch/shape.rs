//! Which lists are sets or maps: what the OpenAPI schema and the Go struct tags say.

use crate::resource::Resource;

/// How server-side apply treats a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// One value; an apply replaces it.
    Atomic,
    /// Values without order, each owned by itself.
    Set,
    /// Items that are told apart by these fields.
    Map(&'static [&'static str]),
}

/// Inside the template of a workload, the rules are a pod's.
fn of_pods<'p, 't>(resource: &Resource, path: &'p [&'t str]) -> (&'static str, &'p [&'t str]) {
    match (resource.kind, path) {
        ("Deployment" | "ReplicaSet", ["spec", "template", rest @ ..]) => ("Pod", rest),
        (kind, path) => (kind, path),
    }
}

/// The shape of the list at `path`, whose list indices are left out, for server-side apply.
pub(super) fn list(resource: &Resource, path: &[&str]) -> List {
    match path {
        ["metadata", "finalizers"] => return List::Set,
        ["metadata", "ownerReferences"] => return List::Map(&["uid"]),
        _ => {}
    }
    let (kind, path) = of_pods(resource, path);
    match (kind, path) {
        ("ResourceClaim", ["status", "devices"]) => {
            List::Map(&["device", "driver", "pool", "shareID"])
        }
        ("ResourceClaim", ["status", "devices", "conditions"]) => List::Map(&["type"]),
        ("ResourceClaim", ["status", "reservedFor"]) => List::Map(&["uid"]),
        ("Node", ["status", "conditions" | "addresses"]) => List::Map(&["type"]),
        ("Deployment" | "ReplicaSet", ["status", "conditions"]) => List::Map(&["type"]),
        ("Node", ["spec", "podCIDRs"]) => List::Set,
        ("Pod", ["status", "conditions"]) => List::Map(&["type"]),
        ("Pod", ["status", "resourceClaimStatuses"]) => List::Map(&["name"]),
        ("Pod", ["status", "podIPs"]) => List::Map(&["ip"]),
        ("Pod", ["spec", "resourceClaims" | "volumes" | "imagePullSecrets"]) => {
            List::Map(&["name"])
        }
        (
            "Pod",
            [
                "spec",
                "containers" | "initContainers" | "ephemeralContainers",
                rest @ ..,
            ],
        ) => match rest {
            [] | ["env" | "volumeDevices"] | ["resources", "claims"] => List::Map(&["name"]),
            ["ports"] => List::Map(&["containerPort", "protocol"]),
            ["volumeMounts"] => List::Map(&["mountPath"]),
            _ => List::Atomic,
        },
        _ => List::Atomic,
    }
}

/// Whether the map at `path` is one value for server-side apply.
pub(super) fn is_atomic_map(resource: &Resource, path: &[&str]) -> bool {
    matches!(
        of_pods(resource, path),
        ("ResourceClaim", ["status", "devices", "data"])
            | ("ResourceClaim", ["status", "allocation", "nodeSelector"])
            | ("ResourceSlice", ["spec", "nodeSelector"])
            | ("Pod", ["spec", "nodeSelector"])
            | ("Deployment" | "ReplicaSet", ["spec", "selector"])
            | (_, ["metadata", "ownerReferences"])
            | ("Event", ["involvedObject" | "regarding" | "related"])
    )
}

/// How strategic merge patch treats a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    Replace,
    /// Plain values are added.
    Add,
    /// Items with the same value of this field are merged.
    MergeBy(&'static str),
}

/// The strategy of the list at `path`, whose list indices are left out.
pub(super) fn strategy(resource: &Resource, path: &[&str]) -> Strategy {
    match path {
        ["metadata", "finalizers"] => return Strategy::Add,
        ["metadata", "ownerReferences"] => return Strategy::MergeBy("uid"),
        _ => {}
    }
    let (kind, path) = of_pods(resource, path);
    match (kind, path) {
        ("ResourceClaim", ["status", "reservedFor"]) => Strategy::MergeBy("uid"),
        ("Node", ["status", "conditions" | "addresses"]) => Strategy::MergeBy("type"),
        ("Deployment" | "ReplicaSet", ["status", "conditions"]) => Strategy::MergeBy("type"),
        ("Node", ["spec", "podCIDRs"]) => Strategy::Add,
        ("Pod", ["status", "conditions"]) => Strategy::MergeBy("type"),
        ("Pod", ["status", "resourceClaimStatuses"]) => Strategy::MergeBy("name"),
        ("Pod", ["status", "podIPs" | "hostIPs"]) => Strategy::MergeBy("ip"),
        ("Pod", ["spec", "resourceClaims" | "volumes" | "imagePullSecrets"]) => {
            Strategy::MergeBy("name")
        }
        ("Pod", ["spec", "hostAliases"]) => Strategy::MergeBy("ip"),
        (
            "Pod",
            [
                "spec",
                "containers" | "initContainers" | "ephemeralContainers",
                rest @ ..,
            ],
        ) => match rest {
            [] | ["env"] => Strategy::MergeBy("name"),
            ["ports"] => Strategy::MergeBy("containerPort"),
            ["volumeMounts"] => Strategy::MergeBy("mountPath"),
            ["volumeDevices"] => Strategy::MergeBy("devicePath"),
            _ => Strategy::Replace,
        },
        _ => Strategy::Replace,
    }
}
