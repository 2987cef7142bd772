//! The circuit breaker: reads the clock, holds the permit while the call runs, and tells an
//! observer of each transition.
//!
//! Prevents calls that pile up on an endpoint which only fails. The decisions are those of
//! [`mainstay_core::breaker`]. Always holds: a permit that is dropped without a result counts as
//! abandoned, or as a failure when its thread is panicking, so neither a cancelled nor a panicking
//! call wedges the circuit; and the observer is called under no lock.
//!
//! A healthy call costs a few nanoseconds: the coarse clock serves for windows and cooldowns, the
//! precise one is read for failures, at the end of a cooldown, and where calls count as slow within
//! a few milliseconds. A breaker that only counts failures in a row reads no clock and writes
//! nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::breaker::{self, Admitted, Transition};
use mainstay_core::event::{Event, Observe};
use mainstay_core::time::Instant;

use crate::classify::{Classify, ErrorsFail};
use crate::error::{Cause, Error, Policy, Rejection};
use crate::name::Name;

mod builder;
mod call;
mod control;
mod future;
mod layer;
mod permit;
mod service;
mod stage;
mod timed;

pub use mainstay_core::breaker::{
    Abandoned, Config, ConfigError, Counts, Mode, Rejected, Slow, Span, State,
};

pub use builder::{Builder, Extra, Family};
use call::Call;
pub use future::BreakerFuture;
pub use layer::BreakerLayer;
pub use permit::{Held, OwnedPermit, Permit};
pub use service::BreakerService;
use timed::Timed;

/// A circuit breaker. Cheap to clone; all clones are one circuit.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::{Breaker, Error};
///
/// let breaker = Breaker::builder("payment").build().unwrap();
/// let answer = breaker.call(async { Ok::<_, std::io::Error>("paid") }).await;
/// assert_eq!(answer.unwrap(), "paid");
///
/// // Five failures in a row open it: the next call is turned away before it starts.
/// for _ in 0..5 {
///     let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
///     breaker.call(async { Err::<(), _>(refused) }).await.unwrap_err();
/// }
/// let rejected = breaker.call(async { Ok::<_, std::io::Error>("never runs") }).await;
/// assert!(matches!(rejected, Err(Error::Rejected(_))));
/// # });
/// ```
#[derive_where(Clone)]
pub struct Breaker<O = ()>(Arc<Circuit<O>>);

/// The engine comes first: it keeps what it reads away from the counts of the `Arc`.
#[repr(C)]
struct Circuit<O> {
    engine: breaker::Breaker,
    family: Family<O>,
    endpoint: Arc<str>,
}

impl Breaker {
    /// A breaker called `name`: the service that it guards.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into(), Extra::default())
    }
}

impl<O: Observe> Breaker<O> {
    /// Its name.
    pub fn name(&self) -> &Name {
        self.0.family.name()
    }

    /// The endpoint behind it; empty where there is none.
    pub fn endpoint(&self) -> &Arc<str> {
        &self.0.endpoint
    }

