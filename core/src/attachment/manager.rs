//! Attaches: the state machine over record, runtime and network.

mod release;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::network::Debris;
use super::record::{Record, RecordError, Store};
use super::report::Report;
use super::steps::Steps;
use super::{AttachError, Attachment, Network, Orphan, Place, PreparedClaim, State, pin};
use crate::claim::{AttachmentPlan, ClaimUid, Consumer};
use crate::cri::{Cri, CriError, Sandbox};
use crate::event::{ClaimRef, Recorder, Step, Subject};
use crate::kube::claims::ClaimReader;
use crate::kube::{EventPoster, PodRef, StatusWriter};
use crate::metadata::Metadata;

/// How long the parts of an attach and a release may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// One ADD or DEL.
    pub cni: Duration,
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
    steps: Steps,
    claims: ClaimReader,
    report: Report,
    recorder: Recorder,
    times: Times,
    metadata: Metadata,
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
        claims: ClaimReader,
        status: Arc<StatusWriter>,
        events: Arc<EventPoster>,
        recorder: Recorder,
        times: Times,
        metadata: Metadata,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            cri,
            steps: Steps::new(network, recorder.clone(), times),
            claims,
            report: Report { status, events },
            recorder,
            times,
            metadata,
            locks: Mutex::default(),
        }))
    }

    /// The record.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The way to the network.
    pub(super) fn steps(&self) -> Steps {
        self.0.steps.clone()
    }

    /// The files by which programs find their interfaces.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
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
    /// attached to this sandbox already is left alone. Answers by `deadline`, but for the
    /// time of writing the record.
    ///
    /// # Errors
    /// Any error means that the container must not start. What was attached before the
    /// error stays, and is found by the next attempt or undone by unprepare.
    pub async fn attach(
        &self,
        uid: &ClaimUid,
        sandbox_id: &str,
        deadline: Instant,
    ) -> Result<(), AttachError> {
        let _lock = tokio::time::timeout_at(deadline, self.lock(uid.as_str()))
            .await
            .map_err(|_| AttachError::Busy)?;
        let claim = self.held(uid.as_str()).ok_or(AttachError::NotPrepared)?;
        let sandbox = match self.look_up(&claim.claim, sandbox_id).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                match &error {
                    CriError::HostNetwork { pod } if is_reserved(&claim.reserved_for, pod) => {
                        self.0.report.tell(&claim, pod, &error.to_string());
                        self.0.report.failed(&claim, &error.to_string());
                    }
                    CriError::HostNetwork { .. } => {}
                    _ => self.0.report.failed(&claim, &error.to_string()),
                }
                return Err(error.into());
            }
        };
        if let Err(error) = self.admit(&claim, &sandbox).await {
            self.0.report.tell(&claim, &sandbox.pod, &error.to_string());
            return Err(error);
        }
        let attached = self.attach_all(&claim, &sandbox, deadline).await;
        if let Err(error) = &attached {
            self.0.report.tell(&claim, &sandbox.pod, &error.to_string());
            // The record knows which of several are attached by now.
            if let Some(now) = self.held(uid.as_str()) {
                self.0.report.failed(&now, &error.to_string());
            }
        }
        attached
    }

    fn held(&self, uid: &str) -> Option<PreparedClaim> {
        self.0.store.read(|record| record.claims.get(uid).cloned())
    }

    async fn attach_all(
        &self,
        claim: &PreparedClaim,
        sandbox: &Sandbox,
        deadline: Instant,
    ) -> Result<(), AttachError> {
        for (index, attachment) in claim.attachments.iter().enumerate() {
            let mut lost = false;
            match &attachment.state {
                State::Attached { place, .. } if place.sandbox == sandbox.id => {
                    // An earlier call may have died before it told.
                    self.0.report.status_ready(&claim.claim, attachment);
                    continue;
                }
                State::Planned => {}
                State::Attached { .. } | State::Attaching { .. } => {
                    lost = attachment
                        .state
                        .place()
                        .is_some_and(|place| place.sandbox == sandbox.id);
                    self.clear(claim, attachment, index, sandbox, deadline)
                        .await?;
                }
            }
            self.add(claim, index, sandbox, lost, deadline).await?;
        }
        // "Done" is only what the disk knows, also when another call wrote it.
        self.0.store.flush().await?;
        self.describe(&claim.claim.uid).await
    }

    /// Completes what programs in the containers read of their interfaces, before they start.
    async fn describe(&self, uid: &str) -> Result<(), AttachError> {
        let Some(claim) = self.held(uid).filter(|claim| claim.metadata) else {
            return Ok(());
        };
        let metadata = self.0.metadata.clone();
        let written = tokio::task::spawn_blocking(move || metadata.write(&claim)).await;
        match written {
            Ok(written) => Ok(written?),
            // The process is about to end.
            Err(_) => Err(AttachError::Busy),
        }
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
        span.close_for(found)
    }

    /// Is this pod entitled to the claim, and is nobody else using it?
    async fn admit(&self, claim: &PreparedClaim, sandbox: &Sandbox) -> Result<(), AttachError> {
        if !is_reserved(&claim.reserved_for, &sandbox.pod) {
            self.reserve(claim, sandbox).await?;
        }
        for place in claim.places() {
            if place.pod.uid != sandbox.pod.uid && self.0.cri.is_ready(&place.sandbox).await? {
                return Err(AttachError::InUse {
                    claim: name(&claim.claim),
                    first: place.pod.clone(),
                    second: sandbox.pod.clone(),
                });
            }
        }
        Ok(())
    }

    /// Looks for a pod that came to a shared claim after it was prepared: the kubelet does
    /// not prepare again, so only the API knows.
    async fn reserve(&self, claim: &PreparedClaim, sandbox: &Sandbox) -> Result<(), AttachError> {
        let read = self.0.claims.get(&claim.claim.namespace, &claim.claim.name);
        let current = read.await.map_err(|source| AttachError::Reservation {
            claim: name(&claim.claim),
            pod: sandbox.pod.clone(),
            source,
        })?;
        let consumers = if current.metadata.uid.as_deref() == Some(claim.claim.uid.as_str()) {
            crate::claim::consumers(&current)
        } else {
            Vec::new()
        };
        if !is_reserved(&consumers, &sandbox.pod) {
            return Err(AttachError::NotReserved {
                claim: name(&claim.claim),
                pod: sandbox.pod.clone(),
            });
        }
        let keep = |record: &mut Record| {
            if let Some(held) = record.claims.get_mut(&claim.claim.uid) {
                held.reserved_for = consumers;
            }
        };
        Ok(self.0.store.change(keep).await?)
    }

    /// Releases what the claim has elsewhere (an older sandbox) or half-made here.
    async fn clear(
        &self,
        claim: &PreparedClaim,
        attachment: &Attachment,
        index: usize,
        sandbox: &Sandbox,
        deadline: Instant,
    ) -> Result<(), AttachError> {
        let Some(mut orphan) = Orphan::of(&claim.claim, attachment) else {
            return Ok(());
        };
        // Half of the time is the ADD's that follows.
        let left = deadline.saturating_duration_since(Instant::now());
        let end = Instant::now() + self.0.times.release.min(left / 2);
        let failed = match self.0.steps.del_until(&orphan, end).await {
            Ok(()) => None,
            // A link of this name would stand in the way.
            Err(source) if orphan.place.sandbox == sandbox.id => {
                return Err(AttachError::Debris {
                    claim: name(&claim.claim),
                    if_name: orphan.place.if_name,
                    pod: sandbox.pod.clone(),
                    source,
                });
            }
            Err(error) => {
                orphan.gave_up(&error);
                Some(orphan)
            }
        };
        let forget = |record: &mut Record| {
            set(record, &claim.claim.uid, index, State::Planned);
            record.adopt(failed);
        };
        self.0.store.change(forget).await?;
        let pin = attachment
            .state
            .place()
            .and_then(|place| place.pin.as_deref());
        pin::release_unused(&self.0.store, pin).await;
        Ok(())
    }

    /// `lost` says that an earlier ADD in this sandbox had no known end: its plugin may go on
    /// although nobody waits for it, and makes the interface after it was cleared away.
    async fn add(
        &self,
        claim: &PreparedClaim,
        index: usize,
        sandbox: &Sandbox,
        lost: bool,
        deadline: Instant,
    ) -> Result<(), AttachError> {
        let uid = &claim.claim.uid;
        let unpinned = |if_name: &str, source| AttachError::Pin {
            claim: name(&claim.claim),
            if_name: if_name.into(),
            pod: sandbox.pod.clone(),
            source,
        };
        let pin = match claim.attachments.get(index) {
            Some(attachment) => pin::path_for(&attachment.plan.network, &sandbox.netns)
                .map_err(|source| unpinned(attachment.if_name(), source))?,
            None => None,
        };
        let begun = self
            .0
            .store
            .change(|record| begin(record, uid, index, sandbox, pin))
            .await?;
        let (plan, place) = begun.map_err(|(if_name, other)| AttachError::NameTaken {
            claim: name(&claim.claim),
            if_name,
            pod: sandbox.pod.clone(),
            other: name(&other),
        })?;
        // A mount that the record did not know of would stay.
        if let Err(source) = pin::keep(&plan.network, &place) {
            self.planned(uid, index, &place).await?;
            return Err(unpinned(&place.if_name, source));
        }
        // A part of the time is the DEL's, should one be owed.
        let left = deadline.saturating_duration_since(Instant::now());
        let end = Instant::now() + self.0.times.cni.min(left * 4 / 5);
        let source = match self.0.steps.add(&claim.claim, &plan, &place, end).await {
            Ok(result) => {
                let made = State::Attached {
                    place: place.clone(),
                    result: Box::new(result),
                    since: jiff::Timestamp::now(),
                };
                self.0
                    .store
                    .change(|record| set(record, uid, index, made))
                    .await?;
                if let Some(now) = self.held(uid) {
                    self.0
                        .report
                        .attached(&now.claim, &now.attachments[index], &place);
                }
                return Ok(());
            }
            Err(source) => source,
        };
        let debris = match source.debris(&plan) {
            Debris::None if lost && source.is_taken() => Debris::Pending,
            debris => debris,
        };
        let cleared = debris == Debris::None || {
            // The record says that something may be there until a DEL has gone through.
            let orphan = Orphan::attaching(&claim.claim, &plan, &place);
            let deleted = self
                .0
                .steps
                .del(&orphan, Instant::now() + self.0.times.cni.min(left / 5))
                .await;
            deleted.is_ok() && debris == Debris::Some
        };
        if cleared {
            self.planned(uid, index, &place).await?;
        }
        Err(AttachError::Add {
            claim: name(&claim.claim),
            if_name: place.if_name,
            pod: place.pod,
            source,
        })
    }

    /// Nothing of an ADD is there, nor anything kept for it.
    async fn planned(&self, uid: &str, index: usize, place: &Place) -> Result<(), RecordError> {
        self.0
            .store
            .change(|record| set(record, uid, index, State::Planned))
            .await?;
        pin::release_unused(&self.0.store, place.pin.as_deref()).await;
        Ok(())
    }
}

