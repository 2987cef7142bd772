//! The concurrency limit that adapts: as many calls at a time as are served in time, a short queue,
//! and load shedding by priority.
//!
//! Prevents more calls than can be served in time, without anybody having to know how many that
//! are. The limit is that of [`mainstay_core::limit::adaptive`]. What does not fit waits a little:
//! the queue's order and its bound are those of [`mainstay_core::limit::delay`], so that a queue
//! that stands is served newest first and hardly waited in. The more important a call, the more of
//! the queue is open to it; it is served before less important ones, and takes the place of the
//! least important one in a full queue.
//!
//! Always holds: a call that finds a place free takes no lock; a place is never lost when a waiting
//! call goes away, not even in the moment when it is granted.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::Arc;

use derive_where::derive_where;
use mainstay_core::bulkhead::{self, Counts};
use mainstay_core::event::{Event, Observe};
use mainstay_core::limit::adaptive::Adaptive;
use mainstay_core::limit::delay::Delay;
use mainstay_core::outcome::Outcome;
use mainstay_core::time::{Deadline, Instant};

use crate::builder;
use crate::classify::{Classify, ErrorsFail};
use crate::clock::Clock;
use crate::error::{Cause, Error, Policy, Rejection};
use crate::gate::{Arrived, Gate, Gated, Patience};
use crate::name::Name;
use crate::told::Told;

mod future;
mod layer;
mod service;
mod stage;

pub use future::ConcurrencyLimitFuture;
pub use layer::ConcurrencyLimitLayer;
pub use mainstay_core::limit::adaptive::{
    AdaptiveConfig, AdaptiveConfigError, Aimd, Algorithm, Gradient, Vegas,
};
pub use mainstay_core::limit::delay::{DelayConfig, DelayConfigError};
pub use mainstay_core::limit::priority::Priority;
pub use service::ConcurrencyLimitService;

/// How the limit moves, and how many may wait how long.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// How the limit moves. Default: that of [`AdaptiveConfig`].
    pub limit: AdaptiveConfig,
    /// Calls that may wait for a place, at most [`QUEUE_MAX`](bulkhead::QUEUE_MAX); none when
    /// `None`. Default: 100.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub queue: Option<NonZeroU32>,
    /// How long they may wait. Default: that of [`DelayConfig`].
    pub delay: DelayConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limit: AdaptiveConfig::default(),
            queue: Some(const { NonZeroU32::MIN.saturating_add(99) }),
            delay: DelayConfig::default(),
        }
    }
}

/// A configured value that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is in how the limit moves.
    #[error(transparent)]
    Limit(#[from] AdaptiveConfigError),
    /// It is in how long calls may wait.
    #[error(transparent)]
    Delay(#[from] DelayConfigError),
}

/// A concurrency limit that adapts. Cheap to clone; all clones share the limit.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::Deadline;
/// use mainstay::concurrency_limit::{ConcurrencyLimit, Priority};
///
/// let limit = ConcurrencyLimit::builder("search").build().unwrap();
/// let answer = limit
///     .call(Deadline::NEVER, Priority::Normal, async { Ok::<_, std::io::Error>("found") })
///     .await;
/// assert_eq!(answer.unwrap(), "found");
///
/// // Nobody said how many calls the callee can serve: twenty at first, and then what it shows.
/// let places: Vec<_> = (0..20).map(|_| limit.try_acquire().unwrap()).collect();
/// assert!(limit.try_acquire().is_err(), "more would only wait");
/// # drop(places);
/// # });
/// ```
#[derive_where(Clone)]
pub struct ConcurrencyLimit<O = ()>(Arc<Limited<O>>);

struct Limited<O> {
    engine: Adaptive,
    gate: Gate,
    told: Told<O>,
}

/// A place in flight; used up by the call's result, from which the limit learns.
///
/// Dropped without one, it says nothing of the callee. Where a timeout drops the call, put the
/// timeout inside the limit: then it is a result.
#[must_use = "the place is free again as soon as the permit is dropped"]
pub struct Held<B: Borrow<ConcurrencyLimit<O>>, O: Observe = ()> {
    limit: B,
    started: Instant,
    observer: PhantomData<O>,
}

/// A place that borrows its limit.
pub type Permit<'a, O = ()> = Held<&'a ConcurrencyLimit<O>, O>;

/// A place that may move into another task, a response body or a blocking thread.
pub type OwnedPermit<O = ()> = Held<ConcurrencyLimit<O>, O>;

/// Makes a [`ConcurrencyLimit`]. Its observer hears that load is being shed, and that it no longer
/// is: one pair per overload, not one per call.
pub type Builder<O = ()> = builder::Builder<Config, (), O>;

impl ConcurrencyLimit {
    /// A limit called `name`: what it guards.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into(), ())
    }
}

