//! Reading what a client sends, which is never trusted to be small or sound.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use serde_json::Value;

use super::protobuf;
use crate::error::{ApiError, Result};
use crate::resource::Resource;

/// The largest body, in bytes, as a real API server has it.
pub(super) const LIMIT: usize = 3 * 1024 * 1024;

/// The deepest nesting of a document.
const DEPTH: usize = 100;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Yaml,
    /// Read where [`protobuf::reads`] says so.
    Protobuf,
}

pub(super) async fn read(body: Body) -> Result<Bytes> {
    axum::body::to_bytes(body, LIMIT).await.map_err(|error| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(current) = cause {
            if current.to_string().contains("length limit") {
                return ApiError::too_large_body(LIMIT);
            }
            cause = current.source();
        }
        ApiError::bad_request(format!(
            "the body of the request could not be read: {error}"
        ))
    })
}

/// The media type without its parameters, in small letters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// How an object or a set of options is written.
pub(super) fn format(headers: &HeaderMap) -> Result<Format> {
    match media_type(headers).as_str() {
        "" | "application/json" | "*/*" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        _ => Err(unsupported()),
    }
}

fn unsupported() -> ApiError {
    ApiError::unsupported_media_type("application/json, application/yaml")
}

/// Reads one document; `what` is the kind it must be, for the message.
pub(super) fn document(bytes: &[u8], format: Format, what: &str) -> Result<Value> {
    let unreadable = |why: String| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {what}): couldn't get version/kind; {why}"
        ))
    };
    let value: Value = match format {
        Format::Protobuf => return Err(unsupported()),
        Format::Json => serde_json::from_slice(bytes)
            .map_err(|error| unreadable(format!("json parse error: {error}")))?,
        Format::Yaml => {
            let text =
                std::str::from_utf8(bytes).map_err(|error| unreadable(format!("yaml: {error}")))?;
            // JSON is YAML; reading it as such is faster and gives better messages.
            match serde_json::from_str(text) {
                Ok(value) => value,
                Err(_) => serde_saphyr::from_str(text)
                    .map_err(|error| unreadable(format!("yaml: {}", first_line(&error))))?,
            }
        }
    };
    if crate::object::depth(&value) > DEPTH {
        return Err(unreadable(format!(
            "it is nested deeper than {DEPTH} levels"
        )));
    }
    Ok(value)
}

/// The parser shows the place in the text below its message; a Status has one line.
fn first_line(error: &impl std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Reads an object of a kind, and refuses one of another kind.
pub(super) fn object(bytes: &[u8], format: Format, resource: &Resource) -> Result<Value> {
    let value = match format {
        Format::Protobuf if protobuf::reads(resource) => protobuf::event(bytes)?,
        _ => document(bytes, format, resource.kind)?,
    };
    expect_kind(&value, resource)?;
    super::types::check(resource, &value)?;
    Ok(value)
}

/// Refuses an object that says it is of another kind, or is no object at all.
pub(super) fn expect_kind(value: &Value, resource: &Resource) -> Result<()> {
    if !value.is_object() {
        let message = format!(
            "the object provided is unrecognized (must be of type {}): it is {}, not a map of fields",
            resource.kind,
            described(value)
        );
        return Err(ApiError::bad_request(message));
    }
    let (version, kind) = (
        crate::object::text(value, &["apiVersion"]),
        crate::object::text(value, &["kind"]),
    );
    let wrong_version = !version.is_empty() && version != resource.api_version();
    let wrong_kind = !kind.is_empty() && kind != resource.kind;
    if wrong_version || wrong_kind {
        let message = format!(
            "the API version in the data ({version}, Kind={kind}) does not match the expected API version ({}, Kind={})",
            resource.api_version(),
            resource.kind
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::CLAIMS;

    #[test]
    fn words() {
        let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        let words = [
            ("{", Format::Json),
            ("[]", Format::Json),
            ("\"x\"", Format::Json),
            ("a: [", Format::Yaml),
            (deep.as_str(), Format::Json),
            (r#"{"apiVersion":"v1","kind":"Pod"}"#, Format::Json),
            (r#"{"spec":{"devices":{"requests":"all"}}}"#, Format::Json),
        ]
        .map(|(text, format)| {
            object(text.as_bytes(), format, &CLAIMS)
                .unwrap_err()
                .to_string()
        })
        .join("\n");
        insta::assert_snapshot!(words, @r#"
        the object provided is unrecognized (must be of type ResourceClaim): couldn't get version/kind; json parse error: EOF while parsing an object at line 1 column 1
        the object provided is unrecognized (must be of type ResourceClaim): it is a list, not a map of fields
        the object provided is unrecognized (must be of type ResourceClaim): it is a text, not a map of fields
        the object provided is unrecognized (must be of type ResourceClaim): couldn't get version/kind; yaml: error: line 1 column 4: unclosed bracket '['
        the object provided is unrecognized (must be of type ResourceClaim): couldn't get version/kind; it is nested deeper than 100 levels
        the API version in the data (v1, Kind=Pod) does not match the expected API version (resource.k8s.io/v1, Kind=ResourceClaim)
        ResourceClaim in version "v1" cannot be handled as a ResourceClaim: invalid type: string "all", expected a sequence
        "#);
    }

    #[test]
    fn aliases_do_not_explode() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            bomb.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![alias; 10].join(", ")
            ));
        }
        assert!(object(bomb.as_bytes(), Format::Yaml, &CLAIMS).is_err());
    }
}
