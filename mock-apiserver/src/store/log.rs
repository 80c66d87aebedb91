//! The bounded history of changes that watches read from.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{ApiError, Result};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Added,
    Modified,
    Deleted,
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) table: usize,
    pub(crate) happened: Happened,
    /// The object after the change; for a deletion, as it was last.
    pub(crate) object: Arc<Value>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Value>>,
}

/// Changes with consecutive revisions, of which the oldest are forgotten.
#[derive(Debug)]
pub(super) struct Log {
    changes: VecDeque<Arc<Change>>,
    capacity: usize,
}

impl Log {
    /// A log of at most `capacity` changes; at least one is kept.
    pub(super) fn new(capacity: usize) -> Log {
        Log {
            changes: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn push(&mut self, change: Change) {
        if self.changes.len() == self.capacity {
            self.changes.pop_front();
        }
        self.changes.push_back(Arc::new(change));
    }

    /// The changes after `revision`, which must not be newer than the newest one.
    pub(super) fn since(&self, revision: u64) -> Result<Vec<Arc<Change>>> {
        let Some(first) = self.changes.front() else {
            return Ok(Vec::new());
        };
        let known = first.revision - 1;
        match revision.checked_sub(known) {
            Some(skip) => {
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                Ok(self.changes.iter().skip(skip).cloned().collect())
            }
            None => Err(ApiError::expired(revision, known)),
        }
    }
}
