//! The events themselves: a bounded ring in order of time, chained by flow.

use std::collections::VecDeque;

use ndra_core::event::{Actor, Phase, Step};

use super::payload::{Payloads, Place};

/// Stands for "no event" in chains.
pub(crate) const NONE: u32 = u32::MAX;

/// Events of one block of the slab, a power of two.
const BLOCK: usize = 1 << 13;

/// What is kept of an event besides its payload: 64 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rec {
    pub(crate) at: i64,
    pub(crate) seq: u64,
    /// `u64::MAX` where the event had none.
    pub(crate) took_us: u64,
    pub(crate) payload: Place,
    pub(crate) flow: u32,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    /// Hash of the sandbox id, 0 where there is none.
    pub(crate) sandbox: u32,
    /// Hash of what tells runs of one step apart: the container, or the interface.
    pub(crate) tag: u32,
    pub(crate) source: u16,
    pub(crate) step: Step,
    pub(crate) phase: Phase,
    pub(crate) from: Actor,
    pub(crate) to: Actor,
    /// Index into the table of known failures, on fail.
    pub(crate) failure: u8,
    /// It failed because a step inside of it did.
    pub(crate) carried: bool,
}

/// Where an event stands among all: by time, then by source and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) at: i64,
    source: u16,
    seq: u64,
}

impl Key {
    /// Before every event.
    pub(crate) const START: Self = Self {
        at: i64::MIN,
        source: 0,
        seq: 0,
    };

    /// After all events of the moment `at`.
    pub(crate) fn after(at: i64) -> Self {
        Self {
            at,
            source: u16::MAX,
            seq: u64::MAX,
        }
    }
}

/// A step has no more events inside of it than this, tries of several interfaces included.
const LOOK_BACK: usize = 64;

/// Is a step done while another one runs, and a part of it?
fn inside(outer: Step, inner: Step) -> bool {
    use Step::{Callback, CdiRemove, CdiWrite, CniAdd, CniDel, CreateContainer, Hook, Prepare};
    match outer {
        Prepare => matches!(inner, CdiWrite | Step::Prepared),
        CreateContainer | Hook | Callback => (outer < inner && inner <= CniAdd) || inner == CniDel,
        Step::Unprepare => matches!(inner, CniDel | CdiRemove),
        _ => false,
    }
}

impl Rec {
    pub(crate) fn key(&self) -> Key {
        Key {
            at: self.at,
            source: self.source,
            seq: self.seq,
        }
    }

    pub(crate) fn took(&self) -> Option<u64> {
        (self.took_us != u64::MAX).then_some(self.took_us)
    }
}

/// The two ends of a flow's chain of events, oldest and newest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Chain {
    pub(crate) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}

/// A place for each event, the order of all, and the payloads.
#[derive(Debug, Default)]
pub(crate) struct Log {
    slab: Vec<Vec<Rec>>,
    free: Vec<u32>,
    used: u32,
    order: VecDeque<u32>,
    pub(crate) payloads: Payloads,
}

