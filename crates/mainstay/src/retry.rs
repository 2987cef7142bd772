//! Retries: attempts of one call, one deadline for all of them, one budget for the whole service.
//!
//! Prevents one lost packet from becoming a lost request, and retries from becoming a storm. The
//! decisions are those of [`mainstay_core::retry`]. Nothing is held during a backoff, and dropping
//! the call's future ends it at once.
//!
//! What an [`Outcome`](crate::Outcome) means here:
//!
//! | outcome | |
//! |---|---|
//! | `Success`, `Permanent`, `Ignored` | the result is returned as it is |
//! | `Failure` | another attempt, if the call is idempotent or was provably never sent |
//! | `Throttled` | the same, and not before the callee's wish |
//!
//! A call that an inner policy rejected was never sent. It is tried again only when the rejection
//! says when that helps and there is time for it: before, the same endpoint would reject it again.
//! A classifier that calls a rejection a failure has it tried again after a backoff, which is
//! right where each attempt picks its endpoint anew.
//!
//! Of retries around each other only the outermost retries: three levels of three attempts would
//! be 27 calls at the bottom ("Site Reliability Engineering", O'Reilly 2016, chapter 22). Retries
//! know of each other by the [ambient](crate::deadline) of the call, within one process.

use std::convert::identity;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::event::Observe;
use mainstay_core::random::SharedRandom;
use mainstay_core::retry::{self, RETRY_AFTER_MAX};
use mainstay_core::time::Deadline;

use crate::classify::{Classify, ErrorsFail, Nested};
use crate::clock::Clock;
use crate::deadline::Ambient;
use crate::error::Error;
use crate::timeout::{self, Limited};

mod budget;
mod course;
mod future;
mod layer;
mod repeat;
mod service;
mod stage;

use course::{Course, Next};

pub use budget::{
    BudgetConfig, BudgetConfigError, Builder as BudgetBuilder, RetryBudget, TokensConfig,
};
pub use future::RetryFuture;
pub use layer::RetryLayer;
pub use mainstay_core::retry::{
    Backoff, BackoffConfig, BackoffConfigError, Growth, Jitter, Pushback, pushback, retry_after,
};
pub use repeat::{Cloned, Repeat};
pub use service::RetryService;

/// Tries calls again. Cheap to clone; all clones share the budget.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::{Retry, RetryBudget};
///
/// let budget = RetryBudget::builder("payment").build().unwrap();
/// let retry = Retry::builder(budget).build().unwrap();
/// let answer = retry
///     .call(async |attempt| if attempt.number < 3 { Err("reset") } else { Ok("paid") })
///     .await;
/// assert_eq!(answer, Ok("paid"));
/// # });
/// ```
#[derive_where(Clone)]
pub struct Retry<O = ()> {
    plan: Arc<Plan<O>>,
    idempotent: bool,
}

struct Plan<O> {
    retry: retry::Retry,
    total: Option<Duration>,
    even_when_nested: bool,
    budget: RetryBudget<O>,
    clock: Clock,
    random: SharedRandom,
}

/// One attempt, as the call sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first. Send it along, and the callee can tell a retry from a new call.
    pub number: u32,
    /// When the whole call is over; [`Deadline::NEVER`] when nothing limits it.
    pub deadline: Deadline,
}

/// A configured value that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The time for the whole call is this: zero, or above
    /// [`LIMIT_MAX`](crate::timeout::LIMIT_MAX).
    #[error("total is {0:?}; set more than zero and at most a year, or none")]
    Total(Duration),
}

/// Makes a [`Retry`].
#[must_use = "ends with build()"]
pub struct Builder<O = ()> {
    retry: retry::Retry,
    total: Option<Duration>,
    idempotent: bool,
    even_when_nested: bool,
    budget: RetryBudget<O>,
    clock: Option<Clock>,
    seed: Option<u64>,
}

/// The number of the attempt that this code works for, as the retry closest around it counts;
/// `None` when there is none.
pub fn current_attempt() -> Option<u32> {
    let number = Ambient::current().attempt;
    (number > 0).then_some(number)
}

impl<O: Observe> Retry<O> {
    /// Retries that are charged to `budget`: at most three attempts, the backoff of
    /// [`BackoffConfig::default`], no total limit.
    pub fn builder(budget: RetryBudget<O>) -> Builder<O> {
        Builder {
            retry: retry::Retry {
                attempts: const { NonZeroU32::MIN.saturating_add(2) },
                backoff: Backoff::default(),
                retry_after_max: RETRY_AFTER_MAX,
            },
            total: None,
            idempotent: true,
            even_when_nested: false,
            budget,
            clock: None,
            seed: None,
        }
    }

    /// The same retries for calls that may be made twice, or for ones that must not: of those only
    /// what was provably never sent is tried again.
    #[must_use]
    pub fn idempotent(&self, idempotent: bool) -> Self {
        Self {
            plan: Arc::clone(&self.plan),
            idempotent,
        }
    }

    /// What retries are charged to.
    pub fn budget(&self) -> &RetryBudget<O> {
        &self.plan.budget
    }

