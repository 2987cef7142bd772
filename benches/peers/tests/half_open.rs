//! Half-open circuits that admit everybody, close for the wrong reason, or never end.
//!
//! Prevents claims in docs/comparison.md that nobody saw. Peers without a clock of their own are
//! given cooldowns of a millisecond and asked until it has passed.

#![expect(
    clippy::disallowed_methods,
    reason = "these peers have no clock that a test could move"
)]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use failsafe::{CircuitBreaker as _, backoff, failure_policy};
use mainstay::breaker::{Config, OwnedPermit, Slow, State};
use mainstay::{Breaker, Reason};
use peers::{Failure, now, once};
use recloser::{AsyncRecloser, Recloser};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, CircuitState};

const COOLDOWN: Duration = Duration::from_millis(1);
/// How many callers come while it is half-open.
const CALLERS: usize = 1_000;

fn ours(config: Config) -> Breaker {
    let breaker = Breaker::builder("payment").config(config).build();
    breaker.expect("a configuration that works")
}

/// Opens it, and moves the clock until it lets a probe through.
async fn half_opened(breaker: &Breaker) -> OwnedPermit {
    for _ in 0..5 {
        breaker
            .try_acquire()
            .expect("a closed circuit")
            .failure(Reason::Error);
    }
    assert!(matches!(breaker.state(), State::Open { .. }));
    loop {
        tokio::time::advance(Duration::from_secs(1)).await;
        if let Ok(probe) = breaker.try_acquire_owned() {
            return probe;
        }
    }
}

// Pitfall 9: failsafe 1.3 admits every call while it is half-open.
#[test]
fn pitfall_9_failsafe_admits_a_thousand_callers_half_open() {
    let policy = failure_policy::consecutive_failures(1, backoff::constant(COOLDOWN));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    let _failed = breaker.call(|| Err::<(), _>(Failure));
    while !breaker.is_call_permitted() {}
    // None of them has an answer yet.
    let admitted = (0..CALLERS).filter(|_| breaker.is_call_permitted()).count();
    assert_eq!(
        admitted, CALLERS,
        "it limits them now: correct docs/comparison.md"
    );
}

// Pitfall 9: recloser 1.4 admits every call while it is half-open.
#[test]
fn pitfall_9_recloser_admits_a_thousand_callers_half_open_where_three_are_to_decide() {
    let breaker = Recloser::custom()
        .closed_len(1)
        .half_open_len(3)
        .open_wait(COOLDOWN)
        .build();
    let breaker = AsyncRecloser::from(breaker);
    for _ in 0..2 {
        let _failed = now(breaker.call(std::future::ready(Err::<(), _>(Failure))));
    }
    let call = || Box::pin(breaker.call(std::future::pending::<Result<(), Failure>>()));
    while once(call().as_mut()).is_ready() {}
    let mut calls: Vec<_> = (0..CALLERS).map(|_| call()).collect();
    let admitted = calls
        .iter_mut()
        .filter_map(|call| once(call.as_mut()).is_pending().then_some(()))
        .count();
    assert_eq!(
        admitted, CALLERS,
        "it limits them now: correct docs/comparison.md"
    );
}

// Pitfall 9.
#[tokio::test(start_paused = true)]
async fn pitfall_9_ours_admits_exactly_the_probes() {
    let breaker = ours(Config {
        probes: NonZeroU32::new(3).expect("not zero"),
        ..Config::default()
    });
    let first = half_opened(&breaker).await;
    let others: Vec<_> = (0..CALLERS)
        .filter_map(|_| breaker.try_acquire_owned().ok())
        .collect();
    assert_eq!(others.len(), 2);
    drop((first, others));
}

/// A service whose call ends when it is told to: at once, slowly, or never.
#[derive(Clone, Copy)]
enum Ask {
    Fail,
    Succeed,
    SucceedSlowly,
    Hang,
}

const SLOW: Duration = Duration::from_micros(500);

