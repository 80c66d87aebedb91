//! The HTTP face of the store.

mod body;
mod discovery;
mod dress;
mod handlers;
mod path;
mod protobuf;
mod query;
mod review;
mod types;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::access::Credentials;
use crate::authorize::{Ask, Caller, Rbac};
use crate::error::{ApiError, Result};
use crate::faults::Faults;
use crate::requests::{RequestLog, RequestRecord};
use crate::resource_api::ResourceApi;
use crate::store::Store;
use path::{Target, parse};
use query::Query;

/// What all requests share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) resource_api: ResourceApi,
    pub(crate) faults: Faults,
    pub(crate) requests: RequestLog,
    pub(crate) rbac: Rbac,
    /// What a client must show; `None` lets everybody in.
    pub(crate) credentials: Option<Credentials>,
}

/// The service behind every path.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    answer(&shared, request)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn answer(shared: &Shared, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    // Who is held to roles has a token of its own.
    let user = shared.rbac.user(&parts.headers);
    if let (Some(credentials), None) = (&shared.credentials, user) {
        credentials.check(&parts.headers)?;
    }
    let path = parts.uri.path();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let api = shared.resource_api;
    let target = match parse(path) {
        Target::Objects(target) if !api.serves(target.resource) => Target::Other(path),
        target => target,
    };
    let target = match target {
        Target::Other(review::PATH) if parts.method == Method::POST => {
            shared.faults.strike("create", path).await?;
            let body = body::read(body).await?;
            return review::answer(&shared.rbac, &parts.headers, &body);
        }
        Target::Other(plain) => {
            shared.faults.strike("get", path).await?;
            return if parts.method == Method::GET {
                discovery::answer(api, plain)
            } else {
                Err(ApiError::method_not_allowed())
            };
        }
        Target::Objects(target) => target,
    };
    let verb = verb(&parts.method, &target, &query)?;
    let agent = parts
        .headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    shared.requests.push(RequestRecord {
        verb: verb.to_owned(),
        group: target.resource.group.to_owned(),
        resource: target.resource.plural.to_owned(),
        subresource: target.subresource.to_owned(),
        namespace: target.namespace.unwrap_or_default().to_owned(),
        name: target.name.unwrap_or_default().to_owned(),
        user_agent: agent.to_owned(),
    });
    shared.faults.strike(verb, path).await?;
    if let Some(user) = user {
        let ask = Ask {
            verb,
            group: target.resource.group,
            resource: target.resource.plural,
            subresource: target.subresource,
            namespace: target.namespace.unwrap_or_default(),
            name: target.name.unwrap_or_default(),
        };
        shared.rbac.check(user, target.resource, &ask)?;
    }
    let call = handlers::Call {
        store: &shared.store,
        target: &target,
        query: &query,
        headers: &parts.headers,
        agent,
        caller: user.map(|user| Caller {
            rbac: shared.rbac.clone(),
            user: user.clone(),
            verb,
        }),
    };
    match verb {
        "get" => call.get(),
        "list" => call.list(),
        "watch" => call.watch(),
        _ => {
            let body = body::read(body).await?;
            match verb {
                "create" => call.create(&body),
                "update" => call.update(&body),
                "patch" => call.patch(&body),
                "delete" => call.delete(&body),
                _ => call.delete_collection(&body),
            }
        }
    }
}

/// The verb as authorization sees it.
fn verb(method: &Method, target: &path::Objects<'_>, query: &Query) -> Result<&'static str> {
    let named = target.name.is_some();
    let verb = match (method, named) {
        (&Method::GET, _) if query.flag("watch") => "watch",
        (&Method::GET | &Method::HEAD, true) => "get",
        (&Method::GET | &Method::HEAD, false) => "list",
        (&Method::POST, false) => "create",
        (&Method::POST, true) if target.subresource == "binding" => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return Err(ApiError::method_not_allowed()),
    };
    let allowed = match target.subresource {
        "" => true,
        "status" => matches!(verb, "get" | "update" | "patch"),
        _ => verb == "create",
    };
    if allowed {
        Ok(verb)
    } else {
        Err(ApiError::method_not_allowed())
    }
}

fn failure(error: &ApiError) -> Response {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, &error.status())
}

/// A JSON answer.
fn json(code: StatusCode, body: &impl Serialize) -> Response {
    let (code, text) = match serde_json::to_vec(body) {
        Ok(text) => (code, text),
        // The bodies are JSON values already; nothing in them can fail to be written.
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string().into_bytes(),
        ),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
