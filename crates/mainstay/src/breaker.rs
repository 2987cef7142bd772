//! The circuit breaker for asynchronous code: reads the clock, holds the permit while the call
//! runs, and tells an observer of each transition.
//!
//! Prevents calls that pile up on an endpoint which only fails. The decisions are those of
//! [`mainstay_core::breaker`]. Always holds: a permit that is dropped without a result counts as
//! abandoned, or as a failure when its thread is panicking, so neither a cancelled nor a panicking
//! call wedges the circuit; and the observer is called under no lock.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::breaker::{self, Transition};
use mainstay_core::event::{Event, Observe};
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::Instant;

use crate::classify::{Classify, ErrorsFail};
use crate::clock::Clock;
use crate::error::{Cause, Error, Policy, Rejection};

mod stage;

pub use mainstay_core::breaker::{Config, ConfigError, Counts, Rejected, State};

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
#[derive(Clone)]
pub struct Breaker(Arc<Circuit>);

struct Circuit {
    engine: breaker::Breaker,
    name: Arc<str>,
    endpoint: Arc<str>,
    clock: Clock,
    observer: Arc<dyn Observe>,
}

/// The right to make one call through a [`Breaker`]; used up by the call's result.
///
/// Dropped without one, it counts as abandoned: a probe's slot is free again. Dropped by a panic,
/// it counts as a failure.
#[must_use = "a permit that is dropped at once says that the call was abandoned"]
pub struct Held<B: Borrow<Breaker>> {
    breaker: B,
    /// Taken by the first result.
    permit: Option<breaker::Permit>,
}

/// A permit that borrows its breaker.
pub type Permit<'a> = Held<&'a Breaker>;

/// A permit that may move into another task, a response body or a blocking thread.
pub type OwnedPermit = Held<Breaker>;

/// Makes a [`Breaker`].
#[must_use = "ends with build()"]
pub struct Builder {
    name: Arc<str>,
    endpoint: Arc<str>,
    config: Config,
    clock: Option<Clock>,
    observer: Arc<dyn Observe>,
    seed: Option<u64>,
}

impl Breaker {
    /// A breaker called `name`: the service that it guards.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder {
        Builder {
            name: name.into(),
            endpoint: Arc::from(""),
            config: Config::default(),
            clock: None,
            observer: Arc::new(()),
            seed: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The endpoint behind it; empty where there is none.
    pub fn endpoint(&self) -> &Arc<str> {
        &self.0.endpoint
    }

    /// Asks to make one call.
    ///
    /// # Errors
    ///
    /// [`Rejected`] while the circuit is open, or half-open with all probes out.
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejected> {
        self.try_acquire_at(self.0.clock.now())
    }

    /// [`try_acquire`](Self::try_acquire) for a caller that has just read the clock.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_at(&self, now: Instant) -> Result<Permit<'_>, Rejected> {
        let permit = self.acquire(now)?;
        Ok(Held::new(self, permit))
    }

