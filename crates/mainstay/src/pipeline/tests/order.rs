//! Claims about where each stage stands, and what is left when a call is turned away or dropped.

use mainstay_core::limit::priority::Priority;

use super::*;
use crate::concurrency_limit::{self, AdaptiveConfig, ConcurrencyLimit};
use crate::fault::{self, Faults};
use crate::hedge::{self, Delay, Hedge};
use crate::rate_limit::{self, RateLimiter};
use crate::throttle::Throttle;

/// One call per second, one at once; one may wait for up to a minute.
fn rate_limit(clock: Clock) -> RateLimiter {
    RateLimiter::builder("payment")
        .config(rate_limit::Config {
            per_period: NonZeroU32::MIN,
            period: millis(1_000),
            burst: NonZeroU32::MIN,
            queue: Some(NonZeroU32::MIN),
            queue_wait: millis(60_000),
        })
        .clock(clock)
        .build()
        .expect("the test's configuration is valid")
}

/// One call at a time, nobody waits.
fn concurrency_limit(clock: Clock) -> ConcurrencyLimit {
    ConcurrencyLimit::builder("payment")
        .config(concurrency_limit::Config {
            limit: AdaptiveConfig {
                initial: NonZeroU32::MIN,
                max: NonZeroU32::MIN,
                ..AdaptiveConfig::default()
            },
            queue: None,
            ..concurrency_limit::Config::default()
        })
        .clock(clock)
        .build()
        .expect("the test's configuration is valid")
}

/// One call at a time at first; one waits for up to 100 ms.
fn queueing_limit(clock: Clock) -> ConcurrencyLimit {
    ConcurrencyLimit::builder("payment")
        .config(concurrency_limit::Config {
            limit: AdaptiveConfig {
                initial: NonZeroU32::MIN,
                ..AdaptiveConfig::default()
            },
            queue: Some(NonZeroU32::MIN),
            ..concurrency_limit::Config::default()
        })
        .clock(clock)
        .build()
        .expect("the test's configuration is valid")
}

/// A copy after 50 ms.
fn hedge(budget: &RetryBudget, clock: Clock) -> Hedge {
    Hedge::builder(budget.clone())
        .config(hedge::Config {
            delay: Delay::Fixed(millis(50)),
            ..hedge::Config::default()
        })
        .clock(clock)
        .build()
        .expect("the test's configuration is valid")
}

fn faults(config: fault::Config) -> Faults {
    let faults = Faults::builder("payment").config(config).seed(3);
    let faults = faults.build().expect("the test's configuration is valid");
    faults.enable();
    faults
}

/// As many places as the test needs.
fn wide_bulkhead(clock: Clock) -> Bulkhead {
    Bulkhead::builder("payment")
        .clock(clock)
        .build()
        .expect("valid")
}

