//! The loop that watches the slices and puts them right.

use std::collections::HashMap;
use std::time::Duration;

use ::kube::api::PostParams;
use ::kube::runtime::watcher::{self, Event};
use ::kube::runtime::{WatchStreamExt, watcher as watch_slices};
use ::kube::{Api, Client};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::resource::v1::ResourceSlice;
use tokio::sync::watch;
use tokio::time::Instant;

use super::plan::{self, Plan, Stored};
use super::sharing;
use super::{PublishError, Published, PublisherConfig, SLICES};
use crate::devices::Offer;
use crate::kube::backoff::Backoff;
use crate::kube::failure::{Failure, Verdict, call};

/// How long one request may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Delays between tries, and between repairs when somebody else keeps changing the slices.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// After this long without a repair the next one happens at once.
const PEACE: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    api: Api<ResourceSlice>,
    nodes: Api<Node>,
    config: PublisherConfig,
    devices: watch::Receiver<Offer>,
    state: watch::Sender<Published>,
    stored: Stored,
    /// The highest generation seen, which must not sink when all slices are deleted.
    highest: i64,
    /// Our slices as of the last look or write: resource version by UID. Watch events
    /// that show just this are echoes of our own writes.
    known: HashMap<String, String>,
    /// Whether the server knows consumable capacity, once it was asked.
    sharing: Option<bool>,
}

impl Worker {
    pub(super) fn new(
        client: Client,
        config: PublisherConfig,
        devices: watch::Receiver<Offer>,
        state: watch::Sender<Published>,
    ) -> Self {
        Self {
            api: Api::all(client.clone()),
            nodes: Api::all(client),
            config,
            devices,
            state,
            stored: Stored::default(),
            highest: 0,
            known: HashMap::new(),
            sharing: None,
        }
    }