    /// Asks to make one call whose end is somewhere else: in another task, at the end of a body.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(&self) -> Result<OwnedPermit, Rejected> {
        self.try_acquire_owned_at(self.0.clock.now())
    }

    /// [`try_acquire_owned`](Self::try_acquire_owned) for a caller that has just read the clock.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned_at(&self, now: Instant) -> Result<OwnedPermit, Rejected> {
        let permit = self.acquire(now)?;
        Ok(Held::new(self.clone(), permit))
    }

    /// Whether a call would be admitted just now; changes nothing. For balancers.
    pub fn would_admit(&self) -> bool {
        self.would_admit_at(self.0.clock.now())
    }

    /// [`would_admit`](Self::would_admit) for a caller that has just read the clock.
    pub fn would_admit_at(&self, now: Instant) -> bool {
        self.0.engine.would_admit(now)
    }

    /// The state of the circuit.
    pub fn state(&self) -> State {
        self.0.engine.state(self.0.clock.now())
    }

    /// Failures and calls in the window.
    pub fn counts(&self) -> Counts {
        self.0.engine.counts(self.0.clock.now())
    }

    /// Runs `future`, unless the circuit is open: then nothing of it starts. An `Err` is a failure.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] when the circuit is open, [`Error::Inner`] when the call failed.
    pub async fn call<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        self.call_with(future, ErrorsFail).await
    }

    /// Runs `future` as [`call`](Self::call) does; `classify` says what its result means.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_with<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let permit = self
            .try_acquire()
            .map_err(|rejected| Error::Rejected(self.rejection(rejected)))?;
        let result = future.await;
        permit.record(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// `rejected` with this breaker's name on it.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        Rejection {
            policy: Policy::Breaker,
            name: Arc::clone(&self.0.name),
            cause: Cause::CircuitOpen,
            retry_after: Some(rejected.retry_after),
        }
    }

    fn acquire(&self, now: Instant) -> Result<breaker::Permit, Rejected> {
        let admitted = self.0.engine.acquire(now)?;
        self.tell(admitted.transition);
        Ok(admitted.permit)
    }

    fn tell(&self, transition: Option<Transition>) {
        let Some(transition) = transition else {
            return;
        };
        let service = Arc::clone(&self.0.name);
        let endpoint = Arc::clone(&self.0.endpoint);
        self.0.observer.observe(match transition {
            Transition::Opened {
                reason,
                retry_after,
                cooldowns: _,
            } => Event::CircuitOpen {
                service,
                reason,
                endpoint,
                retry_after_ms: millis(retry_after),
            },
            Transition::HalfOpened => Event::CircuitHalfOpen { service, endpoint },
            Transition::Closed => Event::CircuitClosed { service, endpoint },
        });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<B: Borrow<Breaker>> Held<B> {
    const fn new(breaker: B, permit: breaker::Permit) -> Self {
        Self {
            breaker,
            permit: Some(permit),
        }
    }

    /// The call succeeded.
    pub fn success(self) {
        self.record(Outcome::Success);
    }

    /// The call failed.
    pub fn failure(self, reason: Reason) {
        self.record(Outcome::Failure(reason));
    }

    /// The call says nothing about the callee; a probe's slot is free again.
    pub fn ignore(self) {
        self.record(Outcome::Ignored);
    }

    /// The call ended so.
    pub fn record(self, outcome: Outcome) {
        let now = self.breaker.borrow().0.clock.now();
        self.record_at(outcome, now);
    }

    /// [`record`](Self::record) for a caller that has just read the clock.
    pub fn record_at(mut self, outcome: Outcome, now: Instant) {
        let breaker = self.breaker.borrow();
        if let Some(permit) = self.permit.take() {
            breaker.tell(breaker.0.engine.record(permit, outcome, now));
        }
    }
}

impl<B: Borrow<Breaker>> Drop for Held<B> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let breaker = self.breaker.borrow();
        let now = breaker.0.clock.now();
        let engine = &breaker.0.engine;
        breaker.tell(if std::thread::panicking() {
            engine.failure(permit, Reason::Panic, now)
        } else {
            engine.abandon(permit, now)
        });
    }
}

impl Builder {
    /// The endpoint behind the breaker, for events.
    pub fn endpoint(mut self, endpoint: impl Into<Arc<str>>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// When the circuit opens, and how it closes again.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Who hears of transitions. Called by the thread that made one, under no lock, in the order
    /// in which threads get there.
    pub fn observer(mut self, observer: Arc<dyn Observe>) -> Self {
        self.observer = observer;
        self
    }

    /// The clock to read. Callers that pass `now` must read the same one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The seed of the cooldown's jitter. Without one, each breaker has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The breaker, closed.
    ///
    /// # Errors
    ///
    /// A configured value that cannot work.
    pub fn build(self) -> Result<Breaker, ConfigError> {
        // Breakers of one seed would end their cooldowns in step.
        let seed = self
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(&*self.name));
        Ok(Breaker(Arc::new(Circuit {
            engine: breaker::Breaker::new(&self.config, seed)?,
            name: self.name,
            endpoint: self.endpoint,
            clock: self.clock.unwrap_or_default(),
            observer: self.observer,
        })))
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.0.name)
            .field("endpoint", &self.0.endpoint)
            .field("engine", &self.0.engine)
            .finish_non_exhaustive()
    }
}

impl<B: Borrow<Breaker>> fmt::Debug for Held<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
