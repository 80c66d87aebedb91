//! Keeps payloads as raw bytes in a ring of blocks; the oldest block goes first.

use std::collections::VecDeque;

/// Bytes that are given up at once.
const BLOCK: usize = 1024 * 1024;

/// Where a payload lies. Stays valid to ask for after the payload has been given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    block: u32,
    start: u32,
    len: u32,
}

impl Place {
    /// No payload at all.
    pub(crate) const NONE: Self = Self {
        block: 0,
        start: 0,
        len: 0,
    };
}

/// A ring of payload bytes.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    blocks: VecDeque<Vec<u8>>,
    first: u32,
    bytes: usize,
}

impl Payloads {
    /// Copies `parts`, one after the other.
    pub(crate) fn put(&mut self, parts: &[&[u8]]) -> Place {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len == 0 {
            return Place::NONE;
        }
        let fits = self
            .blocks
            .back()
            .is_some_and(|block| block.capacity() - block.len() >= len);
        if !fits {
            let block = Vec::with_capacity(len.max(BLOCK));
            self.bytes += block.capacity();
            self.blocks.push_back(block);
        }
        let index = self.blocks.len() - 1;
        let Some(block) = self.blocks.back_mut() else {
            return Place::NONE;
        };
        let start = block.len();
        for part in parts {
            block.extend_from_slice(part);
        }
        let number = |n: usize| u32::try_from(n).ok();
        match (number(index), number(start), number(len)) {
            (Some(index), Some(start), Some(len)) => Place {
                block: self.first.wrapping_add(index),
                start,
                len,
            },
            _ => Place::NONE,
        }
    }

    /// The bytes at `place`; `None` if they have been given up.
    pub(crate) fn get(&self, place: Place) -> Option<&[u8]> {
        if place.len == 0 {
            return Some(&[]);
        }
        let index = place.block.wrapping_sub(self.first) as usize;
        let start = place.start as usize;
        self.blocks
            .get(index)?
            .get(start..start + place.len as usize)
    }

    /// Gives up the oldest block. False when nothing but the newest is left.
    pub(crate) fn give_up(&mut self) -> bool {
        if self.blocks.len() < 2 {
            return false;
        }
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= block.capacity();
            self.first = self.first.wrapping_add(1);
        }
        true
    }

    /// Memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_the_rest_stays() {
        let mut all = Payloads::default();
        let big = vec![7; BLOCK - 3];
        let first = all.put(&[b"ab", b"cd"]);
        let second = all.put(&[&big]);
        let third = all.put(&[b"xyz"]);
        assert_eq!(all.get(first), Some(&b"abcd"[..]));
        assert_eq!(all.bytes(), 2 * BLOCK);
        assert!(all.give_up());
        assert_eq!(all.get(first), None);
        assert_eq!(all.get(second).map(<[u8]>::len), Some(BLOCK - 3));
        assert_eq!(all.get(third), Some(&b"xyz"[..]));
        assert!(!all.give_up());
        assert_eq!(all.get(Place::NONE), Some(&b""[..]));
    }
}
