//! The bulkhead: so many calls at a time, a bounded queue, a bounded wait.
//!
//! Prevents one slow upstream from using up every task and all memory (Nygard, "Release It!", 2007,
//! "Bulkheads"): what does not fit is turned away at once, and what waits does not wait for ever.
//! Waiting calls go first come, first served.
//!
//! Always holds: never more than the limit in flight, never more than the limit in the queue, and
//! no place is lost when a waiting call is dropped, not even in the moment when it is granted.
//! [`mainstay_core::bulkhead`] owns the limits and the counts. A call that finds a place free, and
//! gives it back with nobody waiting, takes no lock and no memory.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::bulkhead::{self, Counts, Limits, LimitsError};
use mainstay_core::event::{Event, Observe};
use mainstay_core::limit::priority::Priority;
use mainstay_core::time::Deadline;

use crate::builder;
use crate::clock::Clock;
use crate::error::{Cause, Error, Policy, Rejection};
pub use crate::gate::NoQueueWait;
use crate::gate::{Arrived, Gate, Gated, Patience};
use crate::name::Name;
use crate::told::Told;

mod future;
mod layer;
mod service;

pub use future::BulkheadFuture;
pub use layer::BulkheadLayer;
pub use service::BulkheadService;

mod stage;

/// How many calls at a time, and how many may wait how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Calls in flight, at most [`IN_FLIGHT_MAX`](bulkhead::IN_FLIGHT_MAX). Default: 256.
    pub in_flight: NonZeroU32,
    /// Calls that may wait for a place, at most [`QUEUE_MAX`](bulkhead::QUEUE_MAX); none when
    /// `None`. Default: 64.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub queue: Option<NonZeroU32>,
    /// How long one may wait; more than zero where there is a queue. Default: 200 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    pub queue_wait: Duration,
}

/// A configured value that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// More calls than can be counted, in flight or in the queue.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// Calls may wait, and have no time for it.
    #[error(transparent)]
    QueueWait(#[from] NoQueueWait),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight: const { NonZeroU32::MIN.saturating_add(255) },
            queue: Some(const { NonZeroU32::MIN.saturating_add(63) }),
            queue_wait: Duration::from_millis(200),
        }
    }
}

/// A bulkhead. Cheap to clone; all clones share the places.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use mainstay::{Bulkhead, Deadline, bulkhead::Config};
///
/// let bulkhead = Bulkhead::builder("payment")
///     .config(Config { in_flight: NonZeroU32::MIN, queue: None, queue_wait: Duration::ZERO })
///     .build()
///     .unwrap();
/// let first = bulkhead.acquire(Deadline::NEVER).await.unwrap();
/// assert!(bulkhead.acquire(Deadline::NEVER).await.is_err(), "one at a time, nobody waits");
/// drop(first);
/// assert!(bulkhead.acquire(Deadline::NEVER).await.is_ok());
/// # });
/// ```
#[derive_where(Clone)]
pub struct Bulkhead<O = ()>(Arc<Hull<O>>);

struct Hull<O> {
    counts: bulkhead::Bulkhead,
    gate: Gate,
    told: Told<O>,
}

/// A place in flight; free again when dropped, and only then. It cannot be given back twice:
///
/// ```compile_fail,E0382
/// let permit = mainstay::Bulkhead::builder("payment").build().unwrap().try_acquire().unwrap();
/// drop(permit);
/// drop(permit);
/// ```
#[must_use = "the place is free again as soon as the permit is dropped"]
pub struct Held<B: Borrow<Bulkhead<O>>, O: Observe = ()>(B, PhantomData<O>);

/// A place that borrows its bulkhead: for a call that is awaited where it is made.
pub type Permit<'a, O = ()> = Held<&'a Bulkhead<O>, O>;

/// A place that may move into another task or a blocking thread, and should: it is taken as long
/// as the work runs, not as long as somebody waits for it.
pub type BulkheadPermit<O = ()> = Held<Bulkhead<O>, O>;

