//! One function a verb.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::body::{self, Format};
use super::path::Objects;
use super::query::Query;
use super::{dress, json, watch};
use crate::authorize::Caller;
use crate::error::{ApiError, Result};
use crate::object;
use crate::patch::Patch;
use crate::resource::Resource;
use crate::selector::Filter;
use crate::store::{ApplyOptions, DeleteOptions, Deleted, Part, Store, Writer};
use crate::validate::FieldError;

/// One request for objects, with its pieces at hand.
pub(super) struct Call<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) target: &'a Objects<'a>,
    pub(super) query: &'a Query,
    pub(super) headers: &'a HeaderMap,
    pub(super) agent: &'a str,
    /// Who asks, where that is somebody who may not do everything.
    pub(super) caller: Option<Caller>,
}

impl Call<'_> {
    fn resource(&self) -> &'static Resource {
        self.target.resource
    }

    fn name(&self) -> &str {
        self.target.name.unwrap_or_default()
    }

    fn show(&self, code: StatusCode, object: &Value) -> Response {
        json(code, dress::shown(self.resource(), object).as_ref())
    }

    /// Who writes what. Without a field manager it is the program's name, as it calls itself.
    fn writer(&self) -> Result<Writer> {
        let manager = match self.query.text("fieldManager") {
            "" => self.agent.split('/').next().unwrap_or_default(),
            given => given,
        };
        if manager.len() > 128 {
            let error = FieldError::too_long("fieldManager", 128);
            return Err(ApiError::invalid_options("Options", &error));
        }
        let part = if self.target.subresource == "status" {
            Part::Status
        } else {
            Part::Main
        };
        let manager = if manager.is_empty() {
            "unknown"
        } else {
            manager
        };
        Ok(Writer {
            manager: manager.to_owned(),
            part,
            dry_run: self.query.dry_run()?,
            caller: self.caller.clone(),
        })
    }

    fn filter(&self) -> Result<Filter> {
        let mut filter = Filter::parse(
            self.resource(),
            self.target.namespace,
            self.query.text("labelSelector"),
            self.query.text("fieldSelector"),
        )?;
        if let Some(name) = self.target.name {
            filter.fields = filter.fields.and_name(name);
        }
        Ok(filter)
    }

    pub(super) fn get(&self) -> Result<Response> {
        let object = self
            .store
            .get(self.resource(), self.target.namespace, self.name())?;
        Ok(self.show(StatusCode::OK, &object))
    }

    pub(super) fn list(&self) -> Result<Response> {
        let filter = self.filter()?;
        let version = self.query.version()?;
        let (revision, objects) = self.store.list(self.resource(), &filter);
        if version > revision {
            return Err(ApiError::too_large_version(version, revision));
        }
        let (objects, next) = self.page(objects)?;
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
        if let Some((token, remaining)) = next {
            metadata.insert("continue".to_owned(), token.into());
            metadata.insert("remainingItemCount".to_owned(), remaining.into());
        }
        let list = List {
            resource: self.resource(),
            metadata,
            objects: &objects,
        };
        Ok(json(StatusCode::OK, &list))
    }

    /// Cuts a list by `limit` and `continue`. A token names the last object that was shown, so
    /// later pages show the objects as they are then.
    #[allow(clippy::type_complexity)]
    fn page(
        &self,
        mut objects: Vec<Arc<Value>>,
    ) -> Result<(Vec<Arc<Value>>, Option<(String, usize)>)> {
        let token = self.query.text("continue");
        if !token.is_empty() {
            let (namespace, name) = token
                .strip_prefix("after:")
                .and_then(|key| key.split_once('/'))
                .ok_or_else(|| {
                    ApiError::bad_request(
                        "continue key is not valid: it was not made by this server",
                    )
                })?;
            objects.retain(|object| {
                (object::namespace(object), object::name(object)) > (namespace, name)
            });
        }
        let limit = self
            .query
            .number("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(0);
        if limit == 0 || objects.len() <= limit {
            return Ok((objects, None));
        }
        let remaining = objects.len() - limit;
        objects.truncate(limit);
        let last = objects.last().map(|object| {
            format!(
                "after:{}/{}",
                object::namespace(object),
                object::name(object)
            )
        });
        Ok((objects, last.map(|token| (token, remaining))))
    }

    pub(super) fn watch(&self) -> Result<Response> {
        watch::answer(
            Arc::clone(self.store),
            self.resource(),
            self.filter()?,
            self.query,
        )
    }

    pub(super) fn create(&self, bytes: &[u8]) -> Result<Response> {
        let format = body::format(self.headers)?;
        if self.target.subresource == "binding" {
            return self.bind(bytes, format);
        }
        let mut object = body::object(bytes, format, self.resource())?;
        self.fit_namespace(&mut object)?;
        let object = dress::stored(self.resource(), object);
        let stored = stored_kind(self.resource());
        let created = self
            .store
            .create(stored, self.target.namespace, object, &self.writer()?)?;
        Ok(self.show(StatusCode::CREATED, &created))
    }

    fn fit_namespace(&self, object: &mut Value) -> Result<()> {
        let resource = self.resource();
        if !resource.namespaced {
            return Ok(());
        }
        let given = object::namespace(object);
        match self.target.namespace {
            None => Err(ApiError::method_not_allowed()),
            Some(namespace) if !given.is_empty() && given != namespace => {
                Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ))
            }
            Some(namespace) => {
                object::metadata(object).insert("namespace".to_owned(), namespace.into());
                Ok(())
            }
        }
    }

    fn fit_name(&self, object: &Value) -> Result<()> {
        let (given, name) = (object::name(object), self.name());
        if given.is_empty() {
            return Err(ApiError::bad_request(format!(
                "name must be provided: the URL says {name:?}, the object nothing"
            )));
        }
        if given != name {
            let message = format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            );
            return Err(ApiError::bad_request(message));
        }
        Ok(())
    }

    /// `POST pods/NAME/binding`: what another scheduler would send.
    fn bind(&self, bytes: &[u8], format: Format) -> Result<Response> {
        let binding = body::document(bytes, format, "Binding")?;
        let node = object::text(&binding, &["target", "name"]);
        if node.is_empty() {
            return Err(ApiError::bad_request(
                "target.name: Required value: a binding names a node",
            ));
        }
        crate::control::bind(
            self.store,
            self.target.namespace.unwrap_or_default(),
            self.name(),
            node,
        )?;
        Ok(json(
            StatusCode::CREATED,
            &success(self.resource(), self.name(), ""),
        ))
    }

    pub(super) fn update(&self, bytes: &[u8]) -> Result<Response> {
        let mut object = body::object(bytes, body::format(self.headers)?, self.resource())?;
        self.fit_name(&object)?;
        self.fit_namespace(&mut object)?;
        let object = dress::stored(self.resource(), object);
        let resource = stored_kind(self.resource());
        if resource.custom && object::text(&object, &["metadata", "resourceVersion"]).is_empty() {
            let error = FieldError::invalid_shown(
                "metadata.resourceVersion",
                "0x0",
                "must be specified for an update",
            );
            return Err(ApiError::invalid(resource, self.name(), &[error]));
        }
        let updated = self.store.update(
            resource,
            self.target.namespace,
            self.name(),
            &self.writer()?,
            |_| Ok(object),
        )?;
        Ok(self.show(StatusCode::OK, &updated))
    }

    pub(super) fn patch(&self, bytes: &[u8]) -> Result<Response> {
        let resource = stored_kind(self.resource());
        let patch = match body::media_type(self.headers).as_str() {
            "application/apply-patch+yaml" => return self.apply(bytes),
            "application/json-patch+json" => {
                Patch::Json(body::document(bytes, Format::Json, "JSONPatch")?)
            }
            "application/merge-patch+json" => Patch::Merge(self.patch_body(bytes)?),
            "application/strategic-merge-patch+json" => Patch::Strategic(self.patch_body(bytes)?),
            _ => {
                let accepted = "application/json-patch+json, application/merge-patch+json, \
application/apply-patch+yaml, application/strategic-merge-patch+json";
                return Err(ApiError::unsupported_media_type(accepted));
            }
        };
        let shown = self.resource();
        let patched = self.store.update(
            resource,
            self.target.namespace,
            self.name(),
            &self.writer()?,
            |old| {
                // A patch is written against the form the client sees.
                let patched = patch.on(shown, dress::shown(shown, old).as_ref())?;
                body::expect_kind(&patched, shown)?;
                super::types::check(shown, &patched)?;
                Ok(dress::stored(shown, patched))
            },
        )?;
        Ok(self.show(StatusCode::OK, &patched))
    }

    fn patch_body(&self, bytes: &[u8]) -> Result<Value> {
        let patch = body::document(bytes, Format::Json, self.resource().kind)?;
        if patch.is_object() {
            Ok(patch)
        } else {
            Err(ApiError::bad_request(
                "error decoding patch: not a JSON object",
            ))
        }
    }

    fn apply(&self, bytes: &[u8]) -> Result<Response> {
        let resource = stored_kind(self.resource());
        if self.query.text("fieldManager").is_empty() {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(ApiError::invalid_options("PatchOptions", &error));
        }
        let mut config = body::object(bytes, Format::Yaml, self.resource())?;
        for key in ["apiVersion", "kind"] {
            if object::text(&config, &[key]).is_empty() {
                return Err(ApiError::bad_request(format!(
                    "error converting patch to typed: Object '{key}' is missing"
                )));
            }
        }
        if !object::name(&config).is_empty() {
            self.fit_name(&config)?;
        }
        if resource.namespaced {
            self.fit_namespace(&mut config)?;
        }
        let config = dress::stored(self.resource(), config);
        let existed = self
            .store
            .get(resource, self.target.namespace, self.name())
            .is_ok();
        let options = ApplyOptions {
            force: self.query.flag("force"),
        };
        let applied = self.store.apply(
            resource,
            self.target.namespace,
            self.name(),
            config,
            &self.writer()?,
            options,
        )?;
        Ok(self.show(
            if existed {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            },
            &applied,
        ))
    }

    pub(super) fn delete(&self, bytes: &[u8]) -> Result<Response> {
        let options = self.delete_options(bytes)?;
        let resource = stored_kind(self.resource());
        let deleted = self
            .store
            .delete(resource, self.target.namespace, self.name(), &options)?;
        Ok(match &deleted {
            Deleted::Gone(object) if !resource.returns_deleted => json(
                StatusCode::OK,
                &success(resource, self.name(), object::uid(object)),
            ),
            Deleted::Gone(object) | Deleted::Marked(object) => self.show(StatusCode::OK, object),
        })
    }

    pub(super) fn delete_collection(&self, bytes: &[u8]) -> Result<Response> {
        let options = self.delete_options(bytes)?;
        let filter = self.filter()?;
        let objects =
            self.store
                .delete_collection(stored_kind(self.resource()), &filter, &options)?;
        let mut metadata = Map::new();
        metadata.insert(
            "resourceVersion".to_owned(),
            self.store.revision().to_string().into(),
        );
        Ok(json(
            StatusCode::OK,
            &List {
                resource: self.resource(),
                metadata,
                objects: &objects,
            },
        ))
    }

    fn delete_options(&self, bytes: &[u8]) -> Result<DeleteOptions> {
        let body = if bytes.iter().all(u8::is_ascii_whitespace) {
            json!({})
        } else {
            body::document(bytes, body::format(self.headers)?, "DeleteOptions")?
        };
        let integer = match object::at(&body, &["gracePeriodSeconds"]) {
            Value::Null => None,
            value => Some(value.as_i64().ok_or_else(|| {
                ApiError::bad_request(
                    "DeleteOptions cannot be handled: gracePeriodSeconds must be a whole number",
                )
            })?),
        };
        let propagation = match object::text(&body, &["propagationPolicy"]) {
            "" => self.query.text("propagationPolicy"),
            given => given,
        };
        if !matches!(propagation, "" | "Background" | "Foreground" | "Orphan") {
            let error = FieldError::not_supported(
                "propagationPolicy",
                &propagation.into(),
                &["Foreground", "Background", "Orphan", "nil"],
            );
            return Err(ApiError::invalid_options("DeleteOptions", &error));
        }
        let precondition = |key| {
            let value = object::text(&body, &["preconditions", key]);
            (!value.is_empty()).then(|| value.to_owned())
        };
        let dry_run_in_body = object::list(&body, &["dryRun"])
            .iter()
            .any(|value| value == "All");
        Ok(DeleteOptions {
            grace: integer.or(self.query.number("gracePeriodSeconds")?),
            uid: precondition("uid"),
            version: precondition("resourceVersion"),
            orphan: propagation == "Orphan",
            dry_run: dry_run_in_body || self.query.dry_run()?,
        })
    }
}

