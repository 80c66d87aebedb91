//! The kinds of object that the flow knows.

/// One kind of Kubernetes object.
#[derive(Debug, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
}

/// Two versions of a kind are one kind.
impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (self.group, self.kind) == (other.group, other.kind)
    }
}

const DRA: &str = "resource.k8s.io";
/// The version of [`DRA`] in Kubernetes 1.29.
const CLASSIC: &str = "v1alpha2";

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
#[cfg(feature = "simulate")]
pub(crate) static REPLICA_SET: Kind = kind("apps", "ReplicaSet", "replicasets", true);
/// Nodes.
pub(crate) static NODE: Kind = kind("", "Node", "nodes", false);
/// Namespaces.
pub(crate) static NAMESPACE: Kind = kind("", "Namespace", "namespaces", false);
/// Core events.
#[cfg(feature = "simulate")]
pub(crate) static EVENT: Kind = kind("", "Event", "events", true);
/// Claims.
pub(crate) static CLAIM: Kind = kind(DRA, "ResourceClaim", "resourceclaims", true);
/// Templates of claims.
pub(crate) static TEMPLATE: Kind =
    kind(DRA, "ResourceClaimTemplate", "resourceclaimtemplates", true);
/// Device classes.
pub(crate) static CLASS: Kind = kind(DRA, "DeviceClass", "deviceclasses", false);
/// What drivers publish.
#[cfg(feature = "simulate")]
pub(crate) static SLICE: Kind = kind(DRA, "ResourceSlice", "resourceslices", false);
/// Claims of Kubernetes 1.29.
pub(crate) static CLASSIC_CLAIM: Kind = Kind {
    version: CLASSIC,
    ..kind(DRA, "ResourceClaim", "resourceclaims", true)
};
/// Templates of such claims.
pub(crate) static CLASSIC_TEMPLATE: Kind = Kind {
    version: CLASSIC,
    ..kind(DRA, "ResourceClaimTemplate", "resourceclaimtemplates", true)
};
/// What such claims ask for.
pub(crate) static RESOURCE_CLASS: Kind = Kind {
    version: CLASSIC,
    ..kind(DRA, "ResourceClass", "resourceclasses", false)
};
/// The parameters of such claims.
pub(crate) static CNI_CONFIG: Kind = Kind {
    version: "v1alpha1",
    ..kind("dra.networking", "CNIConfig", "cniconfigs", true)
};
/// Networks, as Multus names them.
pub(crate) static NETWORK: Kind = kind(
    "k8s.cni.cncf.io",
    "NetworkAttachmentDefinition",
    "network-attachment-definitions",
    true,
);

/// Those a manifest may hold. Events and slices are written by the node's own parts.
static IN_MANIFESTS: [&Kind; 12] = [
    &POD,
    &DEPLOYMENT,
    &NODE,
    &NAMESPACE,
    &CLAIM,
    &TEMPLATE,
    &CLASS,
    &NETWORK,
    &CLASSIC_CLAIM,
    &CLASSIC_TEMPLATE,
    &RESOURCE_CLASS,
    &CNI_CONFIG,
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

    /// Whether it is of the DRA API of Kubernetes 1.29.
    pub(crate) fn is_classic(&self) -> bool {
        self.version == CLASSIC || *self == CNI_CONFIG
    }

    /// The kind in that API, where it is another.
    #[cfg(feature = "simulate")]
    pub(crate) fn classic(&'static self) -> &'static Self {
        let classic = [&CLASSIC_CLAIM, &CLASSIC_TEMPLATE];
        { classic }
            .into_iter()
            .find(|one| *one == self)
            .unwrap_or(self)
    }

    /// The kind of this name and version that a manifest may hold.
    pub(crate) fn by_version(name: &str, api_version: &str) -> Option<&'static Self> {
        { IN_MANIFESTS.iter().copied() }
            .find(|kind| kind.kind == name && kind.api_version() == api_version)
    }

    /// The kind of this name that a manifest may hold.
    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        IN_MANIFESTS.iter().copied().find(|kind| kind.kind == name)
    }

    /// All of their names, for a message.
    pub(crate) fn names() -> String {
        let mut names: Vec<_> = IN_MANIFESTS.iter().map(|kind| kind.kind).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        names.join(", ")
    }

    /// For a dynamic client.
    #[cfg(feature = "simulate")]
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