/// Makes a [`Bulkhead`]. Its observer hears that it is full, and that it recovered: one pair per
/// overload, not one per call.
pub type Builder<O = ()> = builder::Builder<Config, (), O>;

impl Bulkhead {
    /// A bulkhead called `name`: the service that it guards.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into(), ())
    }
}

impl<O: Observe> Bulkhead<O> {
    /// Takes a place, waiting for it in the queue if it must: until a place is free, the
    /// configured wait or `deadline` is over.
    ///
    /// Dropping the returned future leaves the queue.
    ///
    /// # Errors
    ///
    /// [`Rejection`] with [`Cause::QueueFull`] when the queue is full, and with
    /// [`Cause::QueueWait`] when no place became free in time.
    pub async fn acquire(&self, deadline: Deadline) -> Result<BulkheadPermit<O>, Rejection> {
        match self.try_acquire() {
            Some(permit) => Ok(permit),
            None => take(self.clone(), deadline).await,
        }
    }

    /// Takes a place as [`acquire`](Self::acquire) does, in a permit that borrows the bulkhead.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn enter(&self, deadline: Deadline) -> Result<Permit<'_, O>, Rejection> {
        match self.try_enter() {
            Some(permit) => Ok(permit),
            None => take(self, deadline).await,
        }
    }

    /// Takes a place, stopping this thread until it has one. For blocking code only: a runtime's
    /// thread must not be stopped.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_blocking(&self, deadline: Deadline) -> Result<BulkheadPermit<O>, Rejection> {
        match self.try_acquire() {
            Some(permit) => Ok(permit),
            None => take_blocking(self.clone(), deadline),
        }
    }

    /// Takes a place if one is free and nobody waits for it. The observer hears of no refusal here.
    pub fn try_acquire(&self) -> Option<BulkheadPermit<O>> {
        self.0.counts.enter().ok()?;
        Some(admit(self.clone()))
    }

    /// Takes a place as [`try_acquire`](Self::try_acquire) does, in a permit that borrows the
    /// bulkhead.
    pub fn try_enter(&self) -> Option<Permit<'_, O>> {
        self.0.counts.enter().ok()?;
        Some(admit(self))
    }

    /// Runs `future` in a place; nothing of it starts without one.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] as [`acquire`](Self::acquire), [`Error::Inner`] when the call failed.
    pub async fn call<T, E>(
        &self,
        deadline: Deadline,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        let _place = self.enter(deadline).await.map_err(Error::Rejected)?;
        future.await.map_err(Error::Inner)
    }

    /// Runs `work` in a place, on this thread, which is stopped until there is one.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E>(
        &self,
        deadline: Deadline,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        let _place = match self.try_enter() {
            Some(permit) => permit,
            None => take_blocking(self, deadline).map_err(Error::Rejected)?,
        };
        work().map_err(Error::Inner)
    }

    /// Sets how many calls may be in flight and how many may wait. Calls in flight stay, so after
    /// a lower limit nobody enters until enough of them have left; after a higher one, those who
    /// wait enter at once.
    pub fn resize(&self, in_flight: NonZeroU32, queue: Option<NonZeroU32>) {
        self.0.counts.resize_queue(queue);
        if self.0.counts.resize(in_flight) {
            self.0.gate.promote(&self.0.counts);
        }
    }

    /// Most calls in flight and in the queue.
    pub fn limits(&self) -> Limits {
        self.0.counts.limits()
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> u32 {
        self.0.counts.counts().in_flight
    }

    /// Calls that wait.
    pub fn queued(&self) -> u32 {
        self.0.counts.counts().queued
    }
}

impl<O: Observe> Gated for Bulkhead<O> {
    fn gate(&self) -> &Gate {
        &self.0.gate
    }

    fn counts(&self) -> &bulkhead::Bulkhead {
        &self.0.counts
    }

    fn clock(&self) -> Clock {
        self.0.told.clock
    }
}

