//! Prepares and unprepares claims on this node, whatever version the kubelet speaks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use kube::Client;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use crate::attachment::record::Record;
use crate::attachment::{Manager, PreparedClaim};
use crate::cdi::CdiDir;
use crate::claim::{self, ClaimPlan, ClaimUid, Defaults, DeviceKey, Expected};
use crate::cni;
use crate::devices::Known;
use crate::event::{Recorder, Span, Step, Subject, claim_span, details};
use crate::kube::EventPoster;
use crate::kube::claims::{ClaimReadError, ClaimReader};
use crate::tasks::Tasks;

/// The most claims one call may name; a node holds about a hundred pods.
const MAX_CLAIMS: usize = 4096;

/// A claim as the kubelet names it. Every field is as hostile as the wire.
#[derive(Clone, Debug)]
pub struct ClaimName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The resource handle, from a kubelet that hands one over.
    pub handle: Option<String>,
}

/// A device that is ready to be given to containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedDevice {
    /// The claim's requests that it serves.
    pub requests: Vec<String>,
    /// The allocated device.
    pub key: DeviceKey,
    /// The qualified CDI names: of the claim, which runs the hook, and of the request's
    /// metadata file, where there is one.
    pub cdi_devices: Vec<String>,
}

/// What preparing depends on.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The driver's name.
    pub driver: String,
    /// The node's name, also the pool's.
    pub node: String,
    /// For requests without parameters.
    pub defaults: Defaults,
    /// The node's devices, where they are interfaces.
    pub devices: Known,
    /// What the administrator allows.
    pub policy: cni::Policy,
    /// How long looking for a claim's pods may take.
    pub api_timeout: Duration,
}

/// The DRA service's work. Clones share everything.
#[derive(Clone)]
pub struct Node {
    pub(super) config: Arc<NodeConfig>,
    pub(super) manager: Manager,
    cdi: CdiDir,
    pub(super) client: Client,
    pub(super) claims: ClaimReader,
    pub(super) events: Arc<EventPoster>,
    recorder: Recorder,
    pub(super) tasks: Tasks,
    pub(super) background: CancellationToken,
    /// Claims whose names are decided and not yet in the record.
    naming: Arc<Mutex<Vec<ClaimPlan>>>,
}

impl Node {
    /// Wires the parts; `tasks` runs what a caller does not wait for.
    #[expect(clippy::too_many_arguments, reason = "called once, by the driver")]
    pub fn new(
        config: NodeConfig,
        manager: Manager,
        cdi: CdiDir,
        client: Client,
        claims: ClaimReader,
        events: Arc<EventPoster>,
        recorder: Recorder,
        tasks: Tasks,
        background: CancellationToken,
    ) -> Self {
        Self {
            config: config.into(),
            manager,
            cdi,
            client,
            claims,
            events,
            recorder,
            tasks,
            background,
            naming: Arc::default(),
        }
    }

    /// Runs a call's work to its end, also when the kubelet has given up.
    pub(super) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, tonic::Status> {
        let done = self.tasks.finish(work).await;
        done.map_err(|stopped| tonic::Status::unavailable(stopped.to_string()))
    }

    /// Prepares claims: each is answered for itself, by UID. Safe to repeat.
    ///
    /// The error texts end up in the pod's events (`FailedPrepareDynamicResources`).
    pub async fn prepare(
        &self,
        claims: Vec<ClaimName>,
    ) -> BTreeMap<String, Result<Vec<PreparedDevice>, String>> {
        let (claims, mut answers) = bounded(claims);
        // From before the claims are read until they are held: an unprepare that comes
        // meanwhile waits and has the last word. Always in one order, so that two calls
        // never wait for each other.
        let mut uids: Vec<&str> = claims.iter().map(|claim| claim.uid.as_str()).collect();
        uids.sort_unstable();
        let mut locks = Vec::with_capacity(uids.len());
        for uid in uids {
            locks.push(self.manager.lock(uid).await);
        }
        // Read and check all of them first: claims of one call may contradict each other.
        let planned = join_all(claims.into_iter().map(|name| async move {
            let span = self.begin(Step::Prepare, &name);
            let log = claim_span(&name.uid);
            let plan = self.plan(&name).instrument(log).await;
            (name, span, plan)
        }))
        .await;
        let (mut plans, mut spans) = (Vec::new(), Vec::new());
        for (name, mut span, plan) in planned {
            match plan {
                Ok(plan) => {
                    plans.push(plan);
                    spans.push(span);
                }
                Err((reason, error)) => {
                    span.reason(reason);
                    span.fail(&error);
                    answers.insert(name.uid, Err(error));
                }
            }
        }
        let (refused, _named) = self.name_interfaces(&mut plans);
        let done = join_all(plans.into_iter().zip(spans).map(|(plan, mut span)| {
            let refusal = refused.get(&plan.claim.uid).cloned();
            async move {
                let uid = plan.claim.uid.clone();
                let outcome = match refusal {
                    Some(error) => Err(error),
                    None => self.hold(plan).instrument(claim_span(&uid)).await,
                };
                if let Ok(devices) = &outcome {
                    let ids: Vec<_> = devices.iter().flat_map(|d| &d.cdi_devices).collect();
                    span.detail("cdiDevices", json!(ids));
                }
                (uid, span.close_with(outcome))
            }
        }))
        .await;
        answers.extend(done);
        answers
    }

