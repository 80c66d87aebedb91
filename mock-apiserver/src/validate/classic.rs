//! The rules of `resource.k8s.io/v1alpha2`: claims, templates and classes of Kubernetes 1.29.

use std::collections::BTreeSet;

use serde_json::Value;

use super::claim::template_metadata;
use super::{Errors, FieldError, Kind, immutable, names};
use crate::object::{at, is_deleting, list, text};
use crate::resource::{CLASSIC_CLAIMS, Resource};

/// Limits of resource.k8s.io/v1alpha2.
const RESERVED_FOR: usize = 32;
const HANDLES: usize = 32;
const HANDLE_BYTES: usize = 16 * 1024;

/// Whether these rules are those of the kind.
pub(super) fn is(resource: &Resource) -> bool {
    resource.group == CLASSIC_CLAIMS.group && resource.version == CLASSIC_CLAIMS.version
}

/// Checks the spec of a claim at `path`.
pub(super) fn claim(errors: &mut Errors, path: &str, spec: &Value) {
    let class = text(spec, &["resourceClassName"]);
    names::subdomain(errors, &format!("{path}.resourceClassName"), class);
    let reference = at(spec, &["parametersRef"]);
    parameters(errors, &format!("{path}.parametersRef"), reference);
    let mode = at(spec, &["allocationMode"]);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    if !modes.iter().any(|known| mode == known) {
        let path = format!("{path}.allocationMode");
        errors.push(FieldError::not_supported(&path, mode, &modes));
    }
}

/// Checks a template: the metadata its claims get, and their spec.
pub(super) fn template(errors: &mut Errors, new: &Value) {
    template_metadata(errors, new);
    claim(errors, "spec.spec", at(new, &["spec", "spec"]));
}

/// Checks a class.
pub(super) fn class(errors: &mut Errors, class: &Value) {
    names::driver(errors, "driverName", text(class, &["driverName"]));
    let reference = at(class, &["parametersRef"]);
    parameters(errors, "parametersRef", reference);
    let namespace = text(reference, &["namespace"]);
    if !namespace.is_empty() {
        names::label(errors, "parametersRef.namespace", namespace);
    }
}

fn parameters(errors: &mut Errors, path: &str, reference: &Value) {
    if reference.is_null() {
        return;
    }
    for field in ["kind", "name"] {
        if text(reference, &[field]).is_empty() {
            errors.push(FieldError::required(&format!("{path}.{field}"), ""));
        }
    }
}

/// Checks the new status of a claim against the old one, in the order of Kubernetes 1.29.
pub(super) fn status(errors: &mut Errors, old: &Value, new: &Value) {
    let status = at(new, &["status"]);
    let allocation = at(status, &["allocation"]);
    let driver = text(status, &["driverName"]);
    if !driver.is_empty() {
        names::driver(errors, "status.driverName", driver);
    } else if !allocation.is_null() {
        let words = "must be specified when `allocation` is set";
        errors.push(FieldError::required("status.driverName", words));
    }
    handles(errors, list(allocation, &["resourceHandles"]));
    let reserved = list(status, &["reservedFor"]);
    consumers(errors, reserved);
    let before = list(old, &["status", "reservedFor"]);
    let is_asked = |claim: &Value| at(claim, &["status", "deallocationRequested"]) == true;
    let (was_asked, asked) = (is_asked(old), is_asked(new));
    let mut forbidden = |path: &str, words: &str| errors.push(FieldError::forbidden(path, words));
    if !reserved.is_empty() && allocation.is_null() {
        let words = "may not be specified when `allocated` is not set";
        forbidden("status.reservedFor", words);
    } else if !reserved.is_empty() {
        if reserved.len() > 1 && at(allocation, &["shareable"]) != true {
            forbidden("status.reservedFor", "may not be reserved more than once");
        }
        if (asked || is_deleting(new)) && reserved.iter().any(|one| !before.contains(one)) {
            let words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            forbidden("status.reservedFor", words);
        }
    }
    let old = at(old, &["status", "allocation"]);
    if !old.is_null() && !allocation.is_null() {
        immutable(errors, "status.allocation", old, allocation);
    }
    let mut forbidden = |path: &str, words: &str| errors.push(FieldError::forbidden(path, words));
    if asked && !was_asked && !reserved.is_empty() {
        let words = "deallocation cannot be requested while `reservedFor` is set";
        forbidden("status.deallocationRequested", words);
    }
    if asked && allocation.is_null() {
        let words = "`allocation` must be set when `deallocationRequested` is set";
        forbidden("status", words);
    }
    if was_asked && !asked && !allocation.is_null() {
        let words = "may not be cleared when `allocation` is set";
        forbidden("status.deallocationRequested", words);
    }
}

fn consumers(errors: &mut Errors, reserved: &[Value]) {
    let path = "status.reservedFor";
    let mut seen = BTreeSet::new();
    for (index, consumer) in reserved.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let uid = text(consumer, &["uid"]);
        if !seen.insert(uid) {
            let shown = format!("{uid:?}");
            errors.push(FieldError::duplicate_shown(&format!("{path}.uid"), &shown));
            continue;
        }
        for field in ["resource", "name", "uid"] {
            if text(consumer, &[field]).is_empty() {
                errors.push(FieldError::required(&format!("{path}.{field}"), ""));
            }
        }
    }
    if reserved.len() > RESERVED_FOR {
        errors.push(too_long(path, RESERVED_FOR));
    }
}