impl<O: Observe> ConcurrencyLimit<O> {
    /// Takes a place if one is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`Rejection`] when there is none: with [`Cause::Shed`], or with [`Cause::QueueFull`] when
    /// not even the queue has room.
    pub fn try_acquire(&self) -> Result<Permit<'_, O>, Rejection> {
        try_take(self)
    }

    /// Takes a place as [`try_acquire`](Self::try_acquire) does, for a call that ends elsewhere.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(&self) -> Result<OwnedPermit<O>, Rejection> {
        try_take(self.clone())
    }

    /// Takes a place, waiting for it if it must: as long as the queue allows, and until `deadline`.
    ///
    /// Dropping the returned future leaves the queue.
    ///
    /// # Errors
    ///
    /// [`Rejection`] with [`Cause::QueueFull`] when the queue is full, with [`Cause::Shed`] when it
    /// is for this priority, or when a more important call took this one's place in it, and with
    /// [`Cause::QueueWait`] when no place became free in time.
    pub async fn acquire(
        &self,
        deadline: Deadline,
        priority: Priority,
    ) -> Result<Permit<'_, O>, Rejection> {
        take(self, deadline, priority).await
    }

    /// Takes a place as [`acquire`](Self::acquire) does, for a call that ends elsewhere.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_owned(
        &self,
        deadline: Deadline,
        priority: Priority,
    ) -> Result<OwnedPermit<O>, Rejection> {
        take(self.clone(), deadline, priority).await
    }

    /// Takes a place as [`acquire`](Self::acquire) does, stopping this thread until it has one. For
    /// blocking code only: a runtime's thread must not be stopped.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_blocking(
        &self,
        deadline: Deadline,
        priority: Priority,
    ) -> Result<Permit<'_, O>, Rejection> {
        match arrive(self, deadline, priority)? {
            Arrived::Entered(limit) => Ok(admit(limit)),
            Arrived::Queued(queued) => self.0.settle(queued.block()),
        }
    }

    /// Runs `future` in a place; nothing of it starts without one. An `Err` is a failure that says
    /// nothing of the limit.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] as [`acquire`](Self::acquire), [`Error::Inner`] when the call failed.
    pub async fn call<T, E>(
        &self,
        deadline: Deadline,
        priority: Priority,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        self.call_with(deadline, priority, future, ErrorsFail).await
    }

    /// Runs `future` as [`call`](Self::call) does; `classify` says what its result means.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_with<T, E>(
        &self,
        deadline: Deadline,
        priority: Priority,
        future: impl Future<Output = Result<T, E>>,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let permit = self.acquire(deadline, priority).await;
        let permit = permit.map_err(Error::Rejected)?;
        let result = future.await;
        permit.record(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// Runs `work` in a place, on this thread, which is stopped until there is one.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E>(
        &self,
        deadline: Deadline,
        priority: Priority,
        work: impl FnOnce() -> Result<T, E>,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let permit = self.acquire_blocking(deadline, priority);
        let permit = permit.map_err(Error::Rejected)?;
        let result = work();
        permit.record(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// The limit of this moment, in calls at a time.
    pub fn limit(&self) -> NonZeroU32 {
        self.0.engine.limit()
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> u32 {
        self.0.counts().in_flight
    }

    /// Calls that wait.
    pub fn queued(&self) -> u32 {
        self.0.counts().queued
    }
}

impl<O: Observe> Gated for ConcurrencyLimit<O> {
    fn gate(&self) -> &Gate {
        &self.0.gate
    }

    fn counts(&self) -> &bulkhead::Bulkhead {
        self.0.engine.permits()
    }

    fn clock(&self) -> Clock {
        self.0.told.clock
    }
}

/// The handle has a place, which the permit gives back.
fn admit<B: Borrow<ConcurrencyLimit<O>>, O: Observe>(limit: B) -> Held<B, O> {
    let limited = &limit.borrow().0;
    limited.passed();
    Held {
        started: limited.told.clock.now(),
        limit,
        observer: PhantomData,
    }
}

fn try_take<B, O>(limit: B) -> Result<Held<B, O>, Rejection>
where
    B: Borrow<ConcurrencyLimit<O>>,
    O: Observe,
{
    let limited = &limit.borrow().0;
    match limited.engine.permits().enter() {
        Ok(()) => Ok(admit(limit)),
        Err(bulkhead::Full(counts)) => Err(limited.refuse_full(counts)),
    }
}

/// Takes a place or lines up for one.
fn arrive<B, O>(limit: B, deadline: Deadline, priority: Priority) -> Result<Arrived<B>, Rejection>
where
    B: Borrow<ConcurrencyLimit<O>> + Gated + Clone,
    O: Observe,
{
    if limit.counts().enter().is_ok() {
        return Ok(Arrived::Entered(limit));
    }
    let refused = limit.clone();
    Gate::arrive(limit, priority, deadline).map_err(|counts| refused.borrow().0.refuse_full(counts))
}

async fn take<B, O>(
    limit: B,
    deadline: Deadline,
    priority: Priority,
) -> Result<Held<B, O>, Rejection>
where
    B: Borrow<ConcurrencyLimit<O>> + Gated + Clone,
    O: Observe,
{
    let handle = limit.clone();
    match arrive(limit, deadline, priority)? {
        Arrived::Entered(limit) => Ok(admit(limit)),
        Arrived::Queued(queued) => handle.borrow().0.settle(queued.wait().await),
    }
}

impl<O: Observe> Limited<O> {
    fn counts(&self) -> Counts {
        self.engine.permits().counts()
    }

    /// What came of waiting.
    fn settle<B>(&self, ended: Result<B, Cause>) -> Result<Held<B, O>, Rejection>
    where
        B: Borrow<ConcurrencyLimit<O>>,
    {
        ended
            .map(admit)
            .map_err(|cause| self.refuse(cause, self.counts()))
    }

    fn passed(&self) {
        self.told
            .passed(|service, rejected| Event::LoadShedEnded { service, rejected });
    }

    fn refuse_full(&self, counts: Counts) -> Rejection {
        let queue = self.engine.permits().limits().queue;
        let full = counts.queued >= queue.map_or(0, NonZeroU32::get);
        // Else there is room, but not for calls that matter so little.
        let cause = if full { Cause::QueueFull } else { Cause::Shed };
        self.refuse(cause, counts)
    }

    fn refuse(&self, cause: Cause, counts: Counts) -> Rejection {
        self.told.refused(|service| Event::LoadShedStarted {
            service,
            in_flight: counts.in_flight,
            limit: self.engine.limit().get(),
        });
        self.told.rejection(Policy::ConcurrencyLimit, cause, None)
    }
}

impl<B: Borrow<ConcurrencyLimit<O>>, O: Observe> Held<B, O> {
    /// The call succeeded.
    pub fn success(self) {
        self.record(Outcome::Success);
    }

    /// The call says nothing of the callee.
    pub fn ignore(self) {
        drop(self);
    }

    /// The call ended so.
    pub fn record(self, outcome: Outcome) {
        let limited = &self.limit.borrow().0;
        let now = limited.told.clock.now();
        if limited.engine.record(self.started, outcome, now) {
            limited.gate.promote(limited.engine.permits());
        }
        // Dropped now: the place is given back after it has been counted.
    }
}

impl<B: Borrow<ConcurrencyLimit<O>>, O: Observe> Drop for Held<B, O> {
    fn drop(&mut self) {
        let limited = &self.limit.borrow().0;
        limited.gate.leave(limited.engine.permits());
        limited.passed();
    }
}

impl<O> Builder<O> {
    /// The limit, at its initial value.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Limit`] or [`ConfigError::Delay`], with what cannot work.
    pub fn build(self) -> Result<ConcurrencyLimit<O>, ConfigError> {
        let (config, (), told) = self.into_parts();
        let Config {
            limit,
            queue,
            delay,
        } = config;
        Ok(ConcurrencyLimit(Arc::new(Limited {
            engine: Adaptive::new(&limit, queue, told.clock.now())?,
            gate: Gate::new(Patience::Controlled(Delay::new(&delay)?)),
            told,
        })))
    }
}

impl<O: Observe> fmt::Debug for ConcurrencyLimit<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("name", &self.0.told.name)
            .field("limit", &self.limit())
            .field("counts", &self.0.counts())
            .finish_non_exhaustive()
    }
}

impl<B: Borrow<ConcurrencyLimit<O>>, O: Observe> fmt::Debug for Held<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyPermit")
            .field("limit", self.limit.borrow())
            .field("started", &self.started)
            .finish()
    }
}

#[cfg(test)]
mod tests;
