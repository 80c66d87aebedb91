//! The objects, one revision counter over all of them, and the recent changes.

mod delete;
mod log;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

pub(crate) use delete::{DeleteOptions, Deleted};
pub(crate) use log::{Change, Happened};
pub(crate) use write::{ApplyOptions, Part, Writer};

use crate::error::{ApiError, Result};
use crate::gates::Gates;
use crate::object;
use crate::resource::{NAMESPACES, Resource, TABLES};
use crate::resource_api::ResourceApi;
use crate::selector::Filter;
use log::Log;

/// Namespace and name; the namespace of cluster-wide objects is empty.
type Key = (String, String);

/// All objects of the server. Every operation is one short critical section.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    /// The newest revision, for those who wait for changes.
    latest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    revision: u64,
    tables: Vec<BTreeMap<Key, Arc<Value>>>,
    log: Log,
    gates: Gates,
    resource_api: ResourceApi,
}

impl Store {
    /// A store with every feature that the server has.
    #[cfg(test)]
    pub(crate) fn new(history: usize) -> Store {
        Store::with(history, Gates::default(), ResourceApi::default())
    }

    /// A store with the namespaces every cluster has, which keeps `history` changes.
    pub(crate) fn with(history: usize, gates: Gates, resource_api: ResourceApi) -> Store {
        let store = Store {
            inner: Mutex::new(Inner {
                revision: 1,
                tables: vec![BTreeMap::new(); TABLES],
                log: Log::new(history),
                gates,
                resource_api,
            }),
            latest: watch::Sender::new(1),
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            // Nothing else is in the store yet that this could clash with.
            let _ = store.create(
                &NAMESPACES,
                None,
                namespace,
                &Writer::internal("kube-apiserver"),
            );
        }
        store
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere can't leave the maps half written: each change is one insert or remove.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Arc<Value>> {
        self.lock().get(resource, namespace, name).cloned()
    }

    /// The matching objects in order of namespace and name, and the revision they were read at.
    pub(crate) fn list(&self, resource: &Resource, filter: &Filter) -> (u64, Vec<Arc<Value>>) {
        let inner = self.lock();
        let objects = inner.tables[resource.table]
            .values()
            .filter(|object| filter.matches(object))
            .cloned()
            .collect();
        (inner.revision, objects)
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, resource: &Resource) -> Vec<Arc<Value>> {
        self.lock().tables[resource.table]
            .values()
            .cloned()
            .collect()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// A receiver that sees each new revision.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The changes after `revision`, oldest first; an error if some of them are forgotten.
    pub(crate) fn since(&self, revision: u64) -> Result<Vec<Arc<Change>>> {
        let inner = self.lock();
        if revision > inner.revision {
            return Err(ApiError::too_large_version(revision, inner.revision));
        }
        inner.log.since(revision)
    }

    /// How many changes are kept.
    pub(crate) fn history(&self) -> usize {
        self.lock().log.capacity()
    }
}

impl Inner {
    fn get(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> Result<&Arc<Value>> {
        self.tables[resource.table]
            .get(&key(namespace, name))
            .ok_or_else(|| ApiError::not_found(resource, name))
    }

    /// Stores `object` under the next revision and tells those who wait.
    fn put(
        &mut self,
        resource: &'static Resource,
        mut object: Value,
        latest: &watch::Sender<u64>,
    ) -> Arc<Value> {
        self.revision += 1;
        object::metadata(&mut object).insert(
            "resourceVersion".to_owned(),
            self.revision.to_string().into(),
        );
        let key = key(Some(object::namespace(&object)), object::name(&object));
        let object = Arc::new(object);
        let previous = self.tables[resource.table].insert(key, Arc::clone(&object));
        let happened = if previous.is_some() {
            Happened::Modified
        } else {
            Happened::Added
        };
        self.record(resource, happened, Arc::clone(&object), previous, latest);
        object
    }

    /// Removes an object under the next revision and tells those who wait.
    fn take(
        &mut self,
        resource: &'static Resource,
        object: &Value,
        latest: &watch::Sender<u64>,
    ) -> Arc<Value> {
        let key = key(Some(object::namespace(object)), object::name(object));
        let previous = self.tables[resource.table].remove(&key);
        self.revision += 1;
        let mut last = object.clone();
        object::metadata(&mut last).insert(
            "resourceVersion".to_owned(),
            self.revision.to_string().into(),
        );
        let last = Arc::new(last);
        self.record(
            resource,
            Happened::Deleted,
            Arc::clone(&last),
            previous,
            latest,
        );
        last
    }

    fn record(
        &mut self,
        resource: &'static Resource,
        happened: Happened,
        object: Arc<Value>,
        previous: Option<Arc<Value>>,
        latest: &watch::Sender<u64>,
    ) {
        let revision = self.revision;
        self.log.push(Change {
            revision,
            table: resource.table,
            happened,
            object,
            previous,
        });
        latest.send_replace(revision);
    }
}

fn key(namespace: Option<&str>, name: &str) -> Key {
    (namespace.unwrap_or_default().to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests;
