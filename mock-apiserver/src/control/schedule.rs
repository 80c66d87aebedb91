//! Finding a node for a pod, with devices for its claims, and binding it there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Key, claims, classic, pods, report};
use crate::alloc::{self, Inventory, Refusal};
use crate::error::{ApiError, Result};
use crate::object::{self, at, list, name, namespace, text};
use crate::resource::{CLAIMS, CLASSES, NODES, PODS, SLICES};
use crate::resource_api::source;
use crate::store::{Part, Store, Writer};

/// The field manager and event source of this scheduler.
const SCHEDULER: &str = "default-scheduler";
const MANAGER: &str = "kube-scheduler";

/// Why a pod stays without a node.
enum Stuck {
    /// Its claims are not there yet. This is not a failure, so no event is posted.
    Waiting(String),
    /// Tried and failed.
    Unschedulable(String),
    /// Something changed under the scheduler, which will come back for it.
    Raced,
}

impl From<ApiError> for Stuck {
    fn from(error: ApiError) -> Stuck {
        if error.code == 409 || error.code == 404 {
            Stuck::Raced
        } else {
            Stuck::Unschedulable(error.message)
        }
    }
}

/// Tries to schedule each of the pods, oldest first.
pub(super) fn sync(store: &Store, pods: &BTreeSet<Key>) {
    let mut pending: Vec<Arc<Value>> = pods
        .iter()
        .filter_map(|key| store.get(&PODS, Some(&key.0), &key.1).ok())
        .filter(|pod| pods::is_pending(pod))
        .collect();
    if pending.is_empty() {
        return;
    }
    pending.sort_by_key(|pod| {
        at(pod, &["metadata", "resourceVersion"])
            .as_str()
            .and_then(|v| v.parse::<u64>().ok())
    });
    pending.sort_by_key(|pod| text(pod, &["metadata", "creationTimestamp"]).to_owned());
    let mut world = World::read(store);
    for pod in pending {
        match world.place(store, &pod) {
            Ok(()) | Err(Stuck::Raced) => {}
            Err(Stuck::Waiting(why)) => {
                note_unscheduled(store, &pod, &why);
            }
            Err(Stuck::Unschedulable(why)) => {
                if note_unscheduled(store, &pod, &why) {
                    report::warn(store, &pod, "FailedScheduling", SCHEDULER, &why);
                }
            }
        }
    }
}

/// What the scheduler knows: read once for a batch of pods, and kept up to date with what it
/// does itself.
struct World {
    nodes: Vec<Arc<Value>>,
    classes: BTreeMap<String, Arc<Value>>,
    inventory: Inventory,
}

impl World {
    fn read(store: &Store) -> World {
        World {
            nodes: store.all(&NODES),
            classes: alloc::classes(store.all(&CLASSES)),
            inventory: Inventory::new(store.all(&SLICES), &store.all(&CLAIMS)),
        }
    }

    fn place(&mut self, store: &Store, pod: &Arc<Value>) -> Result<(), Stuck> {
        let claims = claims_of(store, pod)?;
        if self.nodes.is_empty() {
            return Err(Stuck::Unschedulable(
                "no nodes available to schedule pods".to_owned(),
            ));
        }
        let (allocated, open): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .partition(|claim| !at(claim, &["status", "allocation"]).is_null());
        let full = allocated.iter().find(|claim| {
            !claims::is_reserved_for(claim, pod)
                && list(claim, &["status", "reservedFor"]).len() >= claims::RESERVED_FOR
        });
        if let Some(claim) = full {
            let why = format!(
                "resourceclaim {:?} is in use by {} pods already",
                name(claim),
                claims::RESERVED_FOR
            );
            return Err(Stuck::Unschedulable(self.explain(&[why])));
        }
        // What a controller allocates fits every node.
        let (classic, open): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|claim| classic::is(claim));
        let handles: Result<Vec<_>, _> = { classic.iter() }
            .map(|claim| classic::handle(store, claim))
            .collect();
        let handles = handles.map_err(Stuck::Unschedulable)?;
        let mut reasons = Vec::new();
        let found =
            self.nodes
                .iter()
                .find_map(|node| match self.try_node(pod, node, &allocated, &open) {
                    Ok(allocations) => Some((Arc::clone(node), allocations)),
                    Err(why) => {
                        reasons.push(why);
                        None
                    }
                });
        let Some((node, allocations)) = found else {
            return Err(Stuck::Unschedulable(self.explain(&reasons)));
        };
        for claim in &allocated {
            if !claims::is_reserved_for(claim, pod) {
                claims::reserve(store, claim, pod, MANAGER)?;
            }
        }
        for (claim, allocation) in open.iter().zip(allocations) {
            self.inventory.take(&allocation);
            claims::protect(store, claim, true, MANAGER)?;
            claims::change_status(store, claim, MANAGER, |status| {
                status.insert("allocation".to_owned(), allocation);
                status.insert("reservedFor".to_owned(), json!([claims::user(pod)]));
            })?;
        }
        for (claim, handle) in classic.iter().zip(handles) {
            classic::allocate(store, claim, handle, name(&node), claims::user(pod))?;
        }
        bind(store, namespace(pod), name(pod), name(&node))?;
        let message = format!(
            "Successfully assigned {}/{} to {}",
            namespace(pod),
            name(pod),
            name(&node)
        );
        report::tell(store, pod, "Scheduled", SCHEDULER, &message);
        Ok(())
    }

    /// The allocations that would put the pod on a node, or what is in the way.
    fn try_node(
        &self,
        pod: &Value,
        node: &Value,
        allocated: &[Arc<Value>],
        open: &[Arc<Value>],
    ) -> Result<Vec<Value>, String> {
        if at(node, &["spec", "unschedulable"]) == true {
            return Err("node(s) were unschedulable".to_owned());
        }
        let required = [
            "spec",
            "affinity",
            "nodeAffinity",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ];
        let affinity = at(pod, &required);
        if !alloc::selector_matches(at(pod, &["spec", "nodeSelector"]), node)
            || !(affinity.is_null() || alloc::terms_match(affinity, node))
        {
            return Err("node(s) didn't match Pod's node affinity/selector".to_owned());
        }
        if allocated.iter().any(|claim| !alloc::fits(claim, node)) {
            return Err("resourceclaim not available on the node".to_owned());
        }
        if open.is_empty() {
            return Ok(Vec::new());
        }
        alloc::allocate(node, open, &self.classes, &self.inventory)
            .map_err(|refusal| match refusal {
                Refusal::NoDevices | Refusal::Because(_) => refusal.to_string(),
            })
    }

    /// `0/2 nodes are available: 1 this, 1 that.`
    fn explain(&self, reasons: &[String]) -> String {
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in reasons {
            *counted.entry(reason).or_default() += 1;
        }
        let listed: Vec<_> = counted
            .into_iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        format!(
            "0/{} nodes are available: {}.",
            self.nodes.len(),
            listed.join(", ")
        )
    }
}