    pub(super) async fn run(mut self) {
        let events =
            watch_slices(self.api.clone(), super::watch_config(&self.config)).default_backoff();
        pin_mut!(events);
        let mut tries = Backoff::new(DELAYS.0, DELAYS.1);
        let mut repairs = Backoff::new(DELAYS.0, DELAYS.1);
        let mut last_write: Option<Instant> = None;
        // The first look does not wait for the watch.
        let mut due = Some(Instant::now());
        let mut initial: HashMap<String, String> = HashMap::new();
        let mut devices_end = false;
        loop {
            let news = tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => self.is_news(event, &mut initial),
                    Some(Err(error)) => {
                        self.watch_failed(error);
                        if self.sharing.take().is_some() && due.is_none() {
                            due = Some(Instant::now());
                        }
                        false
                    }
                    // The watcher never ends; if it did, a look now and then is left.
                    None => std::future::pending().await,
                },
                changed = self.devices.changed(), if !devices_end => {
                    devices_end = changed.is_err();
                    if !devices_end {
                        due = Some(Instant::now());
                    }
                    false
                }
                () = sleep_until(due) => {
                    match self.sync().await {
                        Ok(wrote) => {
                            due = None;
                            tries.reset();
                            if wrote {
                                last_write = Some(Instant::now());
                            }
                        }
                        Err(error) => {
                            let delay = tries.next(None);
                            self.failed(&error, delay);
                            due = Some(Instant::now() + delay);
                        }
                    }
                    false
                }
            };
            if news && due.is_none() {
                // A fight over the slices with another writer must not become a storm.
                let now = Instant::now();
                let quiet = last_write.is_none_or(|at| now.duration_since(at) >= PEACE);
                let delay = if quiet {
                    repairs.reset();
                    Duration::ZERO
                } else {
                    repairs.next(None)
                };
                due = Some(now + delay);
            }
        }
    }

    /// Whether an event shows something other than what we know.
    fn is_news(&self, event: Event<ResourceSlice>, initial: &mut HashMap<String, String>) -> bool {
        match event {
            Event::Init => {
                initial.clear();
                false
            }
            Event::InitApply(slice) => {
                initial.extend(identity(&slice));
                false
            }
            Event::InitDone => std::mem::take(initial) != self.known,
            Event::Apply(slice) => identity(&slice)
                .is_some_and(|(uid, version)| self.known.get(&uid) != Some(&version)),
            Event::Delete(slice) => {
                identity(&slice).is_some_and(|(uid, _)| self.known.contains_key(&uid))
            }
        }
    }

    /// Looks, and puts right what is not as it should be. Tells whether it had to.
    async fn sync(&mut self) -> Result<bool, PublishError> {
        let offer = self.devices.borrow_and_update().clone();
        let devices = match self.sharing(&offer).await? {
            true => offer.sharing,
            false => offer.plain,
        };
        let current = list(&self.api, &self.config).await?;
        self.known = current.iter().filter_map(identity).collect();
        for slice in &current {
            if slice.spec.pool.name == self.config.node {
                self.highest = self.highest.max(slice.spec.pool.generation);
            }
        }
        let plan = plan::plan(&self.config, current, &devices, &self.stored, self.highest);
        let wrote = !plan.is_empty();
        let (generation, slices) = (plan.generation, plan.count);
        if wrote {
            tracing::info!(
                driver = self.config.driver,
                node = self.config.node,
                generation,
                slices,
                devices = devices.len(),
                create = plan.create.len(),
                replace = plan.replace.len(),
                delete = plan.delete.len(),
                "publishing ResourceSlices"
            );
            self.carry_out(plan).await?;
            if self.sharing == Some(false) && sharing::wanted(&devices).is_some() {
                // The server answered a dry run otherwise than a write: one of several,
                // in the middle of an upgrade.
                return Box::pin(self.sync()).await;
            }
        }
        self.say(Published::Done { generation, slices });
        Ok(wrote)
    }

    async fn sharing(&mut self, offer: &Offer) -> Result<bool, PublishError> {
        let Some(device) = sharing::wanted(&offer.sharing) else {
            return Ok(true);
        };
        if let Some(known) = self.sharing {
            return Ok(known);
        }
        let kept = sharing::ask(&self.api, &self.config, device).await?;
        if !kept {
            tracing::warn!(
                driver = self.config.driver,
                devices = offer.plain.len(),
                "the API server drops allowMultipleAllocations: each shared interface is published as several exclusive devices, without bandwidth. Kubernetes 1.36 keeps it, 1.34 and 1.35 with the feature gate DRAConsumableCapacity"
            );
        }
        self.sharing = Some(kept);
        Ok(kept)
    }

    async fn carry_out(&mut self, plan: Plan) -> Result<(), PublishError> {
        for slice in &plan.delete {
            delete(&self.api, slice).await?;
            if let Some(uid) = &slice.metadata.uid {
                self.known.remove(uid);
            }
        }
        for (_, slice) in plan.replace {
            let name = slice.metadata.name.clone().unwrap_or_default();
            let params = PostParams::default();
            let request = self.api.replace(&name, &params, &slice);
            let stored = call(REQUEST_TIMEOUT, request)
                .await
                .map_err(|failure| PublishError::new("update", SLICES, &failure))?;
            self.wrote(&slice, &stored);
        }
        if plan.create.is_empty() {
            return Ok(());
        }
        let owner = self.owner().await?;
        for (_, mut slice) in plan.create {
            slice.metadata.owner_references = owner.clone().map(|owner| vec![owner]);
            let params = PostParams::default();
            let stored = call(REQUEST_TIMEOUT, self.api.create(&params, &slice))
                .await
                .map_err(|failure| PublishError::new("create", SLICES, &failure))?;
            self.wrote(&slice, &stored);
        }
        Ok(())
    }

    fn wrote(&mut self, sent: &ResourceSlice, stored: &ResourceSlice) {
        self.known.extend(identity(stored));
        self.highest = self.highest.max(stored.spec.pool.generation);
        let devices = |slice: &ResourceSlice| slice.spec.devices.clone().unwrap_or_default();
        if sharing::wanted(&devices(sent)).is_some() && sharing::wanted(&devices(stored)).is_none()
        {
            self.sharing = Some(false);
            return;
        }
        if self.stored.learn(&devices(sent), &devices(stored)) {
            tracing::warn!(
                driver = self.config.driver,
                slice = stored.metadata.name,
                "the API server stored the devices otherwise than they were sent; a feature may be disabled there"
            );
        }
    }

    /// The Node, asked for anew each time: a node that was made again has another UID, and
    /// slices of the old one are collected as garbage.
    async fn owner(
        &self,
    ) -> Result<Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>, PublishError>
    {
        let node = &self.config.node;
        match call(REQUEST_TIMEOUT, self.nodes.get(node)).await {
            Ok(found) => Ok(found.metadata.uid.map(|uid| plan::owner(node, uid))),
            Err(failure) if matches!(failure.verdict, Verdict::NotFound | Verdict::Forbidden) => {
                tracing::warn!(
                    node,
                    error = %failure,
                    "no Node object to own the ResourceSlices; they stay when the node goes. The driver needs `get` on `nodes`"
                );
                Ok(None)
            }
            Err(failure) => Err(PublishError::new("get", "nodes", &failure)),
        }
    }

    fn watch_failed(&self, error: watcher::Error) {
        tracing::warn!(
            driver = self.config.driver,
            node = self.config.node,
            error = watch_words(error),
            "watch of ResourceSlices broken, beginning anew"
        );
    }

    fn failed(&self, error: &PublishError, delay: Duration) {
        tracing::warn!(
            driver = self.config.driver,
            node = self.config.node,
            %error,
            again_in = ?delay,
            "ResourceSlices not published"
        );
        self.say(Published::Failing {
            error: error.to_string(),
        });
    }

    fn say(&self, state: Published) {
        self.state.send_if_modified(|old| {
            let news = *old != state;
            *old = state;
            news
        });
    }
}

pub(super) fn watch_words(error: watcher::Error) -> String {
    use watcher::Error;
    let (verb, failure) = match error {
        Error::InitialListFailed(error) => ("list", error),
        Error::WatchStartFailed(error) | Error::WatchFailed(error) => ("watch", error),
        Error::WatchError(status) => ("watch", ::kube::Error::Api(status)),
        other => return other.to_string(),
    };
    PublishError::new(verb, SLICES, &Failure::from(failure)).to_string()
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn identity(slice: &ResourceSlice) -> Option<(String, String)> {
    let metadata = &slice.metadata;
    Some((metadata.uid.clone()?, metadata.resource_version.clone()?))
}

pub(super) async fn list(
    api: &Api<ResourceSlice>,
    config: &PublisherConfig,
) -> Result<Vec<ResourceSlice>, PublishError> {
    call(REQUEST_TIMEOUT, api.list(&super::list_params(config)))
        .await
        .map(|list| list.items)
        .map_err(|failure| PublishError::new("list", SLICES, &failure))
}

/// Deletes a slice; one that is gone already is as good.
pub(super) async fn delete(
    api: &Api<ResourceSlice>,
    slice: &ResourceSlice,
) -> Result<(), PublishError> {
    let name = slice.metadata.name.clone().unwrap_or_default();
    match call(REQUEST_TIMEOUT, api.delete(&name, &super::only(slice))).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.verdict == Verdict::NotFound => Ok(()),
        Err(failure) => Err(PublishError::new("delete", SLICES, &failure)),
    }
}
