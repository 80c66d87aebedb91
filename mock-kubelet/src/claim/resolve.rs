//! From what a pod writes about claims to the claims themselves, and to CDI devices.

use k8s_openapi::api::core::v1::{Container, Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::ResourceClaim;

use super::cache::{ClaimKey, Claims};
use super::classic;
use crate::node::Node;

/// Who a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodId {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl PodId {
    pub(crate) fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }
}

/// Why a pod's claim cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("Pod {namespace}/{pod}: ResourceClaim not created yet")]
    NotCreated { namespace: String, pod: String },
    #[error(
        "Pod {namespace}/{pod}, spec.resourceClaim {claim}: none of the supported fields are set"
    )]
    Unsupported {
        namespace: String,
        pod: String,
        claim: String,
    },
    #[error("fetch ResourceClaim {name}: {reason}")]
    Fetch { name: String, reason: String },
    #[error(
        "ResourceClaim {namespace}/{name} was not created for Pod {namespace}/{pod} (Pod is not owner)"
    )]
    NotOwner {
        namespace: String,
        name: String,
        pod: String,
    },
    #[error("pod {pod} ({pod_uid}) is not allowed to use ResourceClaim {name} ({uid})")]
    NotReserved {
        pod: String,
        pod_uid: String,
        name: String,
        uid: String,
    },
    #[error("ResourceClaim {name}: not allocated")]
    NotAllocated { name: String },
}

/// The claim's name, and whether the pod must own it. `None`: the pod does without.
pub(super) fn claim_name(
    pod: &Pod,
    claim: &PodResourceClaim,
) -> Result<Option<(String, bool)>, ResolveError> {
    if let Some(name) = &claim.resource_claim_name {
        return Ok(Some((name.clone(), false)));
    }
    let id = PodId::of(pod);
    if claim.resource_claim_template_name.is_none() {
        return Err(ResolveError::Unsupported {
            namespace: id.namespace,
            pod: id.name,
            claim: claim.name.clone(),
        });
    }
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.resource_claim_statuses.iter().flatten());
    match statuses
        .into_iter()
        .find(|status| status.name == claim.name)
    {
        Some(status) => Ok(status.resource_claim_name.clone().map(|name| (name, true))),
        None => Err(ResolveError::NotCreated {
            namespace: id.namespace,
            pod: id.name,
        }),
    }
}

/// The claims in the pod's spec.
pub(super) fn listed(pod: &Pod) -> &[PodResourceClaim] {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.resource_claims.as_deref())
        .unwrap_or_default()
}

/// Reads the claim and checks that this pod may use it. Returns the drivers, too, each with
/// what the claim holds for it: nothing, where the API has devices.
pub(super) async fn fetch(
    node: &Node,
    pod: &PodId,
    name: &str,
    must_own: bool,
) -> Result<(ResourceClaim, Vec<(String, String)>), ResolveError> {
    let failed = |error| ResolveError::Fetch {
        name: name.into(),
        reason: match error {
            kube::Error::Api(status) => status.message.clone(),
            other => ndra_core::socket::root_cause(&other),
        },
    };
    let (claim, handles) = if node.classic {
        let read = classic::claim(&node.client, &pod.namespace, name).await;
        let (claim, handles) = read.map_err(failed)?;
        (claim, Some(handles))
    } else {
        let api = kube::Api::<ResourceClaim>::namespaced(node.client.clone(), &pod.namespace);
        (api.get(name).await.map_err(failed)?, None)
    };
    let uid = claim.metadata.uid.clone().unwrap_or_default();
    let owners = claim.metadata.owner_references.iter().flatten();
    if must_own
        && !owners
            .into_iter()
            .any(|owner| owner.controller == Some(true) && owner.uid == pod.uid)
    {
        return Err(ResolveError::NotOwner {
            namespace: pod.namespace.clone(),
            name: name.into(),
            pod: pod.name.clone(),
        });
    }
    let status = claim.status.as_ref();
    let reserved = status.iter().flat_map(|s| s.reserved_for.iter().flatten());
    if !reserved.into_iter().any(|consumer| consumer.uid == pod.uid) {
        return Err(ResolveError::NotReserved {
            pod: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            name: name.into(),
            uid,
        });
    }
    if let Some(handles) = handles {
        return match handles {
            Some(handles) => Ok((claim, handles)),
            None => Err(ResolveError::NotAllocated { name: name.into() }),
        };
    }
    let Some(allocation) = status.and_then(|status| status.allocation.as_ref()) else {
        return Err(ResolveError::NotAllocated { name: name.into() });
    };
    let results = allocation
        .devices
        .iter()
        .flat_map(|d| d.results.iter().flatten());
    let mut drivers: Vec<_> = results.map(|result| result.driver.clone()).collect();
    drivers.sort();
    drivers.dedup();
    let drivers = drivers.into_iter().map(|driver| (driver, String::new()));
    let drivers = drivers.collect();
    Ok((claim, drivers))
}

/// The CDI devices of the requests that a container lists, and the claims they come from.
/// In the order of the pod's claims, each device once.
pub(crate) fn container_devices(
    claims: &Claims,
    pod: &Pod,
    container: &Container,
) -> Result<Vec<(ClaimKey, String, Vec<String>)>, String> {
    let id = PodId::of(pod);
    let wanted: Vec<_> = container
        .resources
        .iter()
        .flat_map(|resources| resources.claims.iter().flatten())
        .collect();
    let mut found = Vec::new();
    for claim in listed(pod) {
        let requests: Vec<_> = wanted
            .iter()
            .filter(|wanted| wanted.name == claim.name)
            .map(|wanted| wanted.request.as_deref().unwrap_or_default())
            .collect();
        if requests.is_empty() {
            continue;
        }
        let Some((name, _)) = claim_name(pod, claim).map_err(|error| error.to_string())? else {
            continue;
        };
        let key = (id.namespace.clone(), name);
        let Some(info) = claims.get(&key) else {
            return Err(format!(
                "internal error: unable to get claim info for ResourceClaim {} in namespace {}",
                key.1, key.0
            ));
        };
        let mut names = Vec::new();
        for device in info.drivers.values().flatten() {
            let serves = |request: &&str| {
                request.is_empty()
                    || device.requests.is_empty()
                    || device.requests.iter().any(|name| name == request)
            };
            if requests.iter().any(serves) {
                names.extend(device.cdi.iter().cloned());
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        found.push((key, info.uid, names));
    }
    Ok(found)
}
