//! The rules of a ResourceClaim's spec, which a ResourceClaimTemplate carries too.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Errors, FieldError, names, quoted, set};
use crate::alloc::cel;
use crate::object::{at, list, text};

/// Limits of resource.k8s.io/v1.
const REQUESTS: usize = 32;
const CONSTRAINTS: usize = 32;
const CONFIGS: usize = 32;
const SELECTORS: usize = 32;
const FIRST_AVAILABLE: usize = 8;
const PARAMETERS_BYTES: usize = 10 * 1024;

/// Checks a template: the metadata its claims get, and their spec.
pub(super) fn template(errors: &mut Errors, new: &Value) {
    template_metadata(errors, new);
    spec(errors, "spec.spec", at(new, &["spec", "spec"]));
}

/// Checks the metadata that a template gives its claims.
pub(super) fn template_metadata(errors: &mut Errors, new: &Value) {
    for field in ["name", "generateName", "namespace", "uid"] {
        if !text(new, &["spec", "metadata", field]).is_empty() {
            let words = "metadata of a claim template may only have labels and annotations";
            errors.push(FieldError::forbidden(
                &format!("spec.metadata.{field}"),
                words,
            ));
        }
    }
}

/// Checks the spec of a claim at `path`.
pub(super) fn spec(errors: &mut Errors, path: &str, spec: &Value) {
    let path = format!("{path}.devices");
    let devices = at(spec, &["devices"]);
    let known = RequestNames::of(devices);
    set(
        errors,
        &format!("{path}.requests"),
        list(devices, &["requests"]),
        Some(REQUESTS),
        |request| quoted(request, "name"),
        request,
    );
    set(
        errors,
        &format!("{path}.constraints"),
        list(devices, &["constraints"]),
        Some(CONSTRAINTS),
        |_| None::<String>,
        |errors, path, value| constraint(errors, path, value, &known),
    );
    set(
        errors,
        &format!("{path}.config"),
        list(devices, &["config"]),
        Some(CONFIGS),
        |_| None::<String>,
        |errors, path, value| {
            request_references(errors, path, value, &known);
            configuration(errors, path, value);
        },
    );
}

/// The names a claim's requests and subrequests can be referred to by.
pub(super) struct RequestNames<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> RequestNames<'a> {
    pub(super) fn of(devices: &'a Value) -> RequestNames<'a> {
        RequestNames(
            list(devices, &["requests"])
                .iter()
                .map(|request| {
                    let subs = list(request, &["firstAvailable"])
                        .iter()
                        .map(|sub| text(sub, &["name"]));
                    (text(request, &["name"]), subs.collect())
                })
                .collect(),
        )
    }

    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => self.0.contains_key(name),
            Some((main, sub)) => self.0.get(main).is_some_and(|subs| subs.contains(&sub)),
        }
    }

    /// Checks one reference to a request, as `main` or `main/sub`.
    pub(super) fn check(&self, errors: &mut Errors, path: &str, name: &str) {
        let words = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 {
            errors.push(FieldError::invalid(path, &name.into(), words));
            return;
        }
        for part in parts {
            names::label(errors, path, part);
        }
        if !self.has(name) {
            errors.push(FieldError::invalid(path, &name.into(), words));
        }
    }
}

fn request(errors: &mut Errors, path: &str, request: &Value) {
    names::label(errors, &format!("{path}.name"), text(request, &["name"]));
    let exactly = at(request, &["exactly"]);
    let alternatives = list(request, &["firstAvailable"]);
    match (exactly.is_null(), alternatives.is_empty()) {
        (true, true) => {
            let words = "exactly one of `exactly` or `firstAvailable` is required";
            errors.push(FieldError::required(path, words));
        }
        (false, false) => {
            let words = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(FieldError::invalid(path, &Value::Null, words));
        }
        (false, true) => device_request(errors, &format!("{path}.exactly"), exactly),
        (true, false) => set(
            errors,
            &format!("{path}.firstAvailable"),
            alternatives,
            Some(FIRST_AVAILABLE),
            |sub| quoted(sub, "name"),
            |errors, path, sub| {
                names::label(errors, &format!("{path}.name"), text(sub, &["name"]));
                device_request(errors, path, sub);
            },
        ),
    }
}

