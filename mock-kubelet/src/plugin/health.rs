//! What plugins say of their devices' health (KEP-4680), kept as the kubelet keeps it.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use ndra_core::wire::dra_health_v1::dra_resource_health_client::DraResourceHealthClient as V1;
use ndra_core::wire::dra_health_v1alpha1::dra_resource_health_client::DraResourceHealthClient as V1alpha1;
use ndra_core::wire::{dra_health_v1, dra_health_v1alpha1};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::Instance;

/// How long a device is believed that says nothing else.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest message that is kept, in characters.
const MAX_MESSAGE: usize = 1024;

/// The service's name in version 1, as plugins announce it.
const SERVICE_V1: &str = "v1.DRAResourceHealth";

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nobody knows.
    Unknown,
    /// It works.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// What a plugin said of a device last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceHealth {
    /// How it is.
    pub health: Health,
    /// More about it.
    pub message: String,
    heard: Instant,
    timeout: Duration,
}

impl DeviceHealth {
    /// How the device is now: what was not heard of for too long is unknown.
    pub fn now(&self) -> Health {
        match self.heard.elapsed() > self.timeout {
            true => Health::Unknown,
            false => self.health,
        }
    }
}

/// Devices by driver, and in there by `pool/device`.
pub type HealthMap = BTreeMap<String, BTreeMap<String, DeviceHealth>>;

/// Whether a plugin's list of services names version 1.
pub(super) fn speaks_v1(services: &[String]) -> bool {
    services.iter().any(|service| service == SERVICE_V1)
}

/// Listens to an instance as long as it is registered; begins anew when the stream ends.
/// What it said is forgotten then.
pub(super) async fn listen(
    driver: String,
    instance: Weak<Instance>,
    v1: bool,
    pause: Duration,
    shown: watch::Sender<HealthMap>,
) {
    loop {
        let Some(held) = instance.upgrade() else {
            return;
        };
        let channel = held.connection.get().await.map(|live| live.channel);
        drop(held);
        if let Ok(channel) = channel {
            let _forget = Forget {
                driver: &driver,
                shown: &shown,
            };
            let ended = follow(&driver, channel, v1, &shown).await;
            tracing::debug!(driver, ?ended, "the stream of devices' health has ended");
        }
        tokio::time::sleep(pause).await;
    }
}

/// What a plugin said goes with its stream, also when the plugin is deregistered.
struct Forget<'a> {
    driver: &'a str,
    shown: &'a watch::Sender<HealthMap>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let forget = |all: &mut HealthMap| all.remove(self.driver).is_some();
        self.shown.send_if_modified(forget);
    }
}

async fn follow(
    driver: &str,
    channel: Channel,
    v1: bool,
    shown: &watch::Sender<HealthMap>,
) -> Result<(), Status> {
    if v1 {
        let request = dra_health_v1::NodeWatchResourcesRequest {};
        let mut stream: Streaming<dra_health_v1::NodeWatchResourcesResponse> = V1::new(channel)
            .node_watch_resources(request)
            .await?
            .into_inner();
        while let Some(list) = stream.message().await? {
            let devices = list.devices.into_iter().filter_map(|one| {
                let health = said(one.health);
                let timeout = u64::try_from(one.health_check_timeout_seconds).unwrap_or(0);
                let timeout = match timeout {
                    0 => TIMEOUT,
                    seconds => Duration::from_secs(seconds),
                };
                let id = one.device?;
                Some((
                    key(&id.pool_name, &id.device_name),
                    health,
                    one.message,
                    timeout,
                ))
            });
            keep(driver, devices, shown);
        }
    } else {
        let request = dra_health_v1alpha1::NodeWatchResourcesRequest {};
        let mut stream: Streaming<dra_health_v1alpha1::NodeWatchResourcesResponse> =
            V1alpha1::new(channel)
                .node_watch_resources(request)
                .await?
                .into_inner();
        while let Some(list) = stream.message().await? {
            let devices = list.devices.into_iter().filter_map(|one| {
                let health = said(one.health);
                let id = one.device?;
                let key = key(&id.pool_name, &id.device_name);
                Some((key, health, String::new(), TIMEOUT))
            });
            keep(driver, devices, shown);
        }
    }
    Ok(())
}

fn key(pool: &str, device: &str) -> String {
    format!("{pool}/{device}")
}

/// The numbers are the same in both versions.
fn said(number: i32) -> Health {
    match dra_health_v1::HealthStatus::try_from(number) {
        Ok(dra_health_v1::HealthStatus::Healthy) => Health::Healthy,
        Ok(dra_health_v1::HealthStatus::Unhealthy) => Health::Unhealthy,
        _ => Health::Unknown,
    }
}

/// Takes a list over. A device that is not in it stays until it is too old.
fn keep(
    driver: &str,
    devices: impl Iterator<Item = (String, Health, String, Duration)>,
    shown: &watch::Sender<HealthMap>,
) {
    let heard = Instant::now();
    shown.send_modify(|all| {
        let known = all.entry(driver.to_owned()).or_default();
        for (key, health, message, timeout) in devices {
            let message = match message.chars().count() > MAX_MESSAGE {
                true => message
                    .chars()
                    .take(MAX_MESSAGE - 3)
                    .chain("...".chars())
                    .collect(),
                false => message,
            };
            let said = DeviceHealth {
                health,
                message,
                heard,
                timeout,
            };
            known.insert(key, said);
        }
    });
}
