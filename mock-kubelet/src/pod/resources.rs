//! What a pod's status says of the health of its containers' devices (KEP-4680), as the
//! kubelet writes it with ResourceHealthStatus.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, ResourceHealth, ResourceStatus};

use crate::claim::{Claims, PreparedClaim};
use crate::plugin::{Health, HealthMap};

/// Fills `allocatedResourcesStatus` in. As the real kubelet, it looks for a claim's name in
/// the pod's status alone, where only claims from templates are, and leaves init containers
/// out.
pub(super) fn fill(
    pod: &Pod,
    statuses: &mut [ContainerStatus],
    claims: &Claims,
    health: &HealthMap,
) {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
    for container in containers.unwrap_or_default() {
        let resources = of_container(pod, container, claims, health);
        let status = statuses.iter_mut().find(|s| s.name == container.name);
        if let (Some(status), false) = (status, resources.is_empty()) {
            status.allocated_resources_status = Some(resources);
        }
    }
}

fn of_container(
    pod: &Pod,
    container: &Container,
    claims: &Claims,
    health: &HealthMap,
) -> Vec<ResourceStatus> {
    let listed = container.resources.as_ref().and_then(|r| r.claims.as_ref());
    let named = pod
        .status
        .as_ref()
        .and_then(|status| status.resource_claim_statuses.as_deref())
        .unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut found: Vec<ResourceStatus> = Vec::new();
    for entry in listed.into_iter().flatten() {
        let name = named
            .iter()
            .find(|status| status.name == entry.name)
            .and_then(|status| status.resource_claim_name.clone());
        let Some(claim) = name.and_then(|name| claims.get(&(namespace.clone(), name))) else {
            continue;
        };
        // Every device of the claim, whatever the request: the kubelet does not tell either.
        let resources = devices(&claim, health);
        let name = match &entry.request {
            Some(request) if !request.is_empty() => format!("claim:{}/{request}", entry.name),
            _ => format!("claim:{}", entry.name),
        };
        if !resources.is_empty() && found.iter().all(|status| status.name != name) {
            found.push(ResourceStatus {
                name,
                resources: Some(resources),
            });
        }
    }
    found
}

fn devices(claim: &PreparedClaim, health: &HealthMap) -> Vec<ResourceHealth> {
    let devices = claim
        .drivers
        .iter()
        .flat_map(|(driver, devices)| devices.iter().map(move |device| (driver, device)));
    devices
        .map(|(driver, device)| {
            let key = format!("{}/{}", device.pool, device.device);
            let said = health.get(driver).and_then(|known| known.get(&key));
            let health = match said.map(|said| said.now()) {
                Some(Health::Healthy) => "Healthy",
                Some(Health::Unhealthy) => "Unhealthy",
                Some(Health::Unknown) | None => "Unknown",
            };
            ResourceHealth {
                health: Some(health.into()),
                resource_id: match device.cdi.first() {
                    Some(id) => id.clone(),
                    None => format!("{driver}/{key}"),
                },
            }
        })
        .collect()
}
