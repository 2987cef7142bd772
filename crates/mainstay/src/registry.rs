//! One policy per key, in bounded memory.
//!
//! Prevents two failures of a map from keys to policies: one that grows with every key that anybody
//! ever sent, and one that forgets an open circuit because somebody sent many keys. An entry is
//! given up only when it is idle and a new one would be the same ([`Forgettable`]); when there is
//! none, keys that are new share one policy, and are counted.
//!
//! Always holds: at most the capacity of entries; a key that is in keeps its state; a lookup looks
//! at no more than [`SAMPLE`] others, and the policies' maker runs under no lock.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use mainstay_core::random::SharedRandom;
use mainstay_core::time::Instant;

use crate::clock::Clock;

/// Entries that a new key may look at for one to take the place of.
pub const SAMPLE: usize = 8;

/// Parts with a lock each: a few times the threads that may meet.
const SHARDS: usize = 32;

/// Entries that are worth a lock of their own.
const SHARD_MIN: usize = 64;

/// Entries unless set: 4 MB of breakers.
const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// How long an entry is kept that nobody asks for, unless set.
const IDLE: Duration = Duration::from_mins(5);

/// A policy that can say whether it still knows anything.
pub trait Forgettable {
    /// Whether a new one in its place would decide the same from now on, and nobody else holds it.
    /// Called under a lock: must return at once.
    fn is_forgettable(&self) -> bool;
}

/// One policy per key. Cheap to clone; all clones are one registry.
///
/// Handles of policies are clones as well: who calls the same key often keeps one.
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::sync::Arc;
/// use mainstay::{Breaker, registry::Registry};
///
/// let family = Breaker::builder("shop").family().unwrap();
/// let overflow = family.breaker("others");
/// let breakers = Registry::builder(move |host: &Arc<str>| family.breaker(Arc::clone(host)), overflow)
///     .capacity(NonZeroUsize::new(2).unwrap())
///     .build();
///
/// let breaker = breakers.get(&Arc::from("10.0.0.1:80"));
/// breaker.force_open();
/// // A flood of keys takes no memory, and makes nobody forget the circuit that is open.
/// for host in 2..1_000 {
///     assert!(breakers.get(&Arc::from(format!("10.0.0.{host}:80"))).would_admit());
/// }
/// assert_eq!((breakers.len(), breakers.overflowed()), (2, 997));
/// assert!(!breakers.get(&Arc::from("10.0.0.1:80")).would_admit());
/// ```
pub struct Registry<K, P>(Arc<Inner<K, P>>);

type Make<K, P> = Box<dyn Fn(&K) -> P + Send + Sync>;

struct Inner<K, P> {
    shards: Box<[RwLock<Shard<K, P>>]>,
    len: AtomicUsize,
    overflowed: AtomicU64,
    make: Make<K, P>,
    overflow: P,
    capacity: NonZeroUsize,
    idle: Duration,
    clock: Clock,
    /// Nobody outside can choose keys that meet.
    hasher: RandomState,
    random: SharedRandom,
}

struct Shard<K, P> {
    /// From a key's hash to its entry. Two keys with one hash of 64 bits are not expected; the
    /// second one is answered by the overflow policy.
    index: BTreeMap<u64, u32>,
    entries: Vec<Entry<K, P>>,
}

struct Entry<K, P> {
    /// When somebody asked for it last, in nanoseconds.
    used: AtomicU64,
    key: K,
    policy: P,
}

/// What a shard knows of a key.
enum Found<P> {
    Here(P),
    /// There is room, or an entry that may go.
    Room,
    Full,
}

/// Makes a [`Registry`].
#[must_use = "ends with build()"]
pub struct Builder<K, P> {
    make: Make<K, P>,
    overflow: P,
    capacity: NonZeroUsize,
    idle: Duration,
    clock: Option<Clock>,
}

impl<K: Hash + Eq + Clone, P: Forgettable + Clone> Registry<K, P> {
    /// A registry of policies that `make` makes; `overflow` is for all keys that there is no place
    /// for.
    pub fn builder(make: impl Fn(&K) -> P + Send + Sync + 'static, overflow: P) -> Builder<K, P> {
        Builder {
            make: Box::new(make),
            overflow,
            capacity: CAPACITY,
            idle: IDLE,
            clock: None,
        }
    }

    /// The policy of `key`: the one that it has, or a new one, or the overflow policy.
    pub fn get(&self, key: &K) -> P {
        let inner = &*self.0;
        let hash = inner.hasher.hash_one(key);
        let now = inner.clock.coarse();
        if let Some(policy) = inner.read(hash).find(hash, key, now) {
            return policy;
        }
        let found = inner.claim(hash, key, now);
        match found {
            Found::Here(policy) => policy,
            Found::Full => {
                inner.overflowed.fetch_add(1, Ordering::Relaxed);
                inner.overflow.clone()
            },
            Found::Room => {
                // A maker that panics must not take its place with it.
                let claimed = Claimed(Some(&inner.len));
                let policy = (inner.make)(key);
                inner.insert(hash, key, policy, claimed)
            },
        }
    }

