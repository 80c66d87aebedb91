//! Publishes what devices the node has as ResourceSlices, and again whenever they are lost.

mod plan;
mod sharing;
mod sync;

use ::kube::api::{DeleteParams, ListParams};
use ::kube::runtime::watcher;
use ::kube::{Api, Client};
use k8s_openapi::api::resource::v1::ResourceSlice;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::failure::{Failure, Verdict};
use crate::devices::Offer;

pub use plan::MAX_DEVICES;

/// What a [`Publisher`] publishes, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherConfig {
    /// The driver's name.
    pub driver: String,
    /// The node's name, which is the pool's name, too. The Node object becomes the owner
    /// of the slices, so that they go with it; without a Node object they have none.
    pub node: String,
}

/// How far the publishing has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Nothing is known yet.
    Pending,
    /// The API server has the slices.
    Done {
        /// The pool's generation.
        generation: i64,
        /// How many slices the pool has.
        slices: usize,
    },
    /// The last try failed; the next one follows.
    Failing {
        /// What failed, and what to do.
        error: String,
    },
}

/// Why slices could not be listed, written or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The driver lacks a verb.
    #[error(
        "the driver may not `{verb}` `{resource}`; add the verb to its ClusterRole. The API server says: {message}"
    )]
    Forbidden {
        /// The verb.
        verb: &'static str,
        /// The resource, with its group.
        resource: &'static str,
        /// The server's words.
        message: String,
    },
    /// The API server has no `resource.k8s.io/v1`.
    #[error(
        "the API server does not serve resourceslices of resource.k8s.io/v1; it needs Kubernetes 1.34 or newer with that API enabled"
    )]
    NotServed,
    /// Any other failure.
    #[error("cannot `{verb}` `{resource}`: {message}")]
    Failed {
        /// The verb.
        verb: &'static str,
        /// The resource, with its group.
        resource: &'static str,
        /// The server's words, or the transport's.
        message: String,
    },
}

const SLICES: &str = "resourceslices (resource.k8s.io)";

impl PublishError {
    fn new(verb: &'static str, resource: &'static str, failure: &Failure) -> Self {
        match failure.verdict {
            Verdict::Forbidden => Self::Forbidden {
                verb,
                resource,
                message: failure.to_string(),
            },
            Verdict::NotFound if failure.resource_unknown() => Self::NotServed,
            _ => Self::Failed {
                verb,
                resource,
                message: failure.to_string(),
            },
        }
    }
}

/// Keeps the slices of one driver on one node as they should be: publishes them, splits
/// them, and publishes them again when the kubelet or somebody else deletes or changes
/// them. Slices of other pools, under this driver and node, are removed.
///
/// [`Publisher::stop`] leaves the slices where they are: a restart shall not disturb the
/// scheduler, and the kubelet deletes them when the driver stays away. [`withdraw`] deletes
/// them. After a restart the pool's generation goes on, and nothing is written when
/// nothing has changed.
pub struct Publisher {
    published: watch::Receiver<Published>,
    stop: CancellationToken,
    task: TaskTracker,
    _guard: DropGuard,
}

impl Publisher {
    /// Starts publishing the newest value of `devices`. Whether the server keeps what
    /// consumable capacity needs (feature gate `DRAConsumableCapacity`: alpha and off in
    /// Kubernetes 1.34 and 1.35, on from 1.36) is asked by a dry run before the first write,
    /// and again after every break of the watch, since that may have been an upgrade.
    pub fn start(client: Client, config: PublisherConfig, devices: watch::Receiver<Offer>) -> Self {
        let (state, published) = watch::channel(Published::Pending);
        let stop = CancellationToken::new();
        let worker = sync::Worker::new(client, config, devices, state);
        let token = stop.clone();
        let task = TaskTracker::new();
        task.spawn(async move {
            let _ = token
                .run_until_cancelled_owned(Box::pin(worker.run()))
                .await;
        });
        Self {
            published,
            stop: stop.clone(),
            task,
            _guard: stop.drop_guard(),
        }
    }

    /// How far the publishing has come.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    /// Ends the publishing. The slices stay.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.task.close();
        self.task.wait().await;
    }
}

/// Deletes the driver's slices of this node, for example at its removal. Returns how many
/// there were. The publisher must have been stopped, or it publishes them again.
pub async fn withdraw(client: &Client, config: &PublisherConfig) -> Result<usize, PublishError> {
    let api: Api<ResourceSlice> = Api::all(client.clone());
    let slices = sync::list(&api, config).await?;
    for slice in &slices {
        sync::delete(&api, slice).await?;
    }
    Ok(slices.len())
}

fn selector(config: &PublisherConfig) -> String {
    format!(
        "spec.driver={},spec.nodeName={}",
        config.driver, config.node
    )
}

fn list_params(config: &PublisherConfig) -> ListParams {
    ListParams::default().fields(&selector(config))
}

fn watch_config(config: &PublisherConfig) -> watcher::Config {
    watcher::Config::default().fields(&selector(config))
}

/// Only this very object, not one that took its name.
fn only(slice: &ResourceSlice) -> DeleteParams {
    DeleteParams {
        preconditions: Some(::kube::api::Preconditions {
            uid: slice.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

#[cfg(test)]
mod tests;
