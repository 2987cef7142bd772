//! A rate limit for each of many callers: addresses, tenants, tokens.
//!
//! Prevents two failures: one caller takes the rate of all others, and a flood of made-up callers
//! takes all memory. There are at most so many keys; one whose bucket is full again equals a new
//! one and is forgotten when room is needed. A key for which there is no room shares one more
//! bucket with all others like it, so that a flood does not pass unlimited either.
//!
//! Always holds: a key that is being limited is never forgotten.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::event::Observe;
use mainstay_core::limit::rate::{Bucket, Exceeded, Quota};
use mainstay_core::time::Instant;

use super::{passed, refuse_exceeded};
use crate::error::{Error, Rejection};
use crate::told::Told;

/// Parts of the map with a lock of their own; more than there are threads that meet in one.
const SHARDS_MAX: usize = 32;

/// A shard that is full looks for keys to forget at most this often: a flood pays for a walk over
/// the shard once, not with every call.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A rate limit with a bucket per key. Cheap to clone; all clones share the buckets.
///
/// ```
/// use std::num::{NonZeroU32, NonZeroUsize};
/// use mainstay::rate_limit::{Config, KeyedRateLimiter, RateLimiter};
///
/// let per_tenant: KeyedRateLimiter<String> = RateLimiter::builder("api")
///     .config(Config { burst: NonZeroU32::MIN, ..Config::default() })
///     .build_keyed(NonZeroUsize::new(10_000).unwrap())
///     .unwrap();
/// assert!(per_tenant.try_acquire("first").is_ok());
/// assert!(per_tenant.try_acquire("first").is_err());
/// assert!(per_tenant.try_acquire("second").is_ok());
/// ```
#[derive_where(Clone)]
pub struct KeyedRateLimiter<K, O = ()>(Arc<Keys<K, O>>);

struct Keys<K, O> {
    quota: Quota,
    hasher: RandomState,
    shards: Box<[RwLock<Shard<K>>]>,
    /// Most keys of a shard.
    per_shard: usize,
    /// Of all keys for which there is no room.
    overflow: Bucket,
    told: Told<O>,
}

#[expect(
    clippy::disallowed_types,
    reason = "nothing depends on the order of keys, and a flood of keys must not choose it"
)]
type Buckets<K> = std::collections::HashMap<K, Bucket, RandomState>;

struct Shard<K> {
    buckets: Buckets<K>,
    /// When it may look for keys to forget again.
    sweep_at: Instant,
}

impl<K, O> KeyedRateLimiter<K, O> {
    pub(super) fn new(quota: Quota, keys: NonZeroUsize, told: Told<O>) -> Self {
        let hasher = RandomState::new();
        // Never more keys in all shards than `keys`.
        let shards = keys.get().min(SHARDS_MAX);
        let shard = |_| {
            RwLock::new(Shard {
                buckets: Buckets::with_hasher(hasher.clone()),
                sweep_at: Instant::ORIGIN,
            })
        };
        Self(Arc::new(Keys {
            quota,
            shards: (0..shards).map(shard).collect(),
            per_shard: keys.get() / shards,
            overflow: Bucket::new(),
            hasher,
            told,
        }))
    }

    /// Keys that have a bucket just now.
    pub fn keys(&self) -> usize {
        let read = |shard: &RwLock<Shard<K>>| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.buckets.len()
        };
        self.0.shards.iter().map(read).sum()
    }
}

impl<K: Hash + Eq, O: Observe> KeyedRateLimiter<K, O> {
    /// Takes one call of `key` out, if it is time. The key is made its own only when it is new.
    ///
    /// # Errors
    ///
    /// [`Rejection`] with [`Cause::RateReached`](crate::error::Cause::RateReached), which says when
    /// to come back.
    pub fn try_acquire<Q>(&self, key: &Q) -> Result<(), Rejection>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let keys = &*self.0;
        match keys.check(key, keys.told.clock.now()) {
            Ok(()) => {
                passed(&keys.told);
                Ok(())
            },
            Err(exceeded) => Err(refuse_exceeded(&keys.told, exceeded)),
        }
    }

    /// Runs `future` if it is time for a call of `key`; nothing of it starts otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] when calls of this key come too fast, [`Error::Inner`] when the call
    /// failed.
    pub async fn call<Q, T, E>(
        &self,
        key: &Q,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.try_acquire(key).map_err(Error::Rejected)?;
        future.await.map_err(Error::Inner)
    }
}

impl<K: Hash + Eq, O> Keys<K, O> {
    fn check<Q>(&self, key: &Q, now: Instant) -> Result<(), Exceeded>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        // The map uses the other end of the hash.
        let shard = &self.shards[(hash >> 32) as usize % self.shards.len()];
        {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(bucket) = shard.buckets.get(key) {
                return bucket.check(&self.quota, now);
            }
            if shard.buckets.len() >= self.per_shard && now < shard.sweep_at {
                return self.overflow.check(&self.quota, now);
            }
        }
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.buckets.len() >= self.per_shard && now >= shard.sweep_at {
            shard.sweep_at = now + SWEEP_EVERY;
            shard
                .buckets
                .retain(|_, bucket| !bucket.is_full(&self.quota, now));
        }
        // Another thread may have been here between the two locks.
        if let Some(bucket) = shard.buckets.get(key) {
            return bucket.check(&self.quota, now);
        }
        if shard.buckets.len() >= self.per_shard {
            return self.overflow.check(&self.quota, now);
        }
        let bucket = shard.buckets.entry(key.to_owned()).or_default();
        bucket.check(&self.quota, now)
    }
}

impl<K, O> fmt::Debug for KeyedRateLimiter<K, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter")
            .field("name", &self.0.told.name)
            .field("quota", &self.0.quota)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
