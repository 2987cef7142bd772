//! Whether a failed call is tried again, and when.
//!
//! Prevents two failures: one lost packet becomes a lost request, and retries multiply the load of
//! an upstream that is already failing. A call is tried again only when that cannot do harm (it is
//! idempotent, or provably never arrived), when its deadline leaves time for the wait, and when
//! the [`Budget`] that all calls of a service share still has room.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::random::Random;
use crate::time::{Deadline, Instant};

mod backoff;
mod budget;

pub use backoff::Backoff;
pub use budget::{Budget, BudgetConfig, BudgetConfigError, TTL_MAX, TTL_MIN};

/// Whether an attempt may have had an effect at the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sent {
    /// Nothing left this process, or the callee provably did not look at it.
    Never,
    /// It may have been worked on.
    Maybe,
}

/// How often a call is tried, and how far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: NonZeroU32,
    /// The wait between them.
    pub backoff: Backoff,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Attempts made so far, this one included.
    pub attempts_used: u32,
    /// Whether it may have had an effect.
    pub sent: Sent,
    /// Whether the call may be made twice.
    pub idempotent: bool,
    /// How long the callee asked to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The end of the whole call.
    pub deadline: Deadline,
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again; the budget has been charged.
    Retry {
        /// After this wait.
        after: Duration,
    },
    /// Hand the last failure to the caller.
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
        budget: &Budget,
        now: Instant,
        random: &mut Random,
    ) -> Decision {
        if failed.attempts_used >= self.attempts.get() {
            return Decision::GiveUp(GiveUpReason::Attempts);
        }
        if failed.sent == Sent::Maybe && !failed.idempotent {
            return Decision::GiveUp(GiveUpReason::Unsafe);
        }
        let after = self.wait(failed, random);
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
        Decision::Retry { after }
    }

    /// The callee's own wish is a lower bound: jitter comes on top, never off it.
    fn wait(&self, failed: &Failed, random: &mut Random) -> Duration {
        let backoff = self.backoff.after(failed.attempts_used, random);
        match failed.retry_after {
            Some(wish) => wish.saturating_add(backoff),
            None => backoff,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
