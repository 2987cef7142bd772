//! Entries by key, within limits.
//!
//! Prevents a cache that grows until the process dies, and an eviction that holds everybody up: it
//! looks at [`SWEEP_MAX`] entries at most. Keys are hashed with a random seed, so that nobody can
//! choose keys that collide.
//!
//! Always holds: entries and weight are within their limits whenever the lock is free; what is
//! removed is dropped after the lock is.

#![expect(
    clippy::disallowed_types,
    reason = "nothing depends on the order of the keys, and they need not be ordered"
)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_core::freshness::{Freshness, Stamp};

/// Most entries that one eviction gives a second chance; then it takes the next, whatever it is.
const SWEEP_MAX: usize = 32;

/// Most parts: threads that read different keys seldom meet.
const SHARDS_MAX: usize = 16;

/// Fewest entries in a part, so that an uneven spread of keys does not matter much.
const SHARD_MIN: usize = 64;

pub(super) struct Shelf<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    hasher: RandomState,
}

struct Shard<K, V> {
    /// Where in `slots` a key is.
    index: HashMap<K, usize, RandomState>,
    slots: Vec<Slot<K, V>>,
    /// The next slot that is looked at for eviction.
    hand: usize,
    weight: u64,
    entries_max: usize,
    weight_max: u64,
    /// Keys forgotten on demand so far.
    changes: u64,
    /// The last version given to an entry.
    version: u64,
}

struct Slot<K, V> {
    key: K,
    value: V,
    stamp: Stamp,
    weight: u64,
    version: u64,
    /// Read since the hand passed.
    visited: bool,
    /// Somebody refreshes it.
    claimed: bool,
}

/// What a key has on the shelf.
pub(super) struct Looked<V> {
    pub(super) value: V,
    pub(super) stamp: Stamp,
    pub(super) freshness: Freshness,
    pub(super) version: u64,
    /// This caller is the one to refresh it.
    pub(super) claimed: bool,
}

impl<K, V> Shelf<K, V> {
    pub(super) fn new(entries_max: NonZeroU32, weight_max: Option<NonZeroU64>) -> Self {
        let entries = usize::try_from(entries_max.get()).unwrap_or(usize::MAX);
        let shards = (entries / SHARD_MIN).clamp(1, SHARDS_MAX);
        let hasher = RandomState::new();
        let shard = || Shard {
            index: HashMap::with_hasher(hasher.clone()),
            slots: Vec::new(),
            hand: 0,
            weight: 0,
            entries_max: entries / shards,
            weight_max: weight_max.map_or(u64::MAX, |max| max.get() / shards as u64),
            changes: 0,
            version: 0,
        };
        Self {
            shards: (0..shards).map(|_| Mutex::new(shard())).collect(),
            hasher,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).slots.len())
            .sum()
    }

    pub(super) fn weight(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).weight).sum()
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.changes += 1;
            shard.weight = 0;
            shard.hand = 0;
            let index = std::mem::take(&mut shard.index);
            let slots = std::mem::take(&mut shard.slots);
            drop(shard);
            drop((index, slots));
        }
    }
}

impl<K: Hash + Eq + Clone, V> Shelf<K, V> {
    /// What is there for `key`. With `claim`, the first caller that finds it in need of a refresh
    /// is the one to do it.
    pub(super) fn look<Q>(
        &self,
        key: &Q,
        judge: impl FnOnce(&Stamp) -> Freshness,
        claim: bool,
    ) -> Option<Looked<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        let mut shard = self.shard(key);
        let at = *shard.index.get(key)?;
        let slot = &mut shard.slots[at];
        let freshness = judge(&slot.stamp);
        if freshness == Freshness::Expired {
            let gone = shard.remove(at);
            drop(shard);
            drop(gone);
            return None;
        }
        slot.visited = true;
        let refresh = matches!(freshness, Freshness::Early | Freshness::Revalidate);
        let claimed = claim && refresh && !slot.claimed;
        slot.claimed |= claimed;
        Some(Looked {
            value: slot.value.clone(),
            stamp: slot.stamp,
            freshness,
            version: slot.version,
            claimed,
        })
    }

    /// Puts `value` there, with its stamp and weight, unless keys were forgotten since `unchanged`
    /// was read. Makes room, by what is `expired` before all else.
    pub(super) fn insert(
        &self,
        key: K,
        (value, stamp, weight): (V, Stamp, u64),
        unchanged: Option<u64>,
        expired: impl Fn(&Stamp) -> bool,
    ) {
        let mut shard = self.shard(&key);
        if unchanged.is_some_and(|changes| changes != shard.changes) {
            return;
        }
        let previous = shard.index.get(&key).copied();
        let previous = previous.map(|at| shard.remove(at));
        let mut evicted = Vec::new();
        // What is too heavy for the shelf leaves the others in peace.
        if weight <= shard.weight_max {
            while shard.slots.len() >= shard.entries_max || weight > shard.weight_max - shard.weight
            {
                evicted.push(shard.evict(&expired));
            }
            shard.version += 1;
            let version = shard.version;
            shard.weight += weight;
            let at = shard.slots.len();
            shard.index.insert(key.clone(), at);
            shard.slots.push(Slot {
                key,
                value,
                stamp,
                weight,
                version,
                visited: false,
                claimed: false,
            });
        }
        drop(shard);
        drop((previous, evicted));
    }

    pub(super) fn remove<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.shard(key);
        shard.changes += 1;
        let at = shard.index.get(key).copied();
        let gone = at.map(|at| shard.remove(at));
        drop(shard);
        drop(gone);
    }

    /// The entry of this version is refreshed by nobody any more.
    pub(super) fn release(&self, key: &K, version: u64) {
        let mut shard = self.shard(key);
        let Some(at) = shard.index.get(key).copied() else {
            return;
        };
        let slot = &mut shard.slots[at];
        if slot.version == version {
            slot.claimed = false;
        }
    }

    /// Keys forgotten on demand so far, among those that share a lock with `key`.
    pub(super) fn changes(&self, key: &K) -> u64 {
        self.shard(key).changes
    }

    fn shard<Q>(&self, key: &Q) -> MutexGuard<'_, Shard<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // The upper half: the maps inside use the lower bits of the same hash.
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or_default();
        lock(&self.shards[hash % self.shards.len()])
    }
}

impl<K: Hash + Eq, V> Shard<K, V> {
    /// Takes the slot at `at` out; the last one moves into its place.
    fn remove(&mut self, at: usize) -> Slot<K, V> {
        let gone = self.slots.swap_remove(at);
        self.index.remove(&gone.key);
        if let Some(moved) = self.slots.get(at)
            && let Some(index) = self.index.get_mut(&moved.key)
        {
            *index = at;
        }
        self.weight -= gone.weight;
        gone
    }

    /// Takes one out that was not read lately. There is at least one.
    fn evict(&mut self, expired: impl Fn(&Stamp) -> bool) -> Slot<K, V> {
        for _ in 0..SWEEP_MAX {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let slot = &mut self.slots[self.hand];
            if !slot.visited || expired(&slot.stamp) {
                break;
            }
            slot.visited = false;
            self.hand += 1;
        }
        let hand = if self.hand < self.slots.len() {
            self.hand
        } else {
            0
        };
        self.remove(hand)
    }
}

/// A key's `Hash` and `Eq` and a value's `Clone` run under the lock before anything is changed: a
/// panic in them leaves nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
