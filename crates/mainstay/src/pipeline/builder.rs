//! Puts policies into the canonical order, whatever order they are named in.

use std::fmt;
use std::time::Duration;

use mainstay_core::event::Observe;

use super::Pipeline;
use super::canonical::Canonical;
use crate::breaker::{self, Breaker};
use crate::bulkhead::{self, Bulkhead};
use crate::classify::ErrorsFail;
use crate::clock::Clock;
use crate::concurrency_limit::{self, ConcurrencyLimit};
use crate::fault::Faults;
use crate::hedge::{self, Hedge};
use crate::name::Name;
use crate::rate_limit::{self, RateLimiter};
use crate::retry::{self, BackoffConfigError, BudgetConfigError, Retry};
use crate::throttle::Throttle;
use crate::timeout;

/// Makes a [`Pipeline`]. A stage that is not named is not there. All policies have the same kind of
/// observer `O`.
#[must_use = "ends with build()"]
pub struct Builder<C = ErrorsFail, O: Observe = ()> {
    name: Name,
    stages: Canonical<O>,
    classify: C,
    clock: Option<Clock>,
}

/// A value that no pipeline can work with.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A time limit is zero or above [`LIMIT_MAX`](timeout::LIMIT_MAX).
    #[error("{field} is {value:?}; set more than zero and at most a year")]
    Limit {
        /// Which one.
        field: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// The longest backoff is below the first.
    #[error(
        "retry: backoff_max is {backoff_max:?}, below backoff, which is {backoff:?}; \
         set it as long or longer"
    )]
    BackoffMax {
        /// The first wait.
        backoff: Duration,
        /// The longest wait, which is shorter.
        backoff_max: Duration,
    },
    /// It is in the retries.
    #[error("retry: {0}")]
    Retry(#[from] retry::ConfigError),
    /// It is in the backoff between attempts.
    #[error("retry: {0}")]
    Backoff(#[from] BackoffConfigError),
    /// It is in the retry budget.
    #[error("retry: {0}")]
    Budget(#[from] BudgetConfigError),
    /// It is in the bulkhead.
    #[error("bulkhead: {0}")]
    Bulkhead(#[from] bulkhead::ConfigError),
    /// It is in the breaker.
    #[error("breaker: {0}")]
    Breaker(#[from] breaker::ConfigError),
    /// It is in the rate limit.
    #[error("rate_limit: {0}")]
    RateLimit(#[from] rate_limit::ConfigError),
    /// It is in the concurrency limit.
    #[error("concurrency_limit: {0}")]
    ConcurrencyLimit(#[from] concurrency_limit::ConfigError),
    /// It is in the hedge.
    #[error(transparent)]
    Hedge(#[from] hedge::ConfigError),
}

impl<O: Observe> Builder<ErrorsFail, O> {
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            stages: Canonical::default(),
            classify: ErrorsFail,
            clock: None,
        }
    }
}

impl<C, O: Observe> Builder<C, O> {
    pub(super) const fn name(&self) -> &Name {
        &self.name
    }

    /// The time for the whole call, with its queues, backoffs and attempts: above zero, at most
    /// [`LIMIT_MAX`](timeout::LIMIT_MAX). None, unless set.
    pub fn deadline(mut self, total: Duration) -> Self {
        self.stages.deadline = Some(total);
        self
    }

    /// Tries again. Its [`total`](crate::retry::Builder::total) counts, too, where it is the
    /// earlier one.
    pub fn retry(mut self, retry: Retry<O>) -> Self {
        self.stages.retry = Some(retry);
        self
    }

    /// So many calls per period; a call that is tried again counts once.
    pub fn rate_limit(mut self, limiter: RateLimiter<O>) -> Self {
        self.stages.rate_limit = Some(limiter);
        self
    }

    /// Sends copies of slow attempts of idempotent calls. Give it the budget of the retries.
    pub fn hedge(mut self, hedge: Hedge<O>) -> Self {
        self.stages.hedge = Some(hedge);
        self
    }

    /// Turns calls away while the callee fails.
    pub fn breaker(mut self, breaker: Breaker<O>) -> Self {
        self.stages.breaker = Some(breaker);
        self
    }

    /// Turns calls away that the callee would refuse for overload.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.stages.throttle = Some(throttle);
        self
    }

    /// As many calls at a time as are answered in time; see [`Terms::priority`](super::Terms).
    pub fn concurrency_limit(mut self, limit: ConcurrencyLimit<O>) -> Self {
        self.stages.concurrency_limit = Some(limit);
        self
    }

    /// So many calls at a time.
    pub fn bulkhead(mut self, bulkhead: Bulkhead<O>) -> Self {
        self.stages.bulkhead = Some(bulkhead);
        self
    }

    /// The time for one attempt, from when it has its place: above zero, at most
    /// [`LIMIT_MAX`](timeout::LIMIT_MAX). None, unless set.
    pub fn timeout(mut self, attempt: Duration) -> Self {
        self.stages.timeout = Some(attempt);
        self
    }

    /// Breaks attempts on purpose, once it is switched on. An injected error is a
    /// [rejection](crate::Rejection) that counts as a failure of the callee, and answers are never
    /// falsified: a pipeline cannot make what it does not know. For those, use
    /// [`Faults::call`] inside of the call.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.stages.faults = Some(faults);
        self
    }

    /// Says what results mean. Without one, each `Err` is a failure that another attempt may mend.
    pub fn classify<D>(self, classify: D) -> Builder<D, O> {
        let Self {
            name,
            stages,
            classify: _,
            clock,
        } = self;
        Builder {
            name,
            stages,
            classify,
            clock,
        }
    }

    /// The clock to read. One for all policies is best; instants are translated for those that
    /// have another.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The pipeline of the stages that were named.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Limit`] for a deadline or a timeout that is zero or above
    /// [`LIMIT_MAX`](timeout::LIMIT_MAX).
    pub fn build(self) -> Result<Pipeline<Canonical<O>, C>, ConfigError> {
        checked("deadline", self.stages.deadline)?;
        checked("timeout", self.stages.timeout)?;
        let clock = self.clock.unwrap_or_default();
        let grain = self.stages.grain();
        Ok(Pipeline::new(
            self.name,
            self.stages,
            self.classify,
            (clock, grain),
        ))
    }
}

fn checked(field: &'static str, value: Option<Duration>) -> Result<(), ConfigError> {
    match timeout::refused(value) {
        Some(value) => Err(ConfigError::Limit { field, value }),
        None => Ok(()),
    }
}

impl<C, O: Observe> fmt::Debug for Builder<C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}