/// The kind under which the objects of a kind are stored.
fn stored_kind(resource: &'static Resource) -> &'static Resource {
    if resource.is(&crate::resource::EVENTS) {
        &crate::resource::EVENTS
    } else {
        resource
    }
}

fn success(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = Map::new();
    details.insert("name".to_owned(), name.into());
    if !resource.group.is_empty() {
        details.insert("group".to_owned(), resource.group.into());
    }
    details.insert("kind".to_owned(), resource.plural.into());
    if !uid.is_empty() {
        details.insert("uid".to_owned(), uid.into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// A list as it is sent. Items of built-in kinds leave their kind to the list.
struct List<'a> {
    resource: &'static Resource,
    metadata: Map<String, Value>,
    objects: &'a [Arc<Value>],
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items: Vec<_> = self
            .objects
            .iter()
            .map(|object| dress::shown(self.resource, object))
            .collect();
        let items: Vec<_> = items
            .iter()
            .map(|object| Item(object, self.resource.custom))
            .collect();
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("kind", &format!("{}List", self.resource.kind))?;
        map.serialize_entry("apiVersion", &self.resource.api_version())?;
        map.serialize_entry("metadata", &self.metadata)?;
        map.serialize_entry("items", &items)?;
        map.end()
    }
}

struct Item<'a>(&'a Value, bool);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Item(Value::Object(object), keep_kind) = self else {
            return self.0.serialize(serializer);
        };
        serializer.collect_map(
            object
                .iter()
                .filter(|(key, _)| *keep_kind || !matches!(key.as_str(), "kind" | "apiVersion")),
        )
    }
}
