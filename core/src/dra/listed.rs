//! Claims that no container lists: no hook will ever run for them, and nobody else says so.

use k8s_openapi::api::core::v1::{Container, Pod, PodResourceClaimStatus};
use kube::Api;
use kube::core::{ApiResource, Object};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::node::Node;
use crate::claim::Consumer;
use crate::event::ClaimRef;
use crate::kube::PodRef;
use crate::kube::events::EventKind;

/// What of a pod says who uses its claims. Until Kubernetes 1.30 an entry names its claim
/// under `source`, which today's types do not have.
type KubePod = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    resource_claims: Vec<Entry>,
    init_containers: Vec<Container>,
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    name: String,
    resource_claim_name: Option<String>,
    source: Source,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    resource_claim_name: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    resource_claim_statuses: Vec<PodResourceClaimStatus>,
}

impl Entry {
    /// The claim that it names itself; one made from a template is named by the status.
    fn claim(&self) -> Option<&str> {
        let named = self.resource_claim_name.as_deref();
        named.or(self.source.resource_claim_name.as_deref())
    }
}

impl Node {
    /// CDI devices reach only containers that list the claim: says so, on the pod, when
    /// none does. Nobody waits for it.
    pub(super) fn look_for_hooks(&self, claim: ClaimRef, consumers: Vec<Consumer>) {
        let this = self.clone();
        let look = async move {
            for consumer in consumers {
                let (client, pod) = (this.client.clone(), ApiResource::erase::<Pod>(&()));
                let pods: Api<KubePod> = Api::namespaced_with(client, &claim.namespace, &pod);
                let read = tokio::time::timeout(this.config.api_timeout, pods.get(&consumer.name));
                let Ok(Ok(pod)) = read.await else { continue };
                if pod.metadata.uid.as_deref() != Some(consumer.uid.as_str())
                    || !unlisted(&pod, &claim.name)
                {
                    continue;
                }
                let message = format!(
                    "claim {} is listed for the pod, but no container lists it under \
                     resources.claims: no hook will run and no interface will be attached",
                    claim.name
                );
                warn!(claim = %claim.uid, pod = %consumer.name, "{message}");
                this.events.post(
                    PodRef {
                        namespace: claim.namespace.clone(),
                        name: consumer.name.clone(),
                        uid: consumer.uid,
                    },
                    EventKind::Warning,
                    "InterfaceNotRequested",
                    message,
                );
            }
        };
        let background = self.background.clone();
        self.tasks.spawn(async move {
            let _: Option<()> = background.run_until_cancelled_owned(look).await;
        });
    }
}

/// Whether the pod names this claim and none of its containers does.
fn unlisted(pod: &KubePod, claim: &str) -> bool {
    let spec = &pod.spec;
    let statuses = pod.status.iter().flat_map(|s| &s.resource_claim_statuses);
    let by_template: Vec<_> = statuses
        .filter(|status| status.resource_claim_name.as_deref() == Some(claim))
        .map(|status| status.name.as_str())
        .collect();
    let entries = spec.resource_claims.iter();
    let names: Vec<_> = entries
        .filter(|entry| entry.claim() == Some(claim) || by_template.contains(&entry.name.as_str()))
        .map(|entry| entry.name.as_str())
        .collect();
    let containers = spec.init_containers.iter().chain(&spec.containers);
    let listed = containers
        .filter_map(|container| container.resources.as_ref())
        .flat_map(|resources| resources.claims.iter().flatten())
        .any(|entry| names.contains(&entry.name.as_str()));
    !names.is_empty() && !listed
}
