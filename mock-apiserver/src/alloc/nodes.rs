//! Whether a node is one that a selector means.

use serde_json::Value;

use crate::object::{at, list, name, text};

/// Whether the node has all the labels of a plain `nodeSelector`.
pub(crate) fn selector_matches(selector: &Value, node: &Value) -> bool {
    let labels = at(node, &["metadata", "labels"]);
    selector
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether the node matches one of the terms of a `v1.NodeSelector`.
pub(crate) fn terms_match(selector: &Value, node: &Value) -> bool {
    list(selector, &["nodeSelectorTerms"]).iter().any(|term| {
        let expressions = list(term, &["matchExpressions"]);
        let fields = list(term, &["matchFields"]);
        // A term without requirements matches nothing.
        !(expressions.is_empty() && fields.is_empty())
            && expressions.iter().all(|rule| {
                holds(
                    rule,
                    at(node, &["metadata", "labels"])
                        .get(text(rule, &["key"]))
                        .and_then(Value::as_str),
                )
            })
            && fields.iter().all(|rule| {
                text(rule, &["key"]) == "metadata.name" && holds(rule, Some(name(node)))
            })
    })
}

fn holds(rule: &Value, value: Option<&str>) -> bool {
    let values = list(rule, &["values"]);
    let listed = value.is_some_and(|value| values.iter().any(|other| other == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(Value::as_str).and_then(number);
    let compared = value.and_then(number).zip(bound);
    match text(rule, &["operator"]) {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared.is_some_and(|(value, bound)| value > bound),
        "Lt" => compared.is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms() {
        let node = json!({"metadata": {"name": "a", "labels": {"zone": "z1", "cores": "8"}}});
        let matches = |term: Value| terms_match(&json!({"nodeSelectorTerms": [term]}), &node);
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        assert!(matches(expression("zone", "In", &["z1", "z2"])));
        assert!(!matches(expression("zone", "NotIn", &["z1"])));
        assert!(matches(expression("rack", "DoesNotExist", &[])));
        assert!(matches(expression("cores", "Gt", &["4"])));
        assert!(!matches(expression("cores", "Lt", &["8"])));
        assert!(matches(
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]})
        ));
        assert!(!matches(
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]})
        ));
        assert!(!matches(json!({})));
    }
}
