//! One claim's writes: tried until the API server takes the newest state or refuses it for good.

use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{Patch, PatchParams};
use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::{Map, Value};
use tracing::Instrument;

use super::{Shared, patch};
use crate::event::{ClaimRef, Span, Step, Subject, bounded, claim_span};
use crate::kube::backoff::Backoff;
use crate::kube::failure::{Failure, Verdict, call};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Delays between tries when a later try may go better.
const SOON: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Delays between tries when a person must grant a verb first.
const SLOWLY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// The delay between tries while somebody waits for the end.
const HURRIED: Duration = Duration::from_millis(100);

/// A claim's state as one request carries it.
struct Snapshot {
    claim: ClaimRef,
    version: u64,
    body: Value,
}

/// What a failed try leads to.
enum Next {
    Again(Failure),
    /// Nobody needs this status any more.
    Drop(String),
    /// It will be refused again.
    GiveUp(String),
}

/// Writes a claim's status until nothing newer is left.
pub(super) async fn write(shared: Arc<Shared>, uid: String) {
    while let Some(snapshot) = take(&shared, &uid) {
        let log = claim_span(&uid);
        one(&shared, snapshot).instrument(log).await;
        // What could not be written stays in memory and goes out with the next change.
    }
}

/// The newest state; `None`, and the claim is idle, when it is written.
fn take(shared: &Shared, uid: &str) -> Option<Snapshot> {
    let mut claims = shared.claims();
    let claim = claims.get_mut(uid)?;
    if claim.forgotten {
        claims.remove(uid);
        return None;
    }
    if claim.version == claim.taken {
        claim.busy = false;
        return None;
    }
    claim.taken = claim.version;
    Some(Snapshot {
        claim: claim.claim.clone(),
        version: claim.version,
        body: patch::body(&claim.claim, &shared.config.driver, &claim.devices),
    })
}

/// One state's series of tries, which moves on to a newer state when there is one.
async fn one(shared: &Shared, mut snapshot: Snapshot) {
    let subject = Subject {
        claim: Some(snapshot.claim.clone()),
        ..Subject::default()
    };
    shared.config.gate.pass(Step::Status, &subject).await;
    if let Some(newer) = newer(shared, &snapshot) {
        snapshot = newer;
    }
    let mut span = begin(shared, subject, &snapshot.body);
    let mut soon = Backoff::new(SOON.0, SOON.1);
    let mut slowly = Backoff::new(SLOWLY.0, SLOWLY.1);
    let mut tries = 0_u32;
    loop {
        tries += 1;
        let result = attempt(shared, &snapshot).await;
        span.detail("tries", tries);
        let uid = &snapshot.claim.uid;
        let driver = &shared.config.driver;
        let failure = match result {
            Ok(()) => {
                tracing::debug!(claim = uid, driver, tries, "claim status written");
                span.detail("patch", snapshot.body);
                return span.end();
            }
            Err(failure) => failure,
        };
        let failure = match judge(&snapshot.claim, driver, failure) {
            Next::Again(failure) => failure,
            Next::Drop(why) => {
                tracing::info!(claim = uid, driver, "claim status dropped: {why}");
                return span.fail(why);
            }
            Next::GiveUp(why) => {
                tracing::warn!(claim = uid, driver, "claim status given up: {why}");
                return span.fail(why);
            }
        };
        if let Some(why) = missing(driver, &failure) {
            // Whoever must act is told now, not when it has gone well after all.
            tracing::warn!(claim = uid, driver, tries, "{why}");
            let subject = span.subject().clone();
            span.fail(why);
            if shared.hurry.is_cancelled() || !pause(shared, uid, slowly.next(None)).await {
                return;
            }
            if let Some(newer) = newer(shared, &snapshot) {
                snapshot = newer;
            }
            span = begin(shared, subject, &snapshot.body);
            continue;
        }
        tracing::info!(claim = uid, driver, tries, error = %failure, "claim status not written, trying again");
        if !pause(shared, uid, soon.next(failure.after)).await {
            return span.fail("the claim was unprepared before its status was written");
        }
        if let Some(newer) = newer(shared, &snapshot) {
            snapshot = newer;
        }
    }
}

fn begin(shared: &Shared, subject: Subject, body: &Value) -> Span {
    let (from, to) = Step::Status.route();
    let detail: Map<String, Value> = [("patch".to_owned(), bounded(body))].into_iter().collect();
    shared
        .config
        .recorder
        .begin_between(Step::Status, subject, from, to, detail)
}