/// One probe at a time, and two good ones close it.
async fn half_open(clock: Clock) -> Breaker {
    let breaker = breaker(clock);
    for _ in 0..5 {
        let permit = breaker.try_acquire().expect("the circuit is closed");
        permit.failure(Reason::Error);
    }
    advance(millis(60_000)).await;
    breaker
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_tried_again_takes_one_turn_of_the_rate_limit() {
    let clock = Clock::new();
    let builder = Pipeline::builder("payment")
        .rate_limit(rate_limit(clock))
        .retry(retry(clock));
    let pipeline = built(builder, clock);
    let attempts = Cell::new(0);
    let start = clock.now();
    let result = pipeline
        .call(async |_| {
            attempts.set(attempts.get() + 1);
            Err::<(), _>("reset")
        })
        .await;
    assert_eq!(result, Err(Error::Inner("reset")));
    assert_eq!(attempts.get(), 3);
    assert!(
        clock.now().since(start) <= millis(202),
        "two backoffs, no turn"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_turn_within_its_deadline_and_has_what_is_left() {
    let clock = Clock::new();
    let limiter = rate_limit(clock);
    let builder = Pipeline::builder("payment")
        .deadline(millis(1_500))
        .rate_limit(limiter.clone());
    let pipeline = built(builder, clock);
    let start = clock.now();
    assert_eq!(pipeline.call(async |_| Ok::<_, &str>(1)).await, Ok(1));
    let result = pipeline.call(async |_| hang().await).await;
    let total = Error::Timeout {
        scope: Scope::Total,
        after: millis(1_500),
    };
    assert_eq!(result, Err(total));
    assert_eq!(clock.now().since(start), millis(1_500));

    // The next turn is in half a second, and this caller leaves before.
    let terms = Terms {
        deadline: Deadline::after(clock.now(), millis(100)),
        ..Terms::default()
    };
    let result = pipeline
        .call_on(terms, async |_| Ok::<_, &str>("it must not run"))
        .await;
    assert_eq!(rejection(result), (Policy::RateLimit, Cause::RateReached));
    assert_eq!(clock.now().since(start), millis(1_500), "at once");
    assert_eq!(limiter.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_a_queue_is_no_time_of_the_attempt() {
    let clock = Clock::new();
    let builder = Pipeline::builder("payment")
        .rate_limit(rate_limit(clock))
        .timeout(millis(200));
    let pipeline = built(builder, clock);
    for _ in 0..2 {
        let call = pipeline.call(async |attempt| {
            let whole = Deadline::after(clock.now(), millis(200));
            assert_eq!(attempt.deadline, whole);
            Ok::<_, &str>(())
        });
        assert_eq!(call.await, Ok(()));
    }

    let limit = queueing_limit(clock);
    let builder = Pipeline::builder("payment")
        .concurrency_limit(limit.clone())
        .timeout(millis(200));
    let pipeline = built(builder, clock);
    let held = limit.try_acquire().expect("it is empty");
    let free = async {
        sleep(millis(50)).await;
        held.success();
    };
    let call = pipeline.call(async |attempt| {
        let whole = Deadline::after(clock.now(), millis(200));
        assert_eq!(attempt.deadline, whole);
        Ok::<_, &str>(())
    });
    assert_eq!(tokio::join!(call, free).0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_a_throttle_or_a_limit_turns_away_is_no_failure_and_keeps_no_probe() {
    let clock = Clock::new();
    let breaker = half_open(clock).await;
    let limit = concurrency_limit(clock);
    let throttle = Throttle::builder("payment").clock(clock).seed(3);
    let throttle = throttle.build().expect("the defaults are valid");
    let builder = Pipeline::builder("payment")
        .breaker(breaker.clone())
        .throttle(throttle.clone())
        .concurrency_limit(limit.clone());
    let pipeline = built(builder, clock);
    let held = limit.try_acquire().expect("it is empty");
    for _ in 0..20 {
        let result = pipeline.call(async |_| Ok::<_, &str>("paid")).await;
        let expected = (Policy::ConcurrencyLimit, Cause::QueueFull);
        assert_eq!(rejection(result), expected);
    }
    held.ignore();
    assert_eq!(throttle.counts().requests, 0, "nothing was sent");

    for _ in 0..500 {
        if let Ok(permit) = throttle.try_acquire() {
            permit.record(Outcome::Throttled { retry_after: None });
        }
    }
    let mut turned_away = 0;
    for _ in 0..20 {
        let result = pipeline
            .call(async |_| Err::<(), _>("it is turned away"))
            .await;
        if let Err(Error::Rejected(rejection)) = result {
            assert_eq!(rejection.policy, Policy::Throttle);
            turned_away += 1;
        }
        if turned_away == 10 {
            break;
        }
    }
    assert_eq!(turned_away, 10);
    assert_eq!(breaker.state(), State::HalfOpen);
    let probe = breaker.try_acquire().expect("no probe's slot was kept");
    probe.ignore();
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_gives_all_its_places_back() {
    let clock = Clock::new();
    let (breaker, limit) = (half_open(clock).await, concurrency_limit(clock));
    let (bulkhead, limiter) = (bulkhead(clock), rate_limit(clock));
    let builder = Pipeline::builder("payment")
        .rate_limit(limiter.clone())
        .breaker(breaker.clone())
        .concurrency_limit(limit.clone())
        .bulkhead(bulkhead.clone());
    let pipeline = built(builder, clock);
    let running = timeout(millis(10), pipeline.call(async |_| hang().await));
    assert!(running.await.is_err());
    assert_eq!((limit.in_flight(), bulkhead.in_flight()), (0, 0));
    breaker.try_acquire().expect("the slot is free").ignore();

    let queued = timeout(millis(10), pipeline.call(async |_| hang().await));
    assert!(queued.await.is_err());
    assert_eq!(limiter.queued(), 0);

    let held = bulkhead.try_acquire().expect("it is empty");
    advance(millis(1_000)).await;
    let queued = timeout(millis(10), pipeline.call(async |_| hang().await));
    assert!(queued.await.is_err());
    drop(held);
    assert_eq!((limit.in_flight(), bulkhead.queued()), (0, 0));
    breaker.try_acquire().expect("the slot is free").ignore();
}

#[tokio::test(start_paused = true)]
async fn the_more_important_call_has_the_place_in_the_queue() {
    let clock = Clock::new();
    let limit = queueing_limit(clock);
    let builder = Pipeline::builder("payment").concurrency_limit(limit.clone());
    let pipeline = built(builder, clock);
    let held = limit.try_acquire().expect("it is empty");
    let call = |priority| {
        let terms = Terms {
            priority,
            ..Terms::default()
        };
        pipeline.call_on(terms, async |_| Ok::<_, &str>("paid"))
    };
    let free = async {
        sleep(millis(1)).await;
        held.success();
    };
    let (low, critical, ()) = tokio::join!(call(Priority::Low), call(Priority::Critical), free);
    assert_eq!(rejection(low), (Policy::ConcurrencyLimit, Cause::Shed));
    assert_eq!(critical, Ok("paid"));
}

#[tokio::test(start_paused = true)]
async fn the_copies_of_an_attempt_have_places_of_their_own_and_the_loser_says_nothing() {
    let clock = Clock::new();
    let (breaker, bulkhead, retry) = (breaker(clock), wide_bulkhead(clock), retry(clock));
    let hedge = hedge(retry.budget(), clock);
    let builder = Pipeline::builder("payment")
        .retry(retry)
        .hedge(hedge.clone())
        .breaker(breaker.clone())
        .bulkhead(bulkhead.clone());
    let pipeline = built(builder, clock);
    let (copies, most) = (Cell::new(0), Cell::new(0));
    let start = clock.now();
    let answer = pipeline
        .call(async |attempt| {
            copies.set(copies.get() + 1);
            most.set(bulkhead.in_flight());
            assert_eq!(attempt.number, 1, "a copy is part of its attempt");
            if copies.get() == 1 {
                hang().await?;
            }
            Ok::<_, &str>("paid")
        })
        .await;
    assert_eq!(answer, Ok("paid"));
    assert_eq!((copies.get(), most.get()), (2, 2));
    assert_eq!((hedge.sent(), hedge.won()), (1, 1));
    assert_eq!(bulkhead.in_flight(), 0, "the loser is gone");
    let counts = breaker.counts();
    assert_eq!((counts.failed, counts.total), (0, 1), "it was abandoned");
    assert!(clock.now().since(start) <= millis(51));
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_after_all_copies_have_failed() {
    let clock = Clock::new();
    let retry = retry(clock);
    let hedge = hedge(retry.budget(), clock);
    let breaker = breaker(clock);
    let builder = Pipeline::builder("payment")
        .retry(retry)
        .hedge(hedge)
        .breaker(breaker.clone())
        .timeout(millis(100));
    let pipeline = built(builder, clock);
    let numbers = RefCell::new(Vec::new());
    let answer = pipeline
        .call(async |attempt| {
            numbers.borrow_mut().push(attempt.number);
            if attempt.number == 1 {
                hang().await?;
            }
            Ok::<_, &str>("paid")
        })
        .await;
    assert_eq!(answer, Ok("paid"));
    assert_eq!(*numbers.borrow(), [1, 1, 2]);
    assert_eq!(breaker.counts().failed, 2);
}

#[tokio::test(start_paused = true)]
async fn each_copy_has_the_whole_time_of_an_attempt() {
    let clock = Clock::new();
    let hedge = hedge(retry(clock).budget(), clock);
    let builder = Pipeline::builder("payment")
        .hedge(hedge)
        .timeout(millis(100));
    let start = clock.now();
    let result = built(builder, clock).call(async |_| hang().await).await;
    let limit = Error::Timeout {
        scope: Scope::Attempt,
        after: millis(100),
    };
    assert_eq!(result, Err(limit));
    assert!(
        clock.now().since(start) >= millis(150),
        "the second one too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_be_made_twice_is_not_hedged() {
    let clock = Clock::new();
    let budget = RetryBudget::builder("payment").clock(clock).build();
    let hedge = hedge(&budget.expect("the defaults are valid"), clock);
    let builder = Pipeline::builder("payment").hedge(hedge.clone());
    let pipeline = built(builder, clock);
    let terms = Terms {
        idempotent: false,
        ..Terms::default()
    };
    let answer = pipeline
        .call_on(terms, async |_| {
            sleep(millis(200)).await;
            Ok::<_, &str>("paid")
        })
        .await;
    assert_eq!((answer, hedge.sent()), (Ok("paid"), 0));
    let retry = retry(clock).idempotent(false);
    let builder = Pipeline::builder("payment")
        .retry(retry)
        .hedge(hedge.clone());
    let answer = built(builder, clock)
        .call(async |_| {
            sleep(millis(200)).await;
            Ok::<_, &str>("paid")
        })
        .await;
    assert_eq!((answer, hedge.sent()), (Ok("paid"), 0));
}

#[tokio::test(start_paused = true)]
async fn an_injected_error_is_met_by_all_other_stages() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    let faults = faults(fault::Config {
        error: 1.0,
        ..fault::Config::default()
    });
    let builder = Pipeline::builder("payment")
        .retry(retry(clock))
        .breaker(breaker.clone())
        .faults(faults.clone());
    let pipeline = built(builder, clock);
    let pay = async || pipeline.call(async |_| Ok::<_, &str>("paid")).await;
    assert_eq!(rejection(pay().await), (Policy::Fault, Cause::Injected));
    assert_eq!(breaker.counts().failed, 3, "each attempt is a failure");
    faults.disable();
    assert_eq!(pay().await, Ok("paid"));
}

#[tokio::test(start_paused = true)]
async fn an_injected_hang_or_latency_ends_at_the_limit_of_the_attempt() {
    let clock = Clock::new();
    let hang = fault::Config {
        hang: 1.0,
        ..fault::Config::default()
    };
    let late = fault::Config {
        latency: 1.0,
        latency_min: millis(5_000),
        latency_max: millis(5_000),
        ..fault::Config::default()
    };
    for config in [hang, late] {
        let breaker = breaker(clock);
        let builder = Pipeline::builder("payment")
            .breaker(breaker.clone())
            .timeout(millis(100))
            .faults(faults(config));
        let start = clock.now();
        let result = built(builder, clock)
            .call(async |_| Ok::<_, &str>("it must not run"))
            .await;
        let limit = Error::Timeout {
            scope: Scope::Attempt,
            after: millis(100),
        };
        assert_eq!(result, Err(limit));
        assert!(clock.now().since(start) <= millis(101));
        assert_eq!(breaker.counts().failed, 1);
    }
}