impl Log {
    /// Takes an event in, without a place in the order yet.
    pub(crate) fn add(&mut self, rec: Rec) -> u32 {
        if let Some(id) = self.free.pop() {
            *self.slot(id) = rec;
            return id;
        }
        let id = self.used;
        self.used += 1;
        if self.slab.last().is_none_or(|block| block.len() == BLOCK) {
            self.slab.push(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.slab.last_mut() {
            block.push(rec);
        }
        id
    }

    pub(crate) fn get(&self, id: u32) -> &Rec {
        let id = id as usize;
        &self.slab[id / BLOCK][id % BLOCK]
    }

    fn slot(&mut self, id: u32) -> &mut Rec {
        let id = id as usize;
        &mut self.slab[id / BLOCK][id % BLOCK]
    }

    /// Gives events their places in the order. Returns the index of the first of them.
    /// `ids` are sorted by this.
    pub(crate) fn arrange(&mut self, ids: &mut [u32]) -> usize {
        let key = |id: u32| self.get(id).key();
        if !ids.is_sorted_by_key(|id| key(*id)) {
            ids.sort_by_key(|id| key(*id));
        }
        let Some(first) = ids.first().map(|id| key(*id)) else {
            return self.order.len();
        };
        if self.order.back().is_none_or(|last| key(*last) <= first) {
            let at = self.order.len();
            self.order.extend(ids.iter());
            return at;
        }
        let at = self.order.partition_point(|id| key(*id) <= first);
        let tail: Vec<u32> = self.order.range(at..).copied().collect();
        let mut merged = Vec::with_capacity(tail.len() + ids.len());
        let (mut old, mut new) = (tail.into_iter().peekable(), ids.iter().copied().peekable());
        while let (Some(a), Some(b)) = (old.peek(), new.peek()) {
            let next = if key(*a) <= key(*b) {
                old.next()
            } else {
                new.next()
            };
            merged.extend(next);
        }
        merged.extend(old);
        merged.extend(new);
        self.order.truncate(at);
        self.order.extend(merged);
        at
    }

    /// Puts an event into its flow's chain. True when it came last.
    pub(crate) fn chain(&mut self, chain: &mut Chain, id: u32) -> bool {
        let key = self.get(id).key();
        let mut before = chain.last;
        while before != NONE && self.get(before).key() > key {
            before = self.get(before).prev;
        }
        let after = if before == NONE {
            std::mem::replace(&mut chain.first, id)
        } else {
            std::mem::replace(&mut self.slot(before).next, id)
        };
        if after == NONE {
            chain.last = id;
        } else {
            self.slot(after).prev = id;
        }
        let slot = self.slot(id);
        (slot.prev, slot.next) = (before, after);
        after == NONE
    }

    /// Notes of a failure in its chain whether a step inside of it failed before, since it
    /// began: then that one is where it began, and this one only carries it on.
    pub(crate) fn note_carried(&mut self, id: u32) {
        let step = self.get(id).step;
        let mut at = self.get(id).prev;
        for _ in 0..LOOK_BACK {
            if at == NONE {
                return;
            }
            let rec = self.get(at);
            match rec.phase {
                Phase::Begin if rec.step == step => return,
                Phase::Fail if inside(step, rec.step) => {
                    self.slot(id).carried = true;
                    return;
                }
                _ => at = rec.prev,
            }
        }
    }

    /// Takes the oldest event out of its flow's chain.
    pub(crate) fn unchain(&mut self, chain: &mut Chain, id: u32) {
        let (prev, next) = (self.get(id).prev, self.get(id).next);
        match prev {
            NONE => chain.first = next,
            prev => self.slot(prev).next = next,
        }
        match next {
            NONE => chain.last = prev,
            next => self.slot(next).prev = prev,
        }
    }

    /// Events of a chain, oldest first.
    pub(crate) fn chained(&self, chain: Chain) -> impl Iterator<Item = (u32, &Rec)> {
        let mut at = chain.first;
        std::iter::from_fn(move || {
            let id = at;
            (id != NONE).then(|| {
                let rec = self.get(id);
                at = rec.next;
                (id, rec)
            })
        })
    }

    /// Events of a chain, newest first.
    pub(crate) fn chained_back(&self, chain: Chain) -> impl Iterator<Item = (u32, &Rec)> {
        let mut at = chain.last;
        std::iter::from_fn(move || {
            let id = at;
            (id != NONE).then(|| {
                let rec = self.get(id);
                at = rec.prev;
                (id, rec)
            })
        })
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The event at a place of the order.
    pub(crate) fn at(&self, index: usize) -> Option<&Rec> {
        self.order.get(index).map(|id| self.get(*id))
    }

    /// Ids of a stretch of the order.
    pub(crate) fn ids(&self, from: usize, to: usize) -> impl DoubleEndedIterator<Item = u32> {
        let to = to.min(self.order.len());
        self.order.range(from.min(to)..to).copied()
    }

    /// How many events have a key of at most `key`.
    pub(crate) fn until(&self, key: Key) -> usize {
        self.order.partition_point(|id| self.get(*id).key() <= key)
    }

    /// Takes the oldest event away; its id is reused.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let id = self.order.pop_front()?;
        self.free.push(id);
        Some(id)
    }

    /// Memory in use, payloads included. Places of events that were given up are used
    /// again, so that what is counted once is never exceeded later.
    pub(crate) fn bytes(&self) -> usize {
        self.order.len() * Self::PER_EVENT + self.payloads.bytes()
    }

    /// An event without its payload.
    const PER_EVENT: usize = size_of::<Rec>() + size_of::<u32>();
}

/// A small hash of a name; 0 stands for no name.
pub(crate) fn hash(text: &[u8]) -> u32 {
    if text.is_empty() {
        return 0;
    }
    let mut sum = 0x811c_9dc5_u32;
    for byte in text {
        sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    sum.max(1)
}
