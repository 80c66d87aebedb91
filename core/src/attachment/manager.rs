//! Attaches and detaches: the state machine over record, runtime and network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kube::Client;
use serde_json::json;
use tokio::time::Instant;
use tracing::{info, warn};

use super::record::Store;
use super::report::{Report, addresses, mac};
use super::{AttachError, Attachment, Network, NetworkError, Orphan, Place, PreparedClaim, State};
use crate::claim::{AttachmentPlan, ClaimUid, Consumer};
use crate::cni::CniResult;
use crate::cri::{Cri, CriError, Sandbox};
use crate::event::{Actor, ClaimRef, Recorder, Step, Subject};
use crate::kube::claims;
use crate::kube::{EventPoster, StatusWriter};

/// How long the parts of an attach and a release may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// One ADD or DEL.
    pub cni: Duration,
    /// Reading a claim.
    pub api: Duration,
    /// How often a DEL is tried before the attachment becomes an orphan.
    pub del_attempts: u32,
    /// All DELs of one claim together; less than the kubelet waits for unprepare.
    pub release: Duration,
}

/// Attaches and detaches interfaces. Clones share everything.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

struct Inner {
    store: Store,
    cri: Cri,
    network: Network,
    client: Client,
    report: Report,
    recorder: Recorder,
    times: Times,
    /// One lock a claim: prepare, attach and release of one claim never overlap.
    locks: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Holds a claim still while it is changed.
pub(crate) struct ClaimLock(
    #[expect(dead_code, reason = "held, not read")] tokio::sync::OwnedMutexGuard<()>,
);

impl Manager {
    /// Wires the parts. Owns none of their tasks.
    #[expect(clippy::too_many_arguments, reason = "called once, by the driver")]
    pub fn new(
        store: Store,
        cri: Cri,
        network: Network,
        client: Client,
        status: Arc<StatusWriter>,
        events: Arc<EventPoster>,
        recorder: Recorder,
        times: Times,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            cri,
            network,
            client,
            report: Report { status, events },
            recorder,
            times,
            locks: Mutex::default(),
        }))
    }

    /// The record.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where statuses go.
    pub(crate) fn status(&self) -> &StatusWriter {
        &self.0.report.status
    }

    /// Waits until nobody else works on this claim.
    pub(crate) async fn lock(&self, uid: &str) -> ClaimLock {
        let mutex = {
            let mut locks = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(uid).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::default();
                    locks.insert(uid.into(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        ClaimLock(mutex.lock_owned().await)
    }

    /// Gives the pod of `sandbox_id` every interface of the claim. Safe to repeat: what is
    /// attached to this sandbox already is left alone.
    ///
    /// # Errors
    /// Any error means that the container must not start. What was attached before the
    /// error stays, and is found by the next attempt or undone by unprepare.
    pub async fn attach(&self, uid: &ClaimUid, sandbox_id: &str) -> Result<(), AttachError> {
        let _lock = self.lock(uid.as_str()).await;
        let claim = self
            .0
            .store
            .read(|record| record.claims.get(uid.as_str()).cloned())
            .ok_or(AttachError::NotPrepared)?;
        let sandbox = match self.look_up(&claim.claim, sandbox_id).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                if let CriError::HostNetwork { pod } = &error {
                    self.0.report.tell(&claim, pod, &error.to_string());
                }
                self.failed(&claim.claim.uid, &error.to_string());
                return Err(error.into());
            }
        };
        let attached = self.attach_all(&claim, &sandbox).await;
        if let Err(error) = &attached {
            self.0.report.tell(&claim, &sandbox.pod, &error.to_string());
            // The status belongs to whoever has the claim.
            if !matches!(
                error,
                AttachError::InUse { .. } | AttachError::NotReserved { .. }
            ) {
                self.failed(&claim.claim.uid, &error.to_string());
            }
        }
        attached
    }

    /// Marks as failed what is not attached: the record knows what is by now.
    fn failed(&self, uid: &str, message: &str) {
        let claim = self.0.store.read(|record| record.claims.get(uid).cloned());
        if let Some(claim) = claim {
            self.0.report.failed(&claim, message);
        }
    }

    async fn attach_all(
        &self,
        claim: &PreparedClaim,
        sandbox: &Sandbox,
    ) -> Result<(), AttachError> {
        self.admit(claim, sandbox).await?;
        for (index, attachment) in claim.attachments.iter().enumerate() {
            match &attachment.state {
                State::Attached { place, .. } if place.sandbox == sandbox.id => continue,
                State::Planned => {}
                State::Attached { place, .. } | State::Attaching { place } => {
                    self.clear(claim, index, place, sandbox).await?;
                }
            }
            self.add(claim, index, attachment, sandbox).await?;
        }
        Ok(())
    }

    async fn look_up(&self, claim: &ClaimRef, id: &str) -> Result<Sandbox, CriError> {
        let subject = Subject {
            claim: Some(claim.clone()),
            ..Subject::default()
        };
        let mut span = self
            .0
            .recorder
            .begin(Step::SandboxLookup, subject.sandbox(id));
        let found = self.0.cri.sandbox(id).await;
        if let Ok(sandbox) = &found {
            span.subject().pod = Some(sandbox.pod.to_string());
            span.detail("netns", sandbox.netns.display().to_string());
            span.detail("podUid", sandbox.pod.uid.as_str());
        }
        span.close_with(found)
    }

    /// Is this pod entitled to the claim, and is nobody else using it?
    async fn admit(&self, claim: &PreparedClaim, sandbox: &Sandbox) -> Result<(), AttachError> {
        let name = name(&claim.claim);
        for place in claim.places() {
            if place.pod.uid != sandbox.pod.uid && self.0.cri.is_ready(&place.sandbox).await? {
                return Err(AttachError::InUse {
                    claim: name,
                    first: place.pod.clone(),
                    second: sandbox.pod.clone(),
                });
            }
        }
        let reserved = |list: &[Consumer]| list.iter().any(|pod| pod.uid == sandbox.pod.uid);
        if reserved(&claim.reserved_for) {
            return Ok(());
        }
        // A pod that came to a shared claim after it was prepared: the kubelet does not
        // prepare again, so only the API knows.
        let read = claims::get_within(
            &self.0.client,
            &claim.claim.namespace,
            &claim.claim.name,
            self.0.times.api,
        );
        let current = read.await.map_err(|source| AttachError::Reservation {
            claim: name.clone(),
            pod: sandbox.pod.clone(),
            source,
        })?;
        let consumers = if current.metadata.uid.as_deref() == Some(claim.claim.uid.as_str()) {
            crate::claim::consumers(&current)
        } else {
            Vec::new()
        };
        if !reserved(&consumers) {
            return Err(AttachError::NotReserved {
                claim: name,
                pod: sandbox.pod.clone(),
            });
        }
        self.0
            .store
            .change(|record| {
                if let Some(held) = record.claims.get_mut(&claim.claim.uid) {
                    held.reserved_for = consumers;
                }
            })
            .await?;
        Ok(())
    }

    /// Releases what the claim has elsewhere (an older sandbox) or half-made here.
    async fn clear(
        &self,
        claim: &PreparedClaim,
        index: usize,
        place: &Place,
        sandbox: &Sandbox,
    ) -> Result<(), AttachError> {
        let plan = &claim.attachments[index].plan;
        let end = Instant::now() + self.0.times.release;
        let released = self.del_until(&claim.claim, plan, place, end).await;
        let orphan = match released {
            Ok(()) => None,
            // A link of this name would stand in the way.
            Err(source) if place.sandbox == sandbox.id => {
                return Err(AttachError::Debris {
                    claim: name(&claim.claim),
                    if_name: place.if_name.clone(),
                    pod: sandbox.pod.clone(),
                    source,
                });
            }
            Err(error) => Some(self.orphan(&claim.claim, plan, place, &error)),
        };
        self.0
            .store
            .change(|record| {
                set(record, &claim.claim.uid, index, State::Planned);
                record.orphans.extend(orphan);
            })
            .await?;
        Ok(())
    }

    async fn add(
        &self,
        claim: &PreparedClaim,
        index: usize,
        attachment: &Attachment,
        sandbox: &Sandbox,
    ) -> Result<(), AttachError> {
        let place = Place {
            sandbox: sandbox.id.clone(),
            pod: sandbox.pod.clone(),
            netns: sandbox.netns.clone(),
            if_name: attachment.if_name().to_owned(),
        };
        let uid = &claim.claim.uid;
        let begun = State::Attaching {
            place: place.clone(),
        };
        self.0
            .store
            .change(|record| set(record, uid, index, begun))
            .await?;
        match self.cni_add(&claim.claim, &attachment.plan, &place).await {
            Ok(result) => {
                let made = State::Attached {
                    place: place.clone(),
                    result: Box::new(result.clone()),
                };
                self.0
                    .store
                    .change(|record| set(record, uid, index, made))
                    .await?;
                self.0
                    .report
                    .ready(&claim.claim, &attachment.plan, &place, &result);
                Ok(())
            }
            Err(source) => {
                // A failed ADD leaves links and addresses behind; the record keeps saying
                // so until a DEL has gone through.
                let end = Instant::now() + self.0.times.cni;
                if self
                    .del_once(&claim.claim, &attachment.plan, &place, end)
                    .await
                    .is_ok()
                {
                    self.0
                        .store
                        .change(|record| set(record, uid, index, State::Planned))
                        .await?;
                }
                Err(AttachError::Add {
                    claim: name(&claim.claim),
                    if_name: place.if_name,
                    pod: place.pod,
                    source,
                })
            }
        }
    }

    /// Releases everything that a claim has, for unprepare. Never fails: what cannot be
    /// released in time is returned as orphans, for the caller to record.
    pub(crate) async fn release(&self, claim: &PreparedClaim) -> Vec<Orphan> {
        let end = Instant::now() + self.0.times.release;
        let mut orphans = Vec::new();
        for attachment in claim.attachments.iter().rev() {
            let Some(place) = attachment.state.place() else {
                continue;
            };
            let released = self
                .del_until(&claim.claim, &attachment.plan, place, end)
                .await;
            if let Err(error) = released {
                orphans.push(self.orphan(&claim.claim, &attachment.plan, place, &error));
            }
        }
        orphans
    }

    /// The list that the background task works off.
    pub(crate) fn orphans(&self) -> Vec<Orphan> {
        self.0.store.read(|record| record.orphans.clone())
    }

    /// One more attempt for an orphan; it leaves the record when it succeeds.
    pub async fn release_orphan(&self, orphan: &Orphan) {
        let _lock = self.lock(&orphan.claim.uid).await;
        let end = Instant::now() + self.0.times.cni;
        let released = self
            .del_once(&orphan.claim, &orphan.plan, &orphan.place, end)
            .await;
        let error = released.err().map(|error| error.to_string());
        match &error {
            None => info!(claim = %orphan.claim.uid, interface = %orphan.place.if_name,
                pod = %orphan.place.pod, "orphan released"),
            Some(error) => warn!(claim = %orphan.claim.uid, interface = %orphan.place.if_name,
                pod = %orphan.place.pod, %error, "orphan not released yet"),
        }
        let written = self.0.store.change(|record| match error {
            None => record.orphans.retain(|other| other.id != orphan.id),
            Some(_) => {
                if let Some(held) = record.orphans.iter_mut().find(|o| o.id == orphan.id) {
                    held.last_error = error;
                }
            }
        });
        if let Err(error) = written.await {
            warn!(claim = %orphan.claim.uid, %error, "orphan list not written");
        }
    }

    async fn cni_add(
        &self,
        claim: &ClaimRef,
        plan: &AttachmentPlan,
        place: &Place,
    ) -> Result<CniResult, NetworkError> {
        let network = &self.0.network;
        let detail = json!({
            "ifName": place.if_name,
            "netns": place.netns,
            "device": plan.device.to_string(),
            "config": plan.network,
        });
        let mut span = self.0.recorder.begin_between(
            Step::CniAdd,
            subject(claim, place),
            Actor::Driver,
            network.actor(),
            crate::event::details(detail),
        );
        let added = network
            .add(plan, place, Instant::now() + self.0.times.cni)
            .await;
        if let Ok(result) = &added {
            span.detail("ifName", place.if_name.as_str());
            if let Some(mac) = mac(result, &place.if_name) {
                span.detail("mac", mac);
            }
            span.detail("ips", addresses(result, place));
            span.detail("result", json!(result));
        }
        span.close_with(added)
    }

    /// DEL, tried as often as configured while time is left.
    async fn del_until(
        &self,
        claim: &ClaimRef,
        plan: &AttachmentPlan,
        place: &Place,
        end: Instant,
    ) -> Result<(), NetworkError> {
        let mut pause = Duration::from_millis(50);
        let mut attempt = 1;
        loop {
            let error = match self.del_once(claim, plan, place, end).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= self.0.times.del_attempts || Instant::now() + pause >= end {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
            attempt += 1;
        }
    }

    async fn del_once(
        &self,
        claim: &ClaimRef,
        plan: &AttachmentPlan,
        place: &Place,
        end: Instant,
    ) -> Result<(), NetworkError> {
        let network = &self.0.network;
        let detail = json!({
            "ifName": place.if_name,
            "netns": place.netns,
            "device": plan.device.to_string(),
        });
        let span = self.0.recorder.begin_between(
            Step::CniDel,
            subject(claim, place),
            Actor::Driver,
            network.actor(),
            crate::event::details(detail),
        );
        let deadline = end.min(Instant::now() + self.0.times.cni);
        span.close_with(network.del(plan, place, deadline).await)
    }

    fn orphan(
        &self,
        claim: &ClaimRef,
        plan: &AttachmentPlan,
        place: &Place,
        error: &NetworkError,
    ) -> Orphan {
        warn!(claim = %claim.uid, interface = %place.if_name, pod = %place.pod, %error,
            "not released; kept as an orphan and tried again");
        let mut orphan = Orphan::new(claim.clone(), plan, place.clone());
        orphan.last_error = Some(error.to_string());
        orphan
    }
}

fn set(record: &mut super::record::Record, uid: &str, index: usize, state: State) {
    let attachment = record
        .claims
        .get_mut(uid)
        .and_then(|claim| claim.attachments.get_mut(index));
    if let Some(attachment) = attachment {
        attachment.state = state;
    }
}

fn name(claim: &ClaimRef) -> String {
    format!("{}/{}", claim.namespace, claim.name)
}

fn subject(claim: &ClaimRef, place: &Place) -> Subject {
    Subject {
        claim: Some(claim.clone()),
        pod: Some(place.pod.to_string()),
        sandbox: Some(place.sandbox.clone()),
        container: None,
    }
}
