//! The client throttle: what an overloaded callee would refuse is not sent.
//!
//! Prevents an overloaded callee from spending what it has left on refusing. The rule is that of
//! [`mainstay_core::limit::throttle`] (Site Reliability Engineering, chapter 21). Only
//! [`Outcome::Throttled`] says that the callee did not let a call in; a classifier that wants other
//! failures to count classifies them so. [`Outcome::Ignored`] says nothing.
//!
//! Always holds: a call that was let through counts once, by its outcome, or not at all when its
//! permit is dropped.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use mainstay_core::limit::throttle;
use mainstay_core::outcome::Outcome;
use mainstay_core::random::SharedRandom;

use crate::classify::{Classify, ErrorsFail};
use crate::clock::Clock;
use crate::error::{Cause, Error, Policy, Rejection};
use crate::name::Name;

mod future;
mod layer;
mod service;
mod stage;

pub use future::ThrottleFuture;
pub use layer::ThrottleLayer;
pub use mainstay_core::limit::throttle::{
    Counts, ThrottleConfig as Config, ThrottleConfigError as ConfigError,
};
pub use service::ThrottleService;

/// A client throttle. Cheap to clone; all clones share the counts.
///
/// ```
/// use mainstay::throttle::Throttle;
/// use mainstay::{Error, Outcome};
///
/// let throttle = Throttle::builder("search").build().unwrap();
/// // The callee refuses all calls: most are not even sent then.
/// for _ in 0..100 {
///     if let Ok(permit) = throttle.try_acquire() {
///         permit.record(Outcome::Throttled { retry_after: None });
///     }
/// }
/// assert!(throttle.probability() > 0.9);
/// ```
#[derive(Clone)]
pub struct Throttle(Arc<Throttled>);

struct Throttled {
    engine: throttle::Throttle,
    random: SharedRandom,
    name: Name,
    clock: Clock,
}

/// The right to send one call; used up by its result. Dropped without one, it counts as nothing.
#[must_use = "a permit that is dropped at once says nothing of the callee"]
pub struct Held<B: Borrow<Throttle>>(B);

/// A permit that borrows its throttle.
pub type Permit<'a> = Held<&'a Throttle>;

/// A permit that may move into another task, a response body or a blocking thread.
pub type OwnedPermit = Held<Throttle>;

/// Makes a [`Throttle`].
#[must_use = "ends with build()"]
pub struct Builder {
    name: Name,
    config: Config,
    clock: Option<Clock>,
    seed: Option<u64>,
}

impl Throttle {
    /// A throttle called `name`: the callee that it spares.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder {
            name: name.into(),
            config: Config::default(),
            clock: None,
            seed: None,
        }
    }

    /// Asks to send one call.
    ///
    /// # Errors
    ///
    /// [`Rejection`] with [`Cause::Shed`] when the callee would probably refuse it.
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejection> {
        self.0.check()?;
        Ok(Held(self))
    }

    /// Asks to send one call whose end is somewhere else.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(&self) -> Result<OwnedPermit, Rejection> {
        self.0.check()?;
        Ok(Held(self.clone()))
    }

    /// Runs `future`, unless the callee would probably refuse it: then nothing of it starts. An
    /// `Err` is a failure, which the callee has let in; see [`call_with`](Self::call_with).
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] as [`try_acquire`](Self::try_acquire), [`Error::Inner`] when the call
    /// failed.
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
        let permit = self.try_acquire().map_err(Error::Rejected)?;
        let result = future.await;
        permit.record(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// Runs `work` as [`call_with`](Self::call_with) does, on this thread.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let permit = self.try_acquire().map_err(Error::Rejected)?;
        let result = work();
        permit.record(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// With which probability a call would be turned away now: 0 to [`Config::rejection_max`].
    pub fn probability(&self) -> f64 {
        self.0.engine.probability(self.0.clock.coarse())
    }

    /// The calls that count now.
    pub fn counts(&self) -> Counts {
        self.0.engine.counts(self.0.clock.coarse())
    }
}

impl Throttled {
    fn check(&self) -> Result<(), Rejection> {
        // Cells are a tenth of a second or more: the coarse clock is good enough.
        self.engine
            .check(self.clock.coarse(), &self.random)
            .map_err(|throttle::Refused| Rejection {
                policy: Policy::Throttle,
                name: self.name.clone(),
                cause: Cause::Shed,
                retry_after: None,
            })
    }
}

impl<B: Borrow<Throttle>> Held<B> {
    /// The call ended so.
    pub fn record(self, outcome: Outcome) {
        let accepted = match outcome {
            Outcome::Success | Outcome::Failure(_) | Outcome::Permanent => true,
            Outcome::Throttled { .. } => false,
            Outcome::Ignored => return,
        };
        let throttled = &self.0.borrow().0;
        throttled.engine.record(accepted, throttled.clock.coarse());
    }
}

impl Builder {
    /// When calls are turned away.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The clock to read.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The seed of chance. Without one, each throttle has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The throttle, which has seen nothing.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to the configuration.
    pub fn build(self) -> Result<Throttle, ConfigError> {
        let seed = self
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(&*self.name));
        Ok(Throttle(Arc::new(Throttled {
            engine: throttle::Throttle::new(&self.config)?,
            random: SharedRandom::seeded(seed),
            name: self.name,
            clock: self.clock.unwrap_or_default(),
        })))
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("name", &self.0.name)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl<B: Borrow<Throttle>> fmt::Debug for Held<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThrottlePermit")
            .field(self.0.borrow())
            .finish()
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
