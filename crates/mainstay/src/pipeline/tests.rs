//! Claims about policies around each other, in virtual time.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mainstay_core::event::Observe;
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::retry::Sent;
use mainstay_core::time::Deadline;
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::breaker::{self, Breaker, State};
use crate::bulkhead::{self, Bulkhead};
use crate::classify;
use crate::error::{Cause, Policy, Scope};
use crate::heard::Heard;
use crate::retry::{Backoff, BackoffConfig, BudgetConfig, Retry, RetryBudget};
use crate::timeout::Timeout;

mod ambient;
mod form;
mod order;
mod time;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Three attempts, backoff up to 100 ms, and a budget that does not run dry.
fn retry(clock: Clock) -> Retry {
    retry_heard(clock, ())
}

fn retry_heard<O: Observe>(clock: Clock, observer: O) -> Retry<O> {
    let budget = RetryBudget::builder("payment")
        .config(BudgetConfig {
            floor: 1_000,
            ..BudgetConfig::default()
        })
        .observer(observer)
        .clock(clock)
        .build()
        .expect("the test's configuration is valid");
    Retry::builder(budget)
        .backoff(
            Backoff::new(&BackoffConfig {
                base: millis(100),
                max: millis(100),
                ..BackoffConfig::default()
            })
            .expect("the test's configuration is valid"),
        )
        .clock(clock)
        .seed(3)
        .build()
        .expect("valid")
}

/// Opens at the fifth failure in a row, for about ten seconds.
fn breaker(clock: Clock) -> Breaker {
    breaker_heard(clock, ())
}

fn breaker_heard<O: Observe>(clock: Clock, observer: O) -> Breaker<O> {
    Breaker::builder("payment")
        .config(breaker::Config {
            reopen: millis(10_000),
            ..breaker::Config::default()
        })
        .observer(observer)
        .clock(clock)
        .seed(3)
        .build()
        .expect("the test's configuration is valid")
}

/// One call at a time; one may wait for up to 200 ms.
fn bulkhead(clock: Clock) -> Bulkhead {
    bulkhead_heard(clock, ())
}

fn bulkhead_heard<O: Observe>(clock: Clock, observer: O) -> Bulkhead<O> {
    Bulkhead::builder("payment")
        .config(bulkhead::Config {
            in_flight: NonZeroU32::MIN,
            queue: Some(NonZeroU32::MIN),
            queue_wait: millis(200),
        })
        .observer(observer)
        .clock(clock)
        .build()
        .expect("valid")
}

/// Longer than any limit here, and not for ever: a limit that is missing fails a test instead of
/// stopping it.
async fn hang() -> Result<(), &'static str> {
    sleep(Duration::from_hours(1)).await;
    Err("no limit ended it")
}

fn built<C, O: Observe>(builder: Builder<C, O>, clock: Clock) -> Pipeline<Canonical<O>, C> {
    builder
        .clock(clock)
        .build()
        .expect("the test's configuration is valid")
}

