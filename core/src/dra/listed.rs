//! Claims that no container lists: no hook will ever run for them, and nobody else says so.

use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::Api;
use tracing::warn;

use super::node::Node;
use crate::claim::Consumer;
use crate::event::ClaimRef;
use crate::kube::PodRef;
use crate::kube::events::EventKind;

impl Node {
    /// CDI devices reach only containers that list the claim: says so, on the pod, when
    /// none does. Nobody waits for it.
    pub(super) fn look_for_hooks(&self, claim: ClaimRef, consumers: Vec<Consumer>) {
        let this = self.clone();
        let look = async move {
            for consumer in consumers {
                let pods: Api<KubePod> = Api::namespaced(this.client.clone(), &claim.namespace);
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
    let Some(spec) = &pod.spec else { return false };
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.resource_claim_statuses.iter().flatten());
    let by_template: Vec<_> = statuses
        .filter(|status| status.resource_claim_name.as_deref() == Some(claim))
        .map(|status| status.name.as_str())
        .collect();
    let names: Vec<_> = spec
        .resource_claims
        .iter()
        .flatten()
        .filter(|entry| {
            entry.resource_claim_name.as_deref() == Some(claim)
                || by_template.contains(&entry.name.as_str())
        })
        .map(|entry| entry.name.as_str())
        .collect();
    let listed = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .filter_map(|container| container.resources.as_ref())
        .flat_map(|resources| resources.claims.iter().flatten())
        .any(|entry| names.contains(&entry.name.as_str()));
    !names.is_empty() && !listed
}
