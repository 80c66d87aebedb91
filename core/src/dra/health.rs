//! Tells the kubelet how the links behind devices are (KEP-4680), in the versions that
//! kubelets speak, over one implementation.
//!
//! The kubelet shows it in `status.containerStatuses[].allocatedResourcesStatus` of the pods
//! that hold a device.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::Stream;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::attachment::record::Store;
use crate::devices::{Devices, Known, NodeDevice, SLOT};
use crate::shown::plain;
use crate::wire::{dra_health_v1, dra_health_v1alpha1};

/// How often the list is sent when nothing changes: the kubelet takes for unknown what it
/// has not heard of for 30 seconds.
const REPEAT: Duration = Duration::from_secs(10);

/// After how long without word the kubelet may call a device unknown, in seconds.
const STALE: i64 = 30;

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

/// The health of one node's devices. Clones share everything.
#[derive(Clone)]
pub struct ResourceHealth {
    node: String,
    devices: Known,
    store: Store,
    end: CancellationToken,
}

impl ResourceHealth {
    /// The health of the devices of `node`'s pool. Streams end with `end`.
    pub fn new(
        node: impl Into<String>,
        devices: Known,
        store: Store,
        end: CancellationToken,
    ) -> Self {
        Self {
            node: node.into(),
            devices,
            store,
            end,
        }
    }

    /// Every device that is offered, and every one that a claim holds.
    fn list(&self) -> BTreeMap<String, (Health, String)> {
        let Some(devices) = &self.devices else {
            return BTreeMap::new();
        };
        let devices = devices.borrow().clone();
        let held: Vec<String> = self.store.read(|record| {
            let claims = record.claims.values();
            let held = claims.flat_map(|claim| &claim.attachments);
            held.map(|one| one.plan.device.device.clone()).collect()
        });
        let mut list: BTreeMap<_, _> = devices
            .iter()
            .map(|device| (device.name.clone(), of(device)))
            .collect();
        for name in held {
            let health = held_health(&devices, &name);
            list.entry(name).or_insert(health);
        }
        list
    }

    /// Sends the list now, with every change, and often enough to be believed.
    fn watch<T: Send + 'static>(
        &self,
        shape: impl Fn(&str, BTreeMap<String, (Health, String)>) -> T + Send + 'static,
    ) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
        let (send, receive) = mpsc::channel(1);
        let health = self.clone();
        tokio::spawn(async move {
            let mut news = health.devices.clone();
            loop {
                if let Some(news) = &mut news {
                    news.mark_unchanged();
                }
                let message = shape(&health.node, health.list());
                let changed = async {
                    match &mut news {
                        Some(news) => news.changed().await.is_ok(),
                        None => std::future::pending().await,
                    }
                };
                let next = async {
                    if send.send(Ok(message)).await.is_err() {
                        return false;
                    }
                    tokio::select! {
                        more = changed => more,
                        () = tokio::time::sleep(REPEAT) => true,
                        () = send.closed() => false,
                    }
                };
                if health.end.run_until_cancelled(next).await != Some(true) {
                    return;
                }
            }
        });
        ReceiverStream::new(receive)
    }
}

fn of(device: &NodeDevice) -> (Health, String) {
    let interface = &device.interface;
    let name = plain(&interface.name);
    if device.away {
        let words = format!("{name} is in a pod, out of the driver's sight");
        return (Health::Unknown, words);
    }
    match interface.carries() {
        true => (Health::Healthy, String::new()),
        false => (
            Health::Unhealthy,
            format!("the link {name} is {}", plain(&interface.state)),
        ),
    }
}

fn held_health(devices: &Devices, name: &str) -> (Health, String) {
    match devices.find(name) {
        Some(device) => of(device),
        // Offered before interfaces were.
        None if name.starts_with(SLOT) => (Health::Unknown, String::new()),
        None => (
            Health::Unhealthy,
            "the node has its interface no more".into(),
        ),
    }
}

