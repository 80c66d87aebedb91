//! The driver's own controller, as Kubernetes 1.29 needs one: it allocates claims by writing
//! a resource handle, and takes allocations back (KEP-3063).
//!
//! A real one hears of a pod's node through a PodSchedulingContext; this one is called by the
//! scheduler. The parameters of claims and classes are objects of the kind `CNIConfig`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::claims::change_status;
use crate::error::Result;
use crate::object::{self, at, list, text};
use crate::resource::{CLASSIC_CLAIMS, CNI_CONFIGS, RESOURCE_CLASSES};
use crate::store::{Store, Writer};

/// The field manager of this controller.
const MANAGER: &str = "dra-controller";

/// Whether a claim is one that a controller allocates.
pub(super) fn is(claim: &Value) -> bool {
    text(claim, &["apiVersion"]) == CLASSIC_CLAIMS.api_version()
}

/// What a claim will hold for its driver.
pub(super) struct Handle {
    driver: String,
    data: String,
}

/// The handle of a claim, from its own parameters or else its class's. Refused with what is
/// missing.
pub(super) fn handle(store: &Store, claim: &Value) -> Result<Handle, String> {
    let class = text(claim, &["spec", "resourceClassName"]);
    let class = (store.get(&RESOURCE_CLASSES, None, class))
        .map_err(|_| format!("resource class {class} does not exist"))?;
    let own = at(claim, &["spec", "parametersRef"]);
    let of_class = at(&class, &["parametersRef"]);
    let interface = if !own.is_null() {
        let parameters = parameters(store, own, object::namespace(claim))?;
        json!({"source": "FromClaim", "parameters": parameters})
    } else if !of_class.is_null() {
        let parameters = parameters(store, of_class, text(of_class, &["namespace"]))?;
        json!({"source": "FromClass", "parameters": parameters})
    } else {
        json!({"source": "FromClass"})
    };
    let handle = json!({
        "apiVersion": CNI_CONFIGS.api_version(),
        "kind": "ResourceHandle",
        "interfaces": [interface],
    });
    Ok(Handle {
        driver: text(&class, &["driverName"]).to_owned(),
        data: handle.to_string(),
    })
}

/// The object that a reference names, as the driver wants it: without its metadata.
fn parameters(store: &Store, reference: &Value, namespace: &str) -> Result<Value, String> {
    let (group, kind) = (text(reference, &["apiGroup"]), text(reference, &["kind"]));
    if group != CNI_CONFIGS.group || kind != CNI_CONFIGS.kind {
        return Err(format!(
            "parameters are a {}, not a {kind:?} of {group:?}",
            CNI_CONFIGS.qualified_kind()
        ));
    }
    let name = text(reference, &["name"]);
    let found = store.get(&CNI_CONFIGS, Some(namespace), name);
    let found = found.map_err(|error| error.message)?;
    let mut parameters = (*found).clone();
    object::as_map(&mut parameters).shift_remove("metadata");
    Ok(parameters)
}

/// Allocates a claim for a node, reserved for a pod.
pub(super) fn allocate(
    store: &Store,
    claim: &Value,
    handle: Handle,
    node: &str,
    user: Value,
) -> Result<()> {
    let finalizer = format!("{}/deletion-protection", handle.driver);
    let claim = finalizers(store, claim, |all| all.push(finalizer.into()))?;
    change_status(store, &claim, MANAGER, |status| {
        let allocation = json!({
            "resourceHandles": [{"driverName": handle.driver, "data": handle.data}],
            "availableOnNodes": {"nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": [node]},
            ]}]},
            "shareable": true,
        });
        status.insert("driverName".to_owned(), handle.driver.into());
        status.insert("allocation".to_owned(), allocation);
        status.insert("reservedFor".to_owned(), json!([user]));
    })?;
    Ok(())
}

/// Leaves only those users that are valid. Without any, a claim that was allocated for its
/// first consumer is to be deallocated.
pub(super) fn unreserve(store: &Store, claim: &Arc<Value>, valid: &[Value]) -> Result<Arc<Value>> {
    if valid.len() == list(claim, &["status", "reservedFor"]).len() {
        return Ok(Arc::clone(claim));
    }
    let waited = text(claim, &["spec", "allocationMode"]) == "WaitForFirstConsumer";
    change_status(store, claim, "kube-controller-manager", |status| {
        if valid.is_empty() {
            status.shift_remove("reservedFor");
            if waited {
                status.insert("deallocationRequested".to_owned(), true.into());
            }
        } else {
            status.insert("reservedFor".to_owned(), valid.into());
        }
    })
}

/// Takes the allocation back of a claim that nobody uses and that is to be deallocated, or
/// that is being deleted.
pub(super) fn release(store: &Store, claim: &Arc<Value>) -> Result<Arc<Value>> {
    let mut claim = Arc::clone(claim);
    let asked = at(&claim, &["status", "deallocationRequested"]) == true;
    let used = !list(&claim, &["status", "reservedFor"]).is_empty();
    if used || !(asked || object::is_deleting(&claim)) {
        return Ok(claim);
    }
    let driver = text(&claim, &["status", "driverName"]).to_owned();
    if !at(&claim, &["status", "allocation"]).is_null() {
        claim = change_status(store, &claim, MANAGER, |status| {
            for field in ["allocation", "driverName", "deallocationRequested"] {
                status.shift_remove(field);
            }
        })?;
    }
    let protected = |all: &[Value]| {
        let own = |one: &Value| one.as_str().is_some_and(|one| is_own(one, &driver));
        all.iter().any(own)
    };
    if protected(list(&claim, &["metadata", "finalizers"])) {
        claim = finalizers(store, &claim, |all| {
            all.retain(|one| !one.as_str().is_some_and(|one| is_own(one, &driver)));
        })?;
    }
    Ok(claim)
}

/// Whether a finalizer is a controller's; of which driver is not known any more once a claim
/// is deallocated.
fn is_own(finalizer: &str, driver: &str) -> bool {
    let owner = finalizer.strip_suffix("/deletion-protection");
    owner.is_some_and(|owner| driver.is_empty() || owner == driver)
}

fn finalizers(
    store: &Store,
    claim: &Value,
    change: impl FnOnce(&mut Vec<Value>),
) -> Result<Arc<Value>> {
    let writer = Writer::internal(MANAGER);
    let (namespace, name) = (object::namespace(claim), object::name(claim));
    store.update(&CLASSIC_CLAIMS, Some(namespace), name, &writer, |old| {
        super::claims::same(old, claim)?;
        let mut all = list(old, &["metadata", "finalizers"]).to_vec();
        change(&mut all);
        let mut new = old.clone();
        let all = match all.is_empty() {
            true => Value::Null,
            false => all.into(),
        };
        object::put(object::metadata(&mut new), "finalizers", all);
        Ok(new)
    })
}
