//! Claims about the asynchronous half of retries, in virtual time.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::num::NonZeroU32;

use mainstay_core::event::{Event, Observe};
use tokio::time::{advance, timeout};

use super::*;
use crate::Bulkhead;
use crate::bulkhead;
use crate::heard::Heard;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn budget_with(config: BudgetConfig, observer: Arc<dyn Observe>, clock: Clock) -> RetryBudget {
    RetryBudget::builder("payment")
        .config(config)
        .observer(observer)
        .clock(clock)
        .build()
        .expect("the test's configuration is valid")
}

fn builder(clock: Clock) -> Builder {
    let budget = budget_with(BudgetConfig::default(), Arc::new(()), clock);
    Retry::builder(budget)
        .backoff(millis(100), millis(1_000))
        .clock(clock)
        .seed(3)
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_tried_again_after_a_jittered_backoff_until_it_succeeds() {
    let clock = Clock::new();
    let starts = RefCell::new(Vec::new());
    let answer = builder(clock)
        .build()
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
        .call(async |attempt| Err::<(), _>(attempt.number))
        .await;
    assert_eq!(result, Err(Error::Inner(3)));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_done_twice_is_done_once_and_keeps_its_error() {
    let calls = Cell::new(0);
    let result = builder(Clock::new())
        .build()
        .call_with(
            async |_| {
                calls.set(calls.get() + 1);
                Err::<(), _>("charged, then reset")
            },
            |_| Again::No,
        )
        .await;
    assert_eq!(result, Err(Error::Inner("charged, then reset")));
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_callee_asked_for_is_never_shorter() {
    let clock = Clock::new();
    let result = builder(clock)
        .attempts(NonZeroU32::MIN.saturating_add(1))
        .build()
        .call_with(
            async |_| Err::<(), _>("503"),
            |_| Again::After(millis(5_000)),
        )
        .await;
    assert_eq!(result, Err(Error::Inner("503")));
    assert!(clock.now() >= mainstay_core::time::Instant::from_millis(5_000));
}

#[tokio::test(start_paused = true)]
async fn no_time_is_slept_when_the_backoff_would_pass_the_deadline() {
    let clock = Clock::new();
    let result = builder(clock)
        .total(millis(1_000))
        .build()
        .call_with(
            async |_| Err::<(), _>("503"),
            |_| Again::After(millis(1_000)),
        )
        .await;
    assert_eq!(result, Err(Error::Inner("503")));
    assert_eq!(clock.now(), mainstay_core::time::Instant::ORIGIN);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_runs_beyond_the_deadline_of_the_whole_call() {
    let clock = Clock::new();
    let result = builder(clock)
        .total(millis(700))
        .build()
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
    assert_eq!(clock.now(), mainstay_core::time::Instant::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_during_its_backoff_starts_nothing_more() {
    let calls = Cell::new(0);
    let retry = builder(Clock::new()).build();
    let call = retry.call_with(
        async |_| {
            calls.set(calls.get() + 1);
            Err::<(), _>("503")
        },
        |_| Again::After(millis(10_000)),
    );
    assert!(timeout(millis(500), call).await.is_err());
    advance(millis(60_000)).await;
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_place_in_a_bulkhead_is_not_held_during_the_backoff() {
    let bulkhead = Bulkhead::builder("payment")
        .config(bulkhead::Config {
            in_flight: NonZeroU32::MIN,
            queue: None,
            queue_wait: Duration::ZERO,
        })
        .build();
    let retry = builder(Clock::new()).build();
    let call = retry.call_with(
        async |attempt| {
            let failing = async { Err::<(), _>("503") };
            bulkhead.call(attempt.deadline, failing).await
        },
        |_| Again::After(millis(10_000)),
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
        |_| Again::After(millis(1_000)),
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
        .backoff(Duration::ZERO, Duration::ZERO)
        .clock(clock)
        .build();
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
    let budget = budget_with(BudgetConfig::default(), Arc::new(()), clock);
    let attempts = Cell::new(0);
    for _ in 0..1_000 {
        // Each caller has retries of its own; the budget is what they share.
        let retry = Retry::builder(budget.clone())
            .backoff(Duration::ZERO, Duration::ZERO)
            .clock(clock)
            .build();
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
    let retry = builder(Clock::new()).build();
    let call = retry.call(async |_| Ok::<_, ()>("paid"));
    assert_eq!(assert_send(call).await, Ok("paid"));
}
