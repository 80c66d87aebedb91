//! The rules objects must keep, with the field paths and words of a real API server.

mod claim;
mod claim_status;
mod class;
mod classic;
mod conditions;
mod meta;
mod names;
mod pod;
mod slice;
mod workload;

use std::fmt;

use serde_json::{Value, json};

use crate::error::{ApiError, Result};
use crate::object;
use crate::resource::{
    CLAIMS, CLASSES, DEPLOYMENTS, PODS, REPLICA_SETS, Resource, SLICES, TEMPLATES,
};

/// One broken rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldError {
    path: String,
    kind: Kind,
    /// The offending value as it is shown; empty if it is not shown.
    value: String,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Required,
    Invalid,
    NotSupported,
    Forbidden,
    Duplicate,
    TooLong,
    TooMany,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Required => "Required value",
            Kind::Invalid => "Invalid value",
            Kind::NotSupported => "Unsupported value",
            Kind::Forbidden => "Forbidden",
            Kind::Duplicate => "Duplicate value",
            Kind::TooLong => "Too long",
            Kind::TooMany => "Too many",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Kind::Required => "FieldValueRequired",
            Kind::Invalid => "FieldValueInvalid",
            Kind::NotSupported => "FieldValueNotSupported",
            Kind::Forbidden => "FieldValueForbidden",
            Kind::Duplicate => "FieldValueDuplicate",
            Kind::TooLong => "FieldValueTooLong",
            Kind::TooMany => "FieldValueTooMany",
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

impl FieldError {
    fn new(path: &str, kind: Kind, value: String, detail: impl Into<String>) -> FieldError {
        FieldError {
            path: path.to_owned(),
            kind,
            value,
            detail: detail.into(),
        }
    }

    pub(crate) fn required(path: &str, detail: &str) -> FieldError {
        FieldError::new(path, Kind::Required, String::new(), detail)
    }

    /// `value` is shown as the JSON it is.
    pub(crate) fn invalid(path: &str, value: &Value, detail: impl Into<String>) -> FieldError {
        FieldError::new(path, Kind::Invalid, value.to_string(), detail)
    }

    /// `shown` is shown as it stands.
    pub(crate) fn invalid_shown(path: &str, shown: &str, detail: impl Into<String>) -> FieldError {
        FieldError::new(path, Kind::Invalid, shown.to_owned(), detail)
    }

    pub(crate) fn not_supported(path: &str, value: &Value, supported: &[&str]) -> FieldError {
        let supported: Vec<_> = supported.iter().map(|word| format!("{word:?}")).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        FieldError::new(path, Kind::NotSupported, value.to_string(), detail)
    }

    pub(crate) fn forbidden(path: &str, detail: impl Into<String>) -> FieldError {
        FieldError::new(path, Kind::Forbidden, String::new(), detail)
    }

    pub(crate) fn duplicate(path: &str, value: &Value) -> FieldError {
        FieldError::new(path, Kind::Duplicate, value.to_string(), "")
    }

    pub(crate) fn duplicate_shown(path: &str, shown: &str) -> FieldError {
        FieldError::new(path, Kind::Duplicate, shown.to_owned(), "")
    }

    pub(crate) fn too_long(path: &str, limit: usize) -> FieldError {
        FieldError::new(
            path,
            Kind::TooLong,
            String::new(),
            format!("may not be more than {limit} bytes"),
        )
    }

    pub(crate) fn too_many(path: &str, count: usize, limit: usize) -> FieldError {
        let noun = if limit == 1 { "item" } else { "items" };
        FieldError::new(
            path,
            Kind::TooMany,
            count.to_string(),
            format!("must have at most {limit} {noun}"),
        )
    }

    fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if !self.value.is_empty() {
            text.push_str(": ");
            text.push_str(&self.value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }

    /// The entry of `details.causes`.
    pub(crate) fn cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.body(), "field": self.path})
    }
}

/// Collects the broken rules of one object.
pub(crate) type Errors = Vec<FieldError>;

