//! Pods through their lives, as `ndra simulate FILE` runs them: created, ready, deleted,
//! gone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use ndra_core::event::{Event, Phase, Step};
use serde_json::Value;

use super::board::Seen;
use super::deployment;
use super::inside::{Inside, Meetings};
use super::world::World;
use crate::failure::Failure;
use crate::manifest::{Object, kind};

/// How often one step may fail before its pod counts as failed: the parts try again, and
/// what fails three times in a row fails for a reason.
const TRIES: usize = 3;

/// How long a pod may wait for a device while others may still give theirs back.
const UNSCHEDULABLE: Duration = Duration::from_secs(3);

/// What came of all lives.
pub(crate) struct Lives {
    pub(crate) failures: Vec<String>,
    /// What pods had, as their network namespaces say; empty where those are played.
    pub(crate) inside: Inside,
}

/// Runs `copies` of all pods, at most `parallel` copies at a time. What goes wrong with a
/// pod is told, and the others go on.
pub(crate) async fn run(
    world: &World,
    objects: &[Object],
    copies: u16,
    parallel: u16,
) -> Result<Lives, Failure> {
    let (own, shared): (Vec<&Object>, Vec<&Object>) =
        objects.iter().partition(|object| is_own(object));
    create_shared(world, &shared).await?;
    let meetings = Meetings::new(copies, parallel);
    let lives = stream::iter(1..=copies).map(|number| {
        let copy = copy(&own, (copies > 1).then_some(number));
        let meetings = &meetings;
        async move { one(world, &copy, number, meetings).await }
    });
    let ended: Vec<_> = lives.buffer_unordered(parallel.into()).collect().await;
    let mut failures = Vec::new();
    for life in ended {
        failures.extend(life?);
    }
    let inside = meetings.end();
    Ok(Lives { failures, inside })
}

/// Whether every copy has one of its own.
fn is_own(object: &Object) -> bool {
    [&kind::POD, &kind::DEPLOYMENT, &kind::CLAIM].contains(&object.kind)
}

/// Creates what all copies use.
pub(super) async fn create_shared(world: &World, shared: &[&Object]) -> Result<(), Failure> {
    for object in shared {
        // Every cluster has some of them already.
        if object.kind == &kind::NAMESPACE || object.kind == &kind::NODE {
            world.ensure(object).await?;
        } else {
            world.create(object).await?;
        }
    }
    Ok(())
}

/// Pods and claims under names of their own, references between them kept.
pub(super) fn copy(objects: &[&Object], number: Option<u16>) -> Vec<Object> {
    let Some(number) = number else {
        return objects.iter().map(|object| (*object).clone()).collect();
    };
    let claims: Vec<&str> = objects
        .iter()
        .filter(|object| object.kind == &kind::CLAIM)
        .map(|object| object.name.as_str())
        .collect();
    objects
        .iter()
        .map(|object| {
            let mut copy = object.renamed(format!("{}-{number}", object.name));
            let spec = if object.kind == &kind::DEPLOYMENT {
                "/spec/template/spec/resourceClaims"
            } else {
                "/spec/resourceClaims"
            };
            let entries = copy.value.pointer_mut(spec);
            for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
                // Until 1.30 a pod names it there.
                let entry = match entry.get("source") {
                    Some(_) => &mut entry["source"],
                    None => entry,
                };
                let name = entry.get("resourceClaimName").and_then(Value::as_str);
                if let Some(name) = name.filter(|name| claims.contains(name)) {
                    entry["resourceClaimName"] = Value::String(format!("{name}-{number}"));
                }
            }
            copy
        })
        .collect()
}

async fn one(
    world: &World,
    objects: &[Object],
    number: u16,
    meetings: &Meetings,
) -> Result<Vec<String>, Failure> {
    let of_kind = |wanted| objects.iter().filter(move |object| object.kind == wanted);
    for kind in [&kind::CLAIM, &kind::POD, &kind::DEPLOYMENT] {
        for object in of_kind(kind) {
            world.create(object).await?;
        }
    }
    let mut failures = Vec::new();
    for pod in of_kind(&kind::POD) {
        failures.extend(ready(world, &pod.key()).await.err());
    }
    for deployment in of_kind(&kind::DEPLOYMENT) {
        failures.extend(deployment::ready(world, deployment).await);
    }
    let mut pods: Vec<String> = of_kind(&kind::POD).map(Object::key).collect();
    for deployment in of_kind(&kind::DEPLOYMENT) {
        let key = deployment.key();
        pods.extend(world.board.look(|seen| deployment::pods(seen, &key)));
    }
    meetings.meet(world, number, &pods).await;
    for kind in [&kind::DEPLOYMENT, &kind::POD, &kind::CLAIM] {
        let keys: Vec<String> = of_kind(kind).map(Object::key).collect();
        for key in &keys {
            world.delete(kind, key, false).await?;
        }
        let gone = |seen: &Seen| {
            let left = keys.iter().any(|key| seen.object(kind, key).is_some());
            let made = kind == &kind::DEPLOYMENT
                && (keys.iter()).any(|key| !deployment::pods(seen, key).is_empty());
            (!left && !made).then_some(())
        };
        if world
            .board
            .until(world.options.timeout, gone)
            .await
            .is_none()
        {
            failures.push(format!(
                "{} {} did not go away within {:?}",
                kind.kind,
                keys.join(", "),
                world.options.timeout
            ));
        }
    }
    Ok(failures)
}

