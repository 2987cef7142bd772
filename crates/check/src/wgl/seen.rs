//! What the search has already tried: states, and configurations of (what is taken, state).
//!
//! Prevents the search from trying the same thing twice, which is Lowe's addition to Wing and
//! Gong ("Testing for linearizability", 2017). A configuration takes a few words, however long
//! the history is: of the completed calls only the stretch from the first that is not taken to
//! the last that is, because everything before is taken and everything after is not.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::budget::{Purse, Why};
use super::index::Index;
use super::part::small;

/// Places in the index have 32 bits: 32 GiB of words are out of memory on any limit.
const NUMBERS_MAX: usize = u32::MAX as usize - 1;

/// Spreads the bits of a number (the finalizer of `SplitMix64`).
pub(super) const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

const fn upper(bits: u64) -> u32 {
    (bits >> 32) as u32
}

/// States by number, each once.
pub(super) struct States<S> {
    states: Vec<S>,
    index: Index,
}

impl<S: Eq + Hash> States<S> {
    pub(super) fn new(init: S) -> Self {
        let mut states = Self {
            states: Vec::new(),
            index: Index::default(),
        };
        states.index.insert(Self::hash(&init), 0);
        states.states.push(init);
        states
    }

    pub(super) fn get(&self, number: u32) -> &S {
        &self.states[number as usize]
    }

    /// The number of a state, which is new if need be; `bytes` is its size.
    pub(super) fn number(
        &mut self,
        state: S,
        bytes: impl FnOnce(&S) -> usize,
        purse: &mut Purse<'_>,
    ) -> Result<u32, Why> {
        let hash = Self::hash(&state);
        let states = &self.states;
        let same = |place: u32| states[place as usize] == state;
        if let Some(number) = self.index.find(hash, same) {
            return Ok(number);
        }
        // The index stores a place plus one in 32 bits.
        if self.states.len() >= NUMBERS_MAX {
            return Err(purse.refused());
        }
        purse.bytes(bytes(&state).saturating_add(self.index.growth_bytes()))?;
        let number = small(self.states.len());
        self.index.insert(hash, number);
        self.states.push(state);
        Ok(number)
    }

    fn hash(state: &S) -> u32 {
        // Its keys are fixed, so that every run takes the same course.
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        upper(hasher.finish())
    }
}

/// Calls as bits.
#[derive(Clone, Debug)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    pub(super) fn has(&self, bit: u32) -> bool {
        self.0[bit as usize / 64] >> (bit % 64) & 1 == 1
    }

    pub(super) fn flip(&mut self, bit: u32) {
        self.0[bit as usize / 64] ^= 1 << (bit % 64);
    }
}

/// What is taken, and the state that it led to.
pub(super) struct Configuration<'a> {
    /// The hash of all that is taken, kept up call by call.
    pub hash: u64,
    pub state: u32,
    /// The first completed call that is not taken.
    pub base: u32,
    /// Behind the last completed call that is taken.
    pub end: u32,
    pub completed: &'a Bits,
    pub crashed: &'a Bits,
}

impl Configuration<'_> {
    /// Its words: the state and the base, how many words follow, the stretch, the crashed calls.
    fn words(&self, into: &mut Vec<u64>) {
        let first = self.base as usize / 64;
        let last = (self.end as usize).div_ceil(64).max(first);
        let stretch = &self.completed.0[first..last];
        into.clear();
        into.push(u64::from(self.base) << 32 | u64::from(self.state));
        into.push(stretch.len() as u64);
        into.extend_from_slice(stretch);
        into.extend_from_slice(&self.crashed.0);
    }
}

/// The configurations that were tried.
#[derive(Default)]
pub(super) struct Seen {
    words: Vec<u64>,
    index: Index,
    scratch: Vec<u64>,
}

impl Seen {
    /// Stores a configuration; `false` if it was there already.
    pub(super) fn insert(
        &mut self,
        configuration: &Configuration<'_>,
        purse: &mut Purse<'_>,
    ) -> Result<bool, Why> {
        configuration.words(&mut self.scratch);
        let state = mix(u64::from(configuration.state).wrapping_add(0x9e37_79b9_7f4a_7c15));
        let hash = upper(mix(configuration.hash ^ state));
        let (words, scratch) = (&self.words, &self.scratch);
        // The second word tells the length, so that a comparison of prefixes is one of wholes.
        let same = |place: u32| words[place as usize..].starts_with(scratch);
        if self.index.find(hash, same).is_some() {
            return Ok(false);
        }
        purse.bytes(self.index.growth_bytes())?;
        self.reserve(purse)?;
        self.index.insert(hash, small(self.words.len()));
        self.words.extend_from_slice(&self.scratch);
        Ok(true)
    }

    /// Makes room for the scratch words. While a row grows, the old and the new one exist.
    fn reserve(&mut self, purse: &mut Purse<'_>) -> Result<(), Why> {
        let needed = self.words.len() + self.scratch.len();
        let (old, new) = (self.words.capacity(), self.words.capacity() * 2);
        if needed <= old {
            return Ok(());
        }
        let new = new.max(needed).max(64);
        let bytes = new.saturating_mul(size_of::<u64>());
        if new > NUMBERS_MAX {
            return Err(purse.refused());
        }
        purse.bytes(bytes)?;
        self.words.reserve_exact(new - self.words.len());
        purse.give_back(old * size_of::<u64>());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wgl::budget::{Budget, Limits};

    /// Configurations with one hash, so that only their words tell them apart.
    fn are_new(configurations: &[Configuration<'_>]) -> Vec<bool> {
        let budget = Budget::new(Limits::default(), &|| true);
        let mut purse = Purse::new(&budget, &|| false);
        let mut seen = Seen::default();
        let mut insert = |configuration| seen.insert(configuration, &mut purse);
        let all = configurations.iter();
        all.map(|one| insert(one).expect("there is room")).collect()
    }

    fn bits(set: &[u32]) -> Bits {
        let mut bits = Bits::new(200);
        for bit in set {
            bits.flip(*bit);
        }
        bits
    }

    #[test]
    fn configurations_differ_by_what_is_taken_even_under_one_hash() {
        let (none, one) = (bits(&[]), bits(&[1]));
        let (far, further) = (bits(&[1, 130]), bits(&[1, 70, 130]));
        let configuration = |base, end, completed, crashed| Configuration {
            hash: 0,
            state: 0,
            base,
            end,
            completed,
            crashed,
        };
        let new = are_new(&[
            configuration(0, 0, &none, &none),
            configuration(0, 2, &one, &none),
            configuration(0, 131, &far, &none),
            configuration(0, 131, &further, &none),
            configuration(0, 2, &one, &one),
            configuration(0, 2, &one, &far),
            configuration(2, 2, &one, &none),
            configuration(0, 2, &one, &one),
            configuration(0, 131, &far, &none),
        ]);
        assert_eq!(
            new,
            [true, true, true, true, true, true, true, false, false]
        );
    }

    #[test]
    fn states_have_one_number_each() {
        let budget = Budget::new(Limits::default(), &|| true);
        let mut purse = Purse::new(&budget, &|| false);
        let mut states = States::new(0_u32);
        for state in (0..1_000).chain(0..1_000) {
            let number = states.number(state, |_| 4, &mut purse);
            assert_eq!(number, Ok(state));
            assert_eq!(*states.get(state), state);
        }
    }
}
