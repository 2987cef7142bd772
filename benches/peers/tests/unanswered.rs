//! Calls that end without an answer: by a panic, or because nobody waits any longer.
//!
//! Prevents claims in docs/comparison.md that nobody saw. A callee that panics in each call, or that
//! never answers in time, is not healthy, whatever the answers say that did not come.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;

use failsafe::{CircuitBreaker as _, backoff, failure_policy};
use layered::{Execute, Layer as _, Service as _};
use mainstay::Breaker;
use mainstay::breaker::State;
use peers::{FOREVER, Failure, now, once};
use recloser::{AsyncRecloser, Recloser};
use seatbelt::breaker::Breaker as Seatbelt;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::Clock;
use tower::{Service as _, ServiceExt as _, service_fn};
use tower_resilience::circuitbreaker::CircuitBreakerLayer;

type Answer = Result<(), Failure>;

/// Ten times what opens any of the circuits here.
const CALLS: usize = 200;

/// Makes a call that panics, quietly.
fn panics() -> Answer {
    resume_unwind(Box::new("the call panics"))
}

/// Makes so many calls and catches what they throw.
fn caught(mut call: impl FnMut()) {
    for _ in 0..CALLS {
        let panic = catch_unwind(AssertUnwindSafe(&mut call));
        assert!(panic.is_err(), "the call panics");
    }
}

fn recloser() -> Recloser {
    Recloser::custom().closed_len(10).open_wait(FOREVER).build()
}

// Beside pitfall 10: failsafe 1.3 and recloser 1.4 do not see a call that panics.
#[test]
fn two_hundred_panics_do_not_open_failsafe_and_recloser() {
    let policy = failure_policy::consecutive_failures(5, backoff::constant(FOREVER));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    caught(|| drop(breaker.call(panics)));
    assert!(
        breaker.is_call_permitted(),
        "failsafe sees panics now: correct docs/comparison.md"
    );

    let breaker = recloser();
    caught(|| drop(breaker.call(panics)));
    let answer = breaker.call(|| Ok::<_, Failure>(()));
    assert!(
        answer.is_ok(),
        "recloser sees panics now: correct docs/comparison.md"
    );
}

// Beside pitfall 10: tower-resilience 0.13 and seatbelt 0.11 do not see a call that panics.
#[test]
fn two_hundred_panics_do_not_open_tower_resilience_and_seatbelt() {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .consecutive_failures(5)
        .build_with_handle()
        .expect("a configuration that works");
    let mut service = layer.layer_fn(service_fn(async |()| panics()));
    caught(|| drop(now(now(service.ready()).expect("it is ready").call(()))));
    assert!(
        !handle.is_open(),
        "tower-resilience sees panics now: correct docs/comparison.md"
    );

    let context = ResilienceContext::<bool, Answer>::new(Clock::new_frozen());
    let service = Seatbelt::layer("payment", &context)
        .recovery_with(|_, _| RecoveryInfo::retry())
        .rejected_input(|_, _| Err(Failure))
        .min_throughput(5)
        .layer(Execute::new(
            async |fails| if fails { panics() } else { Ok(()) },
        ));
    caught(|| {
        let _thrown = now(service.execute(true));
    });
    assert_eq!(
        now(service.execute(false)),
        Ok(()),
        "seatbelt sees panics now: correct docs/comparison.md"
    );
}

// Beside pitfall 10.
#[test]
fn five_panics_open_ours() {
    let breaker = Breaker::builder("payment").build();
    let breaker = breaker.expect("a configuration that works");
    for _ in 0..5 {
        let call = || drop(now(breaker.call(async { panics() })));
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    }
    assert!(matches!(breaker.state(), State::Open { .. }));
}

// Pitfall 15: tower-resilience 0.13 and recloser 1.4 forget calls that their callers gave up.
#[test]
fn pitfall_15_two_hundred_calls_that_nobody_waited_for_do_not_open_tower_resilience_and_recloser() {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .sliding_window_size(10)
        .build_with_handle()
        .expect("a configuration that works");
    let mut service = layer.layer_fn(service_fn(|()| std::future::pending::<Answer>()));
    for _ in 0..CALLS {
        let mut call = now(service.ready()).expect("it is ready").call(());
        assert!(once(call.as_mut()).is_pending());
    }
    assert!(
        !handle.is_open(),
        "tower-resilience sees them now: correct docs/comparison.md"
    );

    let breaker = AsyncRecloser::from(recloser());
    for _ in 0..CALLS {
        let call = breaker.call(std::future::pending::<Answer>());
        assert!(
            once(pin!(call)).is_pending(),
            "recloser sees them now: correct docs/comparison.md"
        );
    }
}

// Pitfall 15.
#[test]
fn pitfall_15_calls_that_nobody_waited_for_open_ours_when_no_other_was_answered() {
    let breaker = Breaker::builder("payment").build();
    let breaker = breaker.expect("a configuration that works");
    let mut calls = 0;
    while breaker.state() == State::Closed {
        assert!(once(pin!(breaker.call(std::future::pending::<Answer>()))).is_pending());
        calls += 1;
    }
    assert_eq!(calls, 20, "the minimum of calls");
}
