//! Whether a failed call is tried again, and when.
//!
//! Prevents two failures: one lost packet becomes a lost request, and retries multiply the load of
//! an upstream that is already failing. A call is tried again only when that cannot do harm (it is
//! idempotent, or provably never arrived), when its deadline leaves time for the wait, and when
//! the [`Allowance`] that all calls of a service share still has room.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::random::Random;
use crate::time::{Deadline, Instant};

mod allowance;
mod backoff;
mod budget;
mod retry_after;
mod tokens;

pub use allowance::{Allowance, Charge};
pub use backoff::{BACKOFF_MAX, Backoff, BackoffConfig, BackoffConfigError, Growth, Jitter};
pub use budget::{Budget, BudgetConfig, BudgetConfigError, TTL_MAX, TTL_MIN};
pub use retry_after::{Pushback, pushback, retry_after};
pub use tokens::{TOKENS_MAX, Tokens, TokensConfig};

/// Longest wish of a callee that is waited for, a minute, unless configured otherwise. A call that
/// comes back after more than that finds nobody who still wants its answer.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// Whether an attempt may have had an effect at the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sent {
    /// Nothing left this process, or the callee provably did not look at it: what gRPC retries
    /// transparently (gRFC A6).
    Never,
    /// It may have been worked on.
    Maybe,
}

/// How often a call is tried, and how far apart.
///
/// ```
/// use core::num::NonZeroU32;
/// use mainstay_core::random::Random;
/// use mainstay_core::retry::{
///     Backoff, Budget, BudgetConfig, Decision, Failed, GiveUpReason, RETRY_AFTER_MAX, Retry, Sent,
/// };
/// use mainstay_core::time::{Deadline, Duration, Instant};
///
/// let retry = Retry {
///     attempts: NonZeroU32::new(3).unwrap(),
///     backoff: Backoff::default(),
///     retry_after_max: RETRY_AFTER_MAX,
/// };
/// let mut failed = Failed {
///     attempts_used: 1,
///     sent: Sent::Maybe,
///     idempotent: true,
///     retry_after: None,
///     waited: Duration::ZERO,
///     deadline: Deadline::NEVER,
/// };
/// // One retry per second is all that there is, in this second.
/// let config = BudgetConfig { ratio: 0.0, floor: 1, ttl: Duration::from_secs(1) };
/// let budget = Budget::new(&config).unwrap();
/// let mut decide = |failed: &Failed| {
///     retry.decide(failed, &budget, Instant::from_millis(1), &mut Random::seeded(7))
/// };
/// assert!(matches!(decide(&failed), Decision::Retry { .. }));
/// assert_eq!(decide(&failed), Decision::GiveUp(GiveUpReason::Budget), "no storm");
///
/// // A payment that may have been worked on is not made twice.
/// failed.idempotent = false;
/// assert_eq!(decide(&failed), Decision::GiveUp(GiveUpReason::Unsafe));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::struct_field_names,
    reason = "`Retry-After` is the name of the wish in HTTP"
)]
pub struct Retry {
    /// Attempts in all, the first included; 1 tries nothing again.
    pub attempts: NonZeroU32,
    /// The wait between them.
    pub backoff: Backoff,
    /// Longest wish of a callee that is waited for. A longer one is not shortened, for the callee
    /// would be asked too early: the call fails at once. Zero waits for none.
    pub retry_after_max: Duration,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Attempts made so far, this one included: from 1.
    pub attempts_used: u32,
    /// Whether it may have had an effect.
    pub sent: Sent,
    /// Whether the call may be made twice.
    pub idempotent: bool,
    /// How long the callee asked to be left alone (`Retry-After`); `None` when it did not say.
    pub retry_after: Option<Duration>,
    /// The backoff before this attempt, without what a callee asked for; zero before the first.
    pub waited: Duration,
    /// The end of the whole call; [`Deadline::NEVER`] when there is none.
    pub deadline: Deadline,
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again; the budget has been charged.
    Retry {
        /// After this wait: the callee's wish, and the backoff on top.
        after: Duration,
        /// The part of it that is backoff: [`Failed::waited`] of the next attempt.
        backoff: Duration,
    },
    /// Hand the last failure to the caller, for this reason.
    GiveUp(GiveUpReason),
}

/// Why a call is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUpReason {
    /// All attempts are used.
    Attempts,
    /// It is not idempotent and may have had an effect.
    Unsafe,
    /// The wait would reach past the deadline.
    Deadline,
    /// The callee asked for a longer wait than is allowed.
    RetryAfter,
    /// The retry budget is used up.
    Budget,
}

impl GiveUpReason {
    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Unsafe => "unsafe",
            Self::Deadline => "deadline",
            Self::RetryAfter => "retry_after",
            Self::Budget => "budget",
        }
    }
}

impl Retry {
    /// Decides about `failed` at `now`. The budget is asked last, so that it is charged for
    /// retries only.
    pub fn decide(
        &self,
        failed: &Failed,
        budget: &(impl Charge + ?Sized),
        now: Instant,
        random: &mut Random,
    ) -> Decision {
        if failed.attempts_used >= self.attempts.get() {
            return Decision::GiveUp(GiveUpReason::Attempts);
        }
        if failed.sent == Sent::Maybe && !failed.idempotent {
            return Decision::GiveUp(GiveUpReason::Unsafe);
        }
        // The callee's own wish is a lower bound: jitter comes on top, never off it.
        let wish = failed.retry_after.unwrap_or(Duration::ZERO);
        if wish > self.retry_after_max {
            return Decision::GiveUp(GiveUpReason::RetryAfter);
        }
        let backoff = self
            .backoff
            .after(failed.attempts_used, failed.waited, random);
        let after = wish.saturating_add(backoff);
        let in_time = failed
            .deadline
            .remaining(now)
            .is_some_and(|left| after < left);
        if !in_time {
            return Decision::GiveUp(GiveUpReason::Deadline);
        }
        if !budget.withdraw(now) {
            return Decision::GiveUp(GiveUpReason::Budget);
        }
        Decision::Retry { after, backoff }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
