//! Windows that do not forget, and decisions that come too late.
//!
//! Prevents claims in docs/comparison.md that nobody saw: each test shows what a peer does, and what
//! ours does with the same calls. A test that fails here is good news for that peer's users.

use std::num::NonZeroU32;
use std::time::Duration;

use mainstay::breaker::{Config, State};
use mainstay::{Breaker, Reason};
use peers::{Failure, now};
use recloser::Recloser;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_resilience::circuitbreaker::CircuitBreakerLayer;

/// A service that fails when it is asked to.
fn fails_on_demand()
-> impl Service<bool, Response = (), Error = Failure, Future: Send> + Clone + Send + 'static {
    service_fn(|fails| std::future::ready(if fails { Err(Failure) } else { Ok(()) }))
}

/// Of ten calls in a row, six fail.
const fn of_sixty_percent(number: u32) -> bool {
    number % 10 < 6
}

/// A breaker that looks at the rate only.
fn breaker(window: Duration, calls_min: u32) -> Breaker {
    let config = Config {
        consecutive: None,
        window: window.into(),
        calls_min: NonZeroU32::new(calls_min).expect("not zero"),
        ..Config::default()
    };
    let breaker = Breaker::builder("payment").config(config).build();
    breaker.expect("a configuration that works")
}

/// One call, unless the circuit is open.
fn record(breaker: &Breaker, fails: bool) {
    let Ok(permit) = breaker.try_acquire() else {
        return;
    };
    if fails {
        permit.failure(Reason::Error);
    } else {
        permit.success();
    }
}

// Pitfall 1: the count window of tower-resilience 0.13 never forgets a call.
#[test]
fn pitfall_1_tower_resilience_does_not_trip_at_60_percent_failures_after_a_million_successes() {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .build_with_handle()
        .expect("a configuration that works");
    let mut service = layer.layer(fails_on_demand());
    for _ in 0..1_000_000 {
        now(now(service.ready()).expect("it is ready").call(false)).expect("it succeeds");
    }
    // Ten times the window.
    for number in 0..1_000 {
        let _answer = now(now(service.ready())
            .expect("it is ready")
            .call(of_sixty_percent(number)));
    }
    assert!(
        !handle.is_open(),
        "it forgets now: correct docs/comparison.md"
    );
    assert_eq!(now(handle.metrics()).total_calls, 1_001_000);
}

// Pitfall 1.
#[tokio::test(start_paused = true)]
async fn pitfall_1_ours_trips_within_a_window_after_a_million_successes() {
    const WINDOW_SECONDS: u64 = 10;
    let breaker = breaker(Duration::from_secs(WINDOW_SECONDS), 20);
    for _ in 0..1_000 {
        tokio::time::advance(Duration::from_secs(1)).await;
        (0..1_000).for_each(|_| record(&breaker, false));
    }
    assert_eq!(breaker.state(), State::Closed);
    let mut seconds = 0;
    while breaker.state() == State::Closed {
        tokio::time::advance(Duration::from_secs(1)).await;
        seconds += 1;
        (0..1_000).for_each(|number| record(&breaker, of_sixty_percent(number)));
    }
    assert!(seconds <= WINDOW_SECONDS, "opened after {seconds} s");
}

// Pitfall 5: tower-resilience 0.13 waits until its window is full, whatever the minimum is.
#[test]
fn pitfall_5_tower_resilience_ignores_a_minimum_of_calls_below_its_window() {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .minimum_number_of_calls(10)
        .build_with_handle()
        .expect("a configuration that works");
    let mut service = layer.layer(fails_on_demand());
    let mut calls = 0;
    while !handle.is_open() {
        let _failed = now(now(service.ready()).expect("it is ready").call(true));
        calls += 1;
    }
    assert_eq!(
        calls, 100,
        "it looks earlier now: correct docs/comparison.md"
    );
}

// Pitfall 5: recloser 1.4 decides one call after its window is full.
#[test]
fn pitfall_5_recloser_decides_one_call_after_its_window_is_full() {
    let breaker = Recloser::custom().error_rate(0.5).closed_len(10).build();
    let mut calls = 0;
    while !matches!(
        breaker.call(|| Err::<(), _>(Failure)),
        Err(recloser::Error::Rejected)
    ) {
        calls += 1;
    }
    assert_eq!(calls, 11, "it is on time now: correct docs/comparison.md");
}

// Pitfall 5.
#[test]
fn pitfall_5_ours_decides_with_exactly_the_minimum_of_calls() {
    let breaker = breaker(Duration::from_secs(10), 10);
    for call in 1..=10 {
        assert_eq!(breaker.state(), State::Closed, "before call {call}");
        record(&breaker, true);
    }
    assert!(matches!(breaker.state(), State::Open { .. }));
}

// Beside the list: failsafe 1.3 asks that a window be over before a rate may open the circuit.
#[test]
fn failsafe_does_not_trip_by_rate_before_its_first_window_is_over() {
    use failsafe::{CircuitBreaker as _, Config, backoff, failure_policy};

    let window = Duration::from_hours(1);
    let backoff = backoff::constant(window);
    let policy = failure_policy::success_rate_over_time_window(0.5, 10, window, backoff);
    let breaker = Config::new().failure_policy(policy).build();
    for _ in 0..10_000 {
        let _failed = breaker.call(|| Err::<(), _>(Failure));
    }
    assert!(
        breaker.is_call_permitted(),
        "it opens now: correct docs/comparison.md"
    );
}

// Beside the list.
#[test]
fn ours_trips_by_rate_as_soon_as_there_are_enough_calls() {
    let breaker = breaker(Duration::from_hours(1), 20);
    (0..20).for_each(|_| record(&breaker, true));
    assert!(matches!(breaker.state(), State::Open { .. }));
}