    /// Asks to make one call.
    ///
    /// # Errors
    ///
    /// [`Rejected`] while the circuit is open, half-open with all probes out, or in its ramp for
    /// the share of calls that must wait.
    #[expect(
        clippy::inline_always,
        reason = "a permit that takes a detour through memory costs as much as counting its call"
    )]
    #[inline(always)]
    pub fn try_acquire(&self) -> Result<Permit<'_, O>, Rejected> {
        let permit = self.acquire()?;
        Ok(Held::new(self, permit))
    }

    /// [`try_acquire`](Self::try_acquire) for a caller that has just read the clock.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_at(&self, now: Instant) -> Result<Permit<'_, O>, Rejected> {
        let permit = self.acquire_at(now)?;
        Ok(Held::new(self, permit))
    }

    /// Asks to make one call whose end is somewhere else: in another task, at the end of a body.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(&self) -> Result<OwnedPermit<O>, Rejected> {
        let permit = self.acquire()?;
        Ok(Held::new(self.clone(), permit))
    }

    /// [`try_acquire_owned`](Self::try_acquire_owned) for a caller that has just read the clock.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned_at(&self, now: Instant) -> Result<OwnedPermit<O>, Rejected> {
        let permit = self.acquire_at(now)?;
        Ok(Held::new(self.clone(), permit))
    }

    /// Whether a call would be admitted just now; changes nothing. For balancers.
    pub fn would_admit(&self) -> bool {
        self.would_admit_at(self.now())
    }

    /// [`would_admit`](Self::would_admit) for a caller that has just read the clock.
    pub fn would_admit_at(&self, now: Instant) -> bool {
        self.0.engine.would_admit(now)
    }

    /// The state of the circuit.
    pub fn state(&self) -> State {
        self.0.engine.state(self.now())
    }

    /// Failures, slow calls and all calls in the window; zeros while the circuit is open or
    /// half-open.
    pub fn counts(&self) -> Counts {
        self.0.engine.counts(self.now())
    }

    /// Results that came in another state than that in which their call began, and changed
    /// nothing; modulo 2^32.
    pub fn stale_total(&self) -> u32 {
        self.0.engine.stale_total()
    }

    /// Runs `future`, unless the circuit is open: then nothing of it starts. An `Err` is a failure.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with [`Cause::CircuitOpen`] when the circuit did not let it through,
    /// [`Error::Inner`] when the call failed.
    pub fn call<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        self.call_with(future, ErrorsFail)
    }

    /// Runs `future` as [`call`](Self::call) does; `classify` says what its result means.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    #[inline]
    pub fn call_with<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
        classify: impl Classify<T, E>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        Call::new(self, future, classify)
    }

    /// Runs `work` in this thread, unless the circuit is open. An `Err` is a failure.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        self.call_blocking_with(work, ErrorsFail)
    }

    /// Runs `work` as [`call_blocking`](Self::call_blocking) does; `classify` says what its result
    /// means.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking_with<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let permit = self
            .try_acquire()
            .map_err(|rejected| self.refuse(rejected))?;
        let result = work();
        permit.record(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// `rejected` with this breaker's name on it, as [`call`](Self::call) gives it: the cause is
    /// [`Cause::CircuitOpen`], also for a circuit in its ramp.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        Rejection {
            policy: Policy::Breaker,
            name: self.name().clone(),
            cause: Cause::CircuitOpen,
            retry_after: rejected.retry_after,
        }
    }

    #[cold]
    fn refuse<E>(&self, rejected: Rejected) -> Error<E> {
        Error::Rejected(self.rejection(rejected))
    }

    #[inline]
    fn acquire(&self) -> Result<breaker::Permit, Rejected> {
        if let Some(permit) = self.0.engine.acquire_untimed() {
            return Ok(permit);
        }
        let timed = self.timed();
        match timed.reject() {
            Some(left) => Err(Rejected {
                retry_after: Some(left),
            }),
            None => self.admitted(timed.acquire()),
        }
    }

    fn acquire_at(&self, now: Instant) -> Result<breaker::Permit, Rejected> {
        self.admitted(self.0.engine.acquire(now))
    }

    #[inline]
    fn admitted(&self, asked: Result<Admitted, Rejected>) -> Result<breaker::Permit, Rejected> {
        let admitted = asked?;
        self.tell(admitted.transition);
        Ok(admitted.permit)
    }

    #[inline]
    fn timed(&self) -> Timed<'_> {
        Timed {
            engine: &self.0.engine,
            clock: self.0.family.clock(),
        }
    }

    /// The precise time.
    fn now(&self) -> Instant {
        self.0.family.clock().now()
    }

    #[inline]
    fn tell(&self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.observe(transition);
        }
    }

    #[cold]
    fn observe(&self, transition: Transition) {
        self.0
            .family
            .observer()
            .observe_with(|| self.event(transition));
    }

    fn event(&self, transition: Transition) -> Event {
        let service = Arc::from(self.name());
        let endpoint = Arc::clone(&self.0.endpoint);
        match transition {
            Transition::Opened {
                reason,
                retry_after,
                cooldowns: _,
            } => Event::CircuitOpen {
                service,
                reason,
                endpoint,
                // One that was opened by hand says so with its reason.
                retry_after_ms: retry_after.map_or(0, millis),
            },
            Transition::HalfOpened => Event::CircuitHalfOpen { service, endpoint },
            Transition::Closed => Event::CircuitClosed { service, endpoint },
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<O: Observe> fmt::Debug for Breaker<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", self.name())
            .field("endpoint", &self.0.endpoint)
            .field("engine", &self.0.engine)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