    /// Reads the claim and decides what it asks for.
    async fn plan(&self, name: &ClaimName) -> Result<ClaimPlan, (&'static str, String)> {
        let config = &self.config;
        let refused = |error: String| ("ClaimRefused", error);
        let _: ClaimUid = name.uid.parse().map_err(text).map_err(refused)?;
        let mut claim = match self.claims.get(&name.namespace, &name.name).await {
            Ok(claim) => claim,
            Err(error) => {
                // What was prepared before needs no API server.
                let held = self
                    .manager
                    .store()
                    .read(|record| record.claims.get(&name.uid).map(PreparedClaim::plan));
                return match held {
                    Some(plan) if !matches!(error, ClaimReadError::NotFound { .. }) => {
                        warn!(claim = %name.uid, %error, "prepared again from the record");
                        Ok(plan)
                    }
                    _ => Err(("ClaimUnreadable", error.to_string())),
                };
            }
        };
        if let Some(handle) = &name.handle {
            let allocation = claim::allocation(handle, &config.driver, &config.node);
            let allocation = allocation.map_err(|error| {
                let claim = format!("{}/{}", name.namespace, name.name);
                refused(format!("ResourceClaim {claim}: {error}"))
            })?;
            claim.status.get_or_insert_default().allocation = Some(allocation);
        }
        let expected = Expected {
            namespace: &name.namespace,
            name: &name.name,
            uid: &name.uid,
            driver: &config.driver,
            node: &config.node,
        };
        let defaults = Defaults {
            devices: config.devices.as_ref().map(|now| now.borrow().clone()),
            ..config.defaults.clone()
        };
        let planned = claim::plan(&claim, &expected, &defaults, &config.policy);
        if let Err(error) = &planned
            && error.device_is_gone()
        {
            // A NIC that a pod has is not the node's, and a driver that has just started
            // does not know it. The record does.
            let devices = claim::allocated(&claim, &expected);
            let held = self.manager.store().read(|record| {
                let held = record.claims.get(&name.uid).map(PreparedClaim::plan)?;
                let keys: Vec<_> = held.attachments.iter().map(|a| a.device.clone()).collect();
                (keys == devices).then_some(held)
            });
            if let Some(held) = held {
                return Ok(ClaimPlan {
                    reserved_for: claim::consumers(&claim),
                    ..held
                });
            }
        }
        planned.map_err(text).map_err(refused)
    }

