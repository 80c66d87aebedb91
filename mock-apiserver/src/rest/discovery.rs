//! What clients ask first: which groups, versions and kinds there are.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::json;
use crate::error::{ApiError, Result};
use crate::resource::{ALL, Resource};
use crate::resource_api::ResourceApi;

/// Answers a path that is not about objects.
pub(super) fn answer(api: ResourceApi, path: &str) -> Result<Response> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let body = match parts.as_slice() {
        ["version"] => version(api),
        ["healthz" | "livez" | "readyz", ..] => return Ok(Response::new("ok".into())),
        [""] => {
            json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"]})
        }
        ["api"] => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        }
        ["apis"] => {
            let groups: Vec<Value> = groups(api)
                .into_iter()
                .filter(|(group, _)| !group.is_empty())
                .map(group_info)
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", group] => {
            let found = groups(api).into_iter().find(|(other, _)| other == group);
            let mut info = group_info(found.ok_or_else(ApiError::no_such_resource)?);
            info["kind"] = "APIGroup".into();
            info["apiVersion"] = "v1".into();
            info
        }
        ["api", version] => resources(api, "", version)?,
        ["apis", group, version] => resources(api, group, version)?,
        ["openapi", "v2"] => return Ok(openapi_v2()),
        ["openapi", "v3"] => openapi_index(api),
        ["openapi", "v3", "api", version] => openapi(api, "", version)?,
        ["openapi", "v3", "apis", group, version] => openapi(api, group, version)?,
        _ => return Err(ApiError::no_such_resource()),
    };
    Ok(json(StatusCode::OK, &body))
}

fn version(api: ResourceApi) -> Value {
    let minor = api.minor();
    json!({
        "major": "1",
        "minor": minor,
        "gitVersion": format!("v1.{minor}.0+ndra-mock"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// The groups with their version, each once.
fn groups(api: ResourceApi) -> Vec<(&'static str, &'static str)> {
    let mut groups = Vec::new();
    for resource in ALL.into_iter().filter(|one| api.serves(one)) {
        if !groups.contains(&(resource.group, resource.version)) {
            groups.push((resource.group, resource.version));
        }
    }
    groups
}

fn group_info((group, version): (&str, &str)) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn of(api: ResourceApi, group: &str, version: &str) -> Result<Vec<&'static Resource>> {
    let found: Vec<_> = ALL
        .into_iter()
        .filter(|r| r.group == group && r.version == version && api.serves(r))
        .collect();
    if found.is_empty() {
        Err(ApiError::no_such_resource())
    } else {
        Ok(found)
    }
}

fn resources(api: ResourceApi, group: &str, version: &str) -> Result<Value> {
    let mut listed = Vec::new();
    for resource in of(api, group, version)? {
        let mut info = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        });
        if !resource.short_names.is_empty() {
            info["shortNames"] = json!(resource.short_names);
        }
        if matches!(resource.kind, "Pod" | "Deployment" | "ReplicaSet") {
            info["categories"] = json!(["all"]);
        }
        listed.push(info);
        if resource.status {
            listed.push(json!({
                "name": format!("{}/status", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Ok(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}),
    )
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// kubectl reads the older form as protobuf only, and only to check lists of objects by itself.
/// Without any definitions, which is an empty message, it leaves that to the server.
fn openapi_v2() -> Response {
    let mut response = Response::new(Body::empty());
    let kind =
        HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn openapi_index(api: ResourceApi) -> Value {
    let paths: Map<String, Value> = groups(api)
        .into_iter()
        .map(|(group, version)| {
            let root = root(group, version);
            let url = json!({"serverRelativeURL": format!("/openapi/v3/{root}?hash=1")});
            (root, url)
        })
        .collect();
    json!({"paths": paths})
}

/// The little that kubectl reads: that a PATCH takes `fieldValidation`, so the server validates.
fn openapi(api: ResourceApi, group: &str, version: &str) -> Result<Value> {
    let parameters = json!([
        {"name": "dryRun", "in": "query", "schema": {"type": "string"}},
        {"name": "fieldManager", "in": "query", "schema": {"type": "string"}},
        {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}},
        {"name": "force", "in": "query", "schema": {"type": "boolean"}},
    ]);
    let paths: Map<String, Value> = of(api, group, version)?
        .into_iter()
        .map(|resource| {
            let scope = if resource.namespaced {
                "namespaces/{namespace}/"
            } else {
                ""
            };
            let path = format!(
                "/{}/{scope}{}/{{name}}",
                root(group, version),
                resource.plural
            );
            let kind = json!({"group": group, "version": version, "kind": resource.kind});
            let patch = json!({
                "parameters": parameters,
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": kind,
                "responses": {"200": {"description": "OK"}},
            });
            (path, json!({"patch": patch}))
        })
        .collect();
    Ok(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": format!("v1.{}.0", api.minor())},
        "paths": paths,
        "components": {"schemas": {}},
    }))
}
