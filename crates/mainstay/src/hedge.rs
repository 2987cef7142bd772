//! Hedging: a second copy of a call that takes longer than most.
//!
//! Prevents the one slow answer in a hundred from making every page slow that needs a hundred (Dean
//! and Barroso, "The Tail at Scale", CACM 2013). A copy is sent when the call has taken longer than
//! a quantile of those before it, or than a fixed time; the first good answer wins. That copies are
//! charged as retries are, and how many there may be, is gRPC's (gRFC A6).
//!
//! Always holds: only calls that are marked as [`Idempotent`] are sent twice; each copy is charged
//! to the budget that retries are charged to, and without budget the call just goes on; the losers
//! are dropped before the winner is returned.

use std::convert::identity;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::event::Observe;
use mainstay_core::latency::Latency;
use mainstay_core::time::Instant;

use crate::classify::{Classify, ErrorsFail, Nested};
use crate::clock::Clock;
use crate::deadline::Ambient;
use crate::error::Error;
use crate::retry::RetryBudget;

mod config;
mod copies;
mod future;
mod layer;
mod race;
mod service;
mod stage;

use copies::{Once, Operation};
use race::Race;

pub use crate::retry::{Attempt, Cloned, Repeat};
pub use config::{Accept, COPIES_MAX, Config, ConfigError, DELAY_MAX, Delay};
pub use future::HedgeFuture;
pub use layer::HedgeLayer;
pub use service::HedgeService;

/// How long a quantile is remembered before the histogram is added up again.
const QUANTILE_REMEMBERED: Duration = Duration::from_millis(50);

/// No quantile is known.
const UNKNOWN: u64 = u64::MAX;

/// Sends copies of slow calls. Cheap to clone; all clones share latencies and budget.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use mainstay::hedge::{Config, Delay, Hedge, Idempotent};
/// use mainstay::RetryBudget;
///
/// let budget = RetryBudget::builder("catalog").build().unwrap();
/// let config = Config {
///     delay: Delay::Fixed(Duration::from_millis(5)),
///     ..Config::default()
/// };
/// let hedge = Hedge::builder(budget).config(config).build().unwrap();
/// let answer = hedge
///     .call(Idempotent(async |attempt: mainstay::retry::Attempt| {
///         if attempt.number == 1 {
///             std::future::pending::<()>().await; // stuck
///         }
///         Ok::<_, std::io::Error>("found")
///     }))
///     .await;
/// assert_eq!(answer.unwrap(), "found");
/// assert_eq!(hedge.won(), 1);
/// # });
/// ```
#[derive_where(Clone)]
pub struct Hedge<O = ()>(Arc<Plan<O>>);

/// Marks a call that may be made twice: it has the same effect once or many times.
#[derive(Clone, Copy, Debug)]
pub struct Idempotent<F>(pub F);

struct Plan<O> {
    config: Config,
    latency: Latency,
    /// The quantile that is waited for, in nanoseconds, and until when it is good.
    remembered: [AtomicU64; 2],
    budget: RetryBudget<O>,
    clock: Clock,
    sent: AtomicU64,
    won: AtomicU64,
    denied: AtomicU64,
}

/// Makes a [`Hedge`].
#[must_use = "ends with build()"]
pub struct Builder<O = ()> {
    config: Config,
    budget: RetryBudget<O>,
    clock: Option<Clock>,
}

impl<O: Observe> Hedge<O> {
    /// Hedges that are charged to `budget`, which should be that of the service's retries.
    pub fn builder(budget: RetryBudget<O>) -> Builder<O> {
        Builder {
            config: Config::default(),
            budget,
            clock: None,
        }
    }

