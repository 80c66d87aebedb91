//! Which of Kubernetes' DRA APIs a server has. They differ in kinds, and in how pods name
//! claims.

use serde_json::{Value, json};

use crate::resource::{DEPLOYMENTS, PODS, REPLICA_SETS, Resource};

/// A version of `resource.k8s.io`, and the Kubernetes around it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResourceApi {
    /// Structured parameters: Kubernetes 1.34 and later.
    #[default]
    V1,
    /// Kubernetes 1.29: ResourceClasses, a controller that writes resource handles, and pods
    /// that name claims under `source` (KEP-3063). The driver's own controller is played,
    /// too, and the kind of its parameters is served.
    V1alpha2,
}

impl ResourceApi {
    /// The minor version of that Kubernetes.
    pub(crate) fn minor(self) -> &'static str {
        match self {
            ResourceApi::V1 => "34",
            ResourceApi::V1alpha2 => "29",
        }
    }

    /// Whether a server of that Kubernetes has the kind.
    pub(crate) fn serves(self, resource: &Resource) -> bool {
        resource.only_in.is_none_or(|api| api == self)
    }

    /// Drops fields of pods that this Kubernetes does not know.
    pub(crate) fn drop_unknown(self, resource: &Resource, object: &mut Value) {
        let path = if resource.is(&PODS) {
            "/spec/resourceClaims"
        } else if resource.is(&DEPLOYMENTS) || resource.is(&REPLICA_SETS) {
            "/spec/template/spec/resourceClaims"
        } else {
            return;
        };
        let unknown: &[&str] = match self {
            ResourceApi::V1 => &["source"],
            ResourceApi::V1alpha2 => &["resourceClaimName", "resourceClaimTemplateName"],
        };
        let entries = object.pointer_mut(path).and_then(Value::as_array_mut);
        for entry in { entries }
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            for field in unknown {
                entry.shift_remove(*field);
            }
            if self == ResourceApi::V1alpha2 {
                entry.entry("source").or_insert_with(|| json!({}));
            }
        }
    }
}

/// Where an entry of a pod's `resourceClaims` names its claim.
pub(crate) fn source(entry: &Value) -> &Value {
    entry.get("source").unwrap_or(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_what_its_kubernetes_knows() {
        let pod = json!({"spec": {"resourceClaims": [
            {"name": "a", "resourceClaimName": "x"},
            {"name": "b", "source": {"resourceClaimName": "y"}},
        ]}});
        let left = |api: ResourceApi| {
            let mut pod = pod.clone();
            api.drop_unknown(&PODS, &mut pod);
            pod["spec"]["resourceClaims"].clone()
        };
        let now = json!([{"name": "a", "resourceClaimName": "x"}, {"name": "b"}]);
        assert_eq!(left(ResourceApi::V1), now);
        let then = json!([{"name": "a", "source": {}}, {"name": "b", "source": {"resourceClaimName": "y"}}]);
        assert_eq!(left(ResourceApi::V1alpha2), then);
        assert_eq!(source(&then[1])["resourceClaimName"], "y");
        assert_eq!(source(&now[0])["resourceClaimName"], "x");
    }
}
