//! The kinds of object that the flow knows.

/// One kind of Kubernetes object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
}

const DRA: &str = "resource.k8s.io";

const fn kind(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind {
        group,
        version: "v1",
        kind,
        plural,
        namespaced,
    }
}

/// Pods.
pub(crate) static POD: Kind = kind("", "Pod", "pods", true);
/// Pods of one template, replaced step by step.
pub(crate) static DEPLOYMENT: Kind = kind("apps", "Deployment", "deployments", true);
/// What a Deployment makes for each of its templates.
pub(crate) static REPLICA_SET: Kind = kind("apps", "ReplicaSet", "replicasets", true);
/// Nodes.
pub(crate) static NODE: Kind = kind("", "Node", "nodes", false);
/// Namespaces.
pub(crate) static NAMESPACE: Kind = kind("", "Namespace", "namespaces", false);
/// Core events.
pub(crate) static EVENT: Kind = kind("", "Event", "events", true);
/// Claims.
pub(crate) static CLAIM: Kind = kind(DRA, "ResourceClaim", "resourceclaims", true);
/// Templates of claims.
pub(crate) static TEMPLATE: Kind =
    kind(DRA, "ResourceClaimTemplate", "resourceclaimtemplates", true);
/// Device classes.
pub(crate) static CLASS: Kind = kind(DRA, "DeviceClass", "deviceclasses", false);
/// What drivers publish.
pub(crate) static SLICE: Kind = kind(DRA, "ResourceSlice", "resourceslices", false);
/// Networks, as Multus names them.
pub(crate) static NETWORK: Kind = kind(
    "k8s.cni.cncf.io",
    "NetworkAttachmentDefinition",
    "network-attachment-definitions",
    true,
);

/// Those a manifest may hold. Events and slices are written by the node's own parts.
static IN_MANIFESTS: [&Kind; 8] = [
    &POD,
    &DEPLOYMENT,
    &NODE,
    &NAMESPACE,
    &CLAIM,
    &TEMPLATE,
    &CLASS,
    &NETWORK,
];

impl Kind {
    /// `v1` or `resource.k8s.io/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind of this name that a manifest may hold.
    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        IN_MANIFESTS.iter().copied().find(|kind| kind.kind == name)
    }

    /// All of their names, for a message.
    pub(crate) fn names() -> String {
        let names: Vec<_> = IN_MANIFESTS.iter().map(|kind| kind.kind).collect();
        names.join(", ")
    }

    /// For a dynamic client.
    pub(crate) fn resource(&self) -> kube::core::ApiResource {
        kube::core::ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}
