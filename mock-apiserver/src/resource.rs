//! The table of the kinds that are served, so that everything else can be generic.

use crate::resource_api::ResourceApi;

/// One served kind: where it lives in the API and which of the common behaviours it has.
#[derive(Debug)]
pub(crate) struct Resource {
    /// API group; empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) namespaced: bool,
    /// Has a `/status` subresource, so that each side ignores the other's part.
    pub(crate) status: bool,
    /// `metadata.generation` counts the changes of the spec.
    pub(crate) generation: bool,
    /// Served from a CustomResourceDefinition: stricter updates, no strategic merge.
    pub(crate) custom: bool,
    /// A DELETE that removes at once answers with the object instead of a Status.
    pub(crate) returns_deleted: bool,
    /// The DRA API that it comes with, where not every server has it.
    pub(crate) only_in: Option<ResourceApi>,
    /// Where the objects are stored. Two kinds may share a table, as both Event kinds do, and
    /// the claims of two versions.
    pub(crate) table: usize,
}

impl Resource {
    /// `v1` or `resource.k8s.io/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods` or `resourceclaims.resource.k8s.io`, as error messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Pod` or `ResourceClaim.resource.k8s.io`, as validation messages name it.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    pub(crate) fn is(&self, other: &Resource) -> bool {
        self.table == other.table
    }
}

const BASE: Resource = Resource {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    short_names: &[],
    namespaced: true,
    status: false,
    generation: false,
    custom: false,
    returns_deleted: false,
    only_in: None,
    table: 0,
};

const DRA: Resource = Resource {
    group: "resource.k8s.io",
    returns_deleted: true,
    only_in: Some(ResourceApi::V1),
    ..BASE
};

/// Of the same group, as Kubernetes 1.29 has it.
const CLASSIC: Resource = Resource {
    version: "v1alpha2",
    only_in: Some(ResourceApi::V1alpha2),
    ..DRA
};

pub(crate) static PODS: Resource = Resource {
    plural: "pods",
    singular: "pod",
    kind: "Pod",
    short_names: &["po"],
    status: true,
    generation: true,
    returns_deleted: true,
    table: 0,
    ..BASE
};
pub(crate) static NODES: Resource = Resource {
    plural: "nodes",
    singular: "node",
    kind: "Node",
    short_names: &["no"],
    namespaced: false,
    status: true,
    table: 1,
    ..BASE
};
pub(crate) static NAMESPACES: Resource = Resource {
    plural: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    short_names: &["ns"],
    namespaced: false,
    status: true,
    table: 2,
    ..BASE
};
/// Both Event kinds are one set of objects in two dresses, stored in this one.
pub(crate) static EVENTS: Resource = Resource {
    plural: "events",
    singular: "event",
    kind: "Event",
    short_names: &["ev"],
    table: 3,
    ..BASE
};
pub(crate) static EVENTS_V1: Resource = Resource {
    group: "events.k8s.io",
    plural: "events",
    singular: "event",
    kind: "Event",
    short_names: &["ev"],
    table: 3,
    ..BASE
};
pub(crate) static CLAIMS: Resource = Resource {
    plural: "resourceclaims",
    singular: "resourceclaim",
    kind: "ResourceClaim",
    status: true,
    generation: true,
    table: 4,
    ..DRA
};
pub(crate) static TEMPLATES: Resource = Resource {
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    kind: "ResourceClaimTemplate",
    table: 5,
    ..DRA
};
pub(crate) static SLICES: Resource = Resource {
    plural: "resourceslices",
    singular: "resourceslice",
    kind: "ResourceSlice",
    namespaced: false,
    generation: true,
    table: 6,
    ..DRA
};
pub(crate) static CLASSES: Resource = Resource {
    plural: "deviceclasses",
    singular: "deviceclass",
    kind: "DeviceClass",
    namespaced: false,
    generation: true,
    table: 7,
    ..DRA
};
pub(crate) static CLASSIC_CLAIMS: Resource = Resource {
    plural: "resourceclaims",
    singular: "resourceclaim",
    kind: "ResourceClaim",
    status: true,
    table: 4,
    ..CLASSIC
};
pub(crate) static CLASSIC_TEMPLATES: Resource = Resource {
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    kind: "ResourceClaimTemplate",
    table: 5,
    ..CLASSIC
};
pub(crate) static RESOURCE_CLASSES: Resource = Resource {
    plural: "resourceclasses",
    singular: "resourceclass",
    kind: "ResourceClass",
    namespaced: false,
    table: 11,
    ..CLASSIC
};
/// What claims and classes of Kubernetes 1.29 refer to for their parameters. The driver's own
/// kind, so that a claim's parameters are the same in every version.
pub(crate) static CNI_CONFIGS: Resource = Resource {
    group: "dra.networking",
    version: "v1alpha1",
    plural: "cniconfigs",
    singular: "cniconfig",
    kind: "CNIConfig",
    generation: true,
    custom: true,
    only_in: Some(ResourceApi::V1alpha2),
    table: 12,
    ..BASE
};
pub(crate) static NETWORK_ATTACHMENTS: Resource = Resource {
    group: "k8s.cni.cncf.io",
    plural: "network-attachment-definitions",
    singular: "network-attachment-definition",
    kind: "NetworkAttachmentDefinition",
    short_names: &["net-attach-def"],
    generation: true,
    custom: true,
    table: 8,
    ..BASE
};