/// The claims a pod uses, if they are all there and are its to use.
fn claims_of(store: &Store, pod: &Value) -> Result<Vec<Arc<Value>>, Stuck> {
    let mut found: Vec<Arc<Value>> = Vec::new();
    for (index, (entry, claim)) in pods::claim_names(pod).into_iter().enumerate() {
        let made = !text(
            source(&list(pod, &["spec", "resourceClaims"])[index]),
            &["resourceClaimTemplateName"],
        )
        .is_empty();
        let Some(claim) = claim else {
            let why = format!(
                "waiting for dynamic resource controller to create the resourceclaim for {entry:?}"
            );
            return Err(Stuck::Waiting(why));
        };
        let Ok(object) = store.get(&CLAIMS, Some(namespace(pod)), &claim) else {
            return Err(Stuck::Waiting(format!(
                "resourceclaim.resource.k8s.io {claim:?} not found"
            )));
        };
        if object::is_deleting(&object) {
            return Err(Stuck::Unschedulable(format!(
                "resourceclaim {claim:?} is being deleted"
            )));
        }
        if made && !claims::is_owned_by(&object, pod) {
            let why = format!(
                "ResourceClaim {}/{claim} was not created for pod {}/{} (pod is not owner)",
                namespace(pod),
                namespace(pod),
                name(pod)
            );
            return Err(Stuck::Unschedulable(why));
        }
        // One claim may stand behind two entries of a pod.
        if !found
            .iter()
            .any(|other| object::uid(other) == object::uid(&object))
        {
            found.push(object);
        }
    }
    Ok(found)
}

/// Puts a pod on a node, as `POST …/binding` does, in one write.
pub(crate) fn bind(store: &Store, namespace: &str, pod: &str, node: &str) -> Result<()> {
    let writer = Writer {
        part: Part::Whole,
        ..Writer::internal(MANAGER)
    };
    store.update(&PODS, Some(namespace), pod, &writer, |old| {
        if object::is_deleting(old) {
            let why = format!("pod {pod} is being deleted, cannot be assigned to a host");
            return Err(ApiError::conflict(&PODS, pod, &why));
        }
        let current = text(old, &["spec", "nodeName"]);
        if !current.is_empty() {
            let why = format!("pod {pod} is already assigned to node {current:?}");
            return Err(ApiError::conflict(&PODS, pod, &why));
        }
        let mut new = with_scheduled(old, "True", None);
        object::child(&mut new, "spec").insert("nodeName".to_owned(), node.into());
        Ok(new)
    })?;
    Ok(())
}

/// Writes the condition; whether it was news.
fn note_unscheduled(store: &Store, pod: &Value, why: &str) -> bool {
    let mut news = false;
    let writer = Writer::internal_status(MANAGER);
    let written = store.update(&PODS, Some(namespace(pod)), name(pod), &writer, |old| {
        let new = with_scheduled(old, "False", Some(why));
        news = new != *old;
        Ok(new)
    });
    news && written.is_ok()
}

/// The pod with its condition `PodScheduled`.
fn with_scheduled(pod: &Value, status: &str, why: Option<&str>) -> Value {
    let mut condition = json!({"type": "PodScheduled", "status": status, "lastProbeTime": null});
    if let Some(why) = why {
        condition["reason"] = "Unschedulable".into();
        condition["message"] = why.into();
    }
    let mut conditions = list(pod, &["status", "conditions"]).to_vec();
    let before = conditions
        .iter()
        .position(|other| other["type"] == "PodScheduled");
    condition["lastTransitionTime"] = match before {
        Some(index) if conditions[index]["status"] == status => {
            conditions[index]["lastTransitionTime"].clone()
        }
        _ => object::now().into(),
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
    let mut new = pod.clone();
    object::child(&mut new, "status").insert("conditions".to_owned(), conditions.into());
    new
}
