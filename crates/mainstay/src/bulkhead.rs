//! The bulkhead for asynchronous code: so many calls at a time, a bounded queue, a bounded wait.
//!
//! Prevents one slow upstream from using up every task and all memory: what does not fit is turned
//! away at once, and what waits does not wait for ever. Waiting calls go first come, first served.
//!
//! Always holds: never more than the limit in flight, never more than the limit in the queue, and
//! no place is lost when a waiting call is dropped, not even in the moment when it is granted. The
//! semaphore owns the places and their order; [`mainstay_core::bulkhead`] owns the limits and the
//! counts. A call leaves the counts before it gives its place back, so they never run ahead.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::bulkhead::{self, Counts, Limits};
use mainstay_core::edge::Edge;
use mainstay_core::event::{Event, Observe};
use mainstay_core::time::Deadline;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::error::{Cause, Error, Policy, Rejection};

mod stage;

/// How many calls at a time, and how many may wait how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Calls in flight.
    pub in_flight: NonZeroU32,
    /// Calls that may wait for a place; none when `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub queue: Option<NonZeroU32>,
    /// How long one may wait.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    pub queue_wait: Duration,
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
///     .build();
/// let first = bulkhead.acquire(Deadline::NEVER).await.unwrap();
/// assert!(bulkhead.acquire(Deadline::NEVER).await.is_err(), "one at a time, nobody waits");
/// drop(first);
/// assert!(bulkhead.acquire(Deadline::NEVER).await.is_ok());
/// # });
/// ```
#[derive(Clone)]
pub struct Bulkhead(Arc<Hull>);

struct Hull {
    counts: bulkhead::Bulkhead,
    places: Arc<Semaphore>,
    queue_wait: Duration,
    edge: Edge,
    name: Arc<str>,
    clock: Clock,
    observer: Arc<dyn Observe>,
}

/// A place in flight; free again when dropped. May move into another task or a blocking thread,
/// and should: the place is taken as long as the work runs, not as long as somebody waits for it.
#[must_use = "the place is free again as soon as the permit is dropped"]
pub struct BulkheadPermit {
    hull: Arc<Hull>,
    /// Released after the counts, see the order of `drop`.
    _place: OwnedSemaphorePermit,
}

/// A place in the queue; free again when dropped.
struct Waiting<'a> {
    hull: &'a Arc<Hull>,
    promoted: bool,
}

/// Makes a [`Bulkhead`].
#[must_use = "ends with build()"]
pub struct Builder {
    name: Arc<str>,
    config: Config,
    clock: Option<Clock>,
    observer: Arc<dyn Observe>,
}

impl Bulkhead {
    /// A bulkhead called `name`: the service that it guards.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder {
        Builder {
            name: name.into(),
            config: Config::default(),
            clock: None,
            observer: Arc::new(()),
        }
    }

    /// Takes a place, waiting for it in the queue if it must: until a place is free, the
    /// configured wait or `deadline` is over.
    ///
    /// Dropping the returned future leaves the queue.
    ///
    /// # Errors
    ///
    /// [`Rejection`] when the queue is full, or no place became free in time.
    pub async fn acquire(&self, deadline: Deadline) -> Result<BulkheadPermit, Rejection> {
        match self.try_acquire() {
            Some(permit) => Ok(permit),
            None => self.0.wait(deadline).await,
        }
    }

    /// Takes a place if one is free and nobody waits for it.
    pub fn try_acquire(&self) -> Option<BulkheadPermit> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        // Holding a place means that the counts have room.
        self.0.counts.enter().ok()?;
        Some(self.0.admit(place))
    }

    /// Runs `future` in a place; nothing of it starts without one.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] when there was no place, [`Error::Inner`] when the call failed.
    pub async fn call<T, E>(
        &self,
        deadline: Deadline,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        let _place = self.acquire(deadline).await.map_err(Error::Rejected)?;
        future.await.map_err(Error::Inner)
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

impl Hull {
    async fn wait(self: &Arc<Self>, deadline: Deadline) -> Result<BulkheadPermit, Rejection> {
        if let Err(bulkhead::Full(counts)) = self.counts.queue() {
            return Err(self.refuse(Cause::QueueFull, counts));
        }
        let waiting = Waiting {
            hull: self,
            promoted: false,
        };
        let wait_until = Deadline::after(self.clock.now(), self.queue_wait).earlier(deadline);
        let timer = self.clock.timer(wait_until.instant());
        // A place that is granted while the timer fires goes to the next in the queue: dropping
        // the semaphore's future hands it on.
        let place = tokio::time::timeout_at(timer, Arc::clone(&self.places).acquire_owned()).await;
        match place {
            Ok(Ok(place)) if waiting.promote() => Ok(self.admit(place)),
            // The semaphore is never closed, and a place means that the counts have room: both
            // other cases are the one that is left, the time being up.
            Ok(_) | Err(_) => Err(self.refuse(Cause::QueueWait, self.counts.counts())),
        }
    }

    fn admit(self: &Arc<Self>, place: OwnedSemaphorePermit) -> BulkheadPermit {
        self.passed();
        BulkheadPermit {
            hull: Arc::clone(self),
            _place: place,
        }
    }

    fn passed(&self) {
        if !self.edge.is_active() {
            return;
        }
        if let Some(rejected) = self.edge.passed(self.clock.now()) {
            self.observer.observe(Event::BulkheadRecovered {
                service: Arc::clone(&self.name),
                rejected,
            });
        }
    }

    fn refuse(&self, cause: Cause, counts: Counts) -> Rejection {
        if self.edge.refused(self.clock.now()) {
            self.observer.observe(Event::BulkheadFull {
                service: Arc::clone(&self.name),
                in_flight: counts.in_flight,
                queued: counts.queued,
            });
        }
        Rejection {
            policy: Policy::Bulkhead,
            name: Arc::clone(&self.name),
            cause,
            retry_after: None,
        }
    }
}

impl Waiting<'_> {
    /// Moves into flight.
    fn promote(mut self) -> bool {
        self.promoted = self.hull.counts.promote().is_ok();
        self.promoted
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.promoted {
            self.hull.counts.give_up();
        }
    }
}

impl Drop for BulkheadPermit {
    fn drop(&mut self) {
        // Before the place goes to another call, which then finds room in the counts.
        self.hull.counts.leave();
        self.hull.passed();
    }
}

impl Builder {
    /// How many calls, and how long they may wait.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Who hears that the bulkhead is full and that it recovered: one pair per overload, not one
    /// per call.
    pub fn observer(mut self, observer: Arc<dyn Observe>) -> Self {
        self.observer = observer;
        self
    }

    /// The clock to read.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The bulkhead, empty.
    pub fn build(self) -> Bulkhead {
        let Config {
            in_flight,
            queue,
            queue_wait,
        } = self.config;
        let places = usize::try_from(in_flight.get()).unwrap_or(Semaphore::MAX_PERMITS);
        Bulkhead(Arc::new(Hull {
            counts: bulkhead::Bulkhead::new(Limits { in_flight, queue }),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            queue_wait,
            edge: Edge::new(),
            name: self.name,
            clock: self.clock.unwrap_or_default(),
            observer: self.observer,
        }))
    }
}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead")
            .field("name", &self.0.name)
            .field("counts", &self.0.counts)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BulkheadPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadPermit").finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
