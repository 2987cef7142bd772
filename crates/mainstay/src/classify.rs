//! What the result of a call means: one classifier for all policies.
//!
//! Prevents a breaker, a retry and a limit that disagree on what a failure is.

use mainstay_core::outcome::{Outcome, Reason};

use crate::error::Error;

/// Says what a result means. Made from a closure by [`by`].
pub trait Classify<T: ?Sized, E: ?Sized> {
    /// What `result` means for the callee, and for another attempt.
    fn classify(&self, result: Result<&T, &E>) -> Outcome;
}

impl<T: ?Sized, E: ?Sized, C: Classify<T, E> + ?Sized> Classify<T, E> for &C {
    fn classify(&self, result: Result<&T, &E>) -> Outcome {
        (**self).classify(result)
    }
}

/// Each `Ok` is a success, each `Err` a failure that another attempt may mend. The default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorsFail;

impl<T: ?Sized, E: ?Sized> Classify<T, E> for ErrorsFail {
    fn classify(&self, result: Result<&T, &E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure(Reason::Error),
        }
    }
}

/// A classifier that is a closure, see [`by`].
#[derive(Clone, Copy, Debug)]
pub struct By<F>(F);

/// The classifier that asks `classify`.
///
/// ```
/// use mainstay::{Classify as _, Outcome, Reason, classify};
///
/// let by_status = classify::by(|status: Result<&u16, &std::io::Error>| match status {
///     Ok(500..) | Err(_) => Outcome::Failure(Reason::Status),
///     Ok(429) => Outcome::Throttled { retry_after: None },
///     Ok(400..) => Outcome::Permanent,
///     Ok(_) => Outcome::Success,
/// });
/// assert_eq!(by_status.classify(Ok(&404)), Outcome::Permanent);
/// ```
pub const fn by<T: ?Sized, E: ?Sized, F>(classify: F) -> By<F>
where
    F: Fn(Result<&T, &E>) -> Outcome,
{
    By(classify)
}

impl<T: ?Sized, E: ?Sized, F: Fn(Result<&T, &E>) -> Outcome> Classify<T, E> for By<F> {
    fn classify(&self, result: Result<&T, &E>) -> Outcome {
        (self.0)(result)
    }
}

/// Classifies what an inner policy gave: the call's own results by `C`, and what the policy itself
/// did by [`Error::outcome`]. An inner rejection says nothing about the callee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nested<C>(pub C);

impl<T: ?Sized, E, C: Classify<T, E>> Classify<T, Error<E>> for Nested<C> {
    fn classify(&self, result: Result<&T, &Error<E>>) -> Outcome {
        match result {
            Ok(answer) => self.0.classify(Ok(answer)),
            Err(Error::Inner(error)) => self.0.classify(Err(error)),
            Err(
                error @ (Error::Rejected(_)
                | Error::Timeout { .. }
                | Error::BudgetExhausted(_)
                | Error::FallbackFailed { .. }),
            ) => error.outcome(),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::error::{Cause, Policy, Rejection};

    #[test]
    fn a_rejection_by_an_inner_policy_is_no_failure_of_the_callee() {
        let rejected: Error<&str> = Error::Rejected(Rejection {
            policy: Policy::Bulkhead,
            name: "payment".into(),
            cause: Cause::QueueFull,
            retry_after: None,
        });
        let outcome = Nested(ErrorsFail).classify(Err::<&(), _>(&rejected));
        assert_eq!(outcome, Outcome::Ignored);
        let inner = Error::Inner("reset");
        let outcome = Nested(ErrorsFail).classify(Err::<&(), _>(&inner));
        assert_eq!(outcome, Outcome::Failure(Reason::Error));
    }
}
