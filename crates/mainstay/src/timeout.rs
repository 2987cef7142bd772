//! Time limits: for one attempt, or for a whole call.
//!
//! Prevents a call that never ends, and all that it holds meanwhile. When the time is up the
//! call's future is dropped, which cancels it. An answer that arrives in the same tick as the
//! timer wins: it is there, and throwing it away would help nobody.

use std::time::Duration;

use mainstay_core::time::Deadline;

use crate::clock::Clock;
use crate::error::{Error, Scope};

mod future;
mod layer;
mod service;
mod stage;

pub use future::TimeoutFuture;
pub use layer::TimeoutLayer;
pub use service::TimeoutService;

/// A time limit.
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

    /// A limit for a whole call, with its retries and its time in queues.
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
        // tokio asks the future before the timer: an answer in the same tick wins.
        match tokio::time::timeout(self.after, future).await {
            Ok(result) => result.map_err(Error::Inner),
            Err(_elapsed) => Err(Error::Timeout {
                scope: self.scope,
                after: self.after,
            }),
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
        let left = deadline.remaining(clock.now()).unwrap_or_default();
        if left < self.after {
            Self::total(left).call(future).await
        } else {
            self.call(future).await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{advance, sleep};
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;
    use crate::innermost::InnermostLayer;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_ends_at_its_limit() {
        let clock = Clock::new();
        let result: Result<(), Error<()>> = Timeout::attempt(SECOND).call(pending()).await;
        assert_eq!(
            result,
            Err(Error::Timeout {
                scope: Scope::Attempt,
                after: SECOND
            })
        );
        assert_eq!(
            clock.now(),
            mainstay_core::time::Instant::from_millis(1_000)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_the_same_tick_as_the_timer_wins() {
        let answer = async {
            sleep(SECOND).await;
            Ok::<_, ()>("paid")
        };
        assert_eq!(Timeout::attempt(SECOND).call(answer).await, Ok("paid"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_shortens_a_limit_and_is_named() {
        let clock = Clock::new();
        let deadline = Deadline::after(clock.now(), SECOND);
        advance(SECOND / 4).await;
        let result: Result<(), Error<()>> = Timeout::attempt(SECOND)
            .call_before(deadline, clock, pending())
            .await;
        assert_eq!(
            result,
            Err(Error::Timeout {
                scope: Scope::Total,
                after: SECOND * 3 / 4
            })
        );
        assert_eq!(clock.now(), deadline.instant());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_past_its_deadline_has_no_time_at_all() {
        let clock = Clock::new();
        let deadline = Deadline::at(clock.now());
        let result: Result<(), Error<()>> = Timeout::attempt(SECOND)
            .call_before(deadline, clock, pending())
            .await;
        assert!(matches!(result, Err(Error::Timeout { .. })));
        assert_eq!(clock.now(), deadline.instant());
    }

    #[tokio::test(start_paused = true)]
    async fn two_layers_give_one_flat_error() {
        let service = ServiceBuilder::new()
            .layer(Timeout::total(SECOND * 2).layer())
            .layer(Timeout::attempt(SECOND).layer())
            .layer(InnermostLayer)
            .service_fn(|()| pending::<Result<(), &str>>());
        let expected = Error::Timeout {
            scope: Scope::Attempt,
            after: SECOND,
        };
        assert_eq!(service.oneshot(()).await, Err(expected));
    }
}
