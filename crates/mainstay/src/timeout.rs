//! Time limits: for one attempt, or for a whole call.
//!
//! Prevents a call that never ends, and all that it holds meanwhile (Nygard, "Release It!", 2007,
//! "Timeouts"). When the time is up the call's future is dropped, which cancels it. An answer that
//! arrives in the same tick as the timer wins: it is there, and throwing it away would help nobody.
//!
//! The limit covers the call until it has its answer. What comes after, as the rest of a body
//! whose head is there, is not cut off: it needs a limit of its own, at the reader.
//!
//! Both kinds keep to the [ambient deadline](crate::deadline) as well. A call that is ready at
//! once costs no timer; of an attempt the limit is counted from when it first has to wait, so that
//! not even a clock is read before.

use std::time::Duration;

use mainstay_core::time::Deadline;
use tokio::time;

use crate::clock::Clock;
use crate::deadline::{self, Ambient};
use crate::error::{Error, Scope};

mod future;
mod layer;
mod limited;
mod service;
mod stage;

pub use future::TimeoutFuture;
pub use layer::TimeoutLayer;
pub(crate) use limited::Limited;
pub use service::TimeoutService;

/// Longest time limit that a policy is built with: a year. A longer one is a mistake in the unit.
pub const LIMIT_MAX: Duration = Duration::from_hours(365 * 24);

/// The configured time limit, if it cannot work: zero would end each call that waits.
pub(crate) fn refused(limit: Option<Duration>) -> Option<Duration> {
    limit.filter(|limit| limit.is_zero() || *limit > LIMIT_MAX)
}

/// A time limit.
///
/// It is a value that is made for a call, often from what is left of a longer time, and any
/// duration is one: with [`Duration::ZERO`] only an answer that is there at once arrives in time,
/// with [`Duration::MAX`] each does. What is configured once for all calls is checked where it is
/// built: a [`Pipeline`](crate::Pipeline) and a [`Retry`](crate::Retry) refuse a limit of zero and
/// one above [`LIMIT_MAX`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use mainstay::{Error, Timeout};
///
/// let timeout = Timeout::attempt(Duration::from_millis(10));
/// let answer: Result<&str, Error<std::io::Error>> = timeout.call(async { Ok("paid") }).await;
/// assert_eq!(answer.unwrap(), "paid");
///
/// let stuck = timeout.call(std::future::pending::<Result<(), std::io::Error>>()).await;
/// assert!(matches!(stuck, Err(Error::Timeout { .. })));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    scope: Scope,
    after: Duration,
}

impl Timeout {
    /// A limit for one attempt.
    pub const fn attempt(after: Duration) -> Self {
        Self {
            scope: Scope::Attempt,
            after,
        }
    }

    /// A limit for a whole call, with its retries and its time in queues, which all see it as the
    /// [ambient deadline](crate::deadline).
    pub const fn total(after: Duration) -> Self {
        Self {
            scope: Scope::Total,
            after,
        }
    }

    /// Runs `future` for at most this time.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when the time was up first, [`Error::Inner`] when the call failed.
    pub async fn call<T, E>(
        self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        let ended = Limited::new(self.ambient(), Some(self), future).await;
        match ended {
            Ok(result) => result.map_err(Error::Inner),
            Err(elapsed) => Err(elapsed.into_error()),
        }
    }

    /// [`call`](Self::call) of a call that has policies inside, whose errors are flat already.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when the time was up first, else the error of the call.
    pub async fn call_flat<T, E>(
        self,
        future: impl Future<Output = Result<T, Error<E>>>,
    ) -> Result<T, Error<E>> {
        let ended = Limited::new(self.ambient(), Some(self), future).await;
        ended.unwrap_or_else(|elapsed| Err(elapsed.into_error()))
    }

    /// What a call that begins now sees around itself.
    pub(crate) fn ambient(self) -> Ambient {
        match self.scope {
            Scope::Attempt => Ambient::NONE,
            Scope::Total => Ambient {
                // Beyond what the platform can count there is no limit.
                deadline: time::Instant::now().checked_add(self.after),
                ..Ambient::NONE
            },
        }
    }

    /// Runs `future` for at most this time, and never past `deadline`: whichever comes first is
    /// the one that the error names.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_before<T, E>(
        self,
        deadline: Deadline,
        clock: Clock,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        deadline::scope(clock, deadline, self.call(future)).await
    }
}

#[cfg(test)]
mod tests;
