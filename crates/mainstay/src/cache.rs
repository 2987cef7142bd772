//! A bounded cache that would rather serve an old answer than none.
//!
//! Prevents two failures: the callee is down and so is everything that could be read from memory,
//! and a popular key goes stale and all its readers ask the callee at once. What may be served when
//! is decided by [`mainstay_core::freshness`] (RFC 5861: `stale-while-revalidate`,
//! `stale-if-error`), on monotonic time.
//!
//! Who refreshes: [`Cache::get_or`] refreshes inline. The first caller that finds an answer stale
//! refreshes it and waits; all others are served the stale one meanwhile.
//! [`Cache::get_or_revalidate`] serves the stale answer to the first caller, too, and hands the
//! refresh to the function given to [`Builder::revalidate_with`]. This crate spawns nothing by
//! itself: where work runs, and who ends it, is for the application to say.
//!
//! Always holds: at most one load per key is in flight; an answer outside its windows is served to
//! nobody; entries and weight stay within their limits. Evicted is what was not read since the hand
//! of the clock last passed (CLOCK, Corbató 1968): a hit writes one bit instead of moving a list's
//! links, and an eviction looks at a bounded number of entries.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::event::{Event, Observe};
use mainstay_core::freshness::{self, Freshness, Kept, Stamp};
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::random::SharedRandom;
use mainstay_core::time::Instant;

use crate::classify::{Classify, ErrorsFail, Nested};

use crate::coalesce::{Coalesce, block_on};
use crate::error::Error;
use crate::told::Told;

mod builder;
mod future;
mod layer;
mod load;
mod served;
mod service;
mod shelf;

pub use builder::{Builder, Config, Extra, Refresh};
pub use future::CacheFuture;
pub use layer::CacheLayer;
pub use mainstay_core::freshness::ConfigError;
pub use served::{Kind, Served};
pub use service::{CacheService, CacheServiceFuture};

use builder::{Spawn, Weigh};
use load::Spare;
use shelf::Shelf;

/// A cache. Cheap to clone; all clones share the entries. A load that hangs has not failed: put a
/// [`Timeout`](crate::Timeout) into it, so that there is a moment at which the stale answer serves.
///
/// Values are cloned under the lock of their part of the cache: wrap what is large in an `Arc`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use mainstay::cache::{Cache, Config, Kind};
/// use mainstay_core::freshness;
///
/// let cache: Cache<u32, &str, &str> = Cache::builder("users")
///     .config(Config {
///         freshness: freshness::Config {
///             fresh: Duration::from_millis(1),
///             stale_if_error: Some(Duration::from_secs(3_600)),
///             ..freshness::Config::default()
///         },
///         ..Config::default()
///     })
///     .build()
///     .unwrap();
/// let loaded = cache.get_or(7, async { Ok("Ada") }).await.unwrap();
/// assert_eq!((loaded.value, loaded.kind), ("Ada", Kind::Loaded));
///
/// tokio::time::sleep(Duration::from_millis(2)).await;
/// let stale = cache.get_or(7, async { Err("reset") }).await.unwrap();
/// assert_eq!((stale.value, stale.kind), ("Ada", Kind::InNeed));
/// # });
/// ```
#[derive_where(Clone)]
pub struct Cache<K, T, E, O = ()> {
    store: Arc<Store<K, T, E, O>>,
}

struct Store<K, T, E, O> {
    shelf: Shelf<K, Result<T, E>>,
    coalesce: Coalesce<K, T, E>,
    rules: freshness::Config,
    random: SharedRandom,
    weigh: Option<Weigh<K, T>>,
    spawn: Option<Spawn>,
    told: Told<O>,
}

/// What the shelf has for a caller.
enum Found<K: Hash + Eq + Clone, T, E, O> {
    /// Something to serve as it is.
    Serve(Result<Served<T>, E>),
    /// Nothing, or something to be refreshed.
    Load(Option<Spare<T>>, Option<Claim<K, T, E, O>>),
}

