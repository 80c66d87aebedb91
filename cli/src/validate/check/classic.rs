//! Objects of `resource.k8s.io/v1alpha2`, and the parameters that they refer to.

use ndra_core::claim;
use serde_json::Value;

use super::{Rules, text};
use crate::manifest::{Object, kind};
use crate::problem::Problem;

/// Every problem of one of these objects; `all` are those of the files.
pub(super) fn check(object: &Object, all: &[Object], rules: &Rules) -> Vec<Problem> {
    if object.kind == &kind::CNI_CONFIG {
        return parameters(object, rules);
    }
    let field = match object.kind.kind {
        "ResourceClaim" => "spec",
        "ResourceClaimTemplate" => "spec.spec",
        _ => "",
    };
    let pointer: String = field
        .split('.')
        .filter(|key| !key.is_empty())
        .fold(String::new(), |path, key| format!("{path}/{key}"));
    let within = |name: &str| match field {
        "" => name.to_owned(),
        field => format!("{field}.{name}"),
    };
    let mut problems = Vec::new();
    let spec = object.value.pointer(&pointer).unwrap_or(&Value::Null);
    let class = match field {
        "" => "driverName",
        _ => "resourceClassName",
    };
    if text(spec, class).is_none_or(str::is_empty) {
        problems.push(object.problem(within(class), "is missing", "name it"));
    }
    let Some(reference) = spec.get("parametersRef") else {
        return problems;
    };
    let field = within("parametersRef");
    let group = (text(reference, "apiGroup"), text(reference, "kind"));
    if group != (Some(kind::CNI_CONFIG.group), Some(kind::CNI_CONFIG.kind)) {
        problems.push(object.problem(
            field,
            "refers to parameters of another kind",
            "write apiGroup: dra.networking and kind: CNIConfig",
        ));
        return problems;
    }
    let name = text(reference, "name").unwrap_or_default();
    let namespace = match &object.namespace {
        Some(namespace) => namespace,
        None => text(reference, "namespace").unwrap_or_default(),
    };
    let key = format!("{namespace}/{name}");
    if !(all.iter()).any(|other| other.kind == &kind::CNI_CONFIG && other.key() == key) {
        problems.push(object.problem(
            format!("{field}.name"),
            format!("there is no CNIConfig {key} in these files"),
            "mend the name or the namespace, or add the file that holds it",
        ));
    }
    problems
}

/// The object without its metadata is what the driver gets.
fn parameters(object: &Object, rules: &Rules) -> Vec<Problem> {
    let mut parameters = object.value.clone();
    if let Value::Object(map) = &mut parameters {
        map.remove("metadata");
    }
    match claim::parameters(&parameters, &rules.policy) {
        Ok(_) => Vec::new(),
        Err(error) => { error.problems.into_iter() }
            .map(|found| object.problem(found.path, found.message, found.mend))
            .collect(),
    }
}
