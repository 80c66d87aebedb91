//! Compares the slices that are with the devices that should be published.

use k8s_openapi::api::resource::v1::{Device, ResourcePool, ResourceSlice, ResourceSliceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::PublisherConfig;

/// The most devices of one slice.
pub const MAX_DEVICES: usize = 128;

/// What must be done so that the pool is as it should be.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) generation: i64,
    /// Slices the pool shall have.
    pub(super) count: usize,
    pub(super) delete: Vec<ResourceSlice>,
    pub(super) replace: Vec<(usize, ResourceSlice)>,
    /// Without owner, which only the worker knows.
    pub(super) create: Vec<(usize, ResourceSlice)>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.replace.is_empty() && self.create.is_empty()
    }
}

/// Devices that the server stored otherwise than they were sent, because it lacks a
/// feature or fills in defaults. Both count as equal, or every look would end in a write.
#[derive(Debug, Default)]
pub(super) struct Stored(Vec<(Vec<Device>, Vec<Device>)>);

impl Stored {
    /// Remembers what became of `sent`. `true` when that differs and is news.
    pub(super) fn learn(&mut self, sent: &[Device], stored: &[Device]) -> bool {
        if self.equal(sent, stored) {
            return false;
        }
        self.0.retain(|(known, _)| known != sent);
        self.0.push((sent.to_vec(), stored.to_vec()));
        true
    }

    fn equal(&self, wanted: &[Device], actual: &[Device]) -> bool {
        wanted == actual
            || self
                .0
                .iter()
                .any(|(sent, stored)| sent == wanted && stored == actual)
    }
}

/// Plans the way from `current` to `devices`. The pool has the node's name. Its slices
/// carry their index as a hexadecimal prefix of the name, and all of them the same
/// generation; `highest` is the highest seen so far.
///
/// The generation rises when slices come or go or more than one changes, so that the
/// scheduler never takes a half-written pool for a whole one.
pub(super) fn plan(
    config: &PublisherConfig,
    current: Vec<ResourceSlice>,
    devices: &[Device],
    stored: &Stored,
    highest: i64,
) -> Plan {
    // An empty pool is one slice without devices: "none" is an answer, too.
    let parts: Vec<&[Device]> = if devices.is_empty() {
        vec![&[]]
    } else {
        devices.chunks(MAX_DEVICES).collect()
    };
    let width = index_width(parts.len());
    let newest = current
        .iter()
        .filter(|slice| slice.spec.pool.name == config.node)
        .map(|slice| slice.spec.pool.generation)
        .max()
        .unwrap_or(0);

    let mut plan = Plan {
        count: parts.len(),
        ..Plan::default()
    };
    let mut matched: Vec<Option<ResourceSlice>> = vec![None; parts.len()];
    for slice in current {
        let place = index_of(&slice, width)
            .filter(|_| slice.spec.pool.name == config.node)
            .and_then(|index| matched.get_mut(index));
        match place {
            Some(place) => {
                let better = place
                    .as_ref()
                    .is_none_or(|other| slice.spec.pool.generation > other.spec.pool.generation);
                let loser = if better {
                    place.replace(slice)
                } else {
                    Some(slice)
                };
                plan.delete.extend(loser);
            }
            None => plan.delete.push(slice),
        }
    }

    let count = i64::try_from(parts.len()).unwrap_or(i64::MAX);
    let pool = |generation| ResourcePool {
        name: config.node.clone(),
        generation,
        resource_slice_count: count,
    };
    let same = |slice: &ResourceSlice, part: &[Device], generation| {
        slice.spec.pool == pool(generation)
            && stored.equal(part, slice.spec.devices.as_deref().unwrap_or_default())
    };
    let missing = matched.iter().filter(|slot| slot.is_none()).count();
    let changed = matched
        .iter()
        .zip(&parts)
        .filter(|(slot, part)| {
            slot.as_ref()
                .is_some_and(|slice| !same(slice, part, newest))
        })
        .count();
    let shrinks = plan
        .delete
        .iter()
        .any(|slice| slice.spec.pool.name == config.node && slice.spec.pool.generation == newest);
    plan.generation = if missing == 0 && changed <= 1 && !shrinks && newest >= 1 {
        newest
    } else {
        newest.max(highest).saturating_add(1)
    };

    for (index, (slot, part)) in matched.into_iter().zip(&parts).enumerate() {
        match slot {
            Some(slice) if same(&slice, part, plan.generation) => {}
            Some(mut slice) => {
                slice.spec = spec(config, pool(plan.generation), part);
                plan.replace.push((index, slice));
            }
            None => plan.create.push((
                index,
                ResourceSlice {
                    metadata: ObjectMeta {
                        generate_name: Some(format!(
                            "{index:0width$x}-{}-{}-",
                            config.driver, config.node
                        )),
                        ..ObjectMeta::default()
                    },
                    spec: spec(config, pool(plan.generation), part),
                },
            )),
        }
    }
    plan
}

fn spec(config: &PublisherConfig, pool: ResourcePool, devices: &[Device]) -> ResourceSliceSpec {
    ResourceSliceSpec {
        driver: config.driver.clone(),
        node_name: Some(config.node.clone()),
        pool,
        devices: (!devices.is_empty()).then(|| devices.to_vec()),
        ..ResourceSliceSpec::default()
    }
}

/// The Node as the slices' owner.
pub(super) fn owner(node: &str, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.to_owned(),
        uid,
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Hexadecimal digits of the index, the same for all slices of a pool. The index stands
/// first because the server cuts long generated names at the end.
fn index_width(count: usize) -> usize {
    format!("{:x}", count.saturating_sub(1)).len().max(2)
}

fn index_of(slice: &ResourceSlice, width: usize) -> Option<usize> {
    let name = slice.metadata.name.as_deref()?;
    let (index, _) = name.split_once('-')?;
    let plain = index.len() == width && index.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| usize::from_str_radix(index, 16).ok())?
}
