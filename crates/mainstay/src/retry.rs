//! Retries for asynchronous code: exponential backoff with full jitter, one deadline for the whole
//! call, one budget for the whole service.
//!
//! Prevents one lost packet from becoming a lost request, and retries from becoming a storm. The
//! decisions are those of [`mainstay_core::retry`]. Nothing is held during a backoff, and dropping
//! the call's future ends it at once.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::random::SharedRandom;
use mainstay_core::retry::{self, Backoff, Decision, Failed, GiveUpReason, Sent};
use mainstay_core::time::Deadline;

use crate::clock::Clock;
use crate::error::{Error, Scope};

mod budget;
mod stage;

pub use budget::{BudgetConfig, BudgetConfigError, Builder as BudgetBuilder, RetryBudget};

/// Tries calls again. Cheap to clone; all clones share the budget.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::{Retry, RetryBudget};
///
/// let budget = RetryBudget::builder("payment").build().unwrap();
/// let retry = Retry::builder(budget).build();
/// let answer = retry
///     .call(async |attempt| if attempt.number < 3 { Err("reset") } else { Ok("paid") })
///     .await;
/// assert_eq!(answer, Ok("paid"));
/// # });
/// ```
#[derive(Clone)]
pub struct Retry(Arc<Plan>);

struct Plan {
    retry: retry::Retry,
    total: Option<Duration>,
    budget: RetryBudget,
    clock: Clock,
    random: SharedRandom,
}

/// One attempt, as the call sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// When the whole call is over.
    pub deadline: Deadline,
}

/// Whether an error is worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// No: it would fail again, or it must not be done twice.
    No,
    /// Yes, after a backoff.
    Yes,
    /// Yes, but not before this time has passed: the callee asked for it.
    After(Duration),
}

/// Makes a [`Retry`].
#[must_use = "ends with build()"]
pub struct Builder {
    retry: retry::Retry,
    total: Option<Duration>,
    budget: RetryBudget,
    clock: Option<Clock>,
    seed: Option<u64>,
}

impl Retry {
    /// Retries that are charged to `budget`: at most three attempts, backoff from 25 ms to 1 s,
    /// no total limit.
    pub fn builder(budget: RetryBudget) -> Builder {
        Builder {
            retry: retry::Retry {
                attempts: const { NonZeroU32::MIN.saturating_add(2) },
                backoff: Backoff {
                    min: Duration::from_millis(25),
                    max: Duration::from_secs(1),
                },
            },
            total: None,
            budget,
            clock: None,
            seed: None,
        }
    }

    /// Makes an idempotent call: any error is worth another attempt.
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with).
    pub async fn call<T, E>(
        &self,
        operation: impl AsyncFnMut(Attempt) -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        self.call_with(operation, |_| Again::Yes).await
    }

    /// Makes a call; `again` says of each error whether another attempt may be made.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`] with the last attempt's error when no attempt is left or none would end in
    /// time, [`Error::BudgetExhausted`] with it when the budget is used up, and
    /// [`Error::Timeout`] when the total time was up during an attempt.
    pub async fn call_with<T, E>(
        &self,
        mut operation: impl AsyncFnMut(Attempt) -> Result<T, E>,
        again: impl Fn(&E) -> Again,
    ) -> Result<T, Error<E>> {
        let plan = &*self.0;
        let start = plan.clock.now();
        let deadline = plan
            .total
            .map_or(Deadline::NEVER, |total| Deadline::after(start, total));
        plan.budget.deposit();
        let mut number = 1;
        loop {
            let attempt = Attempt { number, deadline };
            let error = match plan.attempt(deadline, operation(attempt)).await? {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match plan.decide(attempt, again(&error)) {
                Decision::Retry { after } => tokio::time::sleep(after).await,
                Decision::GiveUp(GiveUpReason::Budget) => {
                    return Err(Error::BudgetExhausted(error));
                },
                Decision::GiveUp(
                    GiveUpReason::Attempts | GiveUpReason::Unsafe | GiveUpReason::Deadline,
                ) => return Err(Error::Inner(error)),
            }
            number += 1;
        }
    }
}

impl Plan {
    /// Runs one attempt, at most until the deadline of the whole call.
    async fn attempt<R, E>(
        &self,
        deadline: Deadline,
        future: impl Future<Output = R>,
    ) -> Result<R, Error<E>> {
        let Some(total) = self.total else {
            return Ok(future.await);
        };
        let timer = self.clock.timer(deadline.instant());
        tokio::time::timeout_at(timer, future)
            .await
            .map_err(|_elapsed| Error::Timeout {
                scope: Scope::Total,
                after: total,
            })
    }

    fn decide(&self, attempt: Attempt, again: Again) -> Decision {
        let failed = Failed {
            attempts_used: attempt.number,
            sent: Sent::Maybe,
            idempotent: again != Again::No,
            retry_after: match again {
                Again::After(wish) => Some(wish),
                Again::No | Again::Yes => None,
            },
            deadline: attempt.deadline,
        };
        let now = self.clock.now();
        self.budget
            .decide(&self.retry, &failed, now, &mut self.random.draw())
    }
}

impl Builder {
    /// Attempts in all, the first included.
    pub fn attempts(mut self, attempts: NonZeroU32) -> Self {
        self.retry.attempts = attempts;
        self
    }

    /// The wait between attempts: uniform from zero to `min`, then to twice that, up to `max`.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.retry.backoff = Backoff { min, max };
        self
    }

    /// The time for the whole call: no attempt runs beyond it, no backoff reaches beyond it.
    pub fn total(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// The clock to read; the budget's should be the same.
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
    pub fn build(self) -> Retry {
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        Retry(Arc::new(Plan {
            retry: self.retry,
            total: self.total,
            budget: self.budget,
            clock: self.clock.unwrap_or_default(),
            random: SharedRandom::seeded(seed),
        }))
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("retry", &self.0.retry)
            .field("total", &self.0.total)
            .field("budget", &self.0.budget)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("retry", &self.retry)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
