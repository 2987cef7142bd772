//! A table from hashes to places, for things that are stored elsewhere.
//!
//! Prevents a second copy of every configuration: the owner keeps the things in one row and this
//! table finds them. Eight bytes a slot, at most three quarters full, linear probing; the order
//! of anything never depends on it.

const SLOTS_MIN: usize = 64;

/// Slots hold the hash in the upper half and the place plus one in the lower; zero is empty.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<u64>,
    used: usize,
}

impl Index {
    /// The place under `hash` that `same` recognises.
    pub(super) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        // Ends, because at least a quarter of the slots is empty.
        while self.slots[at] != 0 {
            let (found, place) = split(self.slots[at]);
            if found == hash && same(place) {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// How many bytes more the next [`insert`](Self::insert) takes.
    pub(super) const fn growth_bytes(&self) -> usize {
        if self.is_full() {
            self.grown() * size_of::<u64>()
        } else {
            0
        }
    }

    /// Stores a place that [`find`](Self::find) did not find.
    pub(super) fn insert(&mut self, hash: u32, place: u32) {
        if self.is_full() {
            let slots = vec![0; self.grown()];
            let old = std::mem::replace(&mut self.slots, slots);
            old.into_iter()
                .filter(|slot| *slot != 0)
                .for_each(|slot| self.put(slot));
        }
        self.put(u64::from(hash) << 32 | (u64::from(place) + 1));
        self.used += 1;
    }

    const fn is_full(&self) -> bool {
        self.used * 4 >= self.slots.len() * 3
    }

    const fn grown(&self) -> usize {
        if self.slots.is_empty() {
            SLOTS_MIN
        } else {
            self.slots.len() * 2
        }
    }

    fn put(&mut self, slot: u64) {
        let mask = self.slots.len() - 1;
        let mut at = split(slot).0 as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of a slot are taken apart"
)]
const fn split(slot: u64) -> (u32, u32) {
    ((slot >> 32) as u32, (slot as u32).wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_found_among_equal_hashes() {
        let mut index = Index::default();
        for place in 0..10_000 {
            let hash = place % 97;
            assert_eq!(index.find(hash, |found| found == place), None);
            index.insert(hash, place);
        }
        for place in 0..10_000 {
            let found = index.find(place % 97, |found| found == place);
            assert_eq!(found, Some(place));
        }
    }
}
