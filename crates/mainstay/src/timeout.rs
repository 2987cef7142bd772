//! Time limits: for one attempt, or for a whole call.
//!
//! Prevents a call that never ends, and all that it holds meanwhile. When the time is up the
//! call's future is dropped, which cancels it. An answer that arrives in the same tick as the
//! timer wins: it is there, and throwing it away would help nobody.
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

pub use future::TimeoutFuture;
pub use layer::TimeoutLayer;
pub(crate) use limited::Limited;
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

    // Pitfall 42: when the answer and the timer come together, the answer wins.
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

    // Pitfall 41: a total limit inside of another only shortens, and the error names the one that
    // was reached.
    #[tokio::test(start_paused = true)]
    async fn of_nested_limits_the_first_ends_the_call_and_is_named() {
        let clock = Clock::new();
        let attempt = Timeout::attempt(SECOND * 3);
        let never = || pending::<Result<(), &str>>();
        let result = Timeout::total(SECOND)
            .call_flat(attempt.call(never()))
            .await;
        let total = |after| {
            Err(Error::Timeout {
                scope: Scope::Total,
                after,
            })
        };
        assert_eq!(result, total(SECOND));
        let result = Timeout::total(SECOND * 5)
            .call_flat(Timeout::total(SECOND).call_flat(attempt.call(never())))
            .await;
        assert_eq!(result, total(SECOND));
        let result = Timeout::total(SECOND * 5)
            .call_flat(attempt.call(never()))
            .await;
        assert_eq!(
            result,
            Err(Error::Timeout {
                scope: Scope::Attempt,
                after: SECOND * 3
            })
        );
        assert_eq!(
            clock.now(),
            mainstay_core::time::Instant::from_millis(5_000)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_total_limit_is_the_deadline_of_what_is_inside_and_one_for_an_attempt_is_not() {
        let left = async || Ok::<_, ()>(deadline::remaining());
        let result = Timeout::total(SECOND).call(left()).await;
        assert_eq!(result, Ok(Some(SECOND)));
        let result = Timeout::attempt(SECOND).call(left()).await;
        assert_eq!(result, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_beyond_the_end_of_time_is_no_limit() {
        for limit in [
            Timeout::total(Duration::MAX),
            Timeout::attempt(Duration::MAX),
        ] {
            let answer = async {
                sleep(SECOND).await;
                Ok::<_, ()>("paid")
            };
            assert_eq!(limit.call(answer).await, Ok("paid"));
        }
    }

    // There is no runtime here: a timer could not even be made.
    #[test]
    fn a_call_that_is_ready_at_once_needs_no_timer() {
        for limit in [Timeout::total(SECOND), Timeout::attempt(SECOND)] {
            let mut call = std::pin::pin!(limit.call(async { Ok::<_, ()>("paid") }));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert_eq!(
                call.as_mut().poll(&mut cx),
                std::task::Poll::Ready(Ok("paid"))
            );
        }
    }

    // Pitfall 42: a limit ends with the answer; what is read of a body later is not cut off.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_read_after_the_answer_is_not_cut_off() {
        let head = async {
            sleep(SECOND / 2).await;
            Ok::<_, ()>(async {
                sleep(SECOND * 10).await;
                "all of the body"
            })
        };
        let body = Timeout::total(SECOND).call(head).await.expect("in time");
        assert_eq!(body.await, "all of the body");
    }
}