const APPS: Resource = Resource {
    group: "apps",
    status: true,
    generation: true,
    ..BASE
};

pub(crate) static DEPLOYMENTS: Resource = Resource {
    plural: "deployments",
    singular: "deployment",
    kind: "Deployment",
    short_names: &["deploy"],
    table: 9,
    ..APPS
};
pub(crate) static REPLICA_SETS: Resource = Resource {
    plural: "replicasets",
    singular: "replicaset",
    kind: "ReplicaSet",
    short_names: &["rs"],
    table: 10,
    ..APPS
};

/// Number of object tables the store keeps.
pub(crate) const TABLES: usize = 13;

/// All served kinds, in the order discovery lists them.
pub(crate) static ALL: [&Resource; 16] = [
    &EVENTS,
    &NAMESPACES,
    &NODES,
    &PODS,
    &DEPLOYMENTS,
    &REPLICA_SETS,
    &EVENTS_V1,
    &CLASSES,
    &CLAIMS,
    &TEMPLATES,
    &SLICES,
    &CLASSIC_CLAIMS,
    &CLASSIC_TEMPLATES,
    &RESOURCE_CLASSES,
    &CNI_CONFIGS,
    &NETWORK_ATTACHMENTS,
];

/// The served kind behind a path's group, version and plural.
pub(crate) fn by_path(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.into_iter()
        .find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The served kind behind an object's `apiVersion` and `kind`.
pub(crate) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ALL.into_iter()
        .find(|r| r.group == group && r.version == version && r.kind == kind)
}

/// The first served kind of that plural name, of whatever group.
pub(crate) fn by_plural(plural: &str) -> Option<&'static Resource> {
    ALL.into_iter().find(|r| r.plural == plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_one_stored_kind() {
        for table in 0..TABLES {
            let kinds: Vec<_> = ALL
                .iter()
                .filter(|r| r.table == table)
                .map(|r| r.kind)
                .collect();
            assert!(!kinds.is_empty(), "table {table} is used by nobody");
            assert!(
                kinds.windows(2).all(|pair| pair[0] == pair[1]),
                "table {table} mixes {kinds:?}"
            );
        }
    }

    #[test]
    fn kinds_are_found_both_ways() {
        for resource in ALL {
            let by_path = by_path(resource.group, resource.version, resource.plural).unwrap();
            let by_kind = by_kind(&resource.api_version(), resource.kind).unwrap();
            assert_eq!(by_path.kind, resource.kind);
            assert_eq!(by_kind.group, resource.group);
        }
        assert!(by_path("apps", "v1", "statefulsets").is_none());
    }
}
