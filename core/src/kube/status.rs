//! Writes what became of each device into `status.devices` of its claim (KEP-4817).

mod patch;
mod series;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::kube::Client;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::patch::Device;
use super::names::is_dns_subdomain;
use crate::claim::DeviceKey;
use crate::event::{ClaimRef, Recorder};
use crate::gate::Gate;

/// How many claims are written at the same time.
const CONCURRENT: usize = 8;

/// What became of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DeviceState {
    /// Its interface is in the pod.
    Ready {
        /// The interface's name in the pod.
        interface: String,
        /// Its MAC address.
        mac: Option<String>,
        /// Its addresses, with the prefix of their network.
        ips: Vec<IpNet>,
        /// The CNI result; shortened when it has more than 10 KiB.
        cni_result: Value,
    },
    /// It could not be attached, or not be kept.
    Failed {
        /// One CamelCase word.
        reason: String,
        /// What failed, on what, and what to do.
        message: String,
    },
}

impl DeviceState {
    fn ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

/// What a [`StatusWriter`] needs to know.
#[derive(Clone)]
pub struct StatusConfig {
    /// The driver's name, the key of every entry.
    pub driver: String,
    /// Owner of the fields in the API server. The same for every instance of the driver:
    /// a new instance must be able to change what the old one wrote.
    pub field_manager: String,
    /// Where the writes are recorded, as [`crate::event::Step::Status`].
    pub recorder: Recorder,
    /// Passed before each write.
    pub gate: Gate,
    /// Whether the API has `status.devices`. Without it nothing is written.
    pub written: bool,
}

/// Writes claim statuses in the background; no call of it waits for the API server,
/// except [`StatusWriter::flush`] and [`StatusWriter::stop`].
///
/// Keeps what every claim's devices are to say, because each write carries all devices
/// of a claim: one that is left out would be removed. Nothing is on disk; after a
/// restart the driver hands the states back by [`StatusWriter::seed`]. Dropping the
/// writer ends all writing.
pub struct StatusWriter {
    shared: Arc<Shared>,
    _guard: DropGuard,
}

struct Shared {
    client: Client,
    config: StatusConfig,
    claims: Mutex<HashMap<String, Claim>>,
    slots: Semaphore,
    tasks: TaskTracker,
    /// Back-offs become short: somebody waits for the end.
    hurry: CancellationToken,
    kill: CancellationToken,
}

/// One claim's desired status.
struct Claim {
    claim: ClaimRef,
    devices: BTreeMap<DeviceKey, Device>,
    /// Grows with every change.
    version: u64,
    /// The version that the newest request carries, or carried.
    taken: u64,
    /// Something is to be written or being written.
    busy: bool,
    /// The claim is to be dropped; kept only until its task has seen it.
    forgotten: bool,
    /// Wakes a back-off when the claim is forgotten.
    wake: Arc<Notify>,
}

impl StatusWriter {
    /// Starts a writer.
    pub fn start(client: Client, config: StatusConfig) -> Self {
        let kill = CancellationToken::new();
        Self {
            shared: Arc::new(Shared {
                client,
                config,
                claims: Mutex::default(),
                slots: Semaphore::new(CONCURRENT),
                tasks: TaskTracker::new(),
                hurry: CancellationToken::new(),
                kill: kill.clone(),
            }),
            _guard: kill.drop_guard(),
        }
    }

    /// Says what became of a device. The newest state wins; states in between may never
    /// be written. A state that is already the newest causes no write.
    pub fn set(&self, claim: &ClaimRef, key: DeviceKey, state: DeviceState) {
        if !self.shared.config.written {
            return;
        }
        if !is_dns_subdomain(&claim.namespace) || !is_dns_subdomain(&claim.name) {
            tracing::warn!(?claim, "claim status dropped: no claim can have this name");
            return;
        }
        let mut claims = self.shared.claims();
        let entry = entry(&mut claims, claim);
        let since = match entry.devices.get(&key) {
            Some(old) if old.state == state => return,
            Some(old) if old.state.ready() == state.ready() => old.since,
            _ => Timestamp::now(),
        };
        entry.devices.insert(key, Device { state, since });
        self.schedule(&claim.uid, entry);
    }

    fn schedule(&self, uid: &str, entry: &mut Claim) {
        if !self.shared.config.written {
            return;
        }
        entry.version += 1;
        if !entry.busy {
            entry.busy = true;
            let uid = uid.to_owned();
            let shared = self.shared.clone();
            self.shared.tasks.spawn(async move {
                let kill = shared.kill.clone();
                kill.run_until_cancelled_owned(series::write(shared, uid))
                    .await;
            });
        }
    }

    /// Writes once more what is handed back: an earlier instance may have died before its
    /// write went out. Where it did not, the API server sees no change.
    pub fn rewrite(&self, uid: &str) {
        let mut claims = self.shared.claims();
        if let Some(entry) = claims.get_mut(uid) {
            self.schedule(uid, entry);
        }
    }

    /// Hands back, after a restart, what an earlier instance wrote. Causes no write: it
    /// goes out with the next change of its claim. `since` is when the device became
    /// ready, or ceased to be.
    pub fn seed(&self, claim: &ClaimRef, key: DeviceKey, state: DeviceState, since: Timestamp) {
        let mut claims = self.shared.claims();
        entry(&mut claims, claim)
            .devices
            .entry(key)
            .or_insert(Device { state, since });
    }

    /// Forgets a claim that is unprepared. What waits to be written is dropped; a request
    /// under way comes to its end.
    pub fn forget(&self, uid: &str) {
        let mut claims = self.shared.claims();
        if let Some(claim) = claims.get_mut(uid) {
            if claim.busy {
                claim.forgotten = true;
                claim.devices.clear();
                claim.version += 1;
                claim.wake.notify_one();
            } else {
                claims.remove(uid);
            }
        }
    }

    /// Waits until all is written or given up, at most `deadline`. Tells whether it was.
    /// From now on failed writes are tried again quickly.
    pub async fn flush(&self, deadline: Duration) -> bool {
        self.shared.hurry.cancel();
        self.shared.tasks.close();
        let done = tokio::time::timeout(deadline, self.shared.tasks.wait()).await;
        done.is_ok()
    }

    /// Writes what waits, for at most `flush`, and ends.
    pub async fn stop(&self, flush: Duration) {
        if !self.flush(flush).await {
            let unwritten: Vec<String> = self
                .shared
                .claims()
                .values()
                .filter(|claim| claim.busy)
                .map(|claim| format!("{}/{}", claim.claim.namespace, claim.claim.name))
                .collect();
            tracing::warn!(waited = ?flush, ?unwritten, "claim statuses were left unwritten at the end");
        }
        self.shared.kill.cancel();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    fn claims(&self) -> MutexGuard<'_, HashMap<String, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim's entry; one that was to be dropped is wanted again.
fn entry<'a>(claims: &'a mut HashMap<String, Claim>, claim: &ClaimRef) -> &'a mut Claim {
    let entry = claims.entry(claim.uid.clone()).or_insert_with(|| Claim {
        claim: claim.clone(),
        devices: BTreeMap::new(),
        version: 0,
        taken: 0,
        busy: false,
        forgotten: false,
        wake: Arc::default(),
    });
    entry.forgotten = false;
    entry
}

#[cfg(test)]
mod tests;
