//! Creating and changing objects.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Inner, Store};
use crate::authorize::Caller;
use crate::defaults;
use crate::error::{ApiError, Result};
use crate::object;
use crate::patch::{self, Author, Operation};
use crate::resource::{NAMESPACES, Resource};
use crate::validate;

/// The largest object, in bytes: as much as etcd takes.
const OBJECT_BYTES: usize = 1536 * 1024;

/// Tries for a free generated name.
const NAME_ATTEMPTS: usize = 8;

/// Which part of an object a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
    /// All of it: for the server's own binding of pods, which is one write.
    Whole,
}

/// On whose behalf, and how, an object is written.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    /// The field manager.
    pub(crate) manager: String,
    pub(crate) part: Part,
    /// Do everything but storing the result.
    pub(crate) dry_run: bool,
    /// Who must be allowed to change what the object says; `None` may change everything.
    pub(crate) caller: Option<Caller>,
}

/// How a server-side apply is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApplyOptions {
    /// Take fields from other managers.
    pub(crate) force: bool,
}

impl Writer {
    /// One of the server's own controllers, writing an object's main part.
    pub(crate) fn internal(manager: &str) -> Writer {
        Writer {
            manager: manager.to_owned(),
            part: Part::Main,
            dry_run: false,
            caller: None,
        }
    }

    /// One of the server's own controllers, writing an object's status.
    pub(crate) fn internal_status(manager: &str) -> Writer {
        Writer {
            part: Part::Status,
            ..Writer::internal(manager)
        }
    }

    fn author<'a>(&'a self, operation: Operation, api_version: &'a str) -> Author<'a> {
        let subresource = if self.part == Part::Status {
            "status"
        } else {
            ""
        };
        Author {
            manager: &self.manager,
            operation,
            subresource,
            api_version,
        }
    }
}

impl Store {
    /// Creates an object. What only the server may set is set here.
    pub(crate) fn create(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        mut object: Value,
        writer: &Writer,
    ) -> Result<Arc<Value>> {
        let api_version = resource.api_version();
        let mut inner = self.lock();
        inner.begin(resource, namespace, &mut object)?;
        validate::created(resource, &object)?;
        inner.require_namespace(resource, &object)?;
        patch::record_update(
            resource,
            None,
            &mut object,
            &writer.author(Operation::Update, &api_version),
        );
        inner.store_new(resource, object, writer, &self.latest)
    }

    /// Changes an object: `change` makes the new one from the current one.
    pub(crate) fn update(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        name: &str,
        writer: &Writer,
        change: impl FnOnce(&Value) -> Result<Value>,
    ) -> Result<Arc<Value>> {
        let api_version = resource.api_version();
        let mut inner = self.lock();
        let old = Arc::clone(inner.get(resource, namespace, name)?);
        let mut new = change(&old)?;
        settle(resource, &old, &mut new, writer.part)?;
        patch::record_update(
            resource,
            Some(&old),
            &mut new,
            &writer.author(Operation::Update, &api_version),
        );
        inner.store_changed(resource, &old, new, writer, &self.latest)
    }

    /// Server-side apply: creates the object or merges `config` into it.
    pub(crate) fn apply(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        name: &str,
        mut config: Value,
        writer: &Writer,
        options: ApplyOptions,
    ) -> Result<Arc<Value>> {
        let api_version = resource.api_version();
        let author = writer.author(Operation::Apply, &api_version);
        let mut inner = self.lock();
        object::metadata(&mut config).insert("name".to_owned(), name.into());
        let Ok(old) = inner.get(resource, namespace, name).cloned() else {
            if writer.part == Part::Status {
                return Err(ApiError::not_found(resource, name));
            }
            let mut object = patch::apply(resource, &json!({}), &config, &author, options.force)?;
            let managed = object::metadata(&mut object).shift_remove("managedFields");
            inner.begin(resource, namespace, &mut object)?;
            object::put(
                object::metadata(&mut object),
                "managedFields",
                managed.unwrap_or_default(),
            );
            validate::created(resource, &object)?;
            inner.require_namespace(resource, &object)?;
            return inner.store_new(resource, object, writer, &self.latest);
        };
        let mut new = patch::apply(resource, &old, &config, &author, options.force)?;
        settle(resource, &old, &mut new, writer.part)?;
        inner.store_changed(resource, &old, new, writer, &self.latest)
    }
}