/// Checks a list: its length, each item, and that no two items have one key.
fn set<K: Ord + fmt::Display>(
    errors: &mut Errors,
    path: &str,
    items: &[Value],
    limit: Option<usize>,
    key: impl Fn(&Value) -> Option<K>,
    mut item: impl FnMut(&mut Errors, &str, &Value),
) {
    if let Some(limit) = limit
        && items.len() > limit
    {
        errors.push(FieldError::too_many(path, items.len(), limit));
        return;
    }
    for (index, value) in items.iter().enumerate() {
        item(errors, &format!("{path}[{index}]"), value);
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, value) in items.iter().enumerate() {
        if let Some(key) = key(value) {
            let shown = key.to_string();
            if !seen.insert(key) {
                errors.push(FieldError::duplicate_shown(
                    &format!("{path}[{index}]"),
                    &shown,
                ));
            }
        }
    }
}

/// A key for [`set`] that is shown in quotes.
fn quoted(value: &Value, field: &str) -> Option<String> {
    Some(format!("{:?}", object::text(value, &[field])))
}

/// Checks an object that is about to be created.
pub(crate) fn created(resource: &Resource, new: &Value) -> Result<()> {
    let mut errors = Errors::new();
    meta::created(&mut errors, resource, new);
    if classic::is(resource) {
        match resource.kind {
            "ResourceClaim" => classic::claim(&mut errors, "spec", object::at(new, &["spec"])),
            "ResourceClaimTemplate" => classic::template(&mut errors, new),
            _ => classic::class(&mut errors, new),
        }
    } else if resource.is(&CLAIMS) {
        claim::spec(&mut errors, "spec", object::at(new, &["spec"]));
    } else if resource.is(&TEMPLATES) {
        claim::template(&mut errors, new);
    } else if resource.is(&SLICES) {
        slice::spec(&mut errors, object::at(new, &["spec"]), None);
    } else if resource.is(&CLASSES) {
        class::spec(&mut errors, object::at(new, &["spec"]));
    } else if resource.is(&PODS) {
        pod::spec(&mut errors, new);
    } else if resource.is(&DEPLOYMENTS) || resource.is(&REPLICA_SETS) {
        workload::spec(&mut errors, new);
    }
    finish(resource, new, errors)
}

/// Checks a change of an object's main part.
pub(crate) fn updated(resource: &Resource, old: &Value, new: &Value) -> Result<()> {
    let mut errors = Errors::new();
    meta::updated(&mut errors, old, new);
    if resource.is(&CLAIMS) || resource.is(&TEMPLATES) {
        immutable(
            &mut errors,
            "spec",
            object::at(old, &["spec"]),
            object::at(new, &["spec"]),
        );
    } else if resource.is(&SLICES) {
        slice::spec(
            &mut errors,
            object::at(new, &["spec"]),
            Some(object::at(old, &["spec"])),
        );
    } else if resource.is(&CLASSES) {
        class::spec(&mut errors, object::at(new, &["spec"]));
    } else if classic::is(resource) {
        classic::class(&mut errors, new);
    } else if resource.is(&PODS) {
        pod::updated(&mut errors, old, new);
    } else if resource.is(&DEPLOYMENTS) || resource.is(&REPLICA_SETS) {
        workload::updated(&mut errors, old, new);
    }
    finish(resource, new, errors)
}

/// Checks a change through the `/status` subresource.
pub(crate) fn status_updated(resource: &Resource, old: &Value, new: &Value) -> Result<()> {
    let mut errors = Errors::new();
    if classic::is(resource) {
        classic::status(&mut errors, old, new);
    } else if resource.is(&CLAIMS) {
        claim_status::updated(&mut errors, old, new);
    }
    finish(resource, new, errors)
}

fn finish(resource: &Resource, object: &Value, errors: Errors) -> Result<()> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(resource, object::name(object), &errors))
    }
}

fn immutable(errors: &mut Errors, path: &str, old: &Value, new: &Value) {
    if old != new {
        errors.push(FieldError::invalid(path, new, "field is immutable"));
    }
}
