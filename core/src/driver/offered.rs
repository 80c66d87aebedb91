//! The devices that a driver offers: slots, which never change, or the node's interfaces.

use std::collections::BTreeSet;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Config, DeviceSource, KubeletApi};
use crate::attachment::record::Store;
use crate::devices::{Follower, Known, Offer, SourceError, slots};

/// What is offered, kept up to date until it is dropped.
pub(super) struct Offered {
    follower: Option<Follower>,
    offer: watch::Receiver<Offer>,
    _task: Option<AbortOnDropHandle<()>>,
}

impl Offered {
    pub(super) async fn start(config: &Config, store: &Store) -> Result<Self, SourceError> {
        let (source, attachments, rules) = match (&config.devices, config.rules()) {
            (
                DeviceSource::Interfaces {
                    source,
                    attachments,
                    ..
                },
                Some(rules),
            ) if config.kubelet_api == KubeletApi::Current => (source.clone(), *attachments, rules),
            (DeviceSource::Slots(count), _) => {
                return Ok(Self::fixed(slots(*count, &config.uplink)));
            }
            // The API of this version has no devices.
            _ => return Ok(Self::fixed(Vec::new())),
        };
        let store = store.clone();
        let follower = Follower::start(source, rules, move || held(&store)).await?;
        let mut devices = follower.devices();
        let first = Offer::of(&devices.borrow_and_update(), attachments);
        let (tell, offer) = watch::channel(first);
        let task = tokio::spawn(async move {
            while devices.changed().await.is_ok() {
                tell.send_replace(Offer::of(&devices.borrow_and_update(), attachments));
            }
        });
        Ok(Self {
            follower: Some(follower),
            offer,
            _task: Some(AbortOnDropHandle::new(task)),
        })
    }

    fn fixed(devices: Vec<k8s_openapi::api::resource::v1::Device>) -> Self {
        let (_, offer) = watch::channel(Offer::fixed(devices));
        Self {
            follower: None,
            offer,
            _task: None,
        }
    }

    /// What is to be published.
    pub(super) fn offer(&self) -> watch::Receiver<Offer> {
        self.offer.clone()
    }

    /// The interfaces behind it.
    pub(super) fn devices(&self) -> Known {
        self.follower.as_ref().map(Follower::devices)
    }
}

/// Devices that claims on this node hold.
fn held(store: &Store) -> BTreeSet<String> {
    store.read(|record| {
        let claims = record.claims.values();
        let held = claims.flat_map(|claim| &claim.attachments);
        held.map(|one| one.plan.device.device.clone()).collect()
    })
}
