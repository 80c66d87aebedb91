//! What can be known about manifests without a cluster: configurations, and references
//! between the objects.

mod classic;

use std::collections::{BTreeMap, BTreeSet};

use ndra_core::claim::{self, validate_claim, validate_class, validate_template};
use ndra_core::cni::ConfigList;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Rules;
use crate::manifest::{Object, kind};
use crate::problem::Problem;

/// Every problem of `objects`, in their order.
pub(crate) fn check(objects: &[Object], rules: &Rules) -> Vec<Problem> {
    let known = Known::of(objects);
    let mut problems = Vec::new();
    for object in objects {
        let found = match object.kind.kind {
            _ if object.kind.is_classic() => classic::check(object, objects, rules),
            "ResourceClaim" => typed(object, |claim| {
                validate_claim(claim, &rules.driver, &rules.policy)
            }),
            "ResourceClaimTemplate" => typed(object, |template| {
                validate_template(template, &rules.driver, &rules.policy)
            }),
            "DeviceClass" => typed(object, |class| {
                validate_class(class, &rules.driver, &rules.policy)
            }),
            "NetworkAttachmentDefinition" => network(object, rules),
            "Pod" => pod(object, &known),
            "Deployment" => deployment(object, &known),
            _ => Vec::new(),
        };
        problems.extend(found);
        problems.extend(classes(object, &known));
    }
    problems
}

/// What the files hold, for references.
struct Known<'a> {
    claims: BTreeMap<String, BTreeSet<&'a str>>,
    templates: BTreeMap<String, BTreeSet<&'a str>>,
    classes: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(objects: &'a [Object]) -> Self {
        let requests = |wanted: &kind::Kind, path: &str| {
            objects
                .iter()
                .filter(|object| object.kind == wanted)
                .map(|object| (object.key(), requests(&object.value, path)))
                .collect()
        };
        Self {
            claims: requests(&kind::CLAIM, "/spec/devices/requests"),
            templates: requests(&kind::TEMPLATE, "/spec/spec/devices/requests"),
            classes: objects
                .iter()
                .filter(|object| object.kind == &kind::CLASS)
                .map(|object| object.name.as_str())
                .collect(),
        }
    }
}

fn requests<'a>(value: &'a Value, path: &str) -> BTreeSet<&'a str> {
    list(value.pointer(path))
        .filter_map(|request| text(request, "name"))
        .collect()
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// Reads the object as its Kubernetes type, then looks closer.
fn typed<T: DeserializeOwned>(
    object: &Object,
    look: impl FnOnce(&T) -> Vec<claim::Problem>,
) -> Vec<Problem> {
    match serde_json::from_value::<T>(object.value.clone()) {
        Ok(parsed) => look(&parsed)
            .into_iter()
            .map(|found| object.problem(found.path, found.message, found.mend))
            .collect(),
        Err(error) => vec![object.problem(
            "spec",
            format!("does not fit the kind: {error}"),
            format!("see `kubectl explain {}`", object.kind.plural),
        )],
    }
}

/// A network's configuration is JSON text in `spec.config`.
fn network(object: &Object, rules: &Rules) -> Vec<Problem> {
    let field = "spec.config";
    let problem = |message: String, mend: &str| vec![object.problem(field, message, mend)];
    let Some(config) = object.value.pointer("/spec/config") else {
        // Multus then reads a file of the network's name on the node.
        return Vec::new();
    };
    let Some(config) = config.as_str() else {
        return problem(
            "is not a string".into(),
            "write the CNI configuration as JSON text, in YAML after `config: |`",
        );
    };
    let mut config: Value = match serde_json::from_str(config) {
        Ok(config) => config,
        Err(error) => {
            return problem(
                format!("is not JSON: {error}"),
                "correct the JSON text there",
            );
        }
    };
    // Multus gives a network without a name the object's.
    if let Value::Object(map) = &mut config {
        map.entry("name")
            .or_insert_with(|| object.name.clone().into());
    }
    match ConfigList::check(&config, &rules.policy) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| {
                let inner = match error.field.as_str() {
                    "" => field.to_owned(),
                    inner => format!("{field}: {inner}"),
                };
                object.problem(inner, error.fault.to_string(), error.fault.mend())
            })
            .collect(),
    }
}

/// The pods of a Deployment are checked as their template has them.
fn deployment(object: &Object, known: &Known<'_>) -> Vec<Problem> {
    let mut of_pods = object.clone();
    of_pods.value = object
        .value
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    let mut problems = pod(&of_pods, known);
    for problem in &mut problems {
        let field = problem.field.take().unwrap_or_default();
        problem.field = Some(format!("spec.template.{field}"));
    }
    problems
}

