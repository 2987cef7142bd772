//! Coalescing (Go's `singleflight`): all who ask the same question at the same time share one call.
//!
//! Prevents the same question from being asked a thousand times at once: the herd that finds a
//! cache empty, a page that everybody reloads. For questions only: calls that change something are
//! not to be merged.
//!
//! The first caller of a key leads: it alone polls its own future, and the others wait for the
//! result without ever starting theirs. When the leader is dropped, the caller that has waited
//! longest is promoted and starts its own. So a call may begin again from the start, but nothing is
//! boxed, spawned or `'static`, and a leader that goes away takes nobody with it.
//!
//! Always holds: at most one call per key is in flight, and the old one is dropped before the next
//! one starts; nobody waits for a leader that is gone; a key is removed exactly once.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::error::{Cause, Error, Policy, Rejection};
use crate::name::Name;

mod blocking;
mod flight;
mod future;
mod layer;
mod lazy;
mod service;

pub(crate) use blocking::block_on;
use flight::Flights;
pub use future::CoalesceFuture;
pub use layer::CoalesceLayer;
pub(crate) use lazy::Lazy;
pub use service::{CoalesceService, CoalesceServiceFuture};

/// How much may be coalesced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Keys in flight at a time. A call beyond it is made, but by itself: it is for a bulkhead to
    /// refuse it. Default: 10,000.
    pub keys: NonZeroU32,
    /// Callers that may wait for one call. One beyond it is refused: if it called by itself, the
    /// herd would be back. Default: 10,000.
    pub waiters: NonZeroU32,
}

impl Default for Config {
    /// 10,000 keys, and 10,000 callers for each.
    fn default() -> Self {
        const MANY: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999);
        Self {
            keys: MANY,
            waiters: MANY,
        }
    }
}

/// Merges calls with the same key. Cheap to clone; all clones share the calls in flight.
///
/// Results are shared by `Clone`: wrap what is large, or cannot be cloned, in an `Arc`. A call must
/// not ask its own `Coalesce` for its own key: it would wait for itself.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::cell::Cell;
/// use mainstay::Coalesce;
///
/// let coalesce = Coalesce::builder("users").build();
/// let asked = Cell::new(0);
/// let ask = async || {
///     asked.set(asked.get() + 1);
///     tokio::task::yield_now().await;
///     Ok::<_, &str>("Ada")
/// };
/// let (first, second) = tokio::join!(coalesce.call(7, ask()), coalesce.call(7, ask()));
/// assert_eq!((first, second), (Ok("Ada"), Ok("Ada")));
/// assert_eq!(asked.get(), 1);
/// # });
/// ```
pub struct Coalesce<K, T, E> {
    shared: Arc<Shared<K, T, E>>,
}

struct Shared<K, T, E> {
    flights: Flights<K, Result<T, Error<E>>>,
    name: Name,
}

/// Makes a [`Coalesce`].
#[derive(Debug)]
#[must_use = "ends with build()"]
pub struct Builder {
    name: Name,
    config: Config,
}

impl Coalesce<(), (), ()> {
    /// Coalescing for the service called `name`.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder {
            name: name.into(),
            config: Config::default(),
        }
    }
}

impl<K: Hash + Eq + Clone, T: Clone, E: Clone> Coalesce<K, T, E> {
    /// Gives the result of the call for `key` that is in flight, or of `future` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`], cloned for each caller, when the call failed; [`Error::Rejected`] with
    /// [`Cause::Unanswered`] when it panicked in its leader, and with [`Cause::QueueFull`] when too
    /// many wait for it already.
    pub async fn call<F>(&self, key: K, future: F) -> Result<T, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let future = async { future.await.map_err(Error::Inner) };
        self.call_nested(key, future).await
    }

    /// As [`call`](Self::call), around a call through other policies.
    ///
    /// # Errors
    ///
    /// Of the returned future, as [`call`](Self::call), and that of the other policies, cloned for
    /// each caller.
    pub fn call_nested<F>(&self, key: K, future: F) -> CoalesceFuture<K, T, E, F>
    where
        F: Future<Output = Result<T, Error<E>>>,
    {
        CoalesceFuture::new(self.clone(), Some(key), future)
    }

    /// The blocking form of [`call`](Self::call): `work` runs on the thread that leads, and the
    /// others sleep meanwhile. Threads and asynchronous callers may share a call.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking(
        &self,
        key: K,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        block_on(self.call(key, async { work() }))
    }
}

impl<K, T, E> Coalesce<K, T, E> {
    /// Keys whose calls are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.flights.len()
    }

    fn flights(&self) -> &Flights<K, Result<T, Error<E>>> {
        &self.shared.flights
    }

    fn rejection(&self, cause: Cause) -> Error<E> {
        Error::Rejected(Rejection {
            policy: Policy::Coalesce,
            name: self.shared.name.clone(),
            cause,
            retry_after: None,
        })
    }
}

impl<K, T, E> Clone for Coalesce<K, T, E> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Builder {
    /// How much may be coalesced.
    pub const fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The policy, with nothing in flight.
    pub fn build<K, T, E>(self) -> Coalesce<K, T, E> {
        Coalesce {
            shared: Arc::new(Shared {
                flights: Flights::new(self.config),
                name: self.name,
            }),
        }
    }
}

impl<K, T, E> fmt::Debug for Coalesce<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesce")
            .field("name", &self.shared.name)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
