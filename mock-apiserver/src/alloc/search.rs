//! The search for devices that satisfy all requests of all claims at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::capacity::{self, Amounts};
use super::inventory::{Device, DeviceId, Inventory, Pool};
use super::request::{Alternative, Amount, Classes, Wanted};
use super::{Refusal, result};
use crate::object::{at, name, namespace};

/// The most devices one claim can have.
pub(super) const RESULTS: usize = 32;

/// How often the search may consider a device before it gives up.
const STEPS: usize = 200_000;

/// One chosen device.
#[derive(Debug, Clone)]
pub(super) struct Chosen<'a> {
    pub(super) device: &'a Device,
    /// Index of the request in its claim.
    pub(super) request: usize,
    /// Index of the alternative in its request.
    pub(super) alternative: usize,
    /// What it takes of a device that several share.
    pub(super) share: Option<Amounts>,
}

/// Finds devices on `node` for all of `claims`. Returns one `status.allocation` a claim.
pub(crate) fn allocate(
    node: &Value,
    claims: &[Arc<Value>],
    classes: &Classes,
    inventory: &Inventory,
) -> Result<Vec<Value>, Refusal> {
    let wanted: Vec<Wanted> = claims
        .iter()
        .map(|claim| Wanted::of(claim, classes))
        .collect::<Result<_, _>>()?;
    let pools = inventory.pools(node);
    let search = Search {
        claims,
        wanted: &wanted,
        pools: &pools,
        taken: &inventory.taken,
        consumed: &inventory.consumed,
        matches: RefCell::default(),
    };
    let mut state = State {
        chosen: vec![Vec::new(); claims.len()],
        used: BTreeSet::new(),
        allocating: BTreeMap::new(),
        steps: 0,
    };
    if !search.request(&mut state, 0, 0)? {
        return Err(Refusal::NoDevices);
    }
    Ok(claims
        .iter()
        .zip(&wanted)
        .zip(&state.chosen)
        .map(|((claim, wanted), chosen)| result::allocation(claim, wanted, chosen, name(node)))
        .collect())
}

struct Search<'a> {
    claims: &'a [Arc<Value>],
    wanted: &'a [Wanted],
    pools: &'a [Pool],
    taken: &'a BTreeSet<DeviceId>,
    consumed: &'a BTreeMap<DeviceId, Amounts>,
    /// Whether an alternative selects a device: known once, true for the whole search.
    matches: RefCell<HashMap<(Place, usize), bool>>,
}

struct State<'a> {
    chosen: Vec<Vec<Chosen<'a>>>,
    used: BTreeSet<DeviceId>,
    /// What is chosen of devices that several share.
    allocating: BTreeMap<DeviceId, Amounts>,
    steps: usize,
}

/// The place of an alternative: claim, request, alternative.
type Place = (usize, usize, usize);

