//! Whether an allocation's node selector can mean this node.

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement};

use crate::shown::plain;

/// The label whose value is, by convention, the node's name.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Whether the selector may choose `node`.
///
/// Decided by `metadata.name` and the host name's label alone. The scheduler has decided by
/// all labels already; this finds claims that were allocated for another node.
pub(super) fn may_select(selector: &NodeSelector, node: &str) -> bool {
    selector.node_selector_terms.iter().any(|term| {
        let fields = term.match_fields.iter().flatten();
        let labels = term.match_expressions.iter().flatten();
        // A term without requirements chooses no node (core/v1, NodeSelectorTerm).
        let mut any = false;
        let matches = fields
            .map(|requirement| (requirement, requirement.key == "metadata.name"))
            .chain(labels.map(|requirement| (requirement, requirement.key == HOSTNAME)))
            .all(|(requirement, decides)| {
                any = true;
                !decides || holds(requirement, node)
            });
        any && matches
    })
}

fn holds(requirement: &NodeSelectorRequirement, node: &str) -> bool {
    let listed = || {
        requirement
            .values
            .iter()
            .flatten()
            .any(|value| value == node)
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => true,
        _ => false,
    }
}

/// The nodes a selector names, for a message.
pub(super) fn wanted(selector: &NodeSelector) -> String {
    let names: Vec<String> = selector
        .node_selector_terms
        .iter()
        .flat_map(|term| {
            let fields = term.match_fields.iter().flatten();
            fields.chain(term.match_expressions.iter().flatten())
        })
        .filter(|requirement| requirement.key == "metadata.name" || requirement.key == HOSTNAME)
        .map(|requirement| {
            let values: Vec<String> = requirement
                .values
                .iter()
                .flatten()
                .map(|v| plain(v))
                .collect();
            match requirement.operator.as_str() {
                "In" => format!("node {}", values.join(" or ")),
                "NotIn" => format!("any node but {}", values.join(" and ")),
                _ => "no node".into(),
            }
        })
        .take(4)
        .collect();
    if names.is_empty() {
        "no node".into()
    } else {
        names.join(" or ")
    }
}