/// Waits until the pod runs and its claims' status says so.
pub(super) async fn ready(world: &World, key: &str) -> Result<(), String> {
    let look = |seen: &Seen| state(seen, key);
    let limit = world.options.timeout;
    let first = UNSCHEDULABLE.min(limit);
    let mut found = world.board.until(first, look).await;
    if found.is_none() {
        let waits = world.board.look(|seen| unschedulable(seen, key));
        if let Some(why) = waits {
            return Err(format!("pod {key} got no device: {why}"));
        }
        found = world.board.until(limit.saturating_sub(first), look).await;
    }
    found.unwrap_or_else(|| {
        let why = world.board.look(|seen| waiting(seen, key));
        Err(format!("pod {key} was not ready within {limit:?}: {why}"))
    })
}

/// `None` while it is not decided.
fn state(seen: &Seen, key: &str) -> Option<Result<(), String>> {
    let pod = seen.object(&kind::POD, key)?;
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    let mine = claims_of(seen, pod, key);
    match phase {
        Some("Failed") => return Some(Err(format!("pod {key} failed: {}", waiting(seen, key)))),
        Some("Succeeded") => return Some(Ok(())),
        Some("Running") if is_ready(pod) => {
            return told(seen, &mine).then_some(Ok(()));
        }
        _ => {}
    }
    let mut failed: BTreeMap<(Step, Option<&str>), usize> = BTreeMap::new();
    // The innermost step knows best what went wrong.
    let mut innermost: Option<&Event> = None;
    for event in &seen.flow {
        let uid = event.subject.claim.as_ref().map(|claim| claim.uid.as_str());
        let about =
            event.subject.pod.as_deref() == Some(key) || uid.is_some_and(|uid| mine.contains(&uid));
        if !about || event.phase != Phase::Fail || event.step >= Step::Unprepare {
            continue;
        }
        *failed.entry((event.step, uid)).or_default() += 1;
        if innermost.is_none_or(|inner| inner.step < event.step) {
            innermost = Some(event);
        }
    }
    failed.values().find(|count| **count >= TRIES)?;
    let inner = innermost?;
    let error = inner.error.as_deref().unwrap_or("no reason was given");
    Some(Err(format!(
        "pod {key} did not start after {TRIES} tries: {} failed: {error}",
        inner.step
    )))
}

/// UIDs of the claims that are reserved for the pod.
fn claims_of<'a>(seen: &'a Seen, pod: &Value, key: &str) -> Vec<&'a str> {
    let namespace = key.split('/').next().unwrap_or_default();
    let uid = pod.pointer("/metadata/uid");
    seen.objects(&kind::CLAIM)
        .filter(|(claim, object)| {
            claim.split('/').next() == Some(namespace)
                && object
                    .pointer("/status/reservedFor")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .any(|consumer| consumer.get("uid") == uid)
        })
        .filter_map(|(_, object)| object.pointer("/metadata/uid")?.as_str())
        .collect()
}

/// Every claim that was attached has got its status; in Kubernetes 1.29 none gets any.
fn told(seen: &Seen, claims: &[&str]) -> bool {
    let is_classic = |claim: &Value| {
        claim.get("apiVersion").and_then(Value::as_str) == Some(&*kind::CLASSIC_CLAIM.api_version())
    };
    if seen
        .objects(&kind::CLAIM)
        .any(|(_, claim)| is_classic(claim))
    {
        return true;
    }
    claims.iter().all(|uid| {
        let ended = |step| {
            seen.flow.iter().any(|event| {
                event.step == step
                    && event.phase == Phase::End
                    && event
                        .subject
                        .claim
                        .as_ref()
                        .is_some_and(|claim| claim.uid == *uid)
            })
        };
        !ended(Step::CniAdd) || ended(Step::Status)
    })
}

/// Every container is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.get("status") == Some(&"True".into()))
}

fn condition<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    pod.pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(name))
}

fn unschedulable(seen: &Seen, key: &str) -> Option<String> {
    let pod = seen.object(&kind::POD, key)?;
    let scheduled = condition(pod, "PodScheduled")?;
    if scheduled.get("status")? != "False" {
        return None;
    }
    Some(scheduled.get("message")?.as_str()?.to_owned())
}

/// What a pod waits for, as its status says.
pub(crate) fn waiting(seen: &Seen, key: &str) -> String {
    let Some(pod) = seen.object(&kind::POD, key) else {
        return "it is not in the API".into();
    };
    let mut reasons: Vec<String> = unschedulable(seen, key).into_iter().collect();
    for list in ["initContainerStatuses", "containerStatuses"] {
        let statuses = pod
            .pointer(&format!("/status/{list}"))
            .and_then(Value::as_array);
        for status in statuses.into_iter().flatten() {
            let Some(waiting) = status.pointer("/state/waiting") else {
                continue;
            };
            let text = |value: &Value, key: &str| {
                value
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            reasons.push(format!(
                "container {} waits: {} {}",
                text(status, "name"),
                text(waiting, "reason"),
                text(waiting, "message")
            ));
        }
    }
    if reasons.is_empty() {
        reasons.push("its status does not say what it waits for".into());
    }
    reasons.join("; ")
}
