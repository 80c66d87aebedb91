//! The few rules of Deployments and ReplicaSets that this project depends on.

use serde_json::Value;

use super::{Errors, FieldError, pod};
use crate::object::{at, text};
use crate::selector::LabelSelector;

pub(super) fn spec(errors: &mut Errors, new: &Value) {
    let spec = at(new, &["spec"]);
    let replicas = at(spec, &["replicas"]);
    if replicas.as_i64().is_some_and(|replicas| replicas < 0) {
        let words = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("spec.replicas", replicas, words));
    }
    let selector = at(spec, &["selector"]);
    let labels = at(spec, &["template", "metadata", "labels"]);
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        match LabelSelector::of(selector) {
            None => {
                let words = "empty selector is invalid for deployment";
                errors.push(FieldError::invalid("spec.selector", selector, words));
            }
            Some(wanted) if !wanted.matches(labels) => {
                let words = "`selector` does not match template `labels`";
                errors.push(FieldError::invalid(
                    "spec.template.metadata.labels",
                    labels,
                    words,
                ));
            }
            Some(_) => {}
        }
    }
    pod::template(
        errors,
        "spec.template.spec",
        at(spec, &["template", "spec"]),
    );
    let policy = text(spec, &["template", "spec", "restartPolicy"]);
    if !matches!(policy, "" | "Always") {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            &policy.into(),
            &["Always"],
        ));
    }
}

/// What a workload selects is settled with its creation.
pub(super) fn updated(errors: &mut Errors, old: &Value, new: &Value) {
    let selector = ["spec", "selector"];
    super::immutable(
        errors,
        "spec.selector",
        at(old, &selector),
        at(new, &selector),
    );
    spec(errors, new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words() {
        let container = json!([{ "name": "web", "image": "i" }]);
        let all = [
            json!({ "spec": { "template": { "spec": { "containers": container } } } }),
            json!({ "spec": { "selector": {}, "replicas": -1, "template": { "spec": {} } } }),
            json!({ "spec": {
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "db" } },
                    "spec": { "containers": container, "restartPolicy": "Never" },
                },
            } }),
        ];
        let mut errors = Errors::new();
        for workload in &all {
            spec(&mut errors, workload);
        }
        let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(words.join("\n"), @r#"
        spec.selector: Required value
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.selector: Invalid value: {}: empty selector is invalid for deployment
        spec.template.spec.containers: Required value
        spec.template.metadata.labels: Invalid value: {"app":"db"}: `selector` does not match template `labels`
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        "#);
    }
}