    /// Finds contradictions between claims and gives names to interfaces without one.
    /// Returns the refusals by claim UID, and what keeps the names taken until the claims
    /// are in the record: calls overlap.
    fn name_interfaces(&self, plans: &mut [ClaimPlan]) -> (BTreeMap<String, String>, Named) {
        let mut pending = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let store = self.manager.store();
        let new: BTreeSet<String> = plans.iter().map(|plan| plan.claim.uid.clone()).collect();
        let recorded = store.read(|record| {
            let claims = record.claims.values().map(PreparedClaim::plan);
            claims.collect::<Vec<_>>()
        });
        // A claim that is prepared again keeps its names.
        for plan in plans.iter_mut() {
            let Some(held) = recorded
                .iter()
                .find(|held| held.claim.uid == plan.claim.uid)
            else {
                continue;
            };
            for attachment in &mut plan.attachments {
                let mut same = held.attachments.iter();
                let same = same.find(|other| other.device == attachment.device);
                if let (None, Some(same)) = (&attachment.if_name, same) {
                    attachment.if_name.clone_from(&same.if_name);
                    attachment.auto_named = same.auto_named;
                }
            }
        }
        let held: Vec<ClaimPlan> = recorded
            .into_iter()
            .chain(pending.iter().cloned())
            .filter(|held| !new.contains(&held.claim.uid))
            .collect();
        let refused = claim::conflicts(plans, held.iter());
        // Claims of one pod share its names; claims of different pods do not meet.
        for index in 0..plans.len() {
            let (before, rest) = plans.split_at_mut(index);
            let Some((plan, after)) = rest.split_first_mut() else {
                break;
            };
            let taken: BTreeSet<String> = before
                .iter()
                .chain(after.iter())
                .chain(held.iter())
                .filter(|other| claim::share_a_pod(plan, other))
                .flat_map(|other| other.attachments.iter().filter_map(|a| a.if_name.clone()))
                .collect();
            claim::assign_names(std::slice::from_mut(plan), &taken);
        }
        let accepted = plans
            .iter()
            .filter(|plan| !refused.contains_key(&plan.claim.uid));
        pending.extend(accepted.cloned());
        drop(pending);
        let named = Named {
            naming: self.naming.clone(),
            uids: new,
        };
        let refused = refused
            .into_iter()
            .map(|(uid, error)| (uid, error.to_string()));
        (refused.collect(), named)
    }

