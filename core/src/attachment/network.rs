//! The way to CNI: through Multus, or by running the plugins here.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Place;
use crate::claim::AttachmentPlan;
use crate::cni::{CniResult, ExecError, Executor, Invocation};
use crate::event::Actor;
use crate::event::Reason;
use crate::multus::{InterfaceAttributes, Multus, MultusError, Pod};

/// Who runs the CNI plugins.
#[derive(Clone, Debug)]
pub enum Network {
    /// The Multus daemon. It refuses to release what belonged to a pod that is gone from
    /// the API; `direct` then runs the plugin without it.
    Multus {
        /// The daemon.
        multus: Multus,
        /// The plugins on this node.
        direct: Executor,
    },
    /// The driver itself.
    Direct(Executor),
}

/// Why an ADD or DEL failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Through Multus.
    #[error(transparent)]
    Multus(#[from] MultusError),
    /// By the plugin, run directly.
    #[error(transparent)]
    Direct(#[from] ExecError),
    /// Multus refused because the pod is gone, and the plugin could not be run either.
    #[error("{multus}; run without Multus: {direct}")]
    Both {
        /// What Multus said.
        multus: MultusError,
        /// What became of running it directly.
        direct: ExecError,
    },
}

impl Reason for NetworkError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Multus(MultusError::Unreachable(_)) => "MultusUnreachable",
            Self::Multus(MultusError::TimedOut { .. }) => "TimedOut",
            Self::Multus(MultusError::Closed { .. }) => "MultusClosed",
            Self::Multus(MultusError::Refused { .. }) => "MultusRefused",
            Self::Multus(MultusError::Unreadable { .. }) => "Unreadable",
            Self::Multus(MultusError::Invalid(error))
            | Self::Direct(error)
            | Self::Both { direct: error, .. } => match error {
                ExecError::Invalid { .. } => "BadConfig",
                ExecError::NotFound { .. } => "PluginMissing",
                ExecError::TimedOut { .. } => "TimedOut",
                ExecError::TooMuchOutput { .. } | ExecError::Unreadable { .. } => "Unreadable",
                _ => "PluginFailed",
            },
        }
    }
}

/// What a failed ADD may have left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debris {
    /// No plugin ran.
    None,
    /// Links or addresses; a DEL clears them.
    Some,
    /// The ADD may still be under way: a DEL now may come before it has made anything.
    Pending,
}

impl NetworkError {
    /// Whether Multus, which looks before it runs a plugin, found an interface of that name.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Multus(refused) => {
                let reason = refused.reason().unwrap_or_default();
                reason.contains("validateIfName:")
            }
            Self::Direct(_) | Self::Both { .. } => false,
        }
    }

    /// What an ADD of `plan` that failed so may have left.
    pub fn debris(&self, plan: &AttachmentPlan) -> Debris {
        // Of several plugins an earlier one may have run.
        let alone = plan.network.plugins.len() == 1;
        match self {
            Self::Multus(MultusError::Unreachable(_) | MultusError::Invalid(_)) => Debris::None,
            Self::Multus(
                MultusError::TimedOut { .. }
                | MultusError::Closed { .. }
                | MultusError::Unreadable { .. },
            ) => Debris::Pending,
            Self::Multus(refused) => {
                let reason = refused.reason().unwrap_or_default();
                let missing = alone && reason.contains("failed to find plugin");
                // The interface that is there is somebody else's: a DEL would take it away.
                if self.is_taken() || missing {
                    Debris::None
                } else {
                    Debris::Some
                }
            }
            Self::Direct(ExecError::Invalid { .. }) => Debris::None,
            Self::Direct(ExecError::NotFound { .. } | ExecError::Run { .. }) if alone => {
                Debris::None
            }
            Self::Direct(_) | Self::Both { .. } => Debris::Some,
        }
    }
}

impl Network {
    /// Who is called, for events.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Multus { .. } => Actor::Multus,
            Self::Direct(_) => Actor::Cni,
        }
    }

    /// Makes the interface. After an error a [`Network::del`] is owed: plugins leave
    /// half-made links behind.
    pub async fn add(
        &self,
        plan: &AttachmentPlan,
        place: &Place,
        deadline: Instant,
    ) -> Result<CniResult, NetworkError> {
        let call = invocation(plan, place, &place.netns);
        Ok(match self {
            Self::Multus { multus, .. } => {
                let attributes = InterfaceAttributes {
                    ips: plan.ips.iter().map(ToString::to_string).collect(),
                    mac: plan.mac.clone(),
                    cni_args: plan
                        .cni_args
                        .iter()
                        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
                        .collect(),
                };
                multus
                    .delegate_add(&plan.network, &call, &pod(place), &attributes, deadline)
                    .await?
            }
            Self::Direct(executor) => executor.add(&plan.network, &call, deadline).await?,
        })
    }

    /// Removes what the cache of CNI results has of it, for one that is forgotten and not
    /// released. What cannot be removed stays: a later DEL of the name overwrites it.
    pub(super) fn forget(&self, plan: &AttachmentPlan, place: &Place) {
        let (Self::Multus { direct, .. } | Self::Direct(direct)) = self;
        let call = invocation(plan, place, place.netns_at_release());
        if let Err(error) = direct.forget(&plan.network, &call) {
            tracing::warn!(interface = %place.if_name, pod = %place.pod, %error, "cache entry stays");
        }
    }

    /// Releases it; an interface that is not there is released. `result` is what the ADD
    /// answered, where that is known.
    pub async fn del(
        &self,
        plan: &AttachmentPlan,
        place: &Place,
        result: Option<&CniResult>,
        deadline: Instant,
    ) -> Result<(), NetworkError> {
        let call = invocation(plan, place, place.netns_at_release());
        match self {
            Self::Multus { multus, direct } => {
                let through_multus = multus
                    .delegate_del(&plan.network, &call, &pod(place), deadline)
                    .await;
                match through_multus {
                    Err(refusal) if refusal.pod_is_gone() => direct
                        .del(&plan.network, &call, result, deadline)
                        .await
                        .map_err(|direct| NetworkError::Both {
                            multus: refusal,
                            direct,
                        }),
                    other => Ok(other?),
                }
            }
            Self::Direct(executor) => {
                Ok(executor.del(&plan.network, &call, result, deadline).await?)
            }
        }
    }
}

fn pod(place: &Place) -> Pod {
    Pod {
        namespace: place.pod.namespace.clone(),
        name: place.pod.name.clone(),
        uid: Some(place.pod.uid.clone()),
    }
}

fn invocation(plan: &AttachmentPlan, place: &Place, netns: &Path) -> Invocation {
    let mut capability_args = Map::new();
    if !plan.ips.is_empty() {
        let ips: Vec<String> = plan.ips.iter().map(ToString::to_string).collect();
        capability_args.insert("ips".into(), json!(ips));
    }
    if let Some(mac) = &plan.mac {
        capability_args.insert("mac".into(), Value::from(mac.as_str()));
    }
    let pod = &place.pod;
    let mut args = vec![
        ("IgnoreUnknown".to_owned(), "true".to_owned()),
        ("K8S_POD_NAMESPACE".into(), pod.namespace.clone()),
        ("K8S_POD_NAME".into(), pod.name.clone()),
        ("K8S_POD_INFRA_CONTAINER_ID".into(), place.sandbox.clone()),
        ("K8S_POD_UID".into(), pod.uid.clone()),
    ];
    args.extend(
        plan.cni_args
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Invocation {
        container_id: place.sandbox.clone(),
        netns: Some(netns.into()),
        if_name: place.if_name.clone(),
        args,
        capability_args,
    }
}