    /// Makes a call; each error is worth another attempt.
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with).
    pub fn call<T, E>(
        &self,
        operation: impl AsyncFnMut(Attempt) -> Result<T, E>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        self.call_with(operation, ErrorsFail)
    }

    /// Makes a call; `classify` says of each result whether it is worth another attempt.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`] with the last attempt's error when no attempt is left or none would end in
    /// time, [`Error::BudgetExhausted`] with it when the budget is used up, [`Error::Timeout`] when
    /// the time was up during an attempt, and [`Error::Rejected`] with
    /// [`Cause::NoTime`](crate::error::Cause::NoTime) when it was up before. An answer that failed
    /// is returned as it is when there is no other attempt.
    pub fn call_with<T, E>(
        &self,
        operation: impl AsyncFnMut(Attempt) -> Result<T, E>,
        classify: impl Classify<T, E>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        self.attempts(operation, Error::Inner, Nested(classify))
    }

    /// [`call_with`](Self::call_with) of a call that has policies inside, whose errors are flat
    /// already. `classify` is usually [`Nested`].
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with).
    pub fn call_flat<T, E>(
        &self,
        operation: impl AsyncFnMut(Attempt) -> Result<T, Error<E>>,
        classify: impl Classify<T, Error<E>>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        self.attempts(operation, identity, classify)
    }

    /// The attempts; `flat` makes the one error of what they give.
    async fn attempts<T, X, E>(
        &self,
        mut operation: impl AsyncFnMut(Attempt) -> Result<T, X>,
        flat: fn(X) -> Error<E>,
        classify: impl Classify<T, Error<E>>,
    ) -> Result<T, Error<E>> {
        let mut course = Course::begin(self).map_err(Error::Rejected)?;
        loop {
            let attempt = operation(course.attempt());
            let result = match Limited::new(course.mark(), course.limit(), attempt).await {
                Ok(result) => result.map_err(flat),
                Err(elapsed) => return Err(elapsed.into_error()),
            };
            match course.next(self, &result, &classify) {
                Next::Done => return result,
                Next::Again { after } => tokio::time::sleep(after).await,
                Next::Exhausted => return result.map_err(Error::exhausted),
            }
        }
    }

    /// [`call`](Self::call) for blocking code: the backoff holds up this thread. No attempt is cut
    /// off by the deadline, for a thread cannot be; it sees what is left in [`Attempt::deadline`].
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with), except that nothing times out.
    pub fn call_blocking<T, E>(
        &self,
        operation: impl FnMut(Attempt) -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        self.call_blocking_with(operation, ErrorsFail)
    }

    /// [`call_with`](Self::call_with) for blocking code.
    ///
    /// # Errors
    ///
    /// As [`call_blocking`](Self::call_blocking).
    #[expect(
        clippy::disallowed_methods,
        reason = "the caller chose the form that blocks"
    )]
    pub fn call_blocking_with<T, E>(
        &self,
        mut operation: impl FnMut(Attempt) -> Result<T, E>,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let mut course = Course::begin(self).map_err(Error::Rejected)?;
        let classify = Nested(classify);
        loop {
            let attempt = course.mark().enter(|| operation(course.attempt()));
            let result = attempt.map_err(Error::Inner);
            match course.next(self, &result, &classify) {
                Next::Done => return result,
                Next::Again { after } => std::thread::sleep(after),
                Next::Exhausted => return result.map_err(Error::exhausted),
            }
        }
    }
}

impl<O: Observe> Builder<O> {
    /// Attempts in all, the first included; 1 tries nothing again. 3, unless set.
    pub fn attempts(mut self, attempts: NonZeroU32) -> Self {
        self.retry.attempts = attempts;
        self
    }

    /// The wait between attempts. [`Backoff::default`], unless set.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.retry.backoff = backoff;
        self
    }

    /// Longest wish of a callee that is waited for; one that is longer ends the call at once. With
    /// [`Duration::ZERO`] each wish does. A minute, unless set.
    pub fn retry_after_max(mut self, max: Duration) -> Self {
        self.retry.retry_after_max = max;
        self
    }

    /// Whether calls may be made twice, which is the default. Those that must not be are tried
    /// again only when they were provably never sent.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Tries again even inside of another retry, which then multiplies the attempts.
    pub fn even_when_nested(mut self) -> Self {
        self.even_when_nested = true;
        self
    }

    /// The time for the whole call: no attempt runs beyond it, no backoff reaches beyond it. More
    /// than zero, and at most [`LIMIT_MAX`](crate::timeout::LIMIT_MAX). None, unless set.
    pub fn total(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// The clock to read. By default the budget's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The seed of the jitter. Without one, each has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The retries.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Total`] for a time for the whole call that is zero or above
    /// [`LIMIT_MAX`](crate::timeout::LIMIT_MAX).
    pub fn build(self) -> Result<Retry<O>, ConfigError> {
        if let Some(total) = timeout::refused(self.total) {
            return Err(ConfigError::Total(total));
        }
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        Ok(Retry {
            plan: Arc::new(Plan {
                retry: self.retry,
                total: self.total,
                even_when_nested: self.even_when_nested,
                clock: self.clock.unwrap_or_else(|| self.budget.clock()),
                budget: self.budget,
                random: SharedRandom::seeded(seed),
            }),
            idempotent: self.idempotent,
        })
    }
}

impl<O: Observe> fmt::Debug for Retry<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("retry", &self.plan.retry)
            .field("total", &self.plan.total)
            .field("idempotent", &self.idempotent)
            .field("budget", &self.plan.budget)
            .finish_non_exhaustive()
    }
}

impl<O: Observe> fmt::Debug for Builder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("retry", &self.retry)
            .field("total", &self.total)
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
