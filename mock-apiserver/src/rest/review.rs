//! Answers a SelfSubjectAccessReview: may whoever asks do this?
//!
//! As the API server answers it (`authorization.k8s.io/v1`): 201, the review back with its
//! status. Everybody may ask, by the role `system:basic-user`; asking uses no permission.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::json;
use crate::authorize::{Ask, Rbac};
use crate::error::{ApiError, Result};

/// Where reviews are created.
pub(super) const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

pub(super) fn answer(rbac: &Rbac, headers: &HeaderMap, body: &[u8]) -> Result<Response> {
    let mut review: Value = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!("the body of the request is not JSON: {error}"))
    })?;
    let attributes = review.pointer("/spec/resourceAttributes");
    let Some(attributes) = attributes.filter(|attributes| attributes.is_object()) else {
        return Err(ApiError::bad_request(
            "spec.resourceAttributes: paths that are no resources are not reviewed here".to_owned(),
        ));
    };
    let text = |field: &str| {
        attributes
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let ask = Ask {
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
    };
    let allowed = match rbac.user(headers) {
        Some(user) => rbac.would_allow(user, &ask),
        // Whoever is held to no role may do everything.
        None => true,
    };
    if let Some(review) = review.as_object_mut() {
        review.insert("status".into(), json!({ "allowed": allowed }));
    }
    Ok(json(StatusCode::CREATED, &review))
}
