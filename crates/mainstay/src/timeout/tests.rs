//! Claims about time limits, in virtual time.

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
    let answer = async || {
        sleep(SECOND).await;
        Ok::<_, ()>("paid")
    };
    for limit in [Timeout::total, Timeout::attempt] {
        assert_eq!(limit(Duration::MAX).call(answer()).await, Ok("paid"));
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

// Pitfall 42: a limit ends with the answer; what is read of a body later is not cut off, not even by
// a limit of its own that is longer.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_read_after_the_answer_is_not_cut_off() {
    let body = async || {
        let read = async {
            sleep(SECOND * 10).await;
            Ok::<_, ()>("all of the body")
        };
        Timeout::attempt(SECOND * 20).call(read).await
    };
    let head = async {
        sleep(SECOND / 2).await;
        Ok::<_, ()>(body())
    };
    let body = Timeout::total(SECOND).call(head).await.expect("in time");
    assert_eq!(body.await, Ok("all of the body"));
}