/// Marks an attachment as begun in this sandbox and says what is to be made. Refuses, with
/// the name and its holder, when another claim has an interface of that name there: the
/// names were given out at prepare, and a shared claim may have come to this pod since.
fn begin(
    record: &mut Record,
    uid: &str,
    index: usize,
    sandbox: &Sandbox,
    pin: Option<PathBuf>,
) -> Result<(AttachmentPlan, Place), (String, ClaimRef)> {
    let held: HashMap<String, ClaimRef> = record
        .claims
        .values()
        .filter(|other| other.claim.uid != uid)
        .flat_map(|other| other.places().map(|place| (place, &other.claim)))
        .filter(|(place, _)| place.sandbox == sandbox.id)
        .map(|(place, claim)| (place.if_name.clone(), claim.clone()))
        .collect();
    let place = |if_name: String| Place {
        sandbox: sandbox.id.clone(),
        pod: sandbox.pod.clone(),
        netns: sandbox.netns.clone(),
        pin: pin.clone(),
        if_name,
    };
    let attachments = record
        .claims
        .get_mut(uid)
        .map(|claim| claim.attachments.as_mut_slice())
        .unwrap_or_default();
    let own: Vec<String> = attachments.iter().map(|a| a.if_name().to_owned()).collect();
    // The claim's lock is held, so it is still what it was; if not, there is nothing to do.
    let (Some(attachment), Some(mut if_name)) =
        (attachments.get_mut(index), own.get(index).cloned())
    else {
        return Err((String::new(), ClaimRef::of(uid)));
    };
    if let Some(other) = held.get(&if_name) {
        if !attachment.plan.auto_named {
            return Err((if_name, other.clone()));
        }
        let free = (1_u32..)
            .map(|n| format!("net{n}"))
            .find(|name| !held.contains_key(name) && !own.contains(name));
        if_name = free.unwrap_or(if_name);
        attachment.plan.if_name = Some(if_name.clone());
    }
    let place = place(if_name);
    attachment.state = State::Attaching {
        place: place.clone(),
    };
    let plan = attachment.plan.clone();
    record.pins.extend(pin);
    Ok((plan, place))
}

fn is_reserved(consumers: &[Consumer], pod: &PodRef) -> bool {
    consumers.iter().any(|consumer| consumer.uid == pod.uid)
}

fn set(record: &mut Record, uid: &str, index: usize, state: State) {
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
