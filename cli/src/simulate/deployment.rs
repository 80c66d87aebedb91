//! Pods that a Deployment makes.

use std::time::Duration;

use serde_json::Value;

use super::board::Seen;
use super::life;
use super::world::World;
use crate::manifest::{Object, kind};

/// How long a Deployment may take to make its pods.
const MADE: Duration = Duration::from_secs(5);

/// How many pods an object stands for.
pub(super) fn replicas(object: &Object) -> usize {
    match object.kind.kind {
        "Pod" => 1,
        "Deployment" => {
            let replicas = object.value.pointer("/spec/replicas");
            let replicas = replicas.and_then(Value::as_u64).unwrap_or(1);
            usize::try_from(replicas).unwrap_or(usize::MAX)
        }
        _ => 0,
    }
}

/// The Deployment's pods now, by `namespace/name`.
pub(super) fn pods(seen: &Seen, deployment: &str) -> Vec<String> {
    let (namespace, name) = deployment.split_once('/').unwrap_or_default();
    let of = |object: &Value, kind: &str| {
        let owners = object.pointer("/metadata/ownerReferences");
        let mut owners = owners.and_then(Value::as_array).into_iter().flatten();
        let owner = owners.find(|owner| owner["kind"] == kind)?;
        Some(owner["name"].as_str()?.to_owned())
    };
    seen.objects(&kind::POD)
        .filter(|(key, pod)| {
            let Some(set) = of(pod, "ReplicaSet") else {
                return false;
            };
            let in_namespace = key.split('/').next() == Some(namespace);
            // The set may be gone before its pods; its name still tells.
            let maker = seen.object(&kind::REPLICA_SET, &format!("{namespace}/{set}"));
            in_namespace
                && match maker {
                    Some(maker) => of(maker, "Deployment").as_deref() == Some(name),
                    None => set.rsplit_once('-').is_some_and(|(base, _)| base == name),
                }
        })
        .map(|(key, _)| key.clone())
        .collect()
}

/// Waits until all of its pods run and their claims' status says so; what went wrong else.
pub(super) async fn ready(world: &World, deployment: &Object) -> Vec<String> {
    let (key, wanted) = (deployment.key(), replicas(deployment));
    let limit = MADE.min(world.options.timeout);
    let made = world.board.until(limit, |seen| {
        let pods = pods(seen, &key);
        (pods.len() >= wanted).then_some(pods)
    });
    let Some(pods) = made.await else {
        let found = world.board.look(|seen| pods(seen, &key).len());
        return vec![format!(
            "{deployment} has {found} of {wanted} pods after {limit:?}"
        )];
    };
    let mut failures = Vec::new();
    for pod in &pods {
        failures.extend(life::ready(world, pod).await.err());
    }
    failures
}
