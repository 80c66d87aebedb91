//! What an operator asks for: attachments released by hand, and leftovers cleared. The same
//! code runs in the driver and, where none runs, on its record.

use std::fs;
use std::path::PathBuf;

use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::record::{Record, RecordError, Store};
use super::steps::Steps;
use super::{Manager, NetworkError, Orphan, State, pin};
use crate::cdi::CdiDir;
use crate::claim::ClaimUid;
use crate::event::ClaimRef;
use crate::metadata::Metadata;
use crate::wire::operator as wire;
use crate::wire::operator::operator_server;

/// Which attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `namespace/name` of the claim.
    pub claim: Option<String>,
    /// `namespace/name` of the pod.
    pub pod: Option<String>,
    /// The claim's UID.
    pub uid: Option<String>,
    /// Only the interface of this name.
    pub interface: Option<String>,
}

impl Wanted {
    fn fits(&self, orphan: &Orphan) -> bool {
        let claim = format!("{}/{}", orphan.claim.namespace, orphan.claim.name);
        let pod = &orphan.place.pod;
        let pod = format!("{}/{}", pod.namespace, pod.name);
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        same(&self.claim, &claim)
            && same(&self.pod, &pod)
            && same(&self.uid, &orphan.claim.uid)
            && same(&self.interface, &orphan.place.if_name)
    }

    /// Names something: an empty one would mean every attachment of the node.
    fn is_some(&self) -> bool {
        self.claim.is_some() || self.pod.is_some() || self.uid.is_some()
    }
}

/// How it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Forget also what cannot be released. What it holds, such as an address, stays taken.
    pub force: bool,
    /// Change nothing.
    pub dry_run: bool,
}

/// What became of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It would be released or removed.
    Would,
    /// It is released or removed.
    Done,
    /// It could not be released, and is forgotten.
    Forgotten(String),
    /// It could not be released or removed, and stays.
    Failed(String),
}

/// One thing, for people, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Works for an operator. Owns nothing; [`Store`] holds the record's lock.
#[derive(Clone)]
pub struct Operator {
    store: Store,
    steps: Steps,
    cdi: CdiDir,
    metadata: Metadata,
    /// Of the driver that runs, whose own work waits meanwhile.
    manager: Option<Manager>,
}

impl Operator {
    /// In a driver that runs.
    pub(crate) fn of_driver(manager: Manager, cdi: CdiDir) -> Self {
        Self {
            store: manager.store().clone(),
            steps: manager.steps(),
            cdi,
            metadata: manager.metadata().clone(),
            manager: Some(manager),
        }
    }

    /// On the record of a driver that does not run.
    pub(crate) fn alone(store: Store, steps: Steps, cdi: CdiDir, metadata: Metadata) -> Self {
        Self {
            store,
            steps,
            cdi,
            metadata,
            manager: None,
        }
    }

    /// Its service, for the driver.
    pub(crate) fn server(self) -> operator_server::OperatorServer<Self> {
        operator_server::OperatorServer::new(self)
    }

    /// Releases attachments, and forgets them: the claims stay prepared, and the next start
    /// of a container attaches anew. One that is not there is released: safe to repeat.
    ///
    /// # Errors
    /// The record could not be written. What was released stays so.
    pub async fn detach(&self, wanted: &Wanted, how: How) -> Result<Vec<Item>, RecordError> {
        if !wanted.is_some() {
            return Ok(Vec::new());
        }
        self.release(how, |orphan| wanted.fits(orphan)).await
    }

    /// Releases orphans and, with `all`, what prepared claims have; lets go of namespaces
    /// that are kept for nothing; removes CDI specs and device metadata of no prepared claim.
    /// With `all` no claim is prepared afterwards. Safe to repeat.
    ///
    /// # Errors
    /// The record could not be written. What was done so far stays done.
    pub async fn cleanup(&self, all: bool, how: How) -> Result<Vec<Item>, RecordError> {
        let orphans = self.store.read(|record| {
            let ids = record.orphans.iter().map(|orphan| orphan.id.clone());
            ids.collect::<Vec<_>>()
        });
        let mut items = self
            .release(how, |orphan| all || orphans.contains(&orphan.id))
            .await?;
        if all {
            items.extend(self.forget_claims(how).await?);
        }
        items.extend(self.unpin(how).await);
        let kept = self.store.read(|record| {
            let mut kept = record.clone();
            if all && how.dry_run {
                kept.claims.clear();
            }
            kept
        });
        items.extend(self.files(&kept, how));
        Ok(items)
    }