    /// Makes a call that may be sent twice; an error is no answer as long as a copy may give one.
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with).
    pub fn call<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        operation: Idempotent<impl Fn(Attempt) -> F>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        self.call_with(operation, ErrorsFail)
    }

    /// Makes a call that may be sent twice; `classify` says which results are answers.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`] with the first copy's error when all copies failed, or with that of the
    /// first to answer under [`Accept::FirstAnswer`].
    pub fn call_with<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        Idempotent(operation): Idempotent<impl Fn(Attempt) -> F>,
        classify: impl Classify<T, E>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        let copies = Operation(operation);
        Race::new(&*self.0, copies, Nested(classify), Error::Inner)
    }

    /// [`call_with`](Self::call_with) of a call that has policies inside, whose errors are flat
    /// already. `classify` is usually [`Nested`].
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with).
    pub fn call_flat<T, E, F: Future<Output = Result<T, Error<E>>>>(
        &self,
        Idempotent(operation): Idempotent<impl Fn(Attempt) -> F>,
        classify: impl Classify<T, Error<E>>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        Race::new(&*self.0, Operation(operation), classify, identity)
    }

    /// Makes a call that must not be sent twice: its latency is learnt from, and that is all.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`] when the call failed.
    pub fn call_once<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        let copies = Once(Some(future));
        Race::new(&*self.0, copies, Nested(ErrorsFail), Error::Inner)
    }

    /// Copies that were sent, the first of each call not included.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Copies whose answer was the call's, the first of each call not included.
    pub fn won(&self) -> u64 {
        self.0.won.load(Ordering::Relaxed)
    }

    /// Copies that were due and that the budget denied.
    pub fn denied(&self) -> u64 {
        self.0.denied.load(Ordering::Relaxed)
    }

    /// How long a call may take just now before a copy is sent. A quantile is remembered for 50 ms.
    pub fn delay(&self) -> Duration {
        self.0.delay(self.0.clock.now())
    }
}

impl<O: Observe> Plan<O> {
    fn delay(&self, now: Instant) -> Duration {
        match self.config.delay {
            Delay::Fixed(delay) => delay,
            // Too little is known: the longest delay sends the fewest copies.
            Delay::Quantile { quantile, min, max } => self
                .remembered_quantile(quantile, now)
                .map_or(max, |latency| latency.clamp(min, max)),
        }
    }

    fn remembered_quantile(&self, quantile: f64, now: Instant) -> Option<Duration> {
        let [value, until] = &self.remembered;
        // Two threads may see the value of one and the time of the other: both are of just now.
        let nanos = if now.as_nanos() < until.load(Ordering::Relaxed) {
            value.load(Ordering::Relaxed)
        } else {
            let fresh = self.latency.quantile(quantile, now);
            let fresh = fresh.map_or(UNKNOWN, mainstay_core::time::nanos);
            value.store(fresh, Ordering::Relaxed);
            let good_until = now + QUANTILE_REMEMBERED;
            until.store(good_until.as_nanos(), Ordering::Relaxed);
            fresh
        };
        (nanos != UNKNOWN).then(|| Duration::from_nanos(nanos))
    }

    /// Whether a copy may be sent at `now`; the budget has been charged then.
    fn charge(&self, now: Instant) -> bool {
        if let Some(at) = Ambient::current().deadline {
            // Half of all calls take longer than that: it would most likely be for nothing.
            let needed = self.latency.quantile(0.5, now).unwrap_or_default();
            if self.clock.instant(at).since(now) <= needed {
                return false;
            }
        }
        let granted = self.budget.withdraw();
        if !granted {
            self.denied.fetch_add(1, Ordering::Relaxed);
        }
        granted
    }
}

impl<O: Observe> Builder<O> {
    /// When copies are sent, and how many.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The clock to read. By default the budget's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The hedge, which knows no latency yet.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to the configuration.
    pub fn build(self) -> Result<Hedge<O>, ConfigError> {
        self.config.validate()?;
        Ok(Hedge(Arc::new(Plan {
            latency: Latency::new(self.config.span).map_err(ConfigError::Span)?,
            config: self.config,
            remembered: [AtomicU64::new(UNKNOWN), AtomicU64::new(0)],
            clock: self.clock.unwrap_or_else(|| self.budget.clock()),
            budget: self.budget,
            sent: AtomicU64::new(0),
            won: AtomicU64::new(0),
            denied: AtomicU64::new(0),
        })))
    }
}

impl<O: Observe> fmt::Debug for Hedge<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("config", &self.0.config)
            .field("sent", &self.sent())
            .field("won", &self.won())
            .field("denied", &self.denied())
            .finish_non_exhaustive()
    }
}

impl<O> fmt::Debug for Builder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
