//! Calls in flight by key, and the seats of those who wait for them.
//!
//! Prevents a waiting caller from being forgotten: a seat that is given up hands over what it held,
//! whether it led, waited, or was promoted and did not know it yet.
//!
//! Always holds: a flight is in the map exactly as long as it has a leader; seats change under the
//! lock of the map's shard and then that of the flight, in this order; nobody is woken, and no
//! value is cloned or dropped, under either.

#![expect(
    clippy::disallowed_types,
    reason = "nothing depends on the order of the keys, and they need not be ordered"
)]

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Config;

/// Threads that ask for different keys seldom meet.
const SHARDS: usize = 16;

/// All calls in flight.
pub(super) struct Flights<K, V> {
    shards: [Mutex<Keys<K, V>>; SHARDS],
    hasher: RandomState,
    flying: AtomicUsize,
    config: Config,
}

type Keys<K, V> = HashMap<K, Arc<Flight<V>>, RandomState>;

/// One call in flight.
struct Flight<V> {
    seats: Mutex<Seats>,
    /// `None` inside when the call panicked.
    landed: OnceLock<Option<V>>,
}

struct Seats {
    leader: u64,
    next: u64,
    /// In the order in which they came; with no waker before their first poll.
    waiting: BTreeMap<u64, Option<Waker>>,
    ended: bool,
}

/// A caller's place in a flight; hands over what it held when dropped.
pub(super) struct Seat<V> {
    flight: Arc<Flight<V>>,
    number: u64,
}

/// How a caller takes part.
pub(super) enum Joined<V> {
    /// In a flight, as its leader or not.
    Seated(Seat<V>),
    /// By itself: there are too many keys.
    Alone,
    /// Not at all: too many wait.
    Full,
}

/// What a caller in a flight is to do.
pub(super) enum Role<V> {
    /// Make the call.
    Lead,
    /// Take the result.
    Landed(V),
    /// There will be none: the call panicked.
    Lost,
}

impl<K, V> Flights<K, V> {
    pub(super) fn new(config: Config) -> Self {
        let hasher = RandomState::new();
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))),
            hasher,
            flying: AtomicUsize::new(0),
            config,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.flying.load(Ordering::Relaxed)
    }
}

impl<K: Hash + Eq + Clone, V> Flights<K, V> {
    /// Takes a seat in the flight for `key`, which begins if there is none.
    pub(super) fn join(&self, key: &K) -> Joined<V> {
        let mut keys = lock(self.shard(key));
        if let Some(flight) = keys.get(key) {
            let mut seats = lock(&flight.seats);
            if seats.waiting.len() >= limit(self.config.waiters) {
                return Joined::Full;
            }
            let number = seats.next;
            seats.next += 1;
            seats.waiting.insert(number, None);
            drop(seats);
            let flight = Arc::clone(flight);
            return Joined::Seated(Seat { flight, number });
        }
        // Counted before it is there, so that racing keys cannot exceed the limit.
        let room = |flying| (flying < limit(self.config.keys)).then_some(flying + 1);
        let counted = self
            .flying
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        if counted.is_err() {
            return Joined::Alone;
        }
        let flight = Arc::new(Flight {
            seats: Mutex::new(Seats {
                leader: 0,
                next: 1,
                waiting: BTreeMap::new(),
                ended: false,
            }),
            landed: OnceLock::new(),
        });
        keys.insert(key.clone(), Arc::clone(&flight));
        Joined::Seated(Seat { flight, number: 0 })
    }

    /// The leader has the result, or `None` when the call panicked: all others get it.
    pub(super) fn land(&self, key: &K, seat: &Seat<V>, result: impl FnOnce() -> Option<V>) {
        // Nobody joins from here on.
        drop(self.remove(key, seat));
        // Wakes them even if the value's own `clone` panics.
        let _landing = Landing(&seat.flight);
        // Without waiting callers there is nobody to clone the result for.
        if !lock(&seat.flight.seats).waiting.is_empty() {
            // Only a leader lands, and it does so once.
            seat.flight.landed.get_or_init(result);
        }
    }

    /// A caller gives its seat up. If it led, the one that has waited longest leads now.
    pub(super) fn leave(&self, key: &K, seat: &Seat<V>) {
        let mut keys = lock(self.shard(key));
        let mut seats = lock(&seat.flight.seats);
        if seats.ended {
            return;
        }
        if seats.leader != seat.number {
            let gone = seats.waiting.remove(&seat.number);
            drop(seats);
            drop(keys);
            drop(gone);
            return;
        }
        let Some((promoted, waker)) = seats.waiting.pop_first() else {
            seats.ended = true;
            drop(seats);
            let removed = keys.remove_entry(key);
            self.flying.fetch_sub(1, Ordering::Relaxed);
            drop(keys);
            drop(removed);
            return;
        };
        seats.leader = promoted;
        drop(seats);
        drop(keys);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Callers that wait for `key`.
    #[cfg(test)]
    pub(super) fn waiting(&self, key: &K) -> usize {
        let keys = lock(self.shard(key));
        let flight = keys.get(key);
        flight.map_or(0, |flight| lock(&flight.seats).waiting.len())
    }

    fn remove(&self, key: &K, seat: &Seat<V>) -> Option<(K, Arc<Flight<V>>)> {
        let mut keys = lock(self.shard(key));
        // A flight is in the map as long as it has a leader, which is the one who is here; asked
        // all the same, because taking away somebody else's would let two calls fly at once.
        let current = keys.get(key);
        if !current.is_some_and(|flight| Arc::ptr_eq(flight, &seat.flight)) {
            return None;
        }
        self.flying.fetch_sub(1, Ordering::Relaxed);
        keys.remove_entry(key)
    }

    fn shard(&self, key: &K) -> &Mutex<Keys<K, V>> {
        // The upper half: the maps inside use the lower bits of the same hash.
        let hash = self.hasher.hash_one(key) >> 32;
        &self.shards[usize::try_from(hash).unwrap_or_default() % SHARDS]
    }
}

/// Ends a flight when dropped: wakes all who wait.
struct Landing<'a, V>(&'a Flight<V>);

impl<V> Drop for Landing<'_, V> {
    fn drop(&mut self) {
        let mut seats = lock(&self.0.seats);
        seats.ended = true;
        let waiting = std::mem::take(&mut seats.waiting);
        drop(seats);
        for waker in waiting.into_values().flatten() {
            waker.wake();
        }
    }
}

impl<V: Clone> Seat<V> {
    /// What to do now; wakes `cx` when that changes.
    pub(super) fn poll_role(&self, cx: &Context<'_>) -> Poll<Role<V>> {
        let mut seats = lock(&self.flight.seats);
        if !seats.ended {
            if seats.leader == self.number {
                return Poll::Ready(Role::Lead);
            }
            let previous = seats.waiting.insert(self.number, Some(cx.waker().clone()));
            drop(seats);
            drop(previous);
            return Poll::Pending;
        }
        drop(seats);
        Poll::Ready(match self.flight.landed.get() {
            Some(Some(value)) => Role::Landed(value.clone()),
            Some(None) | None => Role::Lost,
        })
    }
}

fn limit(limit: NonZeroU32) -> usize {
    usize::try_from(limit.get()).unwrap_or(usize::MAX)
}

/// No user code runs under these locks that could leave them half-changed, except a key's `Hash`
/// and `Eq`, before anything is changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
