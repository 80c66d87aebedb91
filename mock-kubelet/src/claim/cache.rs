//! What the kubelet knows of claims, in memory and in its checkpoint.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::checkpoint::{self, CheckpointError};

/// A claim that the kubelet has prepared, or may have asked a driver to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedClaim {
    /// The claim's namespace.
    pub namespace: String,
    /// The claim's name.
    pub name: String,
    /// The claim's UID.
    pub uid: String,
    /// UIDs of the pods on this node that use it.
    pub pods: BTreeSet<String>,
    /// What each driver answered; empty until it has.
    pub drivers: BTreeMap<String, Vec<PreparedDevice>>,
    /// What the claim held for each driver, where claims have resource handles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub handles: BTreeMap<String, String>,
    /// Every driver has answered since this kubelet started. As the real one, the kubelet
    /// does not remember this: after its restart, a new sandbox prepares once more.
    #[serde(skip)]
    pub prepared: bool,
}

/// A device as a driver prepared it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedDevice {
    /// The requests it serves; empty means every request of the claim.
    pub requests: Vec<String>,
    /// Its pool.
    pub pool: String,
    /// Its name in the pool.
    pub device: String,
    /// Its CDI names.
    pub cdi: Vec<String>,
}

/// Namespace and name: what a pod names a claim by.
pub(crate) type ClaimKey = (String, String);

/// All claims that this kubelet answers for.
pub(crate) struct Claims {
    checkpoint: PathBuf,
    known: Mutex<BTreeMap<ClaimKey, PreparedClaim>>,
    busy: Mutex<HashMap<ClaimKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl Claims {
    /// What the checkpoint holds; nothing when there is none.
    pub(crate) fn load(checkpoint: &Path) -> Result<Self, CheckpointError> {
        let claims = checkpoint::read(checkpoint)?;
        let known = claims
            .into_iter()
            .map(|claim| ((claim.namespace.clone(), claim.name.clone()), claim));
        Ok(Self {
            checkpoint: checkpoint.into(),
            known: Mutex::new(known.collect()),
            busy: Mutex::default(),
        })
    }

    pub(crate) fn all(&self) -> Vec<PreparedClaim> {
        self.known().values().cloned().collect()
    }

    pub(crate) fn get(&self, key: &ClaimKey) -> Option<PreparedClaim> {
        self.known().get(key).cloned()
    }

    /// The claims that a pod uses.
    pub(crate) fn of_pod(&self, pod: &str) -> Vec<ClaimKey> {
        let known = self.known();
        let mine = known.iter().filter(|(_, claim)| claim.pods.contains(pod));
        mine.map(|(key, _)| key.clone()).collect()
    }

    /// Every pod that some claim names, with the claim's namespace.
    pub(crate) fn pods(&self) -> BTreeMap<String, String> {
        let known = self.known();
        let pods = known.values().flat_map(|claim| {
            let namespace = &claim.namespace;
            claim
                .pods
                .iter()
                .map(|pod| (pod.clone(), namespace.clone()))
        });
        pods.collect()
    }

    /// Changes the claims and writes the checkpoint. When `change` fails, or the
    /// checkpoint cannot be written, nothing has changed.
    pub(crate) fn update<T, E: From<CheckpointError>>(
        &self,
        change: impl FnOnce(&mut BTreeMap<ClaimKey, PreparedClaim>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut known = self.known();
        let mut changed = known.clone();
        let result = change(&mut changed)?;
        if *known != changed {
            checkpoint::write(&self.checkpoint, changed.values())?;
            *known = changed;
        }
        Ok(result)
    }

    /// Holds these claims until the guards are dropped, so that a prepare and an unprepare
    /// of one claim never overlap. Sorted, so that two pods never wait for each other.
    pub(crate) async fn hold(&self, keys: &BTreeSet<ClaimKey>) -> Vec<OwnedMutexGuard<()>> {
        let locks: Vec<_> = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.retain(|_, lock| Arc::strong_count(lock) > 1);
            let lock = |key: &ClaimKey| busy.entry(key.clone()).or_default().clone();
            keys.iter().map(lock).collect()
        };
        let mut guards = Vec::with_capacity(locks.len());
        for lock in locks {
            guards.push(lock.lock_owned().await);
        }
        guards
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ClaimKey, PreparedClaim>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
