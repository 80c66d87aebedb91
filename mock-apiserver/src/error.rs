//! Failures of a request, in the words and codes of a Kubernetes API server.

use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// One failed request. Becomes a `Status` body.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    details: Option<Box<Map<String, Value>>>,
}

pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> ApiError {
        self.detail("name", name);
        self.detail("group", resource.group);
        self.detail("kind", resource.plural);
        self
    }

    fn detail(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.details
                .get_or_insert_default()
                .insert(key.to_owned(), value.into());
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    /// Nobody is known by what the request shows.
    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> ApiError {
        let message = match name {
            "" => format!("{} is forbidden: {why}", resource.qualified()),
            name => format!("{} {name:?} is forbidden: {why}", resource.qualified()),
        };
        ApiError::new(403, "Forbidden", message).about(resource, name)
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> ApiError {
        ApiError::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", resource.qualified()),
        )
        .about(resource, name)
    }

    /// The path names nothing that is served here.
    pub(crate) fn no_such_resource() -> ApiError {
        ApiError::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    pub(crate) fn method_not_allowed() -> ApiError {
        ApiError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> ApiError {
        let message = format!("{} {name:?} already exists", resource.qualified());
        ApiError::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> ApiError {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        ApiError::new(409, "Conflict", message).about(resource, name)
    }

    pub(crate) fn stale(resource: &Resource, name: &str) -> ApiError {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        ApiError::conflict(resource, name, why)
    }

    /// A server-side apply that would take fields from other managers. `fields` holds pairs
    /// of the other manager, as `"name" using apiVersion`, and the field's path.
    pub(crate) fn apply_conflict(fields: &[(String, String)]) -> ApiError {
        let noun = if fields.len() == 1 {
            "conflict"
        } else {
            "conflicts"
        };
        let listed = match fields {
            [(manager, path)] => format!("conflict with {manager}: {path}"),
            many if many.iter().all(|(manager, _)| *manager == many[0].0) => {
                let paths: Vec<_> = many.iter().map(|(_, path)| format!("\n- {path}")).collect();
                format!("conflicts with {}:{}", many[0].0, paths.concat())
            }
            many => {
                let mut text = String::from("conflicts");
                let mut last = None;
                for (manager, path) in many {
                    if last != Some(manager) {
                        text.push_str(&format!(" with {manager}:"));
                        last = Some(manager);
                    }
                    text.push_str(&format!("\n- {path}"));
                }
                text
            }
        };
        let mut error = ApiError::new(
            409,
            "Conflict",
            format!("Apply failed with {} {noun}: {listed}", fields.len()),
        );
        let causes: Vec<Value> = fields
            .iter()
            .map(|(manager, path)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
            })
            .collect();
        error
            .details
            .get_or_insert_default()
            .insert("causes".to_owned(), causes.into());
        error
    }

    pub(crate) fn expired(asked: u64, oldest: u64) -> ApiError {
        ApiError::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    pub(crate) fn too_large_version(asked: u64, current: u64) -> ApiError {
        let mut error = ApiError::new(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {current}"),
        );
        let cause =
            json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        error
            .details
            .get_or_insert_default()
            .insert("causes".to_owned(), json!([cause]));
        error
    }

    pub(crate) fn too_large_body(limit: usize) -> ApiError {
        ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> ApiError {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        ApiError::new(415, "UnsupportedMediaType", message)
    }

    /// The object breaks rules of its kind. `kind` is the kind with its group.
    pub(crate) fn invalid(
        resource: &Resource,
        name: &str,
        causes: &[crate::validate::FieldError],
    ) -> ApiError {
        let texts: Vec<String> = causes.iter().map(ToString::to_string).collect();
        let joined = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut error = ApiError::new(
            422,
            "Invalid",
            format!(
                "{} {name:?} is invalid: {joined}",
                resource.qualified_kind()
            ),
        );
        error.detail("name", name);
        error.detail("group", resource.group);
        error.detail("kind", resource.kind);
        let causes: Vec<Value> = causes
            .iter()
            .map(crate::validate::FieldError::cause)
            .collect();
        error
            .details
            .get_or_insert_default()
            .insert("causes".to_owned(), causes.into());
        error
    }

    /// Options of a request that break rules; `kind` is theirs, as `ListOptions`.
    pub(crate) fn invalid_options(kind: &str, cause: &crate::validate::FieldError) -> ApiError {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {cause}");
        let mut error = ApiError::new(422, "Invalid", message);
        error.detail("group", "meta.k8s.io");
        error.detail("kind", kind);
        let causes = json!([cause.cause()]);
        error
            .details
            .get_or_insert_default()
            .insert("causes".to_owned(), causes);
        error
    }

    /// A fault that a test asked for.
    pub(crate) fn injected(code: u16) -> ApiError {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        ApiError::new(
            code,
            reason,
            format!("injected fault: this request was told to fail with {code}"),
        )
    }

    /// The body that goes over the wire.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        });
        if let Some(details) = &self.details {
            status["details"] = Value::Object((**details).clone());
        } else if self.code == 404 {
            status["details"] = json!({});
        }
        status["code"] = self.code.into();
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{CLAIMS, PODS};

    #[test]
    fn words_of_the_common_failures() {
        let words = [
            ApiError::not_found(&PODS, "web"),
            ApiError::not_found(&CLAIMS, "web"),
            ApiError::already_exists(&CLAIMS, "web"),
            ApiError::stale(&CLAIMS, "web"),
            ApiError::expired(3, 10),
            ApiError::apply_conflict(&[(
                "\"kubelet\" using v1".to_owned(),
                ".status.phase".to_owned(),
            )]),
        ]
        .map(|error| format!("{} {}: {error}", error.code, error.reason))
        .join("\n");
        insta::assert_snapshot!(words, @r#"
        404 NotFound: pods "web" not found
        404 NotFound: resourceclaims.resource.k8s.io "web" not found
        409 AlreadyExists: resourceclaims.resource.k8s.io "web" already exists
        409 Conflict: Operation cannot be fulfilled on resourceclaims.resource.k8s.io "web": the object has been modified; please apply your changes to the latest version and try again
        410 Expired: too old resource version: 3 (10)
        409 Conflict: Apply failed with 1 conflict: conflict with "kubelet" using v1: .status.phase
        "#);
    }

    #[test]
    fn a_status_body_says_what_it_is_about() {
        insta::assert_json_snapshot!(ApiError::not_found(&CLAIMS, "web").status(), @r#"
        {
          "kind": "Status",
          "apiVersion": "v1",
          "metadata": {},
          "status": "Failure",
          "message": "resourceclaims.resource.k8s.io \"web\" not found",
          "reason": "NotFound",
          "details": {
            "name": "web",
            "group": "resource.k8s.io",
            "kind": "resourceclaims"
          },
          "code": 404
        }
        "#);
    }
}