/// The right to refresh an entry while others are served the old one; given back when dropped.
struct Claim<K: Hash + Eq + Clone, T, E, O> {
    cache: Cache<K, T, E, O>,
    key: K,
    version: u64,
}

impl<K, T, E, O> Cache<K, T, E, O> {
    /// Entries, those that may no longer be served included.
    pub fn len(&self) -> usize {
        self.store.shelf.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weight of all entries, in the unit of [`Builder::weigh`].
    pub fn weight(&self) -> u64 {
        self.store.shelf.weight()
    }
}

impl<K: Hash + Eq + Clone, T: Clone, E: Clone, O: Observe> Cache<K, T, E, O> {
    /// Serves the answer for `key`, from the cache if it is fresh, else by `load`, which then all
    /// callers of this key share. An `Err` is a failure.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`] when `load` failed and there was nothing that may be served in need, or
    /// when a remembered refusal was found; [`Error::Rejected`] as of
    /// [`Coalesce::call`](Coalesce::call).
    pub async fn get_or<F>(&self, key: K, load: F) -> Result<Served<T>, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.get_or_with(key, load, ErrorsFail).await
    }

    /// As [`get_or`](Self::get_or); `classify` says what the result of `load` means. Only a success
    /// is kept; a permanent refusal is remembered if that is configured, and ends the life of the
    /// answer that was kept before; any failure is a need.
    ///
    /// # Errors
    ///
    /// As [`get_or`](Self::get_or).
    pub async fn get_or_with<F, C>(
        &self,
        key: K,
        load: F,
        classify: C,
    ) -> Result<Served<T>, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E> + Clone,
    {
        // Looked at here rather than in the future, so that a hit counts no references.
        let old = match self.find(&key) {
            Found::Serve(served) => return served.map_err(Error::Inner),
            Found::Load(spare, claim) => (spare, claim),
        };
        let load = async { load.await.map_err(Error::Inner) };
        CacheFuture::fly(self.clone(), key, load, classify, old).await
    }

    /// As [`get_or_with`](Self::get_or_with), around a call through other policies: what they
    /// refuse or end is a need, too.
    ///
    /// # Errors
    ///
    /// Of the returned future, as [`get_or`](Self::get_or), and that of the other policies when
    /// there is nothing that may be served in need.
    pub fn get_or_nested_with<F, C>(
        &self,
        key: K,
        load: F,
        classify: C,
    ) -> CacheFuture<K, T, E, F, C, O>
    where
        F: Future<Output = Result<T, Error<E>>>,
        C: Classify<T, E> + Clone,
    {
        CacheFuture::new(self.clone(), Some(key), load, classify)
    }

    /// As [`get_or_with`](Self::get_or_with), except that nobody waits within
    /// `stale-while-revalidate`: the refresh goes to [`Builder::revalidate_with`], and is boxed for
    /// it. Without such a function it is the same as [`get_or_with`](Self::get_or_with).
    ///
    /// # Errors
    ///
    /// As [`get_or`](Self::get_or).
    pub async fn get_or_revalidate<F, C>(
        &self,
        key: K,
        load: F,
        classify: C,
    ) -> Result<Served<T>, Error<E>>
    where
        K: Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        C: Classify<T, E> + Clone + Send + 'static,
    {
        let load = async { load.await.map_err(Error::Inner) };
        let (spare, claim) = match self.find(&key) {
            Found::Serve(served) => return served.map_err(Error::Inner),
            Found::Load(spare, claim) => (spare, claim),
        };
        let served = spare.as_ref().map(|spare| self.serve(spare.clone()));
        let claimed = claim.is_some();
        let flight = CacheFuture::fly(self.clone(), key, load, classify, (spare, claim));
        match (&self.store.spawn, served) {
            (Some(spawn), Some(served)) if claimed => {
                spawn(Box::pin(async move {
                    // Whoever asks next sees what became of it.
                    drop(flight.await);
                }));
                Ok(served)
            },
            (Some(_) | None, Some(_) | None) => flight.await,
        }
    }