/// A pod's claims exist, and its containers ask for what the pod has.
fn pod(object: &Object, known: &Known<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if list(object.value.pointer("/spec/containers"))
        .next()
        .is_none()
    {
        problems.push(object.problem(
            "spec.containers",
            "is missing or empty",
            "give the pod a container",
        ));
        return problems;
    }
    let mut entries: BTreeMap<&str, Option<&BTreeSet<&str>>> = BTreeMap::new();
    for (index, entry) in list(object.value.pointer("/spec/resourceClaims")).enumerate() {
        let field = format!("spec.resourceClaims[{index}]");
        let Some(name) = text(entry, "name") else {
            problems.push(object.problem(
                format!("{field}.name"),
                "is missing",
                "name the entry; containers refer to it",
            ));
            continue;
        };
        let (requests, problem) = reference(object, &field, entry, known);
        problems.extend(problem);
        entries.insert(name, requests);
    }
    let mut used = BTreeSet::new();
    for group in ["initContainers", "containers"] {
        let containers = object.value.pointer(&format!("/spec/{group}"));
        for (index, container) in list(containers).enumerate() {
            for (entry, claim) in list(container.pointer("/resources/claims")).enumerate() {
                let field = format!("spec.{group}[{index}].resources.claims[{entry}]");
                let name = text(claim, "name").unwrap_or_default();
                used.insert(name);
                match entries.get(name) {
                    None => problems.push(object.problem(
                        format!("{field}.name"),
                        format!("the pod has no claim `{name}`"),
                        "name one of spec.resourceClaims",
                    )),
                    Some(Some(requests)) => {
                        let request = text(claim, "request");
                        if let Some(request) = request.filter(|name| !requests.contains(name)) {
                            problems.push(object.problem(
                                format!("{field}.request"),
                                format!("the claim has no request `{request}`"),
                                "name one of the claim's spec.devices.requests, or leave it out for all",
                            ));
                        }
                    }
                    Some(None) => {}
                }
            }
        }
    }
    for name in entries.keys().filter(|name| !used.contains(*name)) {
        problems.push(
            object
                .problem(
                    "spec.resourceClaims",
                    format!("no container lists `{name}`: no hook will run and the pod gets no interface"),
                    format!("add `claims: [{{name: {name}}}]` under a container's resources"),
                )
                .warning(),
        );
    }
    problems
}

/// The claim or template that an entry of a pod names, by its requests.
fn reference<'a>(
    object: &Object,
    field: &str,
    entry: &Value,
    known: &'a Known<'_>,
) -> (Option<&'a BTreeSet<&'a str>>, Option<Problem>) {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    // Until 1.30 a pod names it there.
    let source = entry.get("source").unwrap_or(entry);
    let (key, name, what, among) = match (
        text(source, "resourceClaimName"),
        text(source, "resourceClaimTemplateName"),
    ) {
        (Some(name), None) => ("resourceClaimName", name, "ResourceClaim", &known.claims),
        (None, Some(name)) => (
            "resourceClaimTemplateName",
            name,
            "ResourceClaimTemplate",
            &known.templates,
        ),
        _ => {
            let problem = object.problem(
                field,
                "names not exactly one claim",
                "set either resourceClaimName or resourceClaimTemplateName",
            );
            return (None, Some(problem));
        }
    };
    match among.get(&format!("{namespace}/{name}")) {
        Some(requests) => (Some(requests), None),
        None => {
            let problem = object.problem(
                format!("{field}.{key}"),
                format!("there is no {what} {namespace}/{name} in these files"),
                "mend the name or the namespace, or add the file that holds it",
            );
            (None, Some(problem))
        }
    }
}

/// Classes that requests name; a cluster may have more, so that this is a warning.
fn classes(object: &Object, known: &Known<'_>) -> Vec<Problem> {
    let path = match object.kind.kind {
        "ResourceClaim" => "/spec/devices/requests",
        "ResourceClaimTemplate" => "/spec/spec/devices/requests",
        _ => return Vec::new(),
    };
    let field = path.trim_start_matches('/').replace('/', ".");
    let mut problems = Vec::new();
    for (index, request) in list(object.value.pointer(path)).enumerate() {
        let exact = request
            .pointer("/exactly")
            .map(|exact| (format!("{field}[{index}].exactly.deviceClassName"), exact));
        let first = list(request.get("firstAvailable"))
            .enumerate()
            .map(|(sub, request)| {
                (
                    format!("{field}[{index}].firstAvailable[{sub}].deviceClassName"),
                    request,
                )
            });
        for (field, request) in exact.into_iter().chain(first) {
            let Some(class) = text(request, "deviceClassName") else {
                continue;
            };
            if class != super::DEFAULT_CLASS && !known.classes.contains(class) {
                problems.push(
                    object
                        .problem(
                            field,
                            format!("there is no DeviceClass {class} in these files"),
                            "add the file that holds it, unless the cluster has it",
                        )
                        .warning(),
                );
            }
        }
    }
    problems
}