/// The handle has a place, which the permit gives back.
fn admit<B: Borrow<Bulkhead<O>>, O: Observe>(bulkhead: B) -> Held<B, O> {
    bulkhead.borrow().0.passed();
    Held(bulkhead, PhantomData)
}

/// Takes a place or lines up for one.
fn arrive<B, O>(bulkhead: B, deadline: Deadline) -> Result<Arrived<B>, Rejection>
where
    B: Borrow<Bulkhead<O>> + Gated + Clone,
    O: Observe,
{
    let refused = bulkhead.clone();
    Gate::arrive(bulkhead, Priority::Normal, deadline)
        .map_err(|counts| refused.borrow().0.refuse(Cause::QueueFull, counts))
}

async fn take<B, O>(bulkhead: B, deadline: Deadline) -> Result<Held<B, O>, Rejection>
where
    B: Borrow<Bulkhead<O>> + Gated + Clone,
    O: Observe,
{
    let handle = bulkhead.clone();
    match arrive(bulkhead, deadline)? {
        Arrived::Entered(bulkhead) => Ok(admit(bulkhead)),
        Arrived::Queued(queued) => settle(queued.wait().await, handle.borrow()),
    }
}

fn take_blocking<B, O>(bulkhead: B, deadline: Deadline) -> Result<Held<B, O>, Rejection>
where
    B: Borrow<Bulkhead<O>> + Gated + Clone,
    O: Observe,
{
    let handle = bulkhead.clone();
    match arrive(bulkhead, deadline)? {
        Arrived::Entered(bulkhead) => Ok(admit(bulkhead)),
        Arrived::Queued(queued) => settle(queued.block(), handle.borrow()),
    }
}

/// What came of waiting.
fn settle<B, O>(ended: Result<B, Cause>, bulkhead: &Bulkhead<O>) -> Result<Held<B, O>, Rejection>
where
    B: Borrow<Bulkhead<O>>,
    O: Observe,
{
    match ended {
        Ok(bulkhead) => Ok(admit(bulkhead)),
        Err(cause) => Err(bulkhead.0.refuse(cause, bulkhead.0.counts.counts())),
    }
}

impl<O: Observe> Hull<O> {
    fn passed(&self) {
        self.told
            .passed(|service, rejected| Event::BulkheadRecovered { service, rejected });
    }

    fn refuse(&self, cause: Cause, counts: Counts) -> Rejection {
        self.told.refused(|service| Event::BulkheadFull {
            service,
            in_flight: counts.in_flight,
            queued: counts.queued,
        });
        self.told.rejection(Policy::Bulkhead, cause, None)
    }
}

impl<B: Borrow<Bulkhead<O>>, O: Observe> Drop for Held<B, O> {
    fn drop(&mut self) {
        let hull = &self.0.borrow().0;
        hull.gate.leave(&hull.counts);
        hull.passed();
    }
}

impl<O> Builder<O> {
    /// The bulkhead, empty.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Limits`] for more calls than can be counted, [`ConfigError::QueueWait`] for a
    /// queue without time to wait in it.
    pub fn build(self) -> Result<Bulkhead<O>, ConfigError> {
        let (config, (), told) = self.into_parts();
        let Config {
            in_flight,
            queue,
            queue_wait,
        } = config;
        let limits = Limits { in_flight, queue };
        limits.check()?;
        NoQueueWait::check(queue, queue_wait)?;
        Ok(Bulkhead(Arc::new(Hull {
            counts: bulkhead::Bulkhead::new(limits),
            gate: Gate::new(Patience::Fixed(queue_wait)),
            told,
        })))
    }
}

impl<O> fmt::Debug for Bulkhead<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead")
            .field("name", &self.0.told.name)
            .field("counts", &self.0.counts)
            .finish_non_exhaustive()
    }
}

impl<B: Borrow<Bulkhead<O>>, O: Observe> fmt::Debug for Held<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BulkheadPermit")
            .field(self.0.borrow())
            .finish()
    }
}

#[cfg(test)]
mod tests;