    /// DEL for everything that fits.
    async fn release(
        &self,
        how: How,
        fits: impl Fn(&Orphan) -> bool,
    ) -> Result<Vec<Item>, RecordError> {
        let held = self.store.read(|record| {
            let claimed = record.claims.values().flat_map(|claim| {
                let all = claim.attachments.iter().enumerate();
                all.filter_map(|(index, attachment)| {
                    Some((Some(index), Orphan::of(&claim.claim, attachment)?))
                })
            });
            let orphans = record.orphans.iter().map(|orphan| (None, orphan.clone()));
            let all = claimed.chain(orphans);
            all.filter(|(_, orphan)| fits(orphan)).collect::<Vec<_>>()
        });
        let mut items = Vec::new();
        for (index, orphan) in held {
            let what = format!(
                "{} of pod {} (claim {}/{}, {})",
                orphan.place.if_name,
                orphan.place.pod,
                orphan.claim.namespace,
                orphan.claim.name,
                orphan.claim.uid
            );
            if how.dry_run {
                items.push(Item {
                    what,
                    outcome: Outcome::Would,
                });
                continue;
            }
            let _lock = match &self.manager {
                Some(manager) => Some(manager.lock(&orphan.claim.uid).await),
                None => None,
            };
            let end = Instant::now() + self.steps.times.release;
            let released = self.steps.del_until(&orphan, end).await;
            let outcome = self.settle(index, &orphan, released, how).await?;
            items.push(Item { what, outcome });
        }
        Ok(items)
    }

    /// Forgets what was released, or what is to be forgotten all the same.
    async fn settle(
        &self,
        index: Option<usize>,
        orphan: &Orphan,
        released: Result<(), NetworkError>,
        how: How,
    ) -> Result<Outcome, RecordError> {
        let outcome = match released {
            Ok(()) => Outcome::Done,
            Err(error) if how.force => {
                self.steps.network.forget(&orphan.plan, &orphan.place);
                Outcome::Forgotten(error.to_string())
            }
            Err(error) => return Ok(Outcome::Failed(error.to_string())),
        };
        let forget = |record: &mut Record| match index {
            None => record.orphans.retain(|other| other.id != orphan.id),
            Some(index) => {
                let claim = record.claims.get_mut(&orphan.claim.uid);
                let attachment = claim.and_then(|claim| claim.attachments.get_mut(index));
                if let Some(attachment) = attachment
                    && attachment.state.place() == Some(&orphan.place)
                {
                    attachment.state = State::Planned;
                }
            }
        };
        self.store.change(forget).await?;
        pin::release_unused(&self.store, orphan.place.pin.as_deref()).await;
        Ok(outcome)
    }

    /// Unprepares claims that have nothing attached any more.
    async fn forget_claims(&self, how: How) -> Result<Vec<Item>, RecordError> {
        let idle = |record: &Record| {
            let claims = record.claims.values();
            let idle = claims.filter(|claim| how.dry_run || claim.places().next().is_none());
            idle.map(|claim| claim.claim.clone())
                .collect::<Vec<ClaimRef>>()
        };
        let idle = self.store.read(idle);
        if !how.dry_run {
            let forget = |record: &mut Record| {
                record
                    .claims
                    .retain(|uid, _| !idle.iter().any(|claim| claim.uid == *uid));
            };
            self.store.change(forget).await?;
        }
        let item = |claim: ClaimRef| Item {
            what: format!(
                "prepared claim {}/{} ({})",
                claim.namespace, claim.name, claim.uid
            ),
            outcome: done(how),
        };
        Ok(idle.into_iter().map(item).collect())
    }

