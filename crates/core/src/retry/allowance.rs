//! What limits the retries of a service: a share of its requests, or tokens that failures cost.
//!
//! Prevents retries and hedges that are limited apart and overload a callee together: both are
//! charged here.

use super::{Budget, Tokens};
use crate::lane::Lane;
use crate::outcome::Outcome;
use crate::time::Instant;

/// Something that retries are charged to.
pub trait Charge {
    /// Charges one retry at `now`; `false`, and nothing charged, when there must be none.
    #[must_use = "without a budget there must be no retry"]
    fn withdraw(&self, now: Instant) -> bool;
}

impl Charge for Budget {
    fn withdraw(&self, now: Instant) -> bool {
        Self::withdraw(self, now)
    }
}

impl Charge for Tokens {
    /// Nothing is charged here: the failed attempt was.
    fn withdraw(&self, _now: Instant) -> bool {
        self.allows()
    }
}

/// The limit of a service's retries and hedges.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per service, and the larger one is the usual one"
)]
pub enum Allowance {
    /// A share of its requests, and some per second (Finagle's `RetryBudget`).
    Share(Budget),
    /// Tokens that failures cost and successes give (gRPC's retry throttling, gRFC A6).
    Tokens(Tokens),
}

impl Allowance {
    /// Counts one request: its first attempt. Tokens do not count requests.
    pub fn deposit(&self, lane: Lane, now: Instant) {
        match self {
            Self::Share(budget) => budget.deposit_in(lane, now),
            Self::Tokens(_) => {},
        }
    }

    /// Counts the end of one attempt. A share does not count them.
    pub fn ended(&self, outcome: Outcome) {
        match (self, outcome.callee_worked()) {
            (Self::Tokens(tokens), Some(true)) => tokens.success(),
            (Self::Tokens(tokens), Some(false)) => tokens.failure(),
            (Self::Tokens(_), None) | (Self::Share(_), _) => {},
        }
    }

    /// How much is left: 1 when nothing is charged, 0 when no retry is possible. In between, the
    /// part of the budget that is left.
    pub fn level(&self, now: Instant) -> f64 {
        match self {
            Self::Share(budget) => budget.level(now),
            Self::Tokens(tokens) => tokens.level(),
        }
    }

    /// Whether a retry is possible just now.
    pub fn allows(&self, now: Instant) -> bool {
        match self {
            Self::Share(budget) => budget.tokens(now) > 0,
            Self::Tokens(tokens) => tokens.allows(),
        }
    }
}

impl Charge for Allowance {
    fn withdraw(&self, now: Instant) -> bool {
        match self {
            Self::Share(budget) => budget.withdraw(now),
            Self::Tokens(tokens) => Charge::withdraw(tokens, now),
        }
    }
}
