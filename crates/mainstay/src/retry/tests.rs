//! Claims about the asynchronous half of retries, in virtual time.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::num::NonZeroU32;

use mainstay_core::event::{Event, Observe};
use tokio::time::{advance, timeout};

use super::*;
use crate::bulkhead;
use crate::classify;
use crate::error::{Cause, Policy, Rejection, Scope};
use crate::heard::Heard;
use crate::{Breaker, Bulkhead, Instant, Outcome, Reason, Timeout};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn budget_with<O: Observe>(config: BudgetConfig, observer: O, clock: Clock) -> RetryBudget<O> {
    RetryBudget::builder("payment")
        .config(config)
        .observer(observer)
        .clock(clock)
        .build()
        .expect("the test's configuration is valid")
}

fn backoff(base_millis: u64) -> Backoff {
    Backoff::new(&BackoffConfig {
        base: millis(base_millis),
        ..BackoffConfig::default()
    })
    .expect("valid")
}

fn throttled<T, E>(wish: Duration) -> impl Classify<T, E> {
    classify::by(move |result: Result<&T, &E>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Throttled {
            retry_after: Some(wish),
        },
    })
}

fn builder(clock: Clock) -> Builder {
    let budget = budget_with(BudgetConfig::default(), (), clock);
    Retry::builder(budget)
        .backoff(backoff(100))
        .clock(clock)
        .seed(3)
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_tried_again_after_a_jittered_backoff_until_it_succeeds() {
    let clock = Clock::new();
    let starts = RefCell::new(Vec::new());
    let answer = builder(clock)
        .build()
        .expect("valid")
        .call(async |attempt| {
            starts.borrow_mut().push(clock.now());
            if attempt.number < 3 {
                Err("reset")
            } else {
                Ok("paid")
            }
        })
        .await;
    assert_eq!(answer, Ok("paid"));
    let starts = starts.into_inner();
    // A timer of tokio fires with the millisecond after its instant.
    assert!(starts[1].since(starts[0]) <= millis(101));
    assert!(starts[2].since(starts[1]) <= millis(201));
    assert!(starts[2] > starts[0], "the seed draws some wait");
}

#[tokio::test(start_paused = true)]
async fn the_last_error_is_returned_when_the_attempts_are_used_up() {
    let result = builder(Clock::new())
        .build()
        .expect("valid")
        .call(async |attempt| Err::<(), _>(attempt.number))
        .await;
    assert_eq!(result, Err(Error::Inner(3)));
}

#[tokio::test(start_paused = true)]
async fn what_is_permanent_is_asked_once_and_keeps_its_error() {
    let calls = Cell::new(0);
    let result = builder(Clock::new())
        .build()
        .expect("valid")
        .call_with(
            async |_| {
                calls.set(calls.get() + 1);
                Err::<(), _>("404")
            },
            classify::by(|_: Result<&(), &&str>| Outcome::Permanent),
        )
        .await;
    assert_eq!(result, Err(Error::Inner("404")));
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_done_twice_is_done_once_and_keeps_its_error() {
    let calls = Cell::new(0);
    let result = builder(Clock::new())
        .build()
        .expect("valid")
        .idempotent(false)
        .call(async |_| {
            calls.set(calls.get() + 1);
            Err::<(), _>("charged, then reset")
        })
        .await;
    assert_eq!(result, Err(Error::Inner("charged, then reset")));
    assert_eq!(calls.get(), 1);
}

fn rejected(retry_after: Option<Duration>) -> Error<&'static str> {
    Error::Rejected(Rejection {
        policy: Policy::RateLimit,
        name: "payment".into(),
        cause: Cause::RateReached,
        retry_after,
    })
}

#[tokio::test(start_paused = true)]
async fn what_was_provably_never_sent_is_tried_again_even_when_it_must_not_be_done_twice() {
    let clock = Clock::new();
    let result = builder(clock)
        .idempotent(false)
        .build()
        .expect("valid")
        .call_flat(
            async |attempt| match attempt.number {
                1 => Err(rejected(Some(millis(300)))),
                _ => Ok("charged"),
            },
            Nested(ErrorsFail),
        )
        .await;
    assert_eq!(result, Ok("charged"));
    assert!(clock.now() >= Instant::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_does_not_say_when_is_not_hammered() {
    let calls = Cell::new(0);
    let result = builder(Clock::new())
        .build()
        .expect("valid")
        .call_flat(
            async |_| {
                calls.set(calls.get() + 1);
                Err::<(), _>(rejected(None))
            },
            Nested(ErrorsFail),
        )
        .await;
    assert_eq!(result, Err(rejected(None)));
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_calls_a_rejection_a_failure_has_another_endpoint_tried() {
    let picks_anew = classify::by(|result: Result<&u32, &Error<&str>>| match result {
        Ok(_) => Outcome::Success,
        Err(Error::Rejected(_)) => Outcome::Failure(Reason::Forced),
        Err(error) => error.outcome(),
    });
    let result = builder(Clock::new())
        .build()
        .expect("valid")
        .call_flat(
            async |attempt| match attempt.number {
                3 => Ok(3),
                _ => Err(rejected(None)),
            },
            picks_anew,
        )
        .await;
    assert_eq!(result, Ok(3));
}

async fn opened(clock: Clock) -> Breaker {
    let breaker = Breaker::builder("payment").clock(clock).build();
    let breaker = breaker.expect("valid");
    for _ in 0..5 {
        let down = breaker.call(ready(Err::<(), _>("down"))).await;
        assert!(down.is_err(), "it opens");
    }
    breaker
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_asked_again_only_when_its_cooldown_fits_the_deadline() {
    // The first cooldown is 5 s long.
    for (total, attempts) in [(millis(500), 1), (Duration::from_mins(5), 2)] {
        let clock = Clock::new();
        let breaker = opened(clock).await;
        let calls = Cell::new(0);
        let through_breaker = async |_| {
            calls.set(calls.get() + 1);
            breaker.call(ready(Ok::<_, &str>("up again"))).await
        };
        let retry = builder(clock).total(total).build().expect("valid");
        let result = retry.call_flat(through_breaker, Nested(ErrorsFail)).await;
        match attempts {
            1 => assert!(matches!(result, Err(Error::Rejected(_))), "{result:?}"),
            _ => assert_eq!(result, Ok("up again")),
        }
        assert_eq!(calls.get(), attempts, "{total:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_failed_is_tried_again_and_at_last_returned_as_it_is() {
    let by_status = classify::by(|status: Result<&u16, &&str>| match status {
        Ok(503) | Err(_) => Outcome::Failure(Reason::Status),
        Ok(_) => Outcome::Success,
    });
    let statuses = Cell::new(0);
    let retry = builder(Clock::new()).build().expect("valid");
    let unavailable = async |_| {
        statuses.set(statuses.get() + 1);
        Ok::<_, &str>(503)
    };
    let result = retry.call_with(unavailable, &by_status).await;
    assert_eq!((result, statuses.get()), (Ok(503), 3));
}

// Pitfall 27: three levels of three attempts are 27 calls in every peer but gRPC.
#[tokio::test(start_paused = true)]
async fn of_retries_around_each_other_only_the_outermost_retries() {
    let calls = RefCell::new(Vec::new());
    let level = || builder(Clock::new()).build().expect("valid");
    let (outer, middle, inner) = (level(), level(), level());
    let at_the_bottom = async |attempt: Attempt| {
        calls.borrow_mut().push((attempt.number, current_attempt()));
        Err::<(), _>("down")
    };
    let result = outer
        .call_flat(
            async |_| {
                let nested = Nested(ErrorsFail);
                middle
                    .call_flat(async |_| inner.call(at_the_bottom).await, nested)
                    .await
            },
            Nested(ErrorsFail),
        )
        .await;
    assert_eq!(result, Err(Error::Inner("down")));
    assert_eq!(
        calls.into_inner(),
        [(1, Some(1)), (2, Some(2)), (3, Some(3))]
    );
    assert_eq!(current_attempt(), None);
}

#[tokio::test(start_paused = true)]
async fn a_nested_retry_that_insists_multiplies_and_is_counted_as_one_request_still() {
    let clock = Clock::new();
    let config = BudgetConfig {
        ratio: 1.0,
        floor: 0,
        ttl: millis(60_000),
    };
    let budget = budget_with(config, (), clock);
    let level = || Retry::builder(budget.clone()).backoff(Backoff::IMMEDIATE);
    let (outer, inner) = (
        level().build().expect("valid"),
        level().even_when_nested().build().expect("valid"),
    );
    let calls = Cell::new(0);
    let down = async |_| {
        calls.set(calls.get() + 1);
        Err::<(), _>("down")
    };
    let result = outer
        .call_flat(async |_| inner.call(down).await, Nested(ErrorsFail))
        .await;
    assert_eq!(result, Err(Error::BudgetExhausted("down")));
    assert_eq!(calls.get(), 2, "one request, so one retry");
}

#[tokio::test(start_paused = true)]
async fn tokens_stop_retries_while_most_calls_fail() {
    let clock = Clock::new();
    let heard = Heard::new();
    let budget = RetryBudget::builder("payment")
        .tokens(TokensConfig::default())
        .observer(heard.clone())
        .clock(clock)
        .build()
        .expect("valid");
    let retry = Retry::builder(budget.clone())
        .backoff(Backoff::IMMEDIATE)
        .build()
        .expect("valid");
    let attempts = Cell::new(0);
    for _ in 0..20 {
        let down = async |_| {
            attempts.set(attempts.get() + 1);
            Err::<(), _>("down")
        };
        assert!(retry.call(down).await.is_err());
    }
    // 3 and 2 attempts use up five tokens of ten; from then on one attempt each.
    assert_eq!(attempts.get(), 3 + 2 + 18);
    assert_eq!(heard.names(), ["retry_budget_exhausted"]);
    for _ in 0..100 {
        let _paid: Result<_, Error<()>> = retry.call(async |_| Ok(())).await;
    }
    assert!(budget.withdraw());
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_has_passed_is_not_begun() {
    let clock = Clock::new();
    let over = Deadline::at(clock.now());
    let retry = builder(clock).build().expect("valid");
    let call = retry.call(async |_| -> Result<(), &str> { panic!("begun") });
    let result = crate::deadline::scope(clock, over, call).await;
    let Err(error @ Error::Rejected(_)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.was_sent(), retry::Sent::Never);
    assert_eq!(
        error.to_string(),
        "deadline of payment leaves no time to begin"
    );
}

// Pitfall 41: queue, backoff and attempts all use up the one deadline around them.
#[tokio::test(start_paused = true)]
async fn the_ambient_deadline_ends_the_call_with_all_its_attempts() {
    let clock = Clock::new();
    let retry = builder(clock).build().expect("valid");
    let call = retry.call(async |attempt| {
        assert_eq!(attempt.deadline, Deadline::at(Instant::from_millis(700)));
        match attempt.number {
            1 => Err("reset"),
            _ => pending::<Result<(), _>>().await,
        }
    });
    let result = Timeout::total(millis(700)).call_flat(call).await;
    assert!(matches!(
        result,
        Err(Error::Timeout {
            scope: Scope::Total,
            ..
        })
    ));
    assert_eq!(clock.now(), Instant::from_millis(700));
}

#[test]
fn blocking_code_is_retried_as_well() {
    let budget = RetryBudget::builder("payment").build().expect("valid");
    let retry = Retry::builder(budget)
        .backoff(Backoff::IMMEDIATE)
        .build()
        .expect("valid");
    let result = retry.call_blocking(|attempt| match current_attempt() {
        Some(3) => Ok(attempt.number),
        _ => Err("reset"),
    });
    assert_eq!(result, Ok(3));
    let result = retry.call_blocking(|attempt| Err::<(), _>(attempt.number));
    assert_eq!(result, Err(Error::Inner(3)));
    assert_eq!(current_attempt(), None);
}

#[test]
fn a_panic_leaves_no_attempt_behind() {
    let budget = RetryBudget::builder("payment").build().expect("valid");
    let retry = Retry::builder(budget).build().expect("valid");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _never: Result<(), Error<()>> = retry.call_blocking(|_| panic!("boom"));
    }));
    assert!(panicked.is_err());
    assert_eq!(current_attempt(), None);
}

// Pitfall 28: jitter is added to the wish, never taken off it.
#[tokio::test(start_paused = true)]
async fn a_wait_that_the_callee_asked_for_is_never_shorter() {
    let clock = Clock::new();
    let result = builder(clock)
        .attempts(NonZeroU32::MIN.saturating_add(1))
        .build()
        .expect("valid")
        .call_with(async |_| Err::<(), _>("503"), throttled(millis(5_000)))
        .await;
    assert_eq!(result, Err(Error::Inner("503")));
    assert!(clock.now() >= Instant::from_millis(5_000));
}

// Pitfall 29: no sleep when the deadline is nearer than its end.
#[tokio::test(start_paused = true)]
async fn no_time_is_slept_when_the_backoff_would_pass_the_deadline() {
    let clock = Clock::new();
    let result = builder(clock)
        .total(millis(1_000))
        .build()
        .expect("valid")
        .call_with(async |_| Err::<(), _>("503"), throttled(millis(1_000)))
        .await;
    assert_eq!(result, Err(Error::Inner("503")));
    assert_eq!(clock.now(), Instant::ORIGIN);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_runs_beyond_the_deadline_of_the_whole_call() {
    let clock = Clock::new();
    let result = builder(clock)
        .total(millis(700))
        .build()
        .expect("valid")
        .call(async |attempt| match attempt.number {
            1 => Err("reset"),
            _ => pending::<Result<(), _>>().await,
        })
        .await;
    assert_eq!(
        result,
        Err(Error::Timeout {
            scope: Scope::Total,
            after: millis(700)
        })
    );
    assert_eq!(clock.now(), Instant::from_millis(700));
}

// Pitfall 29: dropping the call during its backoff ends all of it.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_during_its_backoff_starts_nothing_more() {
    let calls = Cell::new(0);
    let retry = builder(Clock::new()).build().expect("valid");
    let call = retry.call_with(
        async |_| {
            calls.set(calls.get() + 1);
            Err::<(), _>("503")
        },
        throttled(millis(10_000)),
    );
    assert!(timeout(millis(500), call).await.is_err());
    advance(millis(60_000)).await;
    assert_eq!(calls.get(), 1);
}

// Pitfall 30: the attempt is over, and all it held, before the wait begins.
#[tokio::test(start_paused = true)]
async fn a_place_in_a_bulkhead_is_not_held_during_the_backoff() {
    let bulkhead = Bulkhead::builder("payment")
        .config(bulkhead::Config {
            in_flight: NonZeroU32::MIN,
            queue: None,
            queue_wait: Duration::ZERO,
        })
        .build()
        .expect("valid");
    let retry = builder(Clock::new()).build().expect("valid");
    let call = retry.call_with(
        async |attempt| {
            let failing = async { Err::<(), _>("503") };
            bulkhead.call(attempt.deadline, failing).await
        },
        throttled(millis(10_000)),
    );
    assert!(timeout(millis(500), call).await.is_err());
    assert_eq!(bulkhead.in_flight(), 0);

    let during_backoff = Cell::new(None);
    let other = async {
        tokio::time::sleep(millis(500)).await;
        during_backoff.set(Some(bulkhead.in_flight()));
    };
    let call = retry.call_with(
        async |attempt| {
            let failing = async { Err::<(), _>("503") };
            bulkhead.call(attempt.deadline, failing).await
        },
        throttled(millis(1_000)),
    );
    let (result, ()) = tokio::join!(call, other);
    assert!(matches!(result, Err(Error::Inner(Error::Inner("503")))));
    assert_eq!(during_backoff.get(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn without_budget_the_last_real_error_is_kept_and_the_storm_is_told_with_two_edges() {
    let clock = Clock::new();
    let heard = Heard::new();
    let config = BudgetConfig {
        ratio: 0.0,
        floor: 1,
        ttl: millis(1_500),
    };
    let budget = budget_with(config, heard.clone(), clock);
    let retry = Retry::builder(budget.clone())
        .backoff(Backoff::IMMEDIATE)
        .clock(clock)
        .build()
        .expect("valid");
    for _ in 0..10 {
        let result = retry
            .call(async |attempt| Err::<(), _>(attempt.number))
            .await;
        assert!(
            matches!(result, Err(Error::BudgetExhausted(1 | 2))),
            "{result:?}"
        );
    }
    assert!(budget.level() < 0.5);
    assert_eq!(heard.names(), ["retry_budget_exhausted"]);

    advance(millis(1_400)).await;
    budget.deposit();
    assert!(heard.take().is_empty(), "quiet, but still nothing to give");
    advance(millis(300)).await;
    budget.deposit();
    let events = heard.take();
    assert!(
        matches!(events[..], [Event::RetryBudgetRestored { denied: 10, .. }]),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn retries_of_all_callers_together_keep_to_the_budget() {
    let clock = Clock::new();
    let budget = budget_with(BudgetConfig::default(), (), clock);
    let attempts = Cell::new(0);
    for _ in 0..1_000 {
        // Each caller has retries of its own; the budget is what they share.
        let retry = Retry::builder(budget.clone())
            .backoff(Backoff::IMMEDIATE)
            .clock(clock)
            .build()
            .expect("valid");
        let result = retry
            .call(async |_| {
                attempts.set(attempts.get() + 1);
                Err::<(), _>("down")
            })
            .await;
        assert!(result.is_err());
    }
    // 10 per second over 10 s, and a fifth of the requests.
    assert_eq!(attempts.get(), 1_000 + 100 + 200);
}

#[tokio::test(start_paused = true)]
async fn calls_can_be_sent_to_other_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let retry = builder(Clock::new()).build().expect("valid");
    let call = retry.call(async |_| Ok::<_, ()>("paid"));
    assert_eq!(assert_send(call).await, Ok("paid"));
}

#[test]
fn a_total_of_nothing_or_of_more_than_a_year_is_refused() {
    let built = |total| {
        let budget = RetryBudget::builder("payment").build().expect("valid");
        Retry::builder(budget).total(total).build().map(drop)
    };
    for total in [
        Duration::ZERO,
        timeout::LIMIT_MAX + Duration::from_nanos(1),
        Duration::MAX,
    ] {
        assert_eq!(built(total), Err(ConfigError::Total(total)));
    }
    assert_eq!(built(Duration::from_nanos(1)), Ok(()));
    assert_eq!(built(timeout::LIMIT_MAX), Ok(()));
}
