//! Takes batches in, and gives up the oldest to stay within the memory.

use ndra_core::event::Phase;

use super::entry::{keep, tag};
use super::flow::{Address, Flow};
use super::log::{Key, NONE, Rec};
use super::{Model, SourceId, failure};
use crate::recording::{Batch, Entry};

impl Model {
    /// Takes in what a source brought, in any order; events find their place by time.
    /// An unknown source is ignored.
    pub fn ingest(&mut self, source: SourceId, batch: &Batch) {
        let from = usize::from(source.0);
        let Some(origin) = self.sources.get_mut(from) else {
            return;
        };
        origin.oddities.add(&batch.oddities);
        origin.dropped = origin.dropped.saturating_add(batch.dropped);
        if let Some(summary) = &batch.summary {
            origin.summary = Some(summary.clone());
        }
        if let Some(state) = &batch.driver {
            origin.learn(state);
        }
        let mut ids = Vec::with_capacity(batch.entries.len());
        for entry in &batch.entries {
            let Some(origin) = self.sources.get_mut(from) else {
                break;
            };
            if !origin.accept(entry.seq, entry.elapsed_us) {
                continue;
            }
            let at = origin.settle_clock(entry.time, entry.elapsed_us);
            let node = origin.node;
            ids.push(self.take(batch, entry, source.0, node, at));
        }
        self.arrange(&mut ids);
        self.stay_within();
        self.stale.rows = true;
    }

    /// Tells that what follows from a source belongs to this life of its program:
    /// sequence numbers begin anew with every life.
    pub fn instance(&mut self, source: SourceId, instance: &str) {
        if let Some(source) = self.sources.get_mut(usize::from(source.0)) {
            source.live_in(instance);
        }
    }

    fn take(&mut self, batch: &Batch, entry: &Entry, source: u16, node: u16, at: i64) -> u32 {
        let id = self.flow_of(node, batch.text(entry.claim_uid));
        let (tag, address) = tag(batch, entry);
        if let Some(Some(flow)) = self.flows.get_mut(id as usize) {
            let names = (
                batch.text(entry.claim_namespace),
                batch.text(entry.claim_name),
                batch.text(entry.pod),
            );
            self.flow_bytes += flow.learn(names.0, names.1, names.2);
            if let Some((interface, ips)) = address {
                self.flow_bytes += flow.learn_address(Address {
                    tag,
                    interface: interface.into(),
                    ips: ips.into(),
                });
            }
        }
        let failed = entry.phase == Phase::Fail;
        let failure = if failed {
            failure::classify(entry.step, batch.text(entry.error))
        } else {
            0
        };
        let payload = keep(&mut self.log.payloads, batch, entry);
        self.log.add(Rec {
            at,
            seq: entry.seq,
            took_us: entry.duration_us.unwrap_or(u64::MAX),
            payload,
            flow: id,
            prev: NONE,
            next: NONE,
            sandbox: super::log::hash(batch.bytes(entry.sandbox)),
            tag,
            source,
            step: entry.step,
            phase: entry.phase,
            from: entry.from,
            to: entry.to,
            failure,
            carried: false,
        })
    }

    fn flow_of(&mut self, node: u16, uid: &str) -> u32 {
        let Some(names) = self.nodes.get_mut(usize::from(node)) else {
            return 0;
        };
        if let Some(id) = names.flows.get(uid) {
            return *id;
        }
        let flow = Some(Flow::new(node, uid));
        let id = match self.free.pop() {
            Some(id) => {
                self.flows[id as usize] = flow;
                id
            }
            None => {
                self.flows.push(flow);
                u32::try_from(self.flows.len() - 1).unwrap_or(NONE)
            }
        };
        names.flows.insert(uid.into(), id);
        self.flow_bytes += Flow::SIZE + 2 * uid.len();
        id
    }

