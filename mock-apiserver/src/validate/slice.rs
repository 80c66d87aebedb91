//! The rules of a ResourceSlice.

mod policy;

use serde_json::Value;

use super::{Errors, FieldError, immutable, names, quoted, set};
use crate::object::{at, list, text};

/// Limits of resource.k8s.io/v1.
const DEVICES: usize = 128;
const DEVICES_WITH_EXTRAS: usize = 64;
const ATTRIBUTES_AND_CAPACITIES: usize = 32;
const ATTRIBUTE_VALUE_BYTES: usize = 64;

/// Checks a slice's spec; `old` is there when an existing slice is changed.
pub(super) fn spec(errors: &mut Errors, spec: &Value, old: Option<&Value>) {
    names::driver(errors, "spec.driver", text(spec, &["driver"]));
    pool(errors, at(spec, &["pool"]));
    if let Some(old) = old {
        for field in [["pool", "name"].as_slice(), &["driver"], &["nodeName"]] {
            immutable(
                errors,
                &format!("spec.{}", field.join(".")),
                at(old, field),
                at(spec, field),
            );
        }
    }
    node_selection(errors, spec);
    if !at(spec, &["sharedCounters"]).is_null() && !at(spec, &["devices"]).is_null() {
        let words = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid("spec", &"".into(), words));
    }
    let items = list(spec, &["devices"]);
    let extras = |device: &Value| {
        !list(device, &["taints"]).is_empty() || !list(device, &["consumesCounters"]).is_empty()
    };
    let limit = if items.iter().any(extras) {
        DEVICES_WITH_EXTRAS
    } else {
        DEVICES
    };
    let each_device = at(spec, &["perDeviceNodeSelection"]) == true;
    set(
        errors,
        "spec.devices",
        items,
        Some(limit),
        |device| quoted(device, "name"),
        |errors, path, value| device(errors, path, value, each_device),
    );
}

fn pool(errors: &mut Errors, pool: &Value) {
    names::pool(errors, "spec.pool.name", text(pool, &["name"]));
    let count = at(pool, &["resourceSliceCount"]).as_i64().unwrap_or(0);
    if count <= 0 {
        errors.push(FieldError::invalid(
            "spec.pool.resourceSliceCount",
            &count.into(),
            "must be greater than zero",
        ));
    }
    let generation = at(pool, &["generation"]).as_i64().unwrap_or(0);
    if generation < 0 {
        let words = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(
            "spec.pool.generation",
            &generation.into(),
            words,
        ));
    }
}

fn node_selection(errors: &mut Errors, spec: &Value) {
    let mut given = Vec::new();
    match at(spec, &["nodeName"]) {
        Value::Null => {}
        name if name == "" => {
            let words = "must be either unset or set to a non-empty string";
            errors.push(FieldError::invalid("spec.nodeName", name, words));
        }
        name => {
            given.push("`nodeName`");
            names::subdomain(errors, "spec.nodeName", name.as_str().unwrap_or_default());
        }
    }
    let selector = at(spec, &["nodeSelector"]);
    if !selector.is_null() {
        given.push("`nodeSelector`");
        let terms = at(selector, &["nodeSelectorTerms"]);
        if list(selector, &["nodeSelectorTerms"]).len() != 1 {
            let words = "must have exactly one node selector term";
            errors.push(FieldError::invalid(
                "spec.nodeSelector.nodeSelectorTerms",
                terms,
                words,
            ));
        }
    }
    for (field, shown) in [
        ("allNodes", "`allNodes`"),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ] {
        match at(spec, &[field]) {
            Value::Null => {}
            Value::Bool(true) => given.push(shown),
            other => {
                let words = "must be either unset or set to true";
                errors.push(FieldError::invalid(&format!("spec.{field}"), other, words));
            }
        }
    }
    let words = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given.len() {
        0 => errors.push(FieldError::required("spec", words)),
        1 => {}
        _ => {
            let shown = Value::from(format!("{{{}}}", given.join(", ")));
            errors.push(FieldError::invalid(
                "spec",
                &shown,
                format!("{words}, but multiple fields are set"),
            ));
        }
    }
}