fn device_request(errors: &mut Errors, path: &str, request: &Value) {
    let class = text(request, &["deviceClassName"]);
    let class_path = format!("{path}.deviceClassName");
    if class.is_empty() {
        errors.push(FieldError::required(&class_path, ""));
    } else {
        names::subdomain(errors, &class_path, class);
    }
    selectors(
        errors,
        &format!("{path}.selectors"),
        list(request, &["selectors"]),
    );
    let count = at(request, &["count"]);
    let count_path = format!("{path}.count");
    match text(request, &["allocationMode"]) {
        "All" => {
            if count.as_i64().is_some_and(|count| count != 0) {
                let words = "must not be specified when allocationMode is 'All'";
                errors.push(FieldError::invalid(&count_path, count, words));
            }
        }
        "ExactCount" => {
            if count.as_i64().unwrap_or(0) <= 0 {
                let shown = if count.is_null() {
                    Value::from(0)
                } else {
                    count.clone()
                };
                errors.push(FieldError::invalid(
                    &count_path,
                    &shown,
                    "must be greater than zero",
                ));
            }
        }
        other => {
            let path = format!("{path}.allocationMode");
            errors.push(FieldError::not_supported(
                &path,
                &other.into(),
                &["All", "ExactCount"],
            ));
        }
    }
}

/// Checks a list of device selectors.
pub(super) fn selectors(errors: &mut Errors, path: &str, items: &[Value]) {
    set(
        errors,
        path,
        items,
        Some(SELECTORS),
        |_| None::<String>,
        |errors, path, selector| {
            let cel = at(selector, &["cel"]);
            if cel.is_null() {
                errors.push(FieldError::required(&format!("{path}.cel"), ""));
                return;
            }
            let expression = text(cel, &["expression"]);
            let path = format!("{path}.cel.expression");
            match cel::check(expression) {
                Ok(()) => {}
                Err(cel::CompileError::TooLong) => {
                    errors.push(FieldError::too_long(&path, cel::EXPRESSION_BYTES));
                }
                Err(cel::CompileError::TooComplex) => {
                    errors.push(FieldError::forbidden(
                        &path,
                        "too complex, exceeds cost limit",
                    ));
                }
                Err(error @ cel::CompileError::Invalid(_)) => {
                    errors.push(FieldError::invalid(
                        &path,
                        &expression.into(),
                        error.to_string(),
                    ));
                }
            }
        },
    );
}

fn constraint(errors: &mut Errors, path: &str, constraint: &Value, known: &RequestNames<'_>) {
    request_references(errors, path, constraint, known);
    let matching = text(constraint, &["matchAttribute"]);
    let distinct = text(constraint, &["distinctAttribute"]);
    if !matching.is_empty() {
        names::fully_qualified_attribute(errors, &format!("{path}.matchAttribute"), matching);
    } else if !distinct.is_empty() {
        names::fully_qualified_attribute(errors, &format!("{path}.distinctAttribute"), distinct);
    } else {
        errors.push(FieldError::required(&format!("{path}.matchAttribute"), ""));
    }
}

/// Checks the `requests` of a constraint or a configuration.
pub(super) fn request_references(
    errors: &mut Errors,
    path: &str,
    value: &Value,
    known: &RequestNames<'_>,
) {
    set(
        errors,
        &format!("{path}.requests"),
        list(value, &["requests"]),
        Some(REQUESTS),
        |name| Some(format!("{:?}", name.as_str().unwrap_or_default())),
        |errors, path, name| known.check(errors, path, name.as_str().unwrap_or_default()),
    );
}

/// Checks a device configuration, which is opaque parameters for one driver.
pub(super) fn configuration(errors: &mut Errors, path: &str, config: &Value) {
    let opaque = at(config, &["opaque"]);
    let path = format!("{path}.opaque");
    if opaque.is_null() {
        errors.push(FieldError::required(&path, ""));
        return;
    }
    names::driver(errors, &format!("{path}.driver"), text(opaque, &["driver"]));
    raw_extension(
        errors,
        &format!("{path}.parameters"),
        at(opaque, &["parameters"]),
        PARAMETERS_BYTES,
    );
}