    /// Keys that have a policy of their own, or are about to; at most the capacity.
    pub fn len(&self) -> usize {
        self.0.len.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often the overflow policy was the answer.
    pub fn overflowed(&self) -> u64 {
        self.0.overflowed.load(Ordering::Relaxed)
    }

    /// The policy for keys that there is no place for.
    pub fn overflow(&self) -> &P {
        &self.0.overflow
    }
}

/// A place that is counted and not taken yet.
struct Claimed<'a>(Option<&'a AtomicUsize>);

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if let Some(len) = self.0.take() {
            len.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<K: Hash + Eq + Clone, P: Forgettable + Clone> Inner<K, P> {
    /// Claims a place for a key that is not in, its own or that of an idle entry.
    fn claim(&self, hash: u64, key: &K, now: Instant) -> Found<P> {
        let mut shard = self.write(hash);
        // Another thread may have been faster.
        if let Some(policy) = shard.find(hash, key, now) {
            return Found::Here(policy);
        }
        if shard.index.contains_key(&hash) {
            return Found::Full;
        }
        let room = |len: usize| (len < self.capacity.get()).then_some(len + 1);
        let claimed = self
            .len
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        if claimed.is_ok() {
            return Found::Room;
        }
        let gone = shard.evict(self, now);
        // What is given up may hold a lot: it is dropped under no lock.
        drop(shard);
        if gone.is_some() {
            Found::Room
        } else {
            Found::Full
        }
    }

    fn insert(&self, hash: u64, key: &K, policy: P, mut claimed: Claimed<'_>) -> P {
        let now = self.clock.coarse();
        let mut shard = self.write(hash);
        if let Some(policy) = shard.find(hash, key, now) {
            return policy;
        }
        let place = shard.entries.len();
        let Ok(index) = u32::try_from(place) else {
            return self.overflow.clone();
        };
        if shard.index.contains_key(&hash) {
            return self.overflow.clone();
        }
        shard.index.insert(hash, index);
        // Doubling would leave a quarter of the memory unused.
        if place == shard.entries.capacity() {
            shard.entries.reserve_exact(place / 8 + 4);
        }
        shard.entries.push(Entry {
            used: AtomicU64::new(now.as_nanos()),
            key: key.clone(),
            policy: policy.clone(),
        });
        claimed.0 = None;
        policy
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard<K, P>> {
        self.shard(hash)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard<K, P>> {
        self.shard(hash)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below the number of shards"
    )]
    fn shard(&self, hash: u64) -> &RwLock<Shard<K, P>> {
        &self.shards[(hash % self.shards.len() as u64) as usize]
    }
}

impl<K: Hash + Eq, P: Forgettable + Clone> Shard<K, P> {
    fn find(&self, hash: u64, key: &K, now: Instant) -> Option<P> {
        let entry = &self.entries[*self.index.get(&hash)? as usize];
        if entry.key != *key {
            return None;
        }
        if entry.used.load(Ordering::Relaxed) != now.as_nanos() {
            entry.used.store(now.as_nanos(), Ordering::Relaxed);
        }
        Some(entry.policy.clone())
    }

    /// Gives up one of a few entries that chance picks, if it is idle and knows nothing.
    fn evict(&mut self, inner: &Inner<K, P>, now: Instant) -> Option<Entry<K, P>> {
        let mut random = inner.random.draw();
        let picks = if self.entries.is_empty() { 0 } else { SAMPLE };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below the number of entries"
        )]
        let place = (0..picks)
            .map(|_| random.below(self.entries.len() as u64) as u32)
            .find(|&place| {
                let entry = &self.entries[place as usize];
                let used = Instant::from_nanos(entry.used.load(Ordering::Relaxed));
                now.since(used) >= inner.idle && entry.policy.is_forgettable()
            })?;
        let gone = self.entries.swap_remove(place as usize);
        self.index.remove(&inner.hasher.hash_one(&gone.key));
        if let Some(moved) = self.entries.get(place as usize) {
            self.index.insert(inner.hasher.hash_one(&moved.key), place);
        }
        Some(gone)
    }
}

impl<K, P> Builder<K, P> {
    /// Most keys with a policy of their own. 10,000, unless set: 4 MB of breakers.
    pub fn capacity(mut self, keys: NonZeroUsize) -> Self {
        self.capacity = keys;
        self
    }

    /// How long an entry is kept at least that nobody asks for, however full the registry is. With
    /// [`Duration::ZERO`] one that has nothing to forget may go at once, with [`Duration::MAX`]
    /// none ever does. Five minutes, unless set.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// The clock to read.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The registry, without a key. Memory is taken as keys come.
    pub fn build(self) -> Registry<K, P> {
        let hasher = RandomState::new();
        // Each shard must hold enough entries to pick from.
        let shards = (self.capacity.get() / SHARD_MIN).clamp(1, SHARDS);
        let shards = (0..shards).map(|_| {
            RwLock::new(Shard {
                index: BTreeMap::new(),
                entries: Vec::new(),
            })
        });
        Registry(Arc::new(Inner {
            shards: shards.collect(),
            len: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
            make: self.make,
            overflow: self.overflow,
            capacity: self.capacity,
            idle: self.idle,
            clock: self.clock.unwrap_or_default(),
            random: SharedRandom::seeded(hasher.hash_one(0)),
            hasher,
        }))
    }
}

impl<K, P> Clone for Registry<K, P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, P> fmt::Debug for Registry<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("len", &self.0.len)
            .field("capacity", &self.0.capacity)
            .field("overflowed", &self.0.overflowed)
            .finish_non_exhaustive()
    }
}

impl<K, P> fmt::Debug for Builder<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("capacity", &self.capacity)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
