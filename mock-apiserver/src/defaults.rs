//! What the API server fills in when an author leaves it out.

use serde_json::{Map, Value, json};

use crate::object;
use crate::resource::{
    CLAIMS, CLASSIC_CLAIMS, DEPLOYMENTS, EVENTS, NAMESPACES, PODS, REPLICA_SETS, Resource,
    TEMPLATES,
};

/// Completes an object that is being created.
pub(crate) fn created(resource: &Resource, object: &mut Value) {
    if resource.is(&PODS) {
        pod_spec(object::child(object, "spec"));
        let status = json!({"phase": "Pending", "qosClass": "BestEffort"});
        object::as_map(object).insert("status".to_owned(), status);
    } else if resource.is(&CLAIMS) {
        // A claim is born without a status, whatever its author wrote.
        object::as_map(object).shift_remove("status");
        object::child(object, "spec");
    } else if resource.is(&NAMESPACES) {
        let name = object::name(object).to_owned();
        object::child(object, "spec").insert("finalizers".to_owned(), json!(["kubernetes"]));
        object::as_map(object).insert("status".to_owned(), json!({"phase": "Active"}));
        let metadata = object::metadata(object);
        object::as_map(metadata.entry("labels").or_insert_with(|| json!({})))
            .insert("kubernetes.io/metadata.name".to_owned(), name.into());
    } else if resource.is(&EVENTS) {
        let body = object::as_map(object);
        for key in [
            "firstTimestamp",
            "lastTimestamp",
            "eventTime",
            "source",
            "involvedObject",
        ] {
            let empty = if matches!(key, "source" | "involvedObject") {
                json!({})
            } else {
                Value::Null
            };
            body.entry(key).or_insert(empty);
        }
        for key in ["reportingComponent", "reportingInstance"] {
            body.entry(key).or_insert_with(|| "".into());
        }
    }
    updated(resource, object);
}

/// Completes an object that is being changed.
pub(crate) fn updated(resource: &Resource, object: &mut Value) {
    if resource.is(&DEPLOYMENTS) || resource.is(&REPLICA_SETS) {
        workload(resource, object::child(object, "spec"));
    }
    let claim_spec = if resource.is(&CLAIMS) {
        object.get_mut("spec")
    } else if resource.is(&TEMPLATES) {
        object.get_mut("spec").and_then(|spec| spec.get_mut("spec"))
    } else {
        None
    };
    if let Some(spec) = claim_spec {
        if resource.version == CLASSIC_CLAIMS.version {
            let defaults = json!({"allocationMode": "WaitForFirstConsumer"});
            fill(object::as_map(spec), &defaults);
        } else {
            device_requests(spec);
        }
    }
}

fn device_requests(spec: &mut Value) {
    let requests = spec
        .get_mut("devices")
        .and_then(|devices| devices.get_mut("requests"));
    for request in requests.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::Object(exactly)) = request.get_mut("exactly") {
            device_request(exactly);
        }
        let alternatives = request
            .get_mut("firstAvailable")
            .and_then(Value::as_array_mut);
        for alternative in alternatives
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            device_request(alternative);
        }
    }
}

fn device_request(request: &mut Map<String, Value>) {
    let empty = |value: Option<&Value>| {
        value.is_none_or(|value| value.is_null() || value == "" || value == 0)
    };
    if empty(request.get("allocationMode")) {
        request.insert("allocationMode".to_owned(), "ExactCount".into());
    }
    if request
        .get("allocationMode")
        .is_some_and(|mode| mode == "ExactCount")
        && !request.contains_key("count")
    {
        request.insert("count".to_owned(), 1.into());
    }
}

fn workload(resource: &Resource, spec: &mut Map<String, Value>) {
    fill(spec, &json!({ "replicas": 1 }));
    if resource.is(&DEPLOYMENTS) {
        let defaults = json!({
            "strategy": { "type": "RollingUpdate" },
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        });
        fill(spec, &defaults);
        if let Some(Value::Object(strategy)) = spec.get_mut("strategy")
            && strategy
                .get("type")
                .is_some_and(|kind| kind == "RollingUpdate")
        {
            fill(strategy, &json!({ "rollingUpdate": {} }));
            if let Some(Value::Object(bounds)) = strategy.get_mut("rollingUpdate") {
                fill(
                    bounds,
                    &json!({ "maxUnavailable": "25%", "maxSurge": "25%" }),
                );
            }
        }
    }
    let template = spec.entry("template").or_insert_with(|| json!({}));
    template_spec(object::child(template, "spec"));
}

fn pod_spec(spec: &mut Map<String, Value>) {
    let defaults = json!({
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
    });
    fill(spec, &defaults);
    template_spec(spec);
}

/// What a template has already; the rest is filled in for each pod.
fn template_spec(spec: &mut Map<String, Value>) {
    let defaults = json!({
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    });
    fill(spec, &defaults);
    for group in ["initContainers", "containers"] {
        let containers = spec.get_mut(group).and_then(Value::as_array_mut);
        for container in containers
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            let policy = pull_policy(
                container
                    .get("image")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            );
            let defaults = json!({
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": policy,
            });
            fill(container, &defaults);
            let ports = container.get_mut("ports").and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
                fill(port, &json!({"protocol": "TCP"}));
            }
        }
    }
}

fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let pinned = image.contains('@')
        || last
            .rsplit_once(':')
            .is_some_and(|(_, tag)| tag != "latest");
    if pinned { "IfNotPresent" } else { "Always" }
}

fn fill(target: &mut Map<String, Value>, defaults: &Value) {
    for (key, value) in defaults.as_object().into_iter().flatten() {
        target.entry(key.as_str()).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_ask_for_one_device() {
        let mut claim = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "c"}},
            {"name": "b", "firstAvailable": [{"name": "x"}]},
            {"name": "c", "exactly": {"allocationMode": "All"}},
        ]}}, "status": {"allocation": {}}});
        created(&CLAIMS, &mut claim);
        let expected = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}},
            {"name": "b", "firstAvailable": [{"name": "x", "allocationMode": "ExactCount", "count": 1}]},
            {"name": "c", "exactly": {"allocationMode": "All"}},
        ]}}});
        assert_eq!(claim, expected);
    }

    #[test]
    fn images_without_a_fixed_tag_are_always_pulled() {
        assert_eq!(pull_policy("registry:5000/web"), "Always");
        assert_eq!(pull_policy("web:latest"), "Always");
        assert_eq!(pull_policy("web:1.2"), "IfNotPresent");
        assert_eq!(pull_policy("web@sha256:0"), "IfNotPresent");
    }
}
