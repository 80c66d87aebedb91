//! Field selectors, limited per kind to the fields a real API server knows.

use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::object;
use crate::resource::Resource;

/// A parsed `fieldSelector`: all requirements must hold. The default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl FieldSelector {
    pub(crate) fn parse(resource: &Resource, text: &str) -> Result<FieldSelector> {
        let mut requirements = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let split = [("!=", false), ("==", true), ("=", true)]
                .into_iter()
                .find_map(|(operator, equal)| {
                    part.split_once(operator).map(|(k, v)| (k, v, equal))
                });
            let Some((field, value, equal)) = split else {
                return Err(ApiError::bad_request(format!(
                    "invalid field selector: {part:?}; can't understand it"
                )));
            };
            let field = field.trim();
            let Some(path) = stored_path(resource, field) else {
                return Err(ApiError::bad_request(format!(
                    "field label not supported: {field}"
                )));
            };
            requirements.push(Requirement {
                path: path.split('.').map(str::to_owned).collect(),
                value: value.trim().to_owned(),
                equal,
            });
        }
        Ok(FieldSelector(requirements))
    }

    /// The selector that also asks for one name.
    pub(crate) fn and_name(mut self, name: &str) -> FieldSelector {
        let path = vec!["metadata".to_owned(), "name".to_owned()];
        self.0.push(Requirement {
            path,
            value: name.to_owned(),
            equal: true,
        });
        self
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let path: Vec<&str> = requirement.path.iter().map(String::as_str).collect();
            (object::text(object, &path) == requirement.value) == requirement.equal
        })
    }
}

/// Where a selectable field is in the stored object; `None` if it can't be selected by.
fn stored_path<'a>(resource: &Resource, field: &'a str) -> Option<&'a str> {
    if field == "metadata.name" || (field == "metadata.namespace" && resource.namespaced) {
        return Some(field);
    }
    let known: &[&str] = match (resource.group, resource.kind) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Namespace") => &["status.phase"],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
        ],
        ("events.k8s.io", "Event") => &["reason", "type"],
        ("resource.k8s.io", "ResourceSlice") => &["spec.nodeName", "spec.driver"],
        _ => &[],
    };
    if known.contains(&field) {
        return Some(field);
    }
    // The newer Event kind selects by its own names; the objects are stored in the older one.
    match (resource.group, field) {
        ("events.k8s.io", "regarding.kind") => Some("involvedObject.kind"),
        ("events.k8s.io", "regarding.namespace") => Some("involvedObject.namespace"),
        ("events.k8s.io", "regarding.name") => Some("involvedObject.name"),
        ("events.k8s.io", "regarding.uid") => Some("involvedObject.uid"),
        ("events.k8s.io", "reportingController") => Some("reportingComponent"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{CLAIMS, EVENTS_V1, PODS, SLICES};
    use serde_json::json;

    #[test]
    fn slices_by_node_and_driver() {
        let slice = json!({"spec": {"nodeName": "a", "driver": "d.example"}});
        let selects = |text| FieldSelector::parse(&SLICES, text).unwrap().matches(&slice);
        assert!(selects("spec.nodeName=a,spec.driver=d.example"));
        assert!(!selects("spec.nodeName=a,spec.driver!=d.example"));
        assert!(!selects("spec.nodeName=b"));
    }

    #[test]
    fn an_absent_field_is_empty() {
        let selector = FieldSelector::parse(&PODS, "spec.nodeName=").unwrap();
        assert!(selector.matches(&json!({"spec": {}})));
        assert!(!selector.matches(&json!({"spec": {"nodeName": "a"}})));
    }

    #[test]
    fn events_translate_their_fields() {
        let event = json!({"involvedObject": {"name": "web"}});
        let selector = FieldSelector::parse(&EVENTS_V1, "regarding.name=web").unwrap();
        assert!(selector.matches(&event));
    }

    #[test]
    fn other_fields_are_refused() {
        let error = FieldSelector::parse(&CLAIMS, "spec.nodeName=a").unwrap_err();
        insta::assert_snapshot!(error, @"field label not supported: spec.nodeName");
    }
}