    /// Puts new events in their places, and shows those before the cursor.
    fn arrange(&mut self, ids: &mut [u32]) {
        self.log.arrange(ids);
        let limit = self.clock.limit();
        let mut again = Vec::new();
        self.mark = self.mark.wrapping_add(1);
        let selected = self.look.selected.map(|id| id.0);
        for id in ids.iter().copied() {
            let rec = *self.log.get(id);
            let key = rec.key();
            if rec.phase == Phase::Fail {
                let place = self.failures.partition_point(|known| *known <= key);
                self.failures.insert(place, key);
            }
            let Some(Some(flow)) = self.flows.get_mut(rec.flow as usize) else {
                continue;
            };
            let last = self.log.chain(&mut flow.chain, id);
            if rec.phase == Phase::Fail {
                self.log.note_carried(id);
            }
            if limit.is_some_and(|limit| key > limit) {
                continue;
            }
            self.health.add(self.log.get(id));
            if selected == Some(rec.flow) {
                self.stale.flow = true;
            }
            if last {
                flow.state.apply(&rec);
            } else if flow.mark != self.mark {
                flow.mark = self.mark;
                again.push(rec.flow);
            }
        }
        for id in again {
            if let Some(Some(flow)) = self.flows.get_mut(id as usize) {
                flow.refold(&self.log, limit);
            }
        }
        self.applied = match limit {
            None => self.log.len(),
            Some(limit) => self.log.until(limit),
        };
    }

    /// Memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.log.bytes() + self.flow_bytes + self.failures.len() * size_of::<Key>()
    }

    /// Gives up payloads first, down to half of the memory, then events, then the names
    /// of flows that have none left.
    fn stay_within(&mut self) {
        let limit = self.settings.memory;
        while self.bytes() > limit {
            if self.log.payloads.bytes() > limit / 2 && self.log.payloads.give_up() {
                self.blocks_given_up += 1;
            } else if self.log.len() == 0 {
                break;
            } else {
                self.forget((self.log.len() / 32).max(64));
                if self.flow_bytes > limit / 4 {
                    self.forget_flows();
                }
            }
        }
    }

    fn forget(&mut self, count: usize) {
        let limit = self.clock.limit();
        self.mark = self.mark.wrapping_add(1);
        let mut again = Vec::new();
        for _ in 0..count {
            let Some(id) = self.log.pop() else { break };
            let rec = *self.log.get(id);
            self.forgotten += 1;
            if self.failures.first() == Some(&rec.key()) {
                self.failures.remove(0);
            }
            let shown = self.applied > 0;
            if shown {
                self.applied -= 1;
            } else {
                // Time cannot stand before what is still known.
                self.health.add(&rec);
            }
            let Some(Some(flow)) = self.flows.get_mut(rec.flow as usize) else {
                continue;
            };
            flow.settle(&self.log, id);
            self.log.unchain(&mut flow.chain, id);
            if !shown && flow.mark != self.mark {
                flow.mark = self.mark;
                again.push(rec.flow);
            }
        }
        for id in again {
            if let Some(Some(flow)) = self.flows.get_mut(id as usize) {
                flow.refold(&self.log, limit);
            }
        }
        if self.look.selected.is_some() {
            self.stale.flow = true;
        }
    }

    /// Forgets half of the flows that have no events left, those that ended longest ago
    /// first.
    fn forget_flows(&mut self) {
        let mut idle: Vec<(bool, i64, u32)> = Vec::new();
        for (id, flow) in self.flows.iter().enumerate() {
            if let Some(flow) = flow
                && flow.chain.first == NONE
            {
                let ended = flow.state.ended();
                idle.push((!ended, flow.state.last, u32::try_from(id).unwrap_or(NONE)));
            }
        }
        idle.sort_unstable();
        let half = idle.len().div_ceil(2);
        for (_, _, id) in idle.into_iter().take(half) {
            let Some(flow) = self.flows.get_mut(id as usize).and_then(Option::take) else {
                continue;
            };
            let names = flow.claim.len() + flow.namespace.len() + 2 * flow.uid.len();
            let pods: usize = flow
                .pods
                .iter()
                .map(|p| p.len() + size_of::<Box<str>>())
                .sum();
            let addresses: usize = flow
                .addresses
                .iter()
                .map(|a| a.interface.len() + a.ips.len() + size_of::<Address>())
                .sum();
            let size = Flow::SIZE + names + pods + addresses;
            self.flow_bytes = self.flow_bytes.saturating_sub(size);
            if let Some(node) = self.nodes.get_mut(usize::from(flow.node)) {
                node.flows.remove(&flow.uid);
            }
            self.free.push(id);
            if self.look.selected.is_some_and(|selected| selected.0 == id) {
                self.look.unselect();
            }
        }
    }
}
