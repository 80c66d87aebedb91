//! Holds what was seen against what a scenario expects, and says what is missing.

use std::collections::BTreeMap;

use std::path::Path;
use std::sync::Arc;

use ndra_core::attachment::record;
use ndra_core::event::{Event, Phase, Step};
use serde_json::Value;

use super::board::Seen;
use super::life::{is_ready, waiting};
use super::world::{DRIVER, World};
use crate::manifest::kind;
use crate::scenario::{
    ClaimState, Condition, ContainerState, Expect, Interface, Order, PodEvent, StepCount, pod_key,
};

/// What is known from elsewhere than events and objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Interfaces in pods, as the network has them.
    pub(crate) interfaces: Vec<Found>,
    /// Attachments in the driver's record that wait to be released.
    pub(crate) orphans: usize,
    /// UIDs of the ResourceSlices that were there when the kubelet last restarted.
    pub(crate) old_slices: Vec<String>,
    /// How the kubelet takes devices to be, by their names.
    pub(crate) health: BTreeMap<String, String>,
}

/// An interface in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// `namespace/name`, or the network namespace where no pod has it.
    pub(crate) pod: String,
    pub(crate) name: String,
    pub(crate) mac: String,
    pub(crate) addresses: Vec<String>,
}

/// The facts now.
pub(crate) fn facts(world: &World) -> Facts {
    let sandboxes = world.runtime.sandboxes();
    let pod = |netns: &Path| {
        let found = sandboxes
            .iter()
            .find(|sandbox| sandbox.ready && sandbox.netns.as_deref() == Some(netns));
        found.map_or_else(
            || format!("namespace {}", netns.display()),
            |sandbox| format!("{}/{}", sandbox.namespace, sandbox.name),
        )
    };
    Facts {
        interfaces: world
            .network
            .interfaces()
            .into_iter()
            .map(|link| Found {
                pod: pod(&link.netns),
                name: link.name,
                mac: link.mac,
                addresses: link.addresses.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        orphans: record::load(&world.work.at("state"), DRIVER)
            .map(|record| record.orphans.len())
            .unwrap_or_default(),
        old_slices: world.old_slices.clone(),
        health: world.health(),
    }
}

/// What a wait still misses.
pub(crate) fn wait(condition: &Condition, seen: &Seen, facts: &Facts) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(name) = &condition.pod {
        of_pod(condition, &pod_key(name), seen, &mut missing);
    }
    if let Some(step) = condition.step {
        let phase = condition.came_to.unwrap_or(Phase::End);
        let pod = condition.pod.as_deref().map(pod_key);
        let times = condition.times.unwrap_or(1);
        let found = seen
            .flow
            .iter()
            .filter(|event| event.step == step && event.phase == phase)
            .filter(|event| pod.as_deref().is_none_or(|pod| about(event, pod, seen)))
            .count();
        if found < times {
            missing.push(format!("{step} came to {phase} {found} times, not {times}"));
        }
    }
    if let Some(event) = &condition.event {
        missing.extend(pod_event(event, seen));
    }
    if condition.republished {
        let mut slices = seen.objects(&kind::SLICE).peekable();
        let old = |(_, slice): (&String, &Value)| {
            facts
                .old_slices
                .iter()
                .any(|uid| text(slice, "/metadata/uid") == uid)
        };
        if slices.peek().is_none() || slices.any(old) {
            missing.push("the ResourceSlices were not published anew".into());
        }
    }
    if let Some(wanted) = condition.slices {
        let found = seen.objects(&kind::SLICE).count();
        if found != wanted {
            missing.push(format!(
                "{found} ResourceSlices are published, not {wanted}"
            ));
        }
    }
    for (device, wanted) in &condition.health {
        let found = facts.health.get(device).map_or("not known", String::as_str);
        if found != wanted {
            missing.push(format!("to the kubelet {device} is {found}, not {wanted}"));
        }
    }
    if let Some(wanted) = condition.devices {
        let slices = seen.objects(&kind::SLICE);
        let devices = slices.filter_map(|(_, slice)| slice.pointer("/spec/devices")?.as_array());
        let found: usize = devices.map(Vec::len).sum();
        if found != wanted {
            missing.push(format!("{found} devices are published, not {wanted}"));
        }
    }
    if let Some(wanted) = condition.orphans {
        missing.extend(orphans(wanted, facts));
    }
    missing
}

fn of_pod(condition: &Condition, key: &str, seen: &Seen, missing: &mut Vec<String>) {
    let pod = seen.object(&kind::POD, key);
    if condition.gone {
        if pod.is_some() {
            missing.push(format!("pod {key} is still there"));
        }
        return;
    }
    let Some(pod) = pod else {
        // A step may well outlive the pod that it is about.
        if condition.step.is_none() {
            missing.push(format!("pod {key} is not there"));
        }
        return;
    };
    let phase = phase(pod);
    if let Some(wanted) = condition.phase.as_ref().filter(|wanted| *wanted != phase) {
        missing.push(format!("pod {key} is {phase}, not {wanted}"));
    }
    if condition.scheduled && text(pod, "/spec/nodeName").is_empty() {
        missing.push(format!("pod {key} has no node: {}", waiting(seen, key)));
    }
    if condition.ready && !(is_ready(pod) && phase == "Running") {
        missing.push(format!("pod {key} is not ready: {}", waiting(seen, key)));
    }
    let statuses = || statuses(pod);
    if let Some(reason) = &condition.waiting
        && !statuses().any(|s| text(s, "/state/waiting/reason") == reason)
    {
        missing.push(format!(
            "no container of {key} waits for {reason}: {}",
            waiting(seen, key)
        ));
    }
    for (container, wanted) in &condition.resource_health {
        let found = resource_health(pod, container);
        if found.is_empty() || found.iter().any(|health| health != wanted) {
            missing.push(format!(
                "the devices of {container} in {key} are [{}], not {wanted}",
                found.join(" ")
            ));
        }
    }
    if let Some(wanted) = condition.restarts
        && !statuses().any(|s| s.get("restartCount").and_then(Value::as_i64) >= Some(wanted))
    {
        missing.push(format!(
            "no container of {key} was restarted {wanted} times"
        ));
    }
}

/// What of `expect` does not hold.
pub(crate) fn judge(expect: &Expect, seen: &Seen, facts: &Facts) -> Vec<String> {
    let mut missing = Vec::new();
    for (step, wanted) in &expect.steps {
        missing.extend(count(*step, *wanted, seen));
    }
    missing.extend(order(&expect.order, seen));
    for (name, wanted) in &expect.pods {
        let key = pod_key(name);
        let found = seen.object(&kind::POD, &key).map_or("gone", phase);
        if found != wanted {
            missing.push(format!("pod {key} is {found}, not {wanted}"));
        }
    }
    for wanted in &expect.containers {
        missing.extend(container(wanted, seen));
    }
    if let Some(wanted) = &expect.interfaces {
        missing.extend(interfaces(wanted, facts));
    }
    for wanted in &expect.claims {
        missing.extend(claim(wanted, seen));
    }
    for wanted in &expect.events {
        missing.extend(pod_event(wanted, seen));
    }
    for wanted in &expect.errors {
        let errors: Vec<&str> = seen
            .flow
            .iter()
            .filter(|event| event.step == wanted.step)
            .filter_map(|event| event.error.as_deref())
            .collect();
        if !errors.iter().any(|error| has_all(error, &wanted.contains)) {
            missing.push(format!(
                "no error of {} contains {}; there are: {}",
                wanted.step,
                wanted.contains.join(" and "),
                errors.join(" | ")
            ));
        }
    }
    if let Some(wanted) = expect.orphans {
        missing.extend(orphans(wanted, facts));
    }
    missing
}

fn count(step: Step, wanted: StepCount, seen: &Seen) -> Option<String> {
    let of = |phase| {
        let events = seen.flow.iter();
        events
            .filter(|e| e.step == step && e.phase == phase)
            .count()
    };
    let found = StepCount {
        end: of(Phase::End),
        fail: of(Phase::Fail),
    };
    (found != wanted).then(|| {
        format!(
            "{step} ended {} and failed {} times, not {} and {}",
            found.end, found.fail, wanted.end, wanted.fail
        )
    })
}

/// Finds the moments one after the other.
fn order(wanted: &[Order], seen: &Seen) -> Option<String> {
    let mut flow: Vec<&Arc<Event>> = seen.flow.iter().collect();
    flow.sort_by_key(|event| event.time);
    let mut rest = flow.into_iter();
    for moment in wanted {
        let fits = |event: &&Arc<Event>| {
            event.step == moment.step
                && event.phase == moment.phase
                && moment
                    .pod
                    .as_deref()
                    .is_none_or(|pod| about(event, &pod_key(pod), seen))
        };
        if !rest.any(|event| fits(&event)) {
            return Some(format!(
                "{} {} did not come after what stands before it in `order`",
                moment.step, moment.phase
            ));
        }
    }
    None
}

/// Steps before the sandbox name only the claim: then those that ever used it count.
fn about(event: &Event, pod: &str, seen: &Seen) -> bool {
    if let Some(named) = &event.subject.pod {
        return named == pod;
    }
    let Some(claim) = &event.subject.claim else {
        return false;
    };
    let by_flow = seen.flow.iter().any(|other| {
        other.subject.pod.as_deref() == Some(pod)
            && other
                .subject
                .claim
                .as_ref()
                .is_some_and(|c| c.uid == claim.uid)
    });
    let (namespace, name) = pod.split_once('/').unwrap_or_default();
    let reserved = seen
        .object(&kind::CLAIM, &format!("{namespace}/{}", claim.name))
        .and_then(|object| object.pointer("/status/reservedFor"))
        .and_then(Value::as_array);
    by_flow || reserved.is_some_and(|list| list.iter().any(|c| text(c, "/name") == name))
}

fn container(wanted: &ContainerState, seen: &Seen) -> Option<String> {
    let key = pod_key(&wanted.pod);
    let pod = seen.object(&kind::POD, &key);
    let status = pod
        .into_iter()
        .flat_map(statuses)
        .find(|status| text(status, "/name") == wanted.container);
    let fits = status.is_some_and(|status| {
        let Some(state) = status.pointer(&format!("/state/{}", wanted.state)) else {
            return false;
        };
        let reason = wanted.reason.as_ref();
        let restarts = status.get("restartCount").and_then(Value::as_i64);
        reason.is_none_or(|reason| text(state, "/reason") == reason)
            && wanted
                .restarts
                .is_none_or(|wanted| restarts == Some(wanted))
            && has_all(text(state, "/message"), &wanted.contains)
    });
    (!fits).then(|| {
        let found = status.map_or_else(|| "not there".to_owned(), Value::to_string);
        format!("container {} of {key} is {found}", wanted.container)
    })
}

fn interfaces(wanted: &[Interface], facts: &Facts) -> Option<String> {
    let fits = |wanted: &Interface, found: &Found| {
        found.pod == pod_key(&wanted.pod)
            && found.name == wanted.name
            && wanted.mac.as_ref().is_none_or(|mac| *mac == found.mac)
            && wanted
                .addresses
                .as_ref()
                .is_none_or(|addresses| *addresses == found.addresses)
    };
    let all = wanted
        .iter()
        .all(|wanted| facts.interfaces.iter().any(|found| fits(wanted, found)));
    (!all || wanted.len() != facts.interfaces.len()).then(|| {
        let found: Vec<String> = facts
            .interfaces
            .iter()
            .map(|i| format!("{} {} [{}]", i.pod, i.name, i.addresses.join(" ")))
            .collect();
        format!(
            "the interfaces are {}",
            if found.is_empty() {
                "none".into()
            } else {
                found.join(", ")
            }
        )
    })
}

fn claim(wanted: &ClaimState, seen: &Seen) -> Vec<String> {
    let (name, object) = match wanted.claim.split_once('/') {
        None => {
            let key = format!("default/{}", wanted.claim);
            (key.clone(), seen.object(&kind::CLAIM, &key))
        }
        // Made from a template: known by the annotation that says for which entry.
        Some((pod, entry)) => {
            let made = seen.objects(&kind::CLAIM).find(|(_, object)| {
                text(
                    object,
                    "/metadata/annotations/resource.kubernetes.io~1pod-claim-name",
                ) == entry
                    && text(object, "/metadata/ownerReferences/0/name") == pod
            });
            (wanted.claim.clone(), made.map(|(_, object)| object))
        }
    };
    let Some(object) = object else {
        return vec![format!("claim {name} is not there")];
    };
    let devices: Vec<&Value> = list(object, "/status/devices").collect();
    let conditions = || {
        devices
            .iter()
            .flat_map(|device| list(device, "/conditions"))
            .filter(|condition| text(condition, "/type") == "Ready")
    };
    let mut missing = Vec::new();
    if let Some(count) = wanted.devices.filter(|count| *count != devices.len()) {
        missing.push(format!(
            "claim {name} has {} devices with a status, not {count}",
            devices.len()
        ));
    }
    if conditions().count() == 0 || conditions().any(|c| text(c, "/status") != wanted.ready) {
        let found: Vec<&str> = conditions().map(|c| text(c, "/status")).collect();
        missing.push(format!(
            "claim {name} has Ready={found:?}, not {}",
            wanted.ready
        ));
    }
    if !wanted.contains.is_empty()
        && !conditions().any(|c| has_all(text(c, "/message"), &wanted.contains))
    {
        missing.push(format!(
            "no condition of claim {name} contains {}",
            wanted.contains.join(" and ")
        ));
    }
    missing
}

/// What a pod's status says of the devices of one container.
fn resource_health<'a>(pod: &'a Value, container: &str) -> Vec<&'a str> {
    let status = statuses(pod).find(|status| text(status, "/name") == container);
    let resources = status
        .and_then(|status| status.get("allocatedResourcesStatus")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(|resource| resource.get("resources")?.as_array())
        .flatten();
    resources.map(|device| text(device, "/health")).collect()
}

