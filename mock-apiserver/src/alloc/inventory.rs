//! The devices that drivers have published, by pool.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::capacity::{self, Amounts};
use super::nodes;
use crate::object::{at, list, name, text};

/// What names a device in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DeviceId {
    pub(crate) driver: String,
    pub(crate) pool: String,
    pub(crate) device: String,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.driver, self.pool, self.device)
    }
}

impl DeviceId {
    /// From an entry of `status.allocation.devices.results`.
    pub(crate) fn of_result(result: &Value) -> DeviceId {
        DeviceId {
            driver: text(result, &["driver"]).to_owned(),
            pool: text(result, &["pool"]).to_owned(),
            device: text(result, &["device"]).to_owned(),
        }
    }
}

/// One published device.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    /// Its number among all devices of a search.
    pub(super) ordinal: usize,
    slice: Arc<Value>,
    index: usize,
}

impl Device {
    pub(super) fn value(&self) -> &Value {
        list(&self.slice, &["spec", "devices"])
            .get(self.index)
            .unwrap_or(&Value::Null)
    }

    /// Whether the device can be used on every node.
    pub(super) fn is_everywhere(&self) -> bool {
        self.selection()
            .get("allNodes")
            .is_some_and(|all| all == true)
    }

    /// Where the device can be used, as a `v1.NodeSelector`; `None` if everywhere.
    pub(super) fn node_selector(&self, node: &str) -> Option<Value> {
        if self.is_everywhere() {
            return None;
        }
        let selector = at(self.selection(), &["nodeSelector"]);
        Some(if selector.is_null() {
            only_node(node)
        } else {
            selector.clone()
        })
    }

    fn is_on(&self, node: &Value) -> bool {
        let selection = self.selection();
        self.is_everywhere()
            || at(selection, &["nodeName"]) == name(node)
            || nodes::terms_match(at(selection, &["nodeSelector"]), node)
    }

    /// What says where it is: the slice, or the device for itself.
    fn selection(&self) -> &Value {
        let spec = at(&self.slice, &["spec"]);
        if at(spec, &["perDeviceNodeSelection"]) == true {
            self.value()
        } else {
            spec
        }
    }
}

fn only_node(node: &str) -> Value {
    serde_json::json!({"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": [node]},
    ]}]})
}

/// The devices of one driver's pool that are usable on a node.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: String,
    /// Not all slices of the newest generation are there yet.
    pub(super) incomplete: bool,
    pub(super) devices: Vec<Device>,
}

/// All published devices and who has taken which.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    slices: Vec<Arc<Value>>,
    pub(super) taken: BTreeSet<DeviceId>,
    /// What is taken of devices that several share.
    pub(super) consumed: BTreeMap<DeviceId, Amounts>,
}

impl Inventory {
    /// From all ResourceSlices and all ResourceClaims. Devices with admin access are not taken.
    pub(crate) fn new(slices: Vec<Arc<Value>>, claims: &[Arc<Value>]) -> Inventory {
        let mut inventory = Inventory {
            slices,
            taken: BTreeSet::new(),
            consumed: BTreeMap::new(),
        };
        for claim in claims {
            inventory.take(at(claim, &["status", "allocation"]));
        }
        inventory
    }

    /// Marks the devices of an allocation as taken.
    pub(crate) fn take(&mut self, allocation: &Value) {
        let results = list(allocation, &["devices", "results"]).iter();
        for result in results.filter(|result| at(result, &["adminAccess"]) != true) {
            let id = DeviceId::of_result(result);
            if text(result, &["shareID"]).is_empty() {
                self.taken.insert(id);
            } else {
                let sum = self.consumed.entry(id).or_default();
                capacity::add(sum, &capacity::of_result(result));
            }
        }
    }

    /// The pools with devices for a node, each reduced to its newest generation.
    pub(super) fn pools(&self, node: &Value) -> Vec<Pool> {
        let mut pools: BTreeMap<(&str, &str), Vec<&Arc<Value>>> = BTreeMap::new();
        for slice in &self.slices {
            let key = (
                text(slice, &["spec", "driver"]),
                text(slice, &["spec", "pool", "name"]),
            );
            pools.entry(key).or_default().push(slice);
        }
        let mut ordinals = 0..;
        pools
            .into_iter()
            .filter_map(|((driver, name), mut slices)| {
                let newest = slices.iter().map(|slice| generation(slice)).max()?;
                slices.retain(|slice| generation(slice) == newest);
                let wanted = slices.iter().filter_map(|slice| slice_count(slice)).max()?;
                let mut devices: Vec<Device> = slices
                    .iter()
                    .flat_map(|slice| devices(driver, name, slice))
                    .filter(|device| device.is_on(node))
                    .collect();
                for (device, ordinal) in devices.iter_mut().zip(&mut ordinals) {
                    device.ordinal = ordinal;
                }
                let incomplete = u64::try_from(slices.len()).is_ok_and(|count| count < wanted);
                (!devices.is_empty()).then(|| Pool {
                    name: format!("{driver}/{name}"),
                    incomplete,
                    devices,
                })
            })
            .collect()
    }
}

fn generation(slice: &Value) -> i64 {
    at(slice, &["spec", "pool", "generation"])
        .as_i64()
        .unwrap_or(0)
}

fn slice_count(slice: &Value) -> Option<u64> {
    at(slice, &["spec", "pool", "resourceSliceCount"]).as_u64()
}

fn devices(driver: &str, pool: &str, slice: &Arc<Value>) -> Vec<Device> {
    list(slice, &["spec", "devices"])
        .iter()
        .enumerate()
        .map(|(index, device)| Device {
            id: DeviceId {
                driver: driver.to_owned(),
                pool: pool.to_owned(),
                device: text(device, &["name"]).to_owned(),
            },
            ordinal: 0,
            slice: Arc::clone(slice),
            index,
        })
        .collect()
}