impl<'a> Search<'a> {
    /// Satisfies a request and all that follow it.
    fn request(
        &self,
        state: &mut State<'a>,
        claim: usize,
        request: usize,
    ) -> Result<bool, Refusal> {
        let Some(wanted) = self.wanted.get(claim) else {
            return Ok(true);
        };
        let Some(asked) = wanted.requests.get(request) else {
            return self.request(state, claim + 1, 0);
        };
        for (index, alternative) in asked.alternatives.iter().enumerate() {
            let place = (claim, request, index);
            let done = match alternative.amount {
                Amount::Exactly(count) => self.devices(state, place, alternative, count, (0, 0))?,
                Amount::All => self.all_devices(state, place, alternative)?,
            };
            if done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Chooses `missing` more devices, beginning with the candidate at `from`.
    fn devices(
        &self,
        state: &mut State<'a>,
        place: Place,
        alternative: &Alternative,
        missing: usize,
        from: (usize, usize),
    ) -> Result<bool, Refusal> {
        let (claim, request, _) = place;
        if missing == 0 {
            return self.request(state, claim, request + 1);
        }
        if state.chosen[claim].len() + missing > RESULTS {
            return Ok(false);
        }
        for (pool_index, pool) in self
            .pools
            .iter()
            .enumerate()
            .skip(from.0)
            .filter(|(_, pool)| !pool.incomplete)
        {
            let first = if pool_index == from.0 { from.1 } else { 0 };
            for (index, device) in pool.devices.iter().enumerate().skip(first) {
                self.count_step(state, claim)?;
                if !self.is_free(state, place, alternative, device)
                    || !self.selects(place, alternative, device)?
                {
                    continue;
                }
                if !self.choose(state, place, alternative, device) {
                    continue;
                }
                // Devices of one request are interchangeable, so only later ones are tried next.
                if self.devices(
                    state,
                    place,
                    alternative,
                    missing - 1,
                    (pool_index, index + 1),
                )? {
                    return Ok(true);
                }
                self.release(state, place, alternative, device);
            }
        }
        Ok(false)
    }

    /// Gives up when the search has taken too long.
    fn count_step(&self, state: &mut State<'a>, claim: usize) -> Result<(), Refusal> {
        state.steps += 1;
        if state.steps <= STEPS {
            return Ok(());
        }
        let claim = &self.claims[claim];
        Err(Refusal::Because(format!(
            "claim {}/{}: too many possible ways to allocate it; ask for fewer devices or constraints",
            namespace(claim),
            name(claim)
        )))
    }

    fn all_devices(
        &self,
        state: &mut State<'a>,
        place: Place,
        alternative: &Alternative,
    ) -> Result<bool, Refusal> {
        let (claim, request, _) = place;
        let mut matching = Vec::new();
        for pool in self.pools {
            if pool.incomplete {
                let claim = &self.claims[claim];
                let why = format!(
                    "claim {}/{}, request {}: asks for all devices, but resource pool {} is currently being updated",
                    namespace(claim),
                    name(claim),
                    alternative.name,
                    pool.name
                );
                return Err(Refusal::Because(why));
            }
            for device in &pool.devices {
                if self.selects(place, alternative, device)? {
                    matching.push(device);
                }
            }
        }
        if matching.is_empty() || state.chosen[claim].len() + matching.len() > RESULTS {
            return Ok(false);
        }
        let mut taken = Vec::new();
        for device in matching {
            if !self.is_free(state, place, alternative, device)
                || !self.choose(state, place, alternative, device)
            {
                break;
            }
            taken.push(device);
        }
        let complete = taken.len() == self.count(place, alternative)?;
        if complete && self.request(state, claim, request + 1)? {
            return Ok(true);
        }
        for device in taken.into_iter().rev() {
            self.release(state, place, alternative, device);
        }
        Ok(false)
    }

    fn count(&self, place: Place, alternative: &Alternative) -> Result<usize, Refusal> {
        let mut count = 0;
        for device in self.pools.iter().flat_map(|pool| &pool.devices) {
            count += usize::from(self.selects(place, alternative, device)?);
        }
        Ok(count)
    }

    fn is_free(
        &self,
        state: &State<'a>,
        place: Place,
        alternative: &Alternative,
        device: &Device,
    ) -> bool {
        if alternative.admin && !capacity::is_shared(device.value()) {
            // Admin access shares a device with anybody, but not twice in one claim.
            !state.chosen[place.0]
                .iter()
                .any(|chosen| chosen.device.id == device.id)
        } else {
            !self.taken.contains(&device.id) && !state.used.contains(&device.id)
        }
    }

    fn selects(
        &self,
        place: Place,
        alternative: &Alternative,
        device: &Device,
    ) -> Result<bool, Refusal> {
        let key = (place, device.ordinal);
        if let Some(known) = self.matches.borrow().get(&key) {
            return Ok(*known);
        }
        let selects = alternative.selects(device)?;
        self.matches.borrow_mut().insert(key, selects);
        Ok(selects)
    }

    /// Adds the device if the claim's constraints allow it.
    fn choose(
        &self,
        state: &mut State<'a>,
        place: Place,
        alternative: &Alternative,
        device: &'a Device,
    ) -> bool {
        let (claim, request, index) = place;
        let wanted = &self.wanted[claim];
        let allowed = wanted
            .constraints
            .iter()
            .filter(|rule| rule.concerns(&alternative.name))
            .all(|rule| {
                let Some(value) = rule.value(device) else {
                    return false;
                };
                state.chosen[claim].iter().all(|other| {
                    let other_name =
                        &wanted.requests[other.request].alternatives[other.alternative].name;
                    !rule.concerns(other_name) || rule.value(other.device) == Some(value)
                })
            });
        if !allowed {
            return false;
        }
        let value = device.value();
        let Some(taken) = capacity::taken(&device.id.driver, value, &alternative.capacity) else {
            return false;
        };
        let others = [
            self.consumed.get(&device.id),
            state.allocating.get(&device.id),
        ];
        if !capacity::fits(value, &taken, &others) {
            return false;
        }
        let share = capacity::is_shared(value).then_some(taken);
        if let Some(taken) = &share {
            let sum = state.allocating.entry(device.id.clone()).or_default();
            capacity::add(sum, taken);
        } else if !alternative.admin {
            state.used.insert(device.id.clone());
        }
        state.chosen[claim].push(Chosen {
            device,
            request,
            alternative: index,
            share,
        });
        true
    }

    fn release(
        &self,
        state: &mut State<'a>,
        place: Place,
        alternative: &Alternative,
        device: &Device,
    ) {
        let chosen = state.chosen[place.0].pop();
        if let Some(taken) = chosen.and_then(|chosen| chosen.share) {
            if let Some(sum) = state.allocating.get_mut(&device.id) {
                capacity::remove(sum, &taken);
            }
        } else if !alternative.admin {
            state.used.remove(&device.id);
        }
    }
}

/// The DeviceClasses by name.
pub(crate) fn classes(all: Vec<Arc<Value>>) -> Classes {
    all.into_iter()
        .map(|class| (name(&class).to_owned(), class))
        .collect()
}

/// Whether a claim that is allocated can be used on a node.
pub(crate) fn fits(claim: &Value, node: &Value) -> bool {
    // Its name in resource.k8s.io/v1, and that in v1alpha2.
    ["nodeSelector", "availableOnNodes"].iter().all(|field| {
        let selector = at(claim, &["status", "allocation", field]);
        selector.is_null() || super::nodes::terms_match(selector, node)
    })
}

#[cfg(test)]
mod tests;
