//! The one error of all policies: it says who refused, whether the work may have begun, and when
//! to come back.
//!
//! Prevents errors nested as deep as the policies, and retries of work that was done: what was
//! never sent may always be tried again.

use std::time::Duration;

use crate::name::Name;
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::retry::Sent;

/// Why a call did not give a good answer; `E` is the call's own error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(
    clippy::error_impl_error,
    reason = "there is one error in this crate, and callers write mainstay::Error"
)]
#[non_exhaustive]
pub enum Error<E> {
    /// The call failed by itself, with this error.
    #[error(transparent)]
    Inner(E),
    /// A policy turned the call away; nothing was sent, unless the cause is [`Cause::Unanswered`].
    #[error(transparent)]
    Rejected(Rejection),
    /// The time was up.
    #[error("no answer within {after:?} ({})", scope.as_str())]
    Timeout {
        /// Whose time.
        scope: Scope,
        /// How long it was.
        after: Duration,
    },
    /// The call failed with this error, and the retry budget had no room for another attempt.
    #[error("the retry budget is used up; the last attempt failed: {0}")]
    BudgetExhausted(E),
    /// The call failed, and so did what was to stand in for it.
    #[error("{fallback}, when it was to stand in after: {primary}")]
    FallbackFailed {
        /// Why the call failed.
        primary: Box<Self>,
        /// Why the fallback failed.
        fallback: E,
    },
}

/// What a time limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One attempt.
    Attempt,
    /// The whole call, with retries and queueing.
    Total,
}

impl Scope {
    /// The word in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Total => "total",
        }
    }
}

/// A call that was turned away before anything was sent, or whose answer got lost on the way to it
/// ([`Cause::Unanswered`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of {name} {}", policy.as_str(), cause.as_str())]
#[non_exhaustive]
pub struct Rejection {
    /// Which kind of policy refused.
    pub policy: Policy,
    /// The policy's name.
    pub name: Name,
    /// Why.
    pub cause: Cause,
    /// After how long asking again may help; `None` where that is not known.
    pub retry_after: Option<Duration>,
}

/// A kind of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The circuit breaker.
    Breaker,
    /// The bulkhead.
    Bulkhead,
    /// The rate limit.
    RateLimit,
    /// The concurrency limit, which adapts.
    ConcurrencyLimit,
    /// The client throttle, which refuses what the callee would refuse.
    Throttle,
    /// The deadline of the whole call.
    Deadline,
    /// The batch that calls are gathered in.
    Batch,
    /// The call that several callers share.
    Coalesce,
    /// Fault injection: a call that is turned away on purpose.
    Fault,
}

impl Policy {
    /// The words in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "circuit breaker",
            Self::Bulkhead => "bulkhead",
            Self::RateLimit => "rate limit",
            Self::ConcurrencyLimit => "concurrency limit",
            Self::Throttle => "client throttle",
            Self::Deadline => "deadline",
            Self::Batch => "batch",
            Self::Coalesce => "shared call",
            Self::Fault => "fault injection",
        }
    }
}

/// Why a policy refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The circuit is open, half-open with all probes out, or in its ramp.
    CircuitOpen,
    /// All places in flight and in the queue are taken.
    QueueFull,
    /// A place did not become free in time.
    QueueWait,
    /// Calls come faster than the limit allows.
    RateReached,
    /// The callee would refuse it, or more important calls need the place.
    Shed,
    /// The time that is left is too short to begin.
    NoTime,
    /// A call that others made for this one, shared or in a batch, gave no answer; it may have had
    /// an effect.
    Unanswered,
    /// A drill turned it away on purpose.
    Injected,
}

impl Cause {
    /// The words in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CircuitOpen => "is open",
            Self::QueueFull => "is full",
            Self::QueueWait => "had no place in time",
            Self::RateReached => "is reached",
            Self::Shed => "sheds load",
            Self::NoTime => "leaves no time to begin",
            Self::Unanswered => "gave no answer",
            Self::Injected => "refused on purpose",
        }
    }
}