impl Inner {
    /// Gives a new object what the server alone decides.
    fn begin(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        object: &mut Value,
    ) -> Result<()> {
        let body = object::as_map(object);
        body.insert("apiVersion".to_owned(), resource.api_version().into());
        body.insert("kind".to_owned(), resource.kind.into());
        let metadata = object::metadata(object);
        if metadata
            .get("resourceVersion")
            .and_then(Value::as_str)
            .is_some_and(|version| !version.is_empty())
        {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        for key in [
            "resourceVersion",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "generation",
        ] {
            metadata.shift_remove(key);
        }
        if let Some(namespace) = namespace.filter(|_| resource.namespaced) {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        metadata.insert("uid".to_owned(), Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".to_owned(), object::now().into());
        if resource.generation {
            metadata.insert("generation".to_owned(), 1.into());
        }
        self.generate_name(resource, object)?;
        defaults::created(resource, object);
        self.gates.drop_disabled(resource, None, object);
        self.resource_api.drop_unknown(resource, object);
        Ok(())
    }

    fn generate_name(&self, resource: &'static Resource, object: &mut Value) -> Result<()> {
        if !object::name(object).is_empty() {
            return Ok(());
        }
        let base = object::text(object, &["metadata", "generateName"]);
        if base.is_empty() {
            return Ok(());
        }
        let base: String = base.chars().take(58).collect();
        let namespace = object::namespace(object).to_owned();
        for _ in 0..NAME_ATTEMPTS {
            let name = format!("{base}{}", name_suffix());
            if self.get(resource, Some(&namespace), &name).is_err() {
                object::metadata(object).insert("name".to_owned(), name.into());
                return Ok(());
            }
        }
        Err(ApiError::already_exists(resource, &base))
    }

    fn require_namespace(&self, resource: &Resource, object: &Value) -> Result<()> {
        if !resource.namespaced {
            return Ok(());
        }
        let namespace = object::namespace(object);
        let found = self.get(&NAMESPACES, None, namespace)?;
        if object::is_deleting(found) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            return Err(ApiError::forbidden(resource, object::name(object), &why));
        }
        Ok(())
    }

    fn store_new(
        &mut self,
        resource: &'static Resource,
        object: Value,
        writer: &Writer,
        latest: &watch::Sender<u64>,
    ) -> Result<Arc<Value>> {
        if self
            .get(
                resource,
                Some(object::namespace(&object)),
                object::name(&object),
            )
            .is_ok()
        {
            return Err(ApiError::already_exists(resource, object::name(&object)));
        }
        check_size(&object)?;
        if writer.dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.put(resource, object, latest))
    }

    fn store_changed(
        &mut self,
        resource: &'static Resource,
        old: &Arc<Value>,
        mut new: Value,
        writer: &Writer,
        latest: &watch::Sender<u64>,
    ) -> Result<Arc<Value>> {
        self.gates.drop_disabled(resource, Some(old), &mut new);
        self.resource_api.drop_unknown(resource, &mut new);
        match writer.part {
            Part::Main => validate::updated(resource, old, &new)?,
            Part::Status => validate::status_updated(resource, old, &new)?,
            Part::Whole => {
                validate::updated(resource, old, &new)?;
                validate::status_updated(resource, old, &new)?;
            }
        }
        if let (Part::Status, Some(caller)) = (writer.part, &writer.caller) {
            caller.may_change(resource, old, &new)?;
        }
        if new == **old {
            return Ok(Arc::clone(old));
        }
        check_size(&new)?;
        if writer.dry_run {
            return Ok(Arc::new(new));
        }
        if super::delete::may_go(&new) {
            return Ok(self.take(resource, &new, latest));
        }
        Ok(self.put(resource, new, latest))
    }
}

fn check_size(object: &Value) -> Result<()> {
    if object::size(object) > OBJECT_BYTES {
        return Err(ApiError::too_large_body(OBJECT_BYTES));
    }
    Ok(())
}

/// Checks what the writer knew of the object, and undoes what this part of it may not change.
fn settle(resource: &Resource, old: &Value, new: &mut Value, part: Part) -> Result<()> {
    let name = object::name(old);
    let version = object::text(new, &["metadata", "resourceVersion"]);
    if !version.is_empty() && version != object::text(old, &["metadata", "resourceVersion"]) {
        return Err(ApiError::stale(resource, name));
    }
    let uid = object::uid(new);
    if !uid.is_empty() && uid != object::uid(old) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::uid(old)
        );
        return Err(ApiError::conflict(resource, name, &why));
    }
    let managed = object::metadata(new).shift_remove("managedFields");
    match part {
        Part::Status => {
            let status = new.get("status").cloned().unwrap_or_default();
            *new = old.clone();
            object::put(object::as_map(new), "status", status);
        }
        Part::Main | Part::Whole => {
            keep_system_fields(old, new);
            if resource.status && part == Part::Main {
                let status = old.get("status").cloned().unwrap_or_default();
                object::put(object::as_map(new), "status", status);
            }
            defaults::updated(resource, new);
            if resource.generation && old.get("spec") != new.get("spec") {
                let generation = object::at(old, &["metadata", "generation"])
                    .as_i64()
                    .unwrap_or(0)
                    + 1;
                object::metadata(new).insert("generation".to_owned(), generation.into());
            }
        }
    }
    if let Some(managed) = managed {
        object::put(object::metadata(new), "managedFields", managed);
    }
    Ok(())
}

fn keep_system_fields(old: &Value, new: &mut Value) {
    for key in ["apiVersion", "kind"] {
        object::put(object::as_map(new), key, old[key].clone());
    }
    let metadata = object::metadata(new);
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
    ] {
        let value = object::at(old, &["metadata", key]).clone();
        object::put(metadata, key, value);
    }
    for key in ["name", "namespace"] {
        let value = object::at(old, &["metadata", key]).clone();
        if !value.is_null() {
            metadata.entry(key).or_insert(value);
        }
    }
}

/// Five letters and digits that can't form words.
fn name_suffix() -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = Uuid::new_v4();
    random.as_bytes()[..5]
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}