fn pod_event(wanted: &PodEvent, seen: &Seen) -> Option<String> {
    let key = pod_key(&wanted.pod);
    let on_pod: Vec<&Value> = seen
        .objects(&kind::EVENT)
        .map(|(_, event)| event)
        .filter(|event| {
            text(event, "/involvedObject/kind") == "Pod"
                && format!(
                    "{}/{}",
                    text(event, "/involvedObject/namespace"),
                    text(event, "/involvedObject/name")
                ) == key
        })
        .collect();
    let found = on_pod.iter().any(|event| {
        text(event, "/reason") == wanted.reason
            && wanted
                .kind
                .as_ref()
                .is_none_or(|kind| text(event, "/type") == kind)
            && has_all(text(event, "/message"), &wanted.contains)
    });
    (!found).then(|| {
        let there: Vec<String> = on_pod
            .iter()
            .map(|event| format!("{}: {}", text(event, "/reason"), text(event, "/message")))
            .collect();
        format!(
            "no Event {} on pod {key} contains {:?}; there are: {}",
            wanted.reason,
            wanted.contains,
            there.join(" | ")
        )
    })
}

fn orphans(wanted: usize, facts: &Facts) -> Option<String> {
    (facts.orphans != wanted).then(|| {
        format!(
            "{} attachments wait to be released, not {wanted}",
            facts.orphans
        )
    })
}

fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "/status/initContainerStatuses").chain(list(pod, "/status/containerStatuses"))
}

fn list<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn has_all(text: &str, parts: &[String]) -> bool {
    parts.iter().all(|part| text.contains(part.as_str()))
}
