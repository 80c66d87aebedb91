//! A record of who asked for what, from which access rules can be checked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The most requests that are remembered; older ones are forgotten.
const LIMIT: usize = 65_536;

/// One request for objects, in the terms of Kubernetes RBAC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestRecord {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name of the kind.
    pub resource: String,
    /// `status`, `binding`, or empty.
    pub subresource: String,
    /// Empty for cluster-wide requests.
    pub namespace: String,
    /// Empty for requests about a collection.
    pub name: String,
    /// The `User-Agent` header; empty if there was none.
    pub user_agent: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RequestLog(Arc<Mutex<VecDeque<RequestRecord>>>);

impl RequestLog {
    pub(crate) fn push(&self, record: RequestRecord) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LIMIT {
            log.pop_front();
        }
        log.push_back(record);
    }

    pub(crate) fn all(&self) -> Vec<RequestRecord> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}
