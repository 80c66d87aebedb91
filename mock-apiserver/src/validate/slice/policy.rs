//! The rules of a capacity's request policy (KEP-5075).

use serde_json::Value;

use crate::alloc::Quantity;
use crate::object::{at, list};
use crate::validate::{Errors, FieldError};

/// How many values a policy may list.
const VALUES: usize = 10;

/// Checks the policy of a capacity of this total.
pub(super) fn check(errors: &mut Errors, path: &str, policy: &Value, total: &str) {
    let default = at(policy, &["default"]);
    let values = list(policy, &["validValues"]);
    let range = at(policy, &["validRange"]);
    if !values.is_empty() && !range.is_null() {
        let words = "exactly one policy can be specified, cannot specify `validValues` and `validRange` at the same time";
        errors.push(FieldError::forbidden(path, words));
        return;
    }
    if values.is_empty() && range.is_null() {
        return;
    }
    let kind = if range.is_null() {
        "validValues"
    } else {
        "validRange"
    };
    let Some(usual) = quantity(default) else {
        let words = format!("required when {kind} is defined");
        errors.push(FieldError::required(&format!("{path}.default"), &words));
        return;
    };
    let path = format!("{path}.{kind}");
    match quantity(&total.into()) {
        Some(total) if range.is_null() => discrete(errors, &path, values, usual, total),
        Some(total) => bounds(errors, &path, range, usual, total),
        None => {}
    }
}

fn discrete(errors: &mut Errors, path: &str, values: &[Value], usual: Quantity, total: Quantity) {
    if values.len() > VALUES {
        errors.push(FieldError::too_many(path, values.len(), VALUES));
    }
    let amounts: Vec<Option<Quantity>> = values.iter().map(quantity).collect();
    for (index, pair) in amounts.windows(2).enumerate() {
        if pair[0] >= pair[1] {
            let words = "values must be sorted in ascending order";
            let path = format!("{path}[{}]", index + 1);
            errors.push(FieldError::invalid(&path, &values[index + 1], words));
        }
    }
    for (index, amount) in amounts.iter().enumerate() {
        if amount.is_some_and(|amount| amount > total) {
            let words = format!("option is larger than capacity value: {total}");
            let path = format!("{path}[{index}]");
            errors.push(FieldError::invalid(&path, &values[index], words));
        }
    }
    if !amounts.contains(&Some(usual)) {
        let words = "default value is not valid according to the requestPolicy";
        errors.push(FieldError::invalid(path, &usual.to_string().into(), words));
    }
}

fn bounds(errors: &mut Errors, path: &str, range: &Value, usual: Quantity, total: Quantity) {
    let min_path = format!("{path}.min");
    let Some(min) = quantity(at(range, &["min"])) else {
        let words = "required when validRange is defined";
        errors.push(FieldError::required(&min_path, words));
        return;
    };
    let mut wrong = |path: &str, amount: Quantity, words: String| {
        errors.push(FieldError::invalid(path, &amount.to_string().into(), words));
    };
    if min > total {
        wrong(
            &min_path,
            min,
            format!("min is larger than capacity value: {total}"),
        );
    }
    if usual < min {
        wrong(&min_path, usual, format!("default is less than min: {min}"));
    }
    if let Some(max) = quantity(at(range, &["max"])) {
        let path = format!("{path}.max");
        if min > max {
            wrong(&path, min, format!("min is larger than max: {max}"));
        }
        if max > total {
            wrong(
                &path,
                max,
                format!("max is larger than capacity value: {total}"),
            );
        }
        if usual > max {
            wrong(&path, usual, format!("default is more than max: {max}"));
        }
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(policy: Value) -> String {
        let mut errors = Errors::new();
        check(&mut errors, "policy", &policy, "10");
        let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
        words.join("\n")
    }

    #[test]
    fn sound_policies_pass() {
        for policy in [
            json!({"default": "1", "validValues": ["1", "2"]}),
            json!({"default": "0", "validRange": {"min": "0"}}),
            json!({"default": "3"}),
        ] {
            assert_eq!(words(policy), "");
        }
    }

    #[test]
    fn unsound_ones_are_told() {
        insta::assert_snapshot!(words(json!({"validValues": ["1"]})), @"policy.default: Required value: required when validValues is defined");
        insta::assert_snapshot!(words(json!({"default": "3", "validValues": ["2", "1", "20"]})), @r#"
        policy.validValues[1]: Invalid value: "1": values must be sorted in ascending order
        policy.validValues[2]: Invalid value: "20": option is larger than capacity value: 10
        policy.validValues: Invalid value: "3": default value is not valid according to the requestPolicy
        "#);
        insta::assert_snapshot!(words(json!({"default": "1", "validRange": {"min": "2", "max": "20"}})), @r#"
        policy.validRange.min: Invalid value: "1": default is less than min: 2
        policy.validRange.max: Invalid value: "20": max is larger than capacity value: 10
        "#);
        insta::assert_snapshot!(words(json!({"default": "1", "validRange": {}, "validValues": ["1"]})), @"policy: Forbidden: exactly one policy can be specified, cannot specify `validValues` and `validRange` at the same time");
    }
}