fn rejection<T: fmt::Debug, E: fmt::Debug>(result: Result<T, Error<E>>) -> (Policy, Cause) {
    match result {
        Err(Error::Rejected(rejection)) => (rejection.policy, rejection.cause),
        other => panic!("it was not rejected: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_passes_through_all_stages() {
    let clock = Clock::new();
    let builder = Pipeline::builder("payment")
        .deadline(millis(3_000))
        .retry(retry(clock))
        .breaker(breaker(clock))
        .bulkhead(bulkhead(clock))
        .timeout(millis(1_000));
    let answer = built(builder, clock)
        .call(async |_| Ok::<_, &str>("paid"))
        .await;
    assert_eq!(answer, Ok("paid"));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_counts_every_attempt_of_a_retried_call() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    let builder = Pipeline::builder("payment")
        .retry(retry(clock))
        .breaker(breaker.clone());
    let pipeline = built(builder, clock);
    let result = pipeline.call(async |_| Err::<(), _>("reset")).await;
    assert_eq!(result, Err(Error::Inner("reset")));
    assert_eq!(breaker.counts().failed, 3, "three attempts, three failures");
    assert_eq!(breaker.state(), State::Closed);

    // The fifth failure in a row is the second attempt of the second call.
    let attempts = Cell::new(0);
    let result = pipeline
        .call(async |_| {
            attempts.set(attempts.get() + 1);
            Err::<(), _>("reset")
        })
        .await;
    assert!(matches!(breaker.state(), State::Open { .. }));
    assert_eq!(attempts.get(), 2);
    assert!(matches!(result, Err(Error::Rejected(_))), "{result:?}");
}

// Pitfall of order (complaint 14): in Resilience4j and Polly a retry around an open breaker asks
// it again and again.
#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_not_hammered_by_retries() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    for _ in 0..5 {
        let permit = breaker.try_acquire().expect("the circuit is closed");
        permit.failure(Reason::Error);
    }
    let builder = Pipeline::builder("payment")
        .deadline(millis(3_000))
        .retry(retry(clock))
        .breaker(breaker.clone());
    let start = clock.now();
    let result = built(builder, clock)
        .call(async |_| Ok::<_, &str>("paid"))
        .await;
    assert_eq!(rejection(result), (Policy::Breaker, Cause::CircuitOpen));
    assert_eq!(
        clock.now(),
        start,
        "the cooldown ends after the deadline: fail now"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_an_open_circuit_when_the_deadline_leaves_that_time() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    for _ in 0..5 {
        let permit = breaker.try_acquire().expect("the circuit is closed");
        permit.failure(Reason::Error);
    }
    let rejected = breaker.try_acquire().expect_err("open");
    let retry_after = rejected.retry_after.expect("it opened by itself");
    let builder = Pipeline::builder("payment")
        .deadline(millis(60_000))
        .retry(retry(clock))
        .breaker(breaker);
    let start = clock.now();
    let answer = built(builder, clock)
        .call(async |attempt| Ok::<_, &str>(attempt.number))
        .await;
    assert_eq!(answer, Ok(2), "the rejected attempt is the first");
    let waited = clock.now().since(start);
    assert!(
        waited >= retry_after,
        "{waited:?} is before {retry_after:?}"
    );
    assert!(waited <= retry_after + millis(101), "{waited:?}");
}

// Pitfall 14 of the complaints: a full bulkhead counts as a failure of the callee (Resilience4j
// #1012, Kevlar #21).
#[tokio::test(start_paused = true)]
async fn a_full_bulkhead_does_not_trip_the_breaker_and_is_not_retried() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    let bulkhead = bulkhead(clock);
    let builder = Pipeline::builder("payment")
        .retry(retry(clock))
        .breaker(breaker.clone())
        .bulkhead(bulkhead.clone());
    let pipeline = built(builder, clock);
    let held = bulkhead.try_acquire().expect("the bulkhead is empty");
    let start = clock.now();
    for _ in 0..50 {
        let result = pipeline.call(async |_| Ok::<_, &str>("paid")).await;
        assert_eq!(rejection(result), (Policy::Bulkhead, Cause::QueueWait));
    }
    // 200 ms in the queue each, and no backoff: a timer fires with the millisecond after it.
    assert!(clock.now().since(start) <= 50 * millis(201));
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.counts().failed, 0);
    drop(held);
    assert_eq!(pipeline.call(async |_| Ok::<_, &str>(())).await, Ok(()));
}

// Pitfall 22: Sentinel #1638 never gives the outer slot back when an inner rule rejects.
#[tokio::test(start_paused = true)]
async fn a_probe_that_an_inner_stage_turns_away_gives_its_slot_back() {
    let clock = Clock::new();
    let outer = breaker(clock);
    let inner = breaker(clock);
    for _ in 0..5 {
        let permit = outer.try_acquire().expect("the circuit is closed");
        permit.failure(Reason::Error);
    }
    advance(millis(60_000)).await;
    for _ in 0..5 {
        let permit = inner.try_acquire().expect("the circuit is closed");
        permit.failure(Reason::Error);
    }
    let pipeline = stack(outer.clone())
        .then(inner)
        .clock(clock)
        .build("payment");
    for _ in 0..20 {
        let result = pipeline.call(async |_| Ok::<_, &str>("paid")).await;
        assert!(matches!(result, Err(Error::Rejected(_))));
        assert!(outer.would_admit(), "no slot waits for its lease");
    }
    assert_eq!(outer.state(), State::HalfOpen);
    advance(millis(60_000)).await;
    for _ in 0..3 {
        let answer = pipeline.call(async |_| Ok::<_, &str>("paid")).await;
        assert_eq!(answer, Ok("paid"));
    }
    assert_eq!(outer.state(), State::Closed);
}