    /// Records the claim and writes its CDI spec.
    async fn hold(&self, plan: ClaimPlan) -> Result<Vec<PreparedDevice>, String> {
        let uid: ClaimUid = plan.claim.uid.parse().map_err(text)?;
        // What was promised once is kept: the kubelet remembers the devices' names.
        let promised =
            |record: &Record| record.claims.get(uid.as_str()).is_some_and(|c| c.metadata);
        let promised = self.manager.store().read(promised);
        let plan = self.reconcile(plan).await?;
        let consumers = plan.reserved_for.clone();
        let claim = plan.claim.clone();
        // The record before the spec: what is not recorded is never undone.
        let metadata = self.manager.metadata().clone();
        let mut new: PreparedClaim = plan.into();
        new.metadata = promised || metadata.wanted();
        let held = self.manager.store().change(|record| {
            let entry = record.claims.entry(uid.as_str().to_owned());
            let held = entry
                .and_modify(|held| {
                    held.reserved_for.clone_from(&new.reserved_for);
                    held.metadata = new.metadata;
                })
                .or_insert(new);
            held.clone()
        });
        let held = held.await.map_err(text)?;
        let cdi_devices = |request: &str| {
            let file = held
                .metadata
                .then(|| metadata.device_id(uid.as_str(), request));
            std::iter::once(self.cdi.device_id(&uid)).chain(file)
        };
        let devices: Vec<PreparedDevice> = held
            .attachments
            .iter()
            .map(|attachment| PreparedDevice {
                requests: vec![attachment.plan.request.clone()],
                key: attachment.plan.device.clone(),
                cdi_devices: cdi_devices(&attachment.plan.request).collect(),
            })
            .collect();
        let subject = Subject {
            claim: Some(claim.clone()),
            ..Subject::default()
        };
        let mut span = self.recorder.begin(Step::CdiWrite, subject.clone());
        let cdi = self.cdi.clone();
        let write = {
            let uid = uid.clone();
            move || {
                if held.metadata {
                    metadata.write(&held).map_err(text)?;
                }
                cdi.write(&uid).map_err(text)
            }
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(text)?;
        if let Ok(path) = &written {
            span.detail("path", path.display().to_string());
            span.detail("spec", self.cdi.spec(&uid));
        }
        span.close_with(written)?;
        let answer: Vec<_> = devices
            .iter()
            .map(|device| {
                json!({
                    "requestNames": device.requests,
                    "poolName": device.key.pool,
                    "deviceName": device.key.device,
                    "cdiDeviceIds": device.cdi_devices,
                })
            })
            .collect();
        let mut span = self.recorder.begin(Step::Prepared, subject);
        span.detail("devices", json!(answer));
        span.end();
        info!(claim = %claim.uid, name = %claim.name, namespace = %claim.namespace, "prepared");
        self.look_for_hooks(claim, consumers);
        Ok(devices)
    }

    /// What to hold of a claim that may be held already. As long as the same devices are
    /// allocated the recorded plan stands: pods may be using it, whatever the driver's
    /// settings are by now. A claim made by hand keeps its UID when it is allocated anew;
    /// what the older allocation left attached goes first.
    async fn reconcile(&self, plan: ClaimPlan) -> Result<ClaimPlan, String> {
        let store = self.manager.store();
        let held = store.read(|record| record.claims.get(&plan.claim.uid).cloned());
        let Some(held) = held else { return Ok(plan) };
        let devices = |plan: &ClaimPlan| -> BTreeSet<DeviceKey> {
            plan.attachments.iter().map(|a| a.device.clone()).collect()
        };
        let recorded = held.plan();
        if devices(&recorded) == devices(&plan) && held.places().next().is_some() {
            return Ok(ClaimPlan {
                reserved_for: plan.reserved_for,
                ..recorded
            });
        }
        let orphans = self.manager.release(&held).await;
        self.manager.status().forget(&plan.claim.uid);
        let forget = |record: &mut Record| {
            record.claims.remove(&plan.claim.uid);
            record.adopt(orphans);
        };
        store.change(forget).await.map_err(text)?;
        self.manager.unpin(&held).await;
        Ok(plan)
    }

    /// Unprepares claims from the record alone, each answered for itself, by UID. A claim
    /// that was never prepared here is unprepared.
    pub async fn unprepare(&self, claims: Vec<ClaimName>) -> BTreeMap<String, Result<(), String>> {
        let (claims, mut answers) = bounded(claims);
        let done = join_all(claims.into_iter().map(|name| async move {
            let span = self.begin(Step::Unprepare, &name);
            let log = claim_span(&name.uid);
            let outcome = self.undo(&name).instrument(log).await;
            (name.uid, span.close_with(outcome))
        }));
        answers.extend(done.await);
        answers
    }

    async fn undo(&self, name: &ClaimName) -> Result<(), String> {
        let uid: ClaimUid = name.uid.parse().map_err(text)?;
        let _lock = self.manager.lock(uid.as_str()).await;
        let store = self.manager.store();
        let held = store.read(|record| record.claims.get(uid.as_str()).cloned());
        let orphans = match &held {
            Some(held) => self.manager.release(held).await,
            None => Vec::new(),
        };
        self.manager.status().forget(uid.as_str());
        if held.is_some() || self.cdi.path(&uid).exists() {
            let subject = Subject::claim(&name.namespace, &name.name, uid.as_str());
            let mut span = self.recorder.begin(Step::CdiRemove, subject);
            span.detail("path", self.cdi.path(&uid).display().to_string());
            span.close_with(self.cdi.remove(&uid)).map_err(text)?;
        }
        let (metadata, claim) = (self.manager.metadata().clone(), uid.clone());
        let remove = tokio::task::spawn_blocking(move || metadata.remove(&claim));
        remove.await.map_err(text)?.map_err(text)?;
        if held.is_some() {
            // Last: until here everything can be done once more.
            store
                .change(|record| {
                    record.claims.remove(uid.as_str());
                    record.adopt(orphans);
                })
                .await
                .map_err(text)?;
            info!(claim = %uid, name = %name.name, namespace = %name.namespace, "unprepared");
        }
        // An earlier call may have forgotten the claim and then failed to write so.
        store.flush().await.map_err(text)?;
        // What that one had kept, too.
        self.manager.unpin_forgotten().await;
        Ok(())
    }

    fn begin(&self, step: Step, name: &ClaimName) -> Span {
        let subject = Subject::claim(&name.namespace, &name.name, &name.uid);
        let (from, to) = step.route();
        let detail = details(json!({ "request": {
            "namespace": name.namespace, "name": name.name, "uid": name.uid,
        }}));
        self.recorder.begin_between(step, subject, from, to, detail)
    }
}

/// Keeps names taken while their claims are on the way into the record, also when the
/// caller gives up.
struct Named {
    naming: Arc<Mutex<Vec<ClaimPlan>>>,
    uids: BTreeSet<String>,
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut pending = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|plan| !self.uids.contains(&plan.claim.uid));
    }
}

/// Refuses what no kubelet sends: answers stay keyed by UID, so a repeated UID counts once.
fn bounded<T>(claims: Vec<ClaimName>) -> (Vec<ClaimName>, BTreeMap<String, Result<T, String>>) {
    let mut seen = BTreeSet::new();
    let mut answers = BTreeMap::new();
    let mut kept = Vec::new();
    for claim in claims {
        if !seen.insert(claim.uid.clone()) {
            continue;
        }
        if kept.len() == MAX_CLAIMS {
            let refusal = format!("more than {MAX_CLAIMS} claims in one call");
            answers.insert(claim.uid, Err(refusal));
        } else {
            kept.push(claim);
        }
    }
    (kept, answers)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
