//! The rules of `metav1.Condition` lists.

use serde_json::Value;

use super::{Errors, FieldError, names};
use crate::object;

const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// Checks a list of conditions, keyed by their type.
pub(super) fn list(errors: &mut Errors, path: &str, conditions: &[Value]) {
    for (index, condition) in conditions.iter().enumerate() {
        one(errors, &format!("{path}[{index}]"), condition);
    }
    for (index, condition) in conditions.iter().enumerate() {
        let same = |other: &Value| other.get("type") == condition.get("type");
        if conditions[..index].iter().any(same) {
            let kind = Value::from(object::text(condition, &["type"]));
            errors.push(FieldError::duplicate(
                &format!("{path}[{index}].type"),
                &kind,
            ));
        }
    }
}

fn one(errors: &mut Errors, path: &str, condition: &Value) {
    names::qualified_name(
        errors,
        &format!("{path}.type"),
        object::text(condition, &["type"]),
    );
    let status = object::text(condition, &["status"]);
    if !STATUSES.contains(&status) {
        errors.push(FieldError::not_supported(
            &format!("{path}.status"),
            &status.into(),
            &STATUSES,
        ));
    }
    let observed = object::at(condition, &["observedGeneration"]);
    if observed.as_i64().is_some_and(|generation| generation < 0) {
        let words = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(
            &format!("{path}.observedGeneration"),
            observed,
            words,
        ));
    }
    let time = object::text(condition, &["lastTransitionTime"]);
    if time.is_empty() {
        errors.push(FieldError::required(
            &format!("{path}.lastTransitionTime"),
            "must be set",
        ));
    } else if time.parse::<jiff::Timestamp>().is_err() {
        let words = "must be a date and time as of RFC 3339";
        errors.push(FieldError::invalid(
            &format!("{path}.lastTransitionTime"),
            &time.into(),
            words,
        ));
    }
    let reason = object::text(condition, &["reason"]);
    let path_of_reason = format!("{path}.reason");
    if reason.is_empty() {
        errors.push(FieldError::required(&path_of_reason, "must be set"));
    } else {
        if !has_reason_form(reason) {
            let words = "a condition reason must start with alphabetic character, optionally followed by a string \
of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or \
'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
            errors.push(FieldError::invalid(&path_of_reason, &reason.into(), words));
        }
        if reason.len() > 1024 {
            errors.push(FieldError::too_long(&path_of_reason, 1024));
        }
    }
    if object::text(condition, &["message"]).len() > 32768 {
        errors.push(FieldError::too_long(&format!("{path}.message"), 32768));
    }
}

fn has_reason_form(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes
            .last()
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words() {
        let mut errors = Errors::new();
        let conditions = [
            json!({"type": "Ready", "status": "Yes", "reason": "not ok"}),
            json!({"type": "Ready", "status": "True", "reason": "Attached", "lastTransitionTime": "now"}),
        ];
        list(&mut errors, "conditions", &conditions);
        let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(words.join("\n"), @r#"
        conditions[0].status: Unsupported value: "Yes": supported values: "False", "True", "Unknown"
        conditions[0].lastTransitionTime: Required value: must be set
        conditions[0].reason: Invalid value: "not ok": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')
        conditions[1].lastTransitionTime: Invalid value: "now": must be a date and time as of RFC 3339
        conditions[1].type: Duplicate value: "Ready"
        "#);
    }

    #[test]
    fn a_proper_condition_passes() {
        let mut errors = Errors::new();
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Attached", "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        });
        list(&mut errors, "conditions", &[condition]);
        assert!(errors.is_empty(), "{errors:?}");
    }
}