fn service()
-> impl Service<Ask, Response = (), Error = Failure, Future: Send> + Clone + Send + 'static {
    service_fn(async |ask| match ask {
        Ask::Fail => Err(Failure),
        Ask::Succeed => Ok(()),
        Ask::SucceedSlowly => {
            let start = Instant::now();
            while start.elapsed() < SLOW {}
            Ok(())
        },
        Ask::Hang => std::future::pending().await,
    })
}

fn called<S: Service<Ask>>(service: &mut S, ask: Ask) -> S::Future {
    let Ok(ready) = now(service.ready()) else {
        panic!("it is always ready");
    };
    ready.call(ask)
}

// Pitfall 10: a probe that hangs wedges tower-resilience 0.13, which has no lease on probes.
#[test]
fn pitfall_10_tower_resilience_rejects_as_long_as_one_probe_hangs() {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .consecutive_failures(1)
        .wait_duration_in_open(COOLDOWN)
        .build_with_handle()
        .expect("a configuration that works");
    let mut service = layer.layer(service());
    let _failed = now(called(&mut service, Ask::Fail));
    assert!(handle.is_open());
    let mut probe = called(&mut service, Ask::Hang);
    while once(probe.as_mut()).is_ready() {
        probe = called(&mut service, Ask::Hang);
    }
    // Twenty cooldowns, of which nothing comes.
    let start = Instant::now();
    while start.elapsed() < 20 * COOLDOWN {
        let answer = now(called(&mut service, Ask::Succeed));
        assert!(
            answer.is_err(),
            "it recovers now: correct docs/comparison.md"
        );
    }
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    drop(probe);
}

// Pitfall 10.
#[tokio::test(start_paused = true)]
async fn pitfall_10_ours_lets_another_probe_through_when_the_lease_ran_out() {
    let breaker = ours(Config {
        probes: NonZeroU32::MIN,
        ..Config::default()
    });
    let hangs = half_opened(&breaker).await;
    assert!(breaker.try_acquire().is_err(), "the probe is out");
    // The engine counts it in sixteenths.
    tokio::time::advance(Config::default().lease * 17 / 16).await;
    let other = breaker.try_acquire().expect("the lease ran out");
    other.success();
    assert_eq!(breaker.state(), State::Closed);
    drop(hangs);
}

// Pitfall 16: tower-resilience 0.13 does not look at the duration of a probe.
#[test]
fn pitfall_16_a_slow_probe_closes_a_circuit_of_tower_resilience_that_slow_calls_opened() {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .sliding_window_size(3)
        .slow_call_duration_threshold(SLOW)
        .slow_call_rate_threshold(1.0)
        .wait_duration_in_open(COOLDOWN)
        .build_with_handle()
        .expect("a configuration that works");
    let mut service = layer.layer(service());
    for _ in 0..3 {
        now(called(&mut service, Ask::SucceedSlowly)).expect("it succeeds");
    }
    assert!(handle.is_open(), "opened by three slow calls");
    while now(called(&mut service, Ask::SucceedSlowly)).is_err() {}
    assert_eq!(
        handle.state(),
        CircuitState::Closed,
        "it sees slow probes now: correct docs/comparison.md"
    );
}

// Pitfall 16.
#[tokio::test(start_paused = true)]
async fn pitfall_16_a_slow_probe_does_not_close_ours() {
    let slow = Slow {
        after: SLOW,
        rate: 1.0,
        in_flight: false,
    };
    let breaker = ours(Config {
        error_rate: None,
        consecutive: None,
        slow: Some(slow),
        calls_min: NonZeroU32::new(3).expect("not zero"),
        probes: NonZeroU32::MIN,
        ..Config::default()
    });
    for _ in 0..3 {
        let permit = breaker.try_acquire().expect("a closed circuit");
        tokio::time::advance(2 * SLOW).await;
        permit.success();
    }
    assert!(matches!(breaker.state(), State::Open { .. }));
    let probe = loop {
        tokio::time::advance(Duration::from_secs(1)).await;
        if let Ok(probe) = breaker.try_acquire_owned() {
            break probe;
        }
    };
    tokio::time::advance(2 * SLOW).await;
    probe.success();
    assert!(
        matches!(breaker.state(), State::Open { .. }),
        "as slow as before"
    );
}