impl<E> Error<E> {
    /// After how long asking again may help; `None` where that is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejection) => rejection.retry_after,
            Self::FallbackFailed { primary, .. } => primary.retry_after(),
            Self::Inner(_) | Self::Timeout { .. } | Self::BudgetExhausted(_) => None,
        }
    }

    /// Whether the call may have had an effect. What was never sent may be tried again even when
    /// it is not idempotent.
    pub fn was_sent(&self) -> Sent {
        match self {
            Self::Rejected(rejection) if rejection.cause == Cause::Unanswered => Sent::Maybe,
            Self::Rejected(_) => Sent::Never,
            Self::FallbackFailed { primary, .. } => primary.was_sent(),
            Self::Inner(_) | Self::Timeout { .. } | Self::BudgetExhausted(_) => Sent::Maybe,
        }
    }

    /// What an outer policy should make of this: a rejection says nothing about the callee.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Rejected(_) => Outcome::Ignored,
            Self::FallbackFailed { primary, .. } => primary.outcome(),
            Self::Timeout { .. } => Outcome::Failure(Reason::Timeout),
            Self::Inner(_) | Self::BudgetExhausted(_) => Outcome::Failure(Reason::Error),
        }
    }

    /// This error of a last attempt that the budget did not let be followed by another. What a
    /// policy said stays as it is: it says more.
    pub(crate) fn exhausted(self) -> Self {
        match self {
            Self::Inner(error) => Self::BudgetExhausted(error),
            Self::Rejected(_)
            | Self::Timeout { .. }
            | Self::BudgetExhausted(_)
            | Self::FallbackFailed { .. } => self,
        }
    }

    /// The call's own error, if it got as far.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(error) | Self::BudgetExhausted(error) => Some(error),
            Self::FallbackFailed { primary, .. } => primary.into_inner(),
            Self::Rejected(_) | Self::Timeout { .. } => None,
        }
    }
}

impl<E> Error<Error<E>> {
    /// One error for two policies around each other.
    pub fn flatten(self) -> Error<E> {
        match self {
            Self::Rejected(rejection) => Error::Rejected(rejection),
            Self::Timeout { scope, after } => Error::Timeout { scope, after },
            // The inner policy's word says more than that the outer one did not try again, except
            // where it is the call's own error.
            Self::BudgetExhausted(Error::Inner(error)) => Error::BudgetExhausted(error),
            Self::Inner(inner) | Self::BudgetExhausted(inner) => inner,
            Self::FallbackFailed { primary, fallback } => match fallback {
                Error::Inner(fallback) => Error::FallbackFailed {
                    primary: Box::new(primary.flatten()),
                    fallback,
                },
                // What kept the fallback from being tried says less than why it was needed.
                Error::Rejected(_)
                | Error::Timeout { .. }
                | Error::BudgetExhausted(_)
                | Error::FallbackFailed { .. } => primary.flatten(),
            },
        }
    }
}

/// An error that is already [`Error`], as the services of this crate have it among each other.
///
/// Layers around each other give one flat error. The plain service at the bottom is wrapped in
/// [`InnermostLayer`](crate::innermost::InnermostLayer) once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `mainstay::Error`",
    note = "put `mainstay::innermost::InnermostLayer` as the innermost layer, around the plain service"
)]
pub trait Flat: sealed::Sealed + Sized {
    /// The call's own error.
    type Inner;

    /// The error that this is.
    fn into_error(self) -> Error<Self::Inner>;

    /// The error that this is.
    fn as_error(&self) -> &Error<Self::Inner>;
}

impl<E> Flat for Error<E> {
    type Inner = E;

    fn into_error(self) -> Self {
        self
    }

    fn as_error(&self) -> &Self {
        self
    }
}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "what keeps others from implementing `Flat`"
    )]
    pub trait Sealed {}

    impl<E> Sealed for super::Error<E> {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection() -> Rejection {
        Rejection {
            policy: Policy::Breaker,
            name: "payment".into(),
            cause: Cause::CircuitOpen,
            retry_after: Some(Duration::from_secs(1)),
        }
    }

    #[test]
    fn only_a_rejected_call_was_provably_never_sent() {
        let rejected: Error<&str> = Error::Rejected(rejection());
        assert_eq!(rejected.was_sent(), Sent::Never);
        assert_eq!(rejected.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(Error::Inner("reset").was_sent(), Sent::Maybe);
        assert_eq!(Error::BudgetExhausted("reset").was_sent(), Sent::Maybe);
    }

    #[test]
    fn a_message_names_the_policy_and_what_it_guards() {
        let rejected: Error<std::io::Error> = Error::Rejected(rejection());
        assert_eq!(rejected.to_string(), "circuit breaker of payment is open");
    }

    #[test]
    fn stacked_policies_give_one_flat_error() {
        let stacked: Error<Error<&str>> = Error::Inner(Error::Rejected(rejection()));
        assert_eq!(stacked.flatten(), Error::Rejected(rejection()));
        let stacked: Error<Error<&str>> = Error::BudgetExhausted(Error::Inner("reset"));
        assert_eq!(stacked.flatten(), Error::BudgetExhausted("reset"));
    }

    #[test]
    fn a_rejection_by_an_inner_policy_says_nothing_about_the_callee() {
        let rejected: Error<&str> = Error::Rejected(rejection());
        assert_eq!(rejected.outcome(), Outcome::Ignored);
    }
}
