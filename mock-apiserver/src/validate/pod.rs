//! The few rules of a Pod that this project depends on.

use serde_json::Value;

use super::{Errors, FieldError, names, quoted, set};
use crate::object::{at, list, text};
use crate::resource_api::source;

pub(super) fn spec(errors: &mut Errors, new: &Value) {
    template(errors, "spec", at(new, &["spec"]));
}

/// The rules for a pod's `spec`, which stands at `root`.
pub(super) fn template(errors: &mut Errors, root: &str, spec: &Value) {
    let claims = list(spec, &["resourceClaims"]);
    set(
        errors,
        &format!("{root}.resourceClaims"),
        claims,
        None,
        |claim| quoted(claim, "name"),
        |errors, path, claim| {
            names::label(errors, &format!("{path}.name"), text(claim, &["name"]));
            let is_classic = claim.get("source").is_some();
            let (path, claim) = match is_classic {
                true => (&*format!("{path}.source"), source(claim)),
                false => (path, claim),
            };
            let direct = text(claim, &["resourceClaimName"]);
            let template = text(claim, &["resourceClaimTemplateName"]);
            match (direct.is_empty(), template.is_empty()) {
                (false, false) => {
                    let words = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                    errors.push(FieldError::invalid(path, claim, words));
                }
                (true, true) => {
                    let words =
                        "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                    errors.push(match is_classic {
                        true => FieldError::invalid(path, claim, words),
                        false => FieldError::required(path, words),
                    });
                }
                (false, true) => {
                    names::subdomain(errors, &format!("{path}.resourceClaimName"), direct)
                }
                (true, false) => {
                    names::subdomain(
                        errors,
                        &format!("{path}.resourceClaimTemplateName"),
                        template,
                    );
                }
            }
        },
    );
    if list(spec, &["containers"]).is_empty() {
        errors.push(FieldError::required(&format!("{root}.containers"), ""));
    }
    let declared: Vec<&str> = claims.iter().map(|claim| text(claim, &["name"])).collect();
    let mut seen = Vec::new();
    for group in ["initContainers", "containers"] {
        for (index, container) in list(spec, &[group]).iter().enumerate() {
            let path = format!("{root}.{group}[{index}]");
            let name = text(container, &["name"]);
            if name.is_empty() {
                errors.push(FieldError::required(&format!("{path}.name"), ""));
            } else {
                names::label(errors, &format!("{path}.name"), name);
            }
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(&format!("{path}.name"), &name.into()));
            }
            seen.push(name);
            if text(container, &["image"]).is_empty() {
                errors.push(FieldError::required(&format!("{path}.image"), ""));
            }
            for (index, claim) in list(container, &["resources", "claims"]).iter().enumerate() {
                let name = text(claim, &["name"]);
                let path = format!("{path}.resources.claims[{index}]");
                if name.is_empty() {
                    errors.push(FieldError::required(&format!("{path}.name"), ""));
                } else if !declared.contains(&name) {
                    let words = "must be one of the names in pod.spec.resourceClaims";
                    errors.push(FieldError::invalid(
                        &format!("{path}.name"),
                        &name.into(),
                        words,
                    ));
                }
            }
        }
    }
}

/// A pod stays on its node, and what it claims stays as it was.
pub(super) fn updated(errors: &mut Errors, old: &Value, new: &Value) {
    let changed = |path: &[&str]| at(old, path) != at(new, path);
    let moved = changed(&["spec", "nodeName"]) && !text(old, &["spec", "nodeName"]).is_empty();
    let claims = changed(&["spec", "resourceClaims"]);
    if moved || claims {
        let words = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        errors.push(FieldError::forbidden("spec", words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words() {
        let pod = json!({"spec": {
            "resourceClaims": [
                {"name": "net", "resourceClaimName": "a", "resourceClaimTemplateName": "b"},
                {"name": "net"},
            ],
            "containers": [
                {"name": "web", "image": "i", "resources": {"claims": [{"name": "gpu"}]}},
                {"name": "web"},
            ],
        }});
        let mut errors = Errors::new();
        spec(&mut errors, &pod);
        spec(&mut errors, &json!({"spec": {}}));
        let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(words.join("\n"), @r#"
        spec.resourceClaims[0]: Invalid value: {"name":"net","resourceClaimName":"a","resourceClaimTemplateName":"b"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified
        spec.resourceClaims[1]: Required value: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`
        spec.resourceClaims[1]: Duplicate value: "net"
        spec.containers[0].resources.claims[0].name: Invalid value: "gpu": must be one of the names in pod.spec.resourceClaims
        spec.containers[1].name: Duplicate value: "web"
        spec.containers[1].image: Required value
        spec.containers: Required value
        "#);
    }
}