async fn attempt(shared: &Shared, snapshot: &Snapshot) -> Result<(), Failure> {
    let _slot = shared.slots.acquire().await;
    let claim = &snapshot.claim;
    let api: Api<ResourceClaim> = Api::namespaced(shared.client.clone(), &claim.namespace);
    let params = PatchParams::apply(&shared.config.field_manager).force();
    let patch = Patch::Apply(&snapshot.body);
    call(
        REQUEST_TIMEOUT,
        api.patch_status(&claim.name, &params, &patch),
    )
    .await
    .map(drop)
}

/// A state newer than `old`, unless the claim was forgotten.
fn newer(shared: &Shared, old: &Snapshot) -> Option<Snapshot> {
    let mut claims = shared.claims();
    let claim = claims.get_mut(&old.claim.uid)?;
    if claim.forgotten || claim.version == old.version {
        return None;
    }
    claim.taken = claim.version;
    Some(Snapshot {
        claim: claim.claim.clone(),
        version: claim.version,
        body: patch::body(&claim.claim, &shared.config.driver, &claim.devices),
    })
}

/// Waits before the next try, briefly when somebody waits for the end. `false`: the claim
/// was forgotten.
async fn pause(shared: &Shared, uid: &str, delay: Duration) -> bool {
    let wake = match shared.claims().get(uid) {
        Some(claim) if !claim.forgotten => claim.wake.clone(),
        _ => return false,
    };
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = async {
            shared.hurry.cancelled().await;
            tokio::time::sleep(delay.min(HURRIED)).await;
        } => {}
        () = wake.notified() => {}
    }
    shared
        .claims()
        .get(uid)
        .is_some_and(|claim| !claim.forgotten)
}

fn judge(claim: &ClaimRef, driver: &str, failure: Failure) -> Next {
    let (namespace, name) = (&claim.namespace, &claim.name);
    let missing = missing(driver, &failure);
    if failure.replaced() {
        return Next::Drop(format!(
            "ResourceClaim {namespace}/{name} is another one now, no longer the one with UID {}",
            claim.uid
        ));
    }
    match failure.verdict {
        Verdict::NotFound if failure.resource_unknown() => Next::GiveUp(
            "the API server does not serve resourceclaims of resource.k8s.io/v1; it needs Kubernetes 1.34 or newer with that API enabled".into(),
        ),
        Verdict::NotFound => Next::Drop(format!("ResourceClaim {namespace}/{name} is gone")),
        Verdict::Refused if missing.is_some() => Next::Again(failure),
        Verdict::Refused => Next::GiveUp(format!(
            "the API server refuses the status of ResourceClaim {namespace}/{name}, most likely because a device is no longer allocated: {failure}"
        )),
        // The request itself went through.
        Verdict::Unreadable => Next::GiveUp(format!(
            "ResourceClaim {namespace}/{name}: {failure}; driver {driver} cannot tell whether its status was written"
        )),
        Verdict::Forbidden | Verdict::Conflict | Verdict::Later => Next::Again(failure),
    }
}

/// What the driver may not do, if that is why it failed.
///
/// From Kubernetes 1.36 a status needs two permissions. The second is asked for while the
/// object is validated, so that its absence comes as 422 and not as 403.
fn missing(driver: &str, failure: &Failure) -> Option<String> {
    let said = &failure.message;
    let rule = match failure.verdict {
        Verdict::Forbidden => "`patch` `resourceclaims/status` (resource.k8s.io)".to_owned(),
        Verdict::Refused if !said.contains("changing status.devices requires") => return None,
        // Then the verb for the claim's own node is not even asked for.
        Verdict::Refused
            if said.contains("arbitrary-node:") && !said.contains("associated-node:") =>
        {
            return Some(format!(
                "the driver may not change the status of a claim that is allocated to another node than the one its token names: run it in a pod on the claim's node, with the pod's own token. The API server says: {failure}"
            ));
        }
        Verdict::Refused => format!(
            "`associated-node:patch` `resourceclaims/driver` (resource.k8s.io) with the resourceName `{driver}`"
        ),
        _ => return None,
    };
    Some(format!(
        "the driver may not {rule}; add the verb to its ClusterRole. The API server says: {failure}"
    ))
}