/// Checks a free JSON value, which must be an object of bounded size.
pub(super) fn raw_extension(errors: &mut Errors, path: &str, value: &Value, limit: usize) {
    if value.is_null() {
        errors.push(FieldError::required(path, ""));
    } else if value.to_string().len() > limit {
        errors.push(FieldError::too_long(path, limit));
    } else if !value.is_object() {
        errors.push(FieldError::invalid(
            path,
            &"<value omitted>".into(),
            "must be a valid JSON object",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(claim_spec: &Value) -> String {
        let mut errors = Errors::new();
        spec(&mut errors, "spec", claim_spec);
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_plain_claim_passes() {
        let claim = json!({"devices": {
            "requests": [{"name": "net", "exactly": {
                "deviceClassName": "dra.networking", "allocationMode": "ExactCount", "count": 1,
                "selectors": [{"cel": {"expression": "device.driver == 'dra.networking'"}}],
            }}],
            "config": [{"requests": ["net"], "opaque": {"driver": "dra.networking", "parameters": {"a": 1}}}],
        }});
        assert_eq!(words(&claim), "");
    }

    #[test]
    fn words_for_requests() {
        let claim = json!({"devices": {"requests": [
            {"name": "Net"},
            {"name": "both", "exactly": {}, "firstAvailable": [{}]},
            {"name": "count", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 0}},
            {"name": "all", "exactly": {"deviceClassName": "c", "allocationMode": "All", "count": 2}},
            {"name": "mode", "exactly": {"allocationMode": "Some"}},
            {"name": "sub", "firstAvailable": [
                {"name": "a", "deviceClassName": "c", "allocationMode": "ExactCount", "count": 1},
                {"name": "a", "deviceClassName": "c", "allocationMode": "ExactCount", "count": 1},
            ]},
            {"name": "mode", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1,
                "selectors": [{}, {"cel": {"expression": "device.driver =="}}]}},
        ]}});
        insta::assert_snapshot!(words(&claim), @r#"
        spec.devices.requests[0].name: Invalid value: "Net": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required
        spec.devices.requests[1]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set
        spec.devices.requests[2].exactly.count: Invalid value: 0: must be greater than zero
        spec.devices.requests[3].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'
        spec.devices.requests[4].exactly.deviceClassName: Required value
        spec.devices.requests[4].exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"
        spec.devices.requests[5].firstAvailable[1]: Duplicate value: "a"
        spec.devices.requests[6].exactly.selectors[0].cel: Required value
        spec.devices.requests[6].exactly.selectors[1].cel.expression: Invalid value: "device.driver ==": compilation failed: ERROR: <input>:1:17: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
        | device.driver ==
        | ................^
        spec.devices.requests[6]: Duplicate value: "mode"
        "#);
    }

    #[test]
    fn words_for_the_rest() {
        let claim = json!({"devices": {
            "requests": [{"name": "net", "exactly": {
                "deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}}],
            "constraints": [{"requests": ["other"], "matchAttribute": "numa"}, {}],
            "config": [
                {"requests": ["net/sub/x", "net"], "opaque": {"driver": "d.example", "parameters": [1]}},
                {},
                {"opaque": {"driver": "", "parameters": {"x": "y".repeat(10240)}}},
            ],
        }});
        insta::assert_snapshot!(words(&claim), @r#"
        spec.devices.constraints[0].requests[0]: Invalid value: "other": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
        spec.devices.constraints[0].matchAttribute: Invalid value: "numa": a fully qualified name must be a domain and a name separated by a slash
        spec.devices.constraints[1].matchAttribute: Required value
        spec.devices.config[0].requests[0]: Invalid value: "net/sub/x": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
        spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object
        spec.devices.config[1].opaque: Required value
        spec.devices.config[2].opaque.driver: Required value
        spec.devices.config[2].opaque.parameters: Too long: may not be more than 10240 bytes
        "#);
    }
}