macro_rules! serve {
    ($wire:ident, |$pool:ident, $name:ident, $health:ident, $message:ident| $convert:expr) => {
        #[tonic::async_trait]
        impl $wire::dra_resource_health_server::DraResourceHealth for ResourceHealth {
            type NodeWatchResourcesStream = std::pin::Pin<
                Box<dyn Stream<Item = Result<$wire::NodeWatchResourcesResponse, Status>> + Send>,
            >;

            async fn node_watch_resources(
                &self,
                _: Request<$wire::NodeWatchResourcesRequest>,
            ) -> Result<Response<Self::NodeWatchResourcesStream>, Status> {
                let stream = self.watch(|$pool, list| {
                    let devices = list.into_iter().map(|($name, (health, $message))| {
                        let $health = match health {
                            Health::Unknown => $wire::HealthStatus::Unknown,
                            Health::Healthy => $wire::HealthStatus::Healthy,
                            Health::Unhealthy => $wire::HealthStatus::Unhealthy,
                        };
                        $convert
                    });
                    $wire::NodeWatchResourcesResponse {
                        devices: devices.collect(),
                    }
                });
                Ok(Response::new(Box::pin(stream)))
            }
        }
    };
}

serve!(dra_health_v1, |pool, name, health, message| {
    dra_health_v1::DeviceHealth {
        device: Some(dra_health_v1::DeviceIdentifier {
            pool_name: pool.to_owned(),
            device_name: name,
        }),
        health: health.into(),
        last_updated_time: Timestamp::now().as_second(),
        health_check_timeout_seconds: STALE,
        message,
    }
});

serve!(dra_health_v1alpha1, |pool, name, health, _message| {
    dra_health_v1alpha1::DeviceHealth {
        device: Some(dra_health_v1alpha1::DeviceIdentifier {
            pool_name: pool.to_owned(),
            device_name: name,
        }),
        health: health.into(),
        last_updated_time: Timestamp::now().as_second(),
    }
});

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::StreamExt;
    use tokio::sync::watch;

    use super::*;
    use crate::devices::{Interface, Usage};
    use crate::wire::dra_health_v1::dra_resource_health_server::DraResourceHealth as V1;
    use crate::wire::dra_health_v1alpha1::dra_resource_health_server::DraResourceHealth as V1alpha1;

    fn devices(state: &str, away: bool) -> Arc<Devices> {
        let interface = Interface {
            name: "eth1".into(),
            state: state.into(),
            ..Interface::default()
        };
        let device = NodeDevice {
            name: "eth1".into(),
            interface,
            usage: Usage::Whole,
            away,
        };
        Arc::new(Devices::new([device], []))
    }

    #[tokio::test]
    async fn a_link_that_goes_and_comes_is_told_in_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "d", "boot").unwrap();
        let (set, known) = watch::channel(devices("up", false));
        let end = CancellationToken::new();
        let health = ResourceHealth::new("node-1", Some(known), store, end.clone());
        let request = Request::new(dra_health_v1::NodeWatchResourcesRequest {});
        let mut v1 = V1::node_watch_resources(&health, request)
            .await
            .unwrap()
            .into_inner();
        let request = Request::new(dra_health_v1alpha1::NodeWatchResourcesRequest {});
        let mut alpha = V1alpha1::node_watch_resources(&health, request)
            .await
            .unwrap()
            .into_inner();
        let mut told = async || {
            let first = v1.next().await.unwrap().unwrap().devices.remove(0);
            let other = alpha.next().await.unwrap().unwrap().devices.remove(0);
            let device = first.device.clone().unwrap();
            assert_eq!(other.device.unwrap().device_name, device.device_name);
            assert_eq!(other.health, first.health);
            let health = first.health().as_str_name().to_owned();
            format!(
                "{}/{} {health} {}",
                device.pool_name, device.device_name, first.message
            )
        };
        assert_eq!(told().await, "node-1/eth1 HEALTHY ");
        set.send_replace(devices("down", false));
        assert_eq!(told().await, "node-1/eth1 UNHEALTHY the link eth1 is down");
        set.send_replace(devices("up", false));
        assert_eq!(told().await, "node-1/eth1 HEALTHY ");
        set.send_replace(devices("up", true));
        assert_eq!(
            told().await,
            "node-1/eth1 UNKNOWN eth1 is in a pod, out of the driver's sight"
        );
        end.cancel();
        assert!(v1.next().await.is_none(), "the stream ends with the driver");
    }

    #[test]
    fn what_is_held_and_gone_is_unhealthy() {
        let devices = devices("up", false);
        assert_eq!(held_health(&devices, "eth9").0, Health::Unhealthy);
        assert_eq!(held_health(&devices, "slot-1").0, Health::Unknown);
    }
}