    async fn unpin(&self, how: How) -> Vec<Item> {
        let unused = |record: &Record| {
            let mut unused = record.pins.clone();
            for place in record.places() {
                if let Some(pin) = &place.pin {
                    unused.remove(pin);
                }
            }
            unused
        };
        let before = self.store.read(unused);
        if !how.dry_run {
            pin::release_unused(&self.store, before.iter().map(PathBuf::as_path)).await;
        }
        let after = self.store.read(unused);
        let item = |pin: PathBuf| Item {
            what: format!("kept network namespace {}", pin.display()),
            outcome: match after.contains(&pin) && !how.dry_run {
                true => Outcome::Failed("it cannot be unmounted; the log says why".into()),
                false => done(how),
            },
        };
        before.into_iter().map(item).collect()
    }

    /// CDI specs and metadata of claims that are not prepared.
    fn files(&self, kept: &Record, how: How) -> Vec<Item> {
        let stale = |uid: &ClaimUid| !kept.claims.contains_key(uid.as_str());
        let specs = self.cdi.list().into_iter().filter(stale);
        let mut paths: Vec<PathBuf> = specs.map(|uid| self.cdi.path(&uid)).collect();
        paths.extend(self.metadata.others(kept.claims.values()));
        paths.sort();
        let item = |path: PathBuf| {
            let removed = match (how.dry_run, path.is_dir()) {
                (true, _) => Ok(()),
                (false, true) => fs::remove_dir_all(&path),
                (false, false) => fs::remove_file(&path),
            };
            Item {
                what: path.display().to_string(),
                outcome: match removed {
                    Ok(()) => done(how),
                    Err(error) => Outcome::Failed(crate::socket::io_text(&error)),
                },
            }
        };
        paths.into_iter().map(item).collect()
    }
}

fn done(how: How) -> Outcome {
    if how.dry_run {
        Outcome::Would
    } else {
        Outcome::Done
    }
}

impl From<Item> for wire::Item {
    fn from(item: Item) -> Self {
        let (outcome, reason) = match item.outcome {
            Outcome::Would => ("would", String::new()),
            Outcome::Done => ("done", String::new()),
            Outcome::Forgotten(reason) => ("forgotten", reason),
            Outcome::Failed(reason) => ("failed", reason),
        };
        Self {
            what: item.what,
            outcome: outcome.into(),
            reason,
        }
    }
}

impl From<wire::Item> for Item {
    fn from(item: wire::Item) -> Self {
        Self {
            what: item.what,
            outcome: match item.outcome.as_str() {
                "would" => Outcome::Would,
                "done" => Outcome::Done,
                "forgotten" => Outcome::Forgotten(item.reason),
                _ => Outcome::Failed(item.reason),
            },
        }
    }
}

fn report(items: Result<Vec<Item>, RecordError>) -> Result<Response<wire::Report>, Status> {
    let items = items.map_err(|error| Status::internal(error.to_string()))?;
    let items = items.into_iter().map(Into::into).collect();
    Ok(Response::new(wire::Report { items }))
}

#[tonic::async_trait]
impl operator_server::Operator for Operator {
    async fn detach(
        &self,
        request: Request<wire::DetachRequest>,
    ) -> Result<Response<wire::Report>, Status> {
        let request = request.into_inner();
        let some = |text: String| (!text.is_empty()).then_some(text);
        let wanted = Wanted {
            claim: some(request.claim),
            pod: some(request.pod),
            uid: some(request.uid),
            interface: some(request.interface),
        };
        if !wanted.is_some() {
            return Err(Status::invalid_argument("name a claim or a pod"));
        }
        let how = How {
            force: request.force,
            dry_run: request.dry_run,
        };
        report(Operator::detach(self, &wanted, how).await)
    }

    async fn cleanup(
        &self,
        request: Request<wire::CleanupRequest>,
    ) -> Result<Response<wire::Report>, Status> {
        let request = request.into_inner();
        let how = How {
            force: request.force,
            dry_run: request.dry_run,
        };
        if request.all {
            return Err(Status::failed_precondition(
                "what prepared claims have is not cleared while the driver runs: the kubelet \
                 does that by unprepare; stop the driver, or delete the pods",
            ));
        }
        report(Operator::cleanup(self, false, how).await)
    }
}