    /// The blocking form of [`get_or`](Self::get_or): `load` runs on the thread of the caller that
    /// loads, and the others sleep meanwhile.
    ///
    /// # Errors
    ///
    /// As [`get_or`](Self::get_or).
    pub fn get_or_blocking(
        &self,
        key: K,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<Served<T>, Error<E>> {
        block_on(self.get_or(key, async { load() }))
    }

    /// The answer for `key` if it is fresh. Loads nothing; refusals are no answers.
    pub fn get<Q>(&self, key: &Q) -> Option<Served<T>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_up_to(key, Freshness::Fresh)
    }

    /// The answer for `key` if it may be served in need: what a fallback asks for.
    pub fn get_in_need<Q>(&self, key: &Q) -> Option<Served<T>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_up_to(key, Freshness::IfError)
    }

    /// Keeps `value` as a fresh answer. One that is heavier than its part of the cache is not kept,
    /// and nothing is then kept for `key`.
    pub fn insert(&self, key: K, value: T) {
        let stamp = Stamp {
            stored: self.store.told.clock.now(),
            took: Duration::ZERO,
            kept: Kept::Answer,
        };
        self.keep(key, Ok(value), stamp, None);
    }

    /// Forgets `key`. A load of it that is in flight is served to its callers, but not kept.
    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.store.shelf.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.store.shelf.clear();
    }

    fn get_up_to<Q>(&self, key: &Q, worst: Freshness) -> Option<Served<T>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let now = self.store.told.clock.now();
        let judge = |stamp: &Stamp| self.store.rules.judge(stamp, now);
        let looked = self.store.shelf.look(key, judge, false)?;
        if looked.freshness > worst {
            return None;
        }
        let spare = Spare::of(&looked)?;
        let kind = match looked.freshness {
            Freshness::Fresh | Freshness::Early => Kind::Fresh,
            Freshness::Revalidate | Freshness::IfError | Freshness::Expired => Kind::InNeed,
        };
        Some(spare.serve(now, kind))
    }

    fn find(&self, key: &K) -> Found<K, T, E, O> {
        let store = &*self.store;
        let now = store.told.clock.now();
        let judge = |stamp: &Stamp| match store.rules.early {
            Some(_) => store
                .rules
                .judge_early(stamp, now, &mut store.random.draw()),
            None => store.rules.judge(stamp, now),
        };
        let Some(looked) = store.shelf.look(key, judge, true) else {
            return Found::Load(None, None);
        };
        let claim = looked.claimed.then(|| Claim {
            cache: self.clone(),
            key: key.clone(),
            version: looked.version,
        });
        let spare = Spare::of(&looked);
        match (looked.freshness, looked.value, spare) {
            (Freshness::Expired, _, _) => Found::Load(None, None),
            (_, Err(refusal), _) => Found::Serve(Err(refusal)),
            (Freshness::IfError, Ok(_), spare) => Found::Load(spare, None),
            (Freshness::Early | Freshness::Revalidate, Ok(_), Some(spare)) if claim.is_some() => {
                Found::Load(Some(spare), claim)
            },
            (freshness, Ok(value), _) => Found::Serve(Ok(Served {
                value,
                age: now.since(looked.stamp.stored),
                kind: Kind::of(freshness),
            })),
        }
    }

    /// An answer that is on its way to being refreshed.
    fn serve(&self, spare: Spare<T>) -> Served<T> {
        let now = self.store.told.clock.now();
        let kind = Kind::of(self.store.rules.judge(&spare.stamp, now));
        spare.serve(now, kind)
    }

    /// What a caller gets when its load ended so.
    fn settle(
        &self,
        result: Result<T, Error<E>>,
        spare: Option<Spare<T>>,
        need: Option<Reason>,
    ) -> Result<Served<T>, Error<E>> {
        let store = &*self.store;
        let now = store.told.clock.now();
        match (need, spare) {
            (Some(reason), Some(spare)) if store.rules.serves_in_need(&spare.stamp, now) => {
                let fresh = store.rules.judge(&spare.stamp, now) == Freshness::Fresh;
                let kind = if fresh { Kind::Fresh } else { Kind::InNeed };
                if kind == Kind::InNeed {
                    store.served(reason);
                }
                Ok(spare.serve(now, kind))
            },
            (Some(_) | None, Some(_) | None) => result.map(|value| Served {
                value,
                age: Duration::ZERO,
                kind: Kind::Loaded,
            }),
        }
    }

    /// Keeps what was loaded, if it is worth it.
    fn learn(
        &self,
        key: &K,
        result: &Result<T, Error<E>>,
        classify: &impl Classify<T, E>,
        begun: Begun,
    ) {
        let store = &*self.store;
        let outcome = Nested(classify).classify(result.as_ref());
        let now = store.told.clock.now();
        let stamp = |kept| Stamp {
            stored: now,
            took: now.since(begun.at),
            kept,
        };
        match (outcome, result) {
            (Outcome::Success, Ok(answer)) => {
                let answer = Ok(answer.clone());
                self.keep(
                    key.clone(),
                    answer,
                    stamp(Kept::Answer),
                    Some(begun.changes),
                );
                store.passed();
            },
            (Outcome::Permanent, Ok(_) | Err(Error::Inner(_))) => {
                let refusal = match result {
                    Ok(refusal) => Ok(refusal.clone()),
                    Err(Error::Inner(refusal)) => Err(refusal.clone()),
                    Err(_) => return,
                };
                if store.rules.negative.is_some() {
                    self.keep(
                        key.clone(),
                        refusal,
                        stamp(Kept::Refusal),
                        Some(begun.changes),
                    );
                } else {
                    // The callee says that there is nothing: what was kept is no longer true.
                    store.shelf.remove(key);
                }
                store.passed();
            },
            (
                Outcome::Success
                | Outcome::Permanent
                | Outcome::Failure(_)
                | Outcome::Throttled { .. }
                | Outcome::Ignored,
                _,
            ) => {},
        }
    }

    fn keep(&self, key: K, value: Result<T, E>, stamp: Stamp, unchanged: Option<u64>) {
        let weight = match (&self.store.weigh, &value) {
            (Some(weigh), Ok(answer)) => weigh(&key, answer),
            (None, Ok(_)) | (_, Err(_)) => 1,
        };
        let rules = &self.store.rules;
        let now = stamp.stored;
        let expired = |stamp: &Stamp| rules.judge(stamp, now) == Freshness::Expired;
        self.store
            .shelf
            .insert(key, (value, stamp, weight), unchanged, expired);
    }

    /// What somebody else kept since `seen`, fresh.
    fn newer(&self, key: &K, seen: Option<u64>) -> Option<Result<T, E>> {
        let now = self.store.told.clock.now();
        let judge = |stamp: &Stamp| self.store.rules.judge(stamp, now);
        let looked = self.store.shelf.look(key, judge, false)?;
        let newer = Some(looked.version) != seen && looked.freshness == Freshness::Fresh;
        newer.then_some(looked.value)
    }

    fn begin(&self, key: &K) -> Begun {
        Begun {
            at: self.store.told.clock.now(),
            changes: self.store.shelf.changes(key),
        }
    }
}

/// The begin of a load.
#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Instant,
    /// What was forgotten by then; more since means that the load may be out of date.
    changes: u64,
}

impl<K, T, E, O: Observe> Store<K, T, E, O> {
    fn served(&self, reason: Reason) {
        self.told
            .refused(|service| Event::FallbackStarted { service, reason });
    }

    fn passed(&self) {
        self.told
            .passed(|service, served| Event::FallbackEnded { service, served });
    }
}

impl<K: Hash + Eq + Clone, T, E, O> Drop for Claim<K, T, E, O> {
    fn drop(&mut self) {
        let shelf = &self.cache.store.shelf;
        shelf.release(&self.key, self.version);
    }
}

impl<K, T, E, O> fmt::Debug for Cache<K, T, E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.store.told.name)
            .field("len", &self.len())
            .field("rules", &self.store.rules)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
