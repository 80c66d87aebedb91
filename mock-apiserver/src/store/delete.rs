//! Deleting objects, at once or gracefully.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use super::{Inner, Store};
use crate::error::{ApiError, Result};
use crate::object;
use crate::resource::{NAMESPACES, PODS, Resource};
use crate::selector::Filter;

/// A pod whose author gave no grace period has this many seconds.
const DEFAULT_GRACE: i64 = 30;

/// What a DELETE asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    /// Seconds; only pods have a grace period.
    pub(crate) grace: Option<i64>,
    /// Delete only the object with this UID.
    pub(crate) uid: Option<String>,
    /// Delete only this version of the object.
    pub(crate) version: Option<String>,
    /// Leave the objects that it owns.
    pub(crate) orphan: bool,
    pub(crate) dry_run: bool,
}

/// What a DELETE did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone; this is what it was.
    Gone(Arc<Value>),
    /// The object waits for its finalizers or its grace period.
    Marked(Arc<Value>),
}

impl Deleted {
    pub(crate) fn object(&self) -> &Arc<Value> {
        match self {
            Deleted::Gone(object) | Deleted::Marked(object) => object,
        }
    }
}

/// Whether nothing holds a deleted object any more.
pub(super) fn may_go(object: &Value) -> bool {
    object::is_deleting(object)
        && object::list(object, &["metadata", "finalizers"]).is_empty()
        && object::at(object, &["metadata", "deletionGracePeriodSeconds"])
            .as_i64()
            .unwrap_or(0)
            == 0
}

impl Store {
    pub(crate) fn delete(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        let mut inner = self.lock();
        let object = Arc::clone(inner.get(resource, namespace, name)?);
        inner.delete(resource, &object, options, &self.latest)
    }

    /// Deletes all that the filter matches, and returns what it matched.
    pub(crate) fn delete_collection(
        &self,
        resource: &'static Resource,
        filter: &Filter,
        options: &DeleteOptions,
    ) -> Result<Vec<Arc<Value>>> {
        let mut inner = self.lock();
        let objects: Vec<_> = inner.tables[resource.table]
            .values()
            .filter(|object| filter.matches(object))
            .cloned()
            .collect();
        objects
            .iter()
            .map(|object| {
                Ok(Arc::clone(
                    inner
                        .delete(resource, object, options, &self.latest)?
                        .object(),
                ))
            })
            .collect()
    }
}

impl Inner {
    fn delete(
        &mut self,
        resource: &'static Resource,
        object: &Value,
        options: &DeleteOptions,
        latest: &watch::Sender<u64>,
    ) -> Result<Deleted> {
        check(resource, object, options)?;
        if resource.is(&NAMESPACES) && self.is_used(object::name(object)) {
            let why = "it still has objects in it; delete those first";
            return Err(ApiError::forbidden(resource, object::name(object), why));
        }
        let grace = if resource.is(&PODS) {
            pod_grace(object, options.grace)
        } else {
            0
        };
        let already = object::at(object, &["metadata", "deletionGracePeriodSeconds"]).as_i64();
        let marked = object::is_deleting(object);
        // A later call may shorten the grace period, never lengthen it.
        if marked && already.unwrap_or(0) <= grace && (grace > 0 || already == Some(0)) {
            return Ok(Deleted::Marked(Arc::new(object.clone())));
        }
        let mut next = object.clone();
        let now = Timestamp::now();
        let until = now
            .checked_add(SignedDuration::from_secs(grace))
            .unwrap_or(now);
        let metadata = object::metadata(&mut next);
        metadata.insert(
            "deletionTimestamp".to_owned(),
            object::seconds(until).into(),
        );
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        if resource.generation && !marked {
            let generation = object::at(object, &["metadata", "generation"])
                .as_i64()
                .unwrap_or(0)
                + 1;
            object::metadata(&mut next).insert("generation".to_owned(), generation.into());
        }
        if options.dry_run {
            let next = Arc::new(if may_go(&next) { object.clone() } else { next });
            return Ok(Deleted::Marked(next));
        }
        if options.orphan {
            self.orphan(object::uid(object), latest);
        }
        if may_go(&next) {
            // What was removed at once is shown as it was, without the marks of a slow deletion.
            let last = if marked { &next } else { object };
            return Ok(Deleted::Gone(self.take(resource, last, latest)));
        }
        Ok(Deleted::Marked(self.put(resource, next, latest)))
    }

    fn is_used(&self, namespace: &str) -> bool {
        self.tables
            .iter()
            .any(|table| table.keys().any(|(other, _)| other == namespace))
    }

    /// Takes the owner off all objects it owned.
    fn orphan(&mut self, owner: &str, latest: &watch::Sender<u64>) {
        for resource in crate::resource::ALL {
            let owned: Vec<Arc<Value>> = self.tables[resource.table]
                .values()
                .filter(|object| owners(object).iter().any(|other| other["uid"] == owner))
                .cloned()
                .collect();
            for object in owned {
                let rest: Vec<Value> = owners(&object)
                    .iter()
                    .filter(|other| other["uid"] != owner)
                    .cloned()
                    .collect();
                let mut next = (*object).clone();
                let rest = if rest.is_empty() {
                    Value::Null
                } else {
                    rest.into()
                };
                object::put(object::metadata(&mut next), "ownerReferences", rest);
                self.put(resource, next, latest);
            }
        }
    }
}

fn owners(object: &Value) -> &[Value] {
    object::list(object, &["metadata", "ownerReferences"])
}

fn check(resource: &Resource, object: &Value, options: &DeleteOptions) -> Result<()> {
    let name = object::name(object);
    if let Some(uid) = &options.uid
        && uid != object::uid(object)
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). \
The object might have been deleted and then recreated",
            object::uid(object)
        );
        return Err(ApiError::conflict(resource, name, &why));
    }
    let current = object::text(object, &["metadata", "resourceVersion"]);
    if let Some(version) = &options.version
        && version != current
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
({current}). The object might have been modified"
        );
        return Err(ApiError::conflict(resource, name, &why));
    }
    Ok(())
}

/// The grace period a pod gets, in seconds. A pod that runs nowhere needs none.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let own = object::at(pod, &["spec", "terminationGracePeriodSeconds"]).as_i64();
    let period = asked.or(own).unwrap_or(DEFAULT_GRACE);
    let finished = matches!(
        object::text(pod, &["status", "phase"]),
        "Succeeded" | "Failed"
    );
    if object::text(pod, &["spec", "nodeName"]).is_empty() || finished {
        0
    } else if period < 0 {
        1
    } else {
        period
    }
}