fn device(errors: &mut Errors, path: &str, device: &Value, each_device: bool) {
    names::label(errors, &format!("{path}.name"), text(device, &["name"]));
    let attributes = at(device, &["attributes"]).as_object();
    let capacity = at(device, &["capacity"]).as_object();
    let count =
        attributes.map_or(0, serde_json::Map::len) + capacity.map_or(0, serde_json::Map::len);
    if count > ATTRIBUTES_AND_CAPACITIES {
        let words = format!(
            "the total number of attributes and capacities must not exceed {ATTRIBUTES_AND_CAPACITIES}"
        );
        errors.push(FieldError::invalid(path, &count.into(), words));
    }
    for (name, value) in attributes.into_iter().flatten() {
        names::qualified_attribute(errors, &format!("{path}.attributes"), name);
        attribute(errors, &format!("{path}.attributes[{name}]"), value);
    }
    for (name, value) in capacity.into_iter().flatten() {
        names::qualified_attribute(errors, &format!("{path}.capacity"), name);
        let quantity = match at(value, &["value"]) {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if crate::alloc::Quantity::parse(&quantity).is_none() {
            let words = "quantities must match the regular expression \
'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
            let path = format!("{path}.capacity[{name}].value");
            errors.push(FieldError::invalid(&path, &quantity.clone().into(), words));
        }
        let policy = at(value, &["requestPolicy"]);
        if !policy.is_null() {
            let path = format!("{path}.capacity[{name}].requestPolicy");
            if at(device, &["allowMultipleAllocations"]) == true {
                policy::check(errors, &path, policy, &quantity);
            } else {
                let words = "allowMultipleAllocations must be true";
                errors.push(FieldError::forbidden(&path, words));
            }
        }
    }
    let own: Vec<_> = ["nodeName", "nodeSelector", "allNodes"]
        .into_iter()
        .filter(|key| !at(device, &[key]).is_null())
        .collect();
    if each_device && own.len() != 1 {
        let words = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
`perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        errors.push(FieldError::required(path, words));
    } else if !each_device && !own.is_empty() {
        let words = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
true in the ResourceSlice spec";
        errors.push(FieldError::invalid(path, &Value::Null, words));
    }
}

fn attribute(errors: &mut Errors, path: &str, attribute: &Value) {
    let kinds = [
        "bool", "int", "string", "version", "bools", "ints", "strings", "versions",
    ];
    let given = kinds
        .iter()
        .filter(|kind| attribute.get(**kind).is_some_and(|value| !value.is_null()))
        .count();
    if given != 1 {
        let shown = if given == 0 {
            Value::from("")
        } else {
            attribute.clone()
        };
        errors.push(FieldError::invalid(
            path,
            &shown,
            "exactly one value must be specified",
        ));
    }
    for kind in ["string", "version"] {
        if text(attribute, &[kind]).len() > ATTRIBUTE_VALUE_BYTES {
            errors.push(FieldError::too_long(
                &format!("{path}.{kind}"),
                ATTRIBUTE_VALUE_BYTES,
            ));
        }
    }
    if let Some(version) = at(attribute, &["version"]).as_str()
        && crate::alloc::Version::parse(version).is_none()
    {
        let words = "must be a string compatible with semver.org spec 2.0.0";
        errors.push(FieldError::invalid(
            &format!("{path}.version"),
            &version.into(),
            words,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(slice: &Value, old: Option<&Value>) -> String {
        let mut errors = Errors::new();
        spec(&mut errors, slice, old);
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn slice(devices: usize) -> Value {
        let devices: Vec<Value> = (0..devices)
            .map(|n| json!({"name": format!("slot-{n}")}))
            .collect();
        json!({
            "driver": "d.example",
            "nodeName": "node-a",
            "pool": {"name": "node-a", "generation": 1, "resourceSliceCount": 1},
            "devices": devices,
        })
    }

    #[test]
    fn as_many_devices_as_fit() {
        assert_eq!(words(&slice(128), None), "");
        insta::assert_snapshot!(words(&slice(129), None), @"spec.devices: Too many: 129: must have at most 128 items");
    }

    #[test]
    fn words_for_the_spec() {
        let bad = json!({
            "driver": "",
            "nodeName": "a",
            "allNodes": true,
            "pool": {"name": "", "generation": -1, "resourceSliceCount": 0},
            "devices": [{"name": "Slot_0"}, {"name": "a"}, {"name": "a"}],
        });
        insta::assert_snapshot!(words(&bad, None), @r#"
        spec.driver: Required value
        spec.pool.name: Required value
        spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero
        spec.pool.generation: Invalid value: -1: must be greater than or equal to zero
        spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set
        spec.devices[0].name: Invalid value: "Slot_0": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.devices[2]: Duplicate value: "a"
        "#);
        insta::assert_snapshot!(words(&json!({
            "driver": "d", "pool": {"name": "p", "resourceSliceCount": 1}, "nodeSelector": {"nodeSelectorTerms": []},
        }), None), @"spec.nodeSelector.nodeSelectorTerms: Invalid value: []: must have exactly one node selector term");
        insta::assert_snapshot!(words(&json!({
            "driver": "d", "pool": {"name": "p", "resourceSliceCount": 1},
        }), None), @"spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required");
    }

    #[test]
    fn words_for_devices() {
        let mut bad = slice(1);
        bad["devices"][0] = json!({
            "name": "a",
            "nodeName": "b",
            "attributes": {
                "none": {},
                "two": {"int": 1, "string": "x"},
                "version": {"version": "1.0"},
                "long": {"string": "x".repeat(65)},
            },
            "capacity": {"memory": {"value": "lots"}},
        });
        insta::assert_snapshot!(words(&bad, None), @r#"
        spec.devices[0].attributes[none]: Invalid value: "": exactly one value must be specified
        spec.devices[0].attributes[two]: Invalid value: {"int":1,"string":"x"}: exactly one value must be specified
        spec.devices[0].attributes[version].version: Invalid value: "1.0": must be a string compatible with semver.org spec 2.0.0
        spec.devices[0].attributes[long].string: Too long: may not be more than 64 bytes
        spec.devices[0].capacity[memory].value: Invalid value: "lots": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
        spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec
        "#);
    }

    #[test]
    fn some_fields_stay() {
        let old = slice(1);
        let mut new = slice(1);
        new["driver"] = "other.example".into();
        new["nodeName"] = "node-b".into();
        insta::assert_snapshot!(words(&new, Some(&old)), @r#"
        spec.driver: Invalid value: "other.example": field is immutable
        spec.nodeName: Invalid value: "node-b": field is immutable
        "#);
    }
}