fn handles(errors: &mut Errors, handles: &[Value]) {
    let path = "status.allocation.resourceHandles";
    for (index, handle) in handles.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let driver = text(handle, &["driverName"]);
        names::driver(errors, &format!("{path}.driverName"), driver);
        if text(handle, &["data"]).len() > HANDLE_BYTES {
            errors.push(too_long(&format!("{path}.data"), HANDLE_BYTES));
        }
    }
    if handles.len() > HANDLES {
        errors.push(too_long(path, HANDLES));
    }
}

/// As Kubernetes 1.29 said it, also of lists.
fn too_long(path: &str, limit: usize) -> FieldError {
    let words = format!("may not be longer than {limit}");
    FieldError::new(path, Kind::TooLong, String::new(), words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(check: impl FnOnce(&mut Errors)) -> String {
        let mut errors = Errors::new();
        check(&mut errors);
        let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
        words.join("\n")
    }

    #[test]
    fn specs() {
        let spec = json!({"parametersRef": {"kind": "CNIConfig"}, "allocationMode": "Later"});
        insta::assert_snapshot!(words(|errors| claim(errors, "spec", &spec)), @r#"
spec.resourceClassName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
spec.parametersRef.name: Required value
spec.allocationMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"
"#);
        let wrong = json!({"parametersRef": {"name": "x", "namespace": "a.b"}});
        insta::assert_snapshot!(words(|errors| class(errors, &wrong)), @r#"
driverName: Required value
parametersRef.kind: Required value
parametersRef.namespace: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
"#);
    }

    #[test]
    fn statuses() {
        let user = |name: &str| json!({"resource": "pods", "name": name, "uid": name});
        let of = |status: Value| json!({"status": status});
        let check =
            |old: &Value, new: Value| words(|errors| status(errors, &of(old.clone()), &of(new)));
        let allocated = json!({
            "driverName": "d.example",
            "allocation": {"resourceHandles": [{"driverName": "d.example", "data": "x"}]},
        });
        assert_eq!(check(&json!({}), allocated.clone()), "");
        let mut all = vec![
            check(&json!({}), json!({"reservedFor": [user("a")]})),
            check(&json!({}), json!({"deallocationRequested": true})),
            check(&json!({}), json!({"allocation": {}})),
        ];
        let mut twice = allocated.clone();
        twice["reservedFor"] = json!([user("a"), user("b")]);
        all.push(check(&allocated, twice.clone()));
        let mut used = allocated.clone();
        used["reservedFor"] = json!([user("a")]);
        let mut asked = used.clone();
        asked["deallocationRequested"] = true.into();
        all.push(check(&used, asked.clone()));
        let mut unused = allocated.clone();
        unused["deallocationRequested"] = true.into();
        all.push(check(&unused, asked));
        all.push(check(&unused, allocated.clone()));
        let mut long = allocated.clone();
        long["allocation"]["resourceHandles"][0]["data"] = "x".repeat(HANDLE_BYTES + 1).into();
        all.push(check(&json!({}), long));
        let mut other = allocated.clone();
        other["allocation"]["resourceHandles"][0]["data"] = "y".into();
        all.push(check(&allocated, other));
        let mut both = twice.clone();
        both["deallocationRequested"] = true.into();
        all.push(check(&used, both));
        let mut many = allocated.clone();
        let handle = many["allocation"]["resourceHandles"][0].clone();
        many["allocation"]["resourceHandles"] = vec![handle; HANDLES + 1].into();
        many["allocation"]["shareable"] = true.into();
        let users = (0..=RESERVED_FOR).map(|n| user(&n.to_string()));
        many["reservedFor"] = users.chain([user("0"), json!({})]).collect();
        all.push(check(&json!({}), many));
        insta::assert_snapshot!(all.join("\n"), @r#"
status.reservedFor: Forbidden: may not be specified when `allocated` is not set
status: Forbidden: `allocation` must be set when `deallocationRequested` is set
status.driverName: Required value: must be specified when `allocation` is set
status.reservedFor: Forbidden: may not be reserved more than once
status.deallocationRequested: Forbidden: deallocation cannot be requested while `reservedFor` is set
status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set
status.deallocationRequested: Forbidden: may not be cleared when `allocation` is set
status.allocation.resourceHandles[0].data: Too long: may not be longer than 16384
status.allocation: Invalid value: {"resourceHandles":[{"driverName":"d.example","data":"y"}]}: field is immutable
status.reservedFor: Forbidden: may not be reserved more than once
status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set
status.deallocationRequested: Forbidden: deallocation cannot be requested while `reservedFor` is set
status.allocation.resourceHandles: Too long: may not be longer than 32
status.reservedFor[33].uid: Duplicate value: "0"
status.reservedFor[34].resource: Required value
status.reservedFor[34].name: Required value
status.reservedFor[34].uid: Required value
status.reservedFor: Too long: may not be longer than 32
"#);
    }
}