// Pitfall 22, for a full bulkhead in the canonical order.
#[tokio::test(start_paused = true)]
async fn a_probe_that_finds_the_bulkhead_full_gives_its_slot_back() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    let bulkhead = bulkhead(clock);
    let builder = Pipeline::builder("payment")
        .breaker(breaker.clone())
        .bulkhead(bulkhead.clone());
    let pipeline = built(builder, clock);
    for _ in 0..5 {
        let result = pipeline.call(async |_| Err::<(), _>("reset")).await;
        assert_eq!(result, Err(Error::Inner("reset")));
    }
    advance(millis(60_000)).await;
    let held = bulkhead.try_acquire().expect("the bulkhead is empty");
    for _ in 0..10 {
        let result = pipeline.call(async |_| Ok::<_, &str>("paid")).await;
        assert_eq!(rejection(result), (Policy::Bulkhead, Cause::QueueWait));
    }
    drop(held);
    for _ in 0..3 {
        let answer = pipeline.call(async |_| Ok::<_, &str>("paid")).await;
        assert_eq!(answer, Ok("paid"));
    }
    assert_eq!(breaker.state(), State::Closed);
}

// Pitfall 30: a bulkhead around a retry keeps its place through every backoff.
#[tokio::test(start_paused = true)]
async fn a_place_is_not_held_during_a_backoff() {
    let clock = Clock::new();
    let bulkhead = bulkhead(clock);
    let builder = Pipeline::builder("payment")
        .retry(retry(clock))
        .bulkhead(bulkhead.clone());
    let pipeline = built(builder, clock);
    let attempts = AtomicU32::new(0);
    let call = pipeline.call(async |_| {
        attempts.fetch_add(1, Ordering::Relaxed);
        assert_eq!(bulkhead.in_flight(), 1, "an attempt holds a place");
        Err::<(), _>("reset")
    });
    let watch = async {
        while attempts.load(Ordering::Relaxed) < 3 {
            assert_eq!(bulkhead.in_flight(), 0, "nothing runs");
            sleep(millis(1)).await;
        }
    };
    let (result, ()) = tokio::join!(call, watch);
    assert_eq!(result, Err(Error::Inner("reset")));
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

// Pitfall 27: three layers of three attempts are 27 calls with every peer whose layers do not know
// of each other.
#[tokio::test(start_paused = true)]
async fn nested_pipelines_do_not_multiply_their_attempts() {
    let clock = Clock::new();
    let layer = || built(Pipeline::builder("payment").retry(retry(clock)), clock);
    let (outer, middle, inner) = (layer(), layer(), layer());
    let calls = Cell::new(0);
    let call = async |_| {
        calls.set(calls.get() + 1);
        Err::<(), _>("reset")
    };
    let inner = async |attempt| inner.call_on(Terms::within(attempt), call).await;
    let middle = async |attempt| {
        let result = middle.call_on(Terms::within(attempt), inner).await;
        result.map_err(Error::flatten)
    };
    let result = outer.call(middle).await.map_err(Error::flatten);
    assert_eq!(result, Err(Error::Inner("reset")));
    assert_eq!(calls.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_two_retries_in_one_stack_the_outer_one_tries_again() {
    let clock = Clock::new();
    let pipeline = stack(retry(clock))
        .then(retry(clock))
        .clock(clock)
        .build("payment");
    let calls = Cell::new(0);
    let result = pipeline
        .call(async |_| {
            calls.set(calls.get() + 1);
            Err::<(), _>("reset")
        })
        .await;
    assert_eq!(result, Err(Error::Inner("reset")));
    assert_eq!(calls.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_gives_everything_back() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    let bulkhead = bulkhead(clock);
    let builder = Pipeline::builder("payment")
        .deadline(millis(3_000))
        .retry(retry(clock))
        .breaker(breaker.clone())
        .bulkhead(bulkhead.clone())
        .timeout(millis(1_000));
    let pipeline = built(builder, clock);
    let running = pipeline.call(async |_| hang().await);
    let queued = pipeline.call(async |_| hang().await);
    let both = async { tokio::join!(running, queued) };
    assert!(timeout(millis(10), both).await.is_err());
    assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (0, 0));
    assert_eq!(breaker.counts().failed, 0, "the callee is not to blame");

    // Cancelled in a backoff.
    let failing = pipeline.call(async |_| Err::<(), _>("reset"));
    assert!(timeout(millis(1), failing).await.is_err());
    assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (0, 0));
    assert_eq!(pipeline.call(async |_| Ok::<_, &str>(())).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_classifier_is_asked_once_per_attempt() {
    let clock = Clock::new();
    let asked = Arc::new(AtomicU32::new(0));
    let counting = {
        let asked = Arc::clone(&asked);
        classify::by(move |result: Result<&u16, &&str>| {
            asked.fetch_add(1, Ordering::Relaxed);
            match result {
                Ok(500..) | Err(_) => Outcome::Failure(Reason::Status),
                Ok(400..) => Outcome::Permanent,
                Ok(_) => Outcome::Success,
            }
        })
    };
    let breaker = breaker(clock);
    let builder = Pipeline::builder("payment")
        .retry(retry(clock))
        .breaker(breaker.clone())
        .bulkhead(bulkhead(clock))
        .timeout(millis(100))
        .classify(counting);
    let pipeline = built(builder, clock);
    // An `Ok` that means a failure is tried again, and handed out when no attempt is left.
    let answer = pipeline.call(async |_| Ok::<_, &str>(503)).await;
    assert_eq!(answer, Ok(503));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(breaker.counts().failed, 3);
    // A refusal for good is not tried again, and no failure of the callee.
    let answer = pipeline.call(async |_| Ok::<_, &str>(404)).await;
    assert_eq!(answer, Ok(404));
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    assert_eq!(breaker.counts().failed, 3);
}

// Pitfall 28: never earlier than the callee asked for.
#[tokio::test(start_paused = true)]
async fn the_callees_wish_is_a_lower_bound_of_the_backoff() {
    let clock = Clock::new();
    let wish = millis(700);
    let throttled = classify::by(move |result: Result<&u32, &&str>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Throttled {
            retry_after: Some(wish),
        },
    });
    let pipeline = built(Pipeline::builder("payment").retry(retry(clock)), clock);
    let starts = RefCell::new(Vec::new());
    let answer = pipeline
        .call_with(
            async |attempt| {
                starts.borrow_mut().push(clock.now());
                if attempt.number < 3 {
                    Err("slow down")
                } else {
                    Ok(attempt.number)
                }
            },
            throttled,
        )
        .await;
    assert_eq!(answer, Ok(3));
    let starts = starts.into_inner();
    assert!(starts[1].since(starts[0]) >= wish);
    assert!(starts[2].since(starts[1]) >= wish);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_be_made_twice_is_tried_again_only_if_it_was_never_sent() {
    let clock = Clock::new();
    let by_error = classify::by(|result: Result<&(), &&str>| match result {
        Ok(()) => Outcome::Success,
        Err(&"refused") => Outcome::Failure(Reason::Connect),
        Err(_) => Outcome::Failure(Reason::Reset),
    });
    let builder = Pipeline::builder("payment")
        .retry(retry(clock))
        .classify(by_error);
    let pipeline = built(builder, clock);
    let terms = Terms {
        idempotent: false,
        ..Terms::default()
    };
    let attempts = async |error: &'static str| {
        let attempts = Cell::new(0);
        let call = async |attempt: Attempt| {
            attempts.set(attempt.number);
            Err::<(), _>(error)
        };
        let result = pipeline.call_on(terms, call).await;
        assert_eq!(result, Err(Error::Inner(error)));
        attempts.get()
    };
    assert_eq!(attempts("reset").await, 1);
    assert_eq!(attempts("refused").await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_used_up_ends_the_call_with_its_last_error() {
    let clock = Clock::new();
    let budget = RetryBudget::builder("payment")
        .config(BudgetConfig {
            ratio: 0.001,
            floor: 0,
            ..BudgetConfig::default()
        })
        .clock(clock)
        .build()
        .expect("the test's configuration is valid");
    let retry = Retry::builder(budget).clock(clock).build().expect("valid");
    let pipeline = built(Pipeline::builder("payment").retry(retry), clock);
    let result = pipeline.call(async |_| Err::<(), _>("reset")).await;
    assert_eq!(result, Err(Error::BudgetExhausted("reset")));
}

#[tokio::test(start_paused = true)]
async fn stages_with_clocks_of_their_own_agree_on_what_time_it_is() {
    let early = Clock::new();
    advance(millis(100_000)).await;
    let late = Clock::new();
    let heard = Heard::new();
    let breaker = breaker_heard(early, Arc::<Heard>::clone(&heard));
    let builder = Pipeline::builder("payment")
        .deadline(millis(500))
        .retry(retry_heard(early, Arc::<Heard>::clone(&heard)))
        .breaker(breaker.clone())
        .bulkhead(bulkhead_heard(early, Arc::<Heard>::clone(&heard)))
        .timeout(millis(100));
    let pipeline = built(builder, late);
    for _ in 0..2 {
        let result = pipeline.call(async |_| Err::<(), _>("reset")).await;
        assert!(result.is_err());
    }
    assert_eq!(heard.names(), ["circuit_open"]);
    let State::Open { retry_after } = breaker.state() else {
        panic!("the circuit is open");
    };
    assert!(retry_after > millis(1_000), "it has just opened");
    advance(millis(60_000)).await;
    for _ in 0..3 {
        assert_eq!(pipeline.call(async |_| Ok::<_, &str>(())).await, Ok(()));
    }
    assert_eq!(heard.names(), ["circuit_half_open", "circuit_closed"]);
}
