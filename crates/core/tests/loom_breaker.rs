//! Every interleaving of the breaker's newer protocols: the ring of calls, windows that spread, the
//! calls in flight, the ramp's end, and modes. Run with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p mainstay-core --release --test loom_breaker --target-dir target/loom
//! ```
//!
//! Memory that is made on first need is made by `once_cell`, whose steps loom does not see: it is
//! made before the threads begin.
#![cfg(loom)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use mainstay_core::breaker::{
    At, Breaker, CELLS, Config, Permit, Slow, Span, State, Transition, Window,
};
use mainstay_core::lane::Lane;
use mainstay_core::outcome::Reason;
use mainstay_core::time::Instant;

/// Runs `left` here and `right` in another thread; returns both results.
fn race<S: Send + Sync + 'static, L, R: Send + 'static>(
    shared: &Arc<S>,
    left: impl FnOnce(&S) -> L,
    right: impl FnOnce(&S) -> R + Send + 'static,
) -> (L, R) {
    let theirs = Arc::clone(shared);
    let other = thread::spawn(move || right(&theirs));
    let left = left(shared);
    (left, other.join().expect("the other thread does not panic"))
}

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("positive")
}

/// Opens at two failures of two calls; one probe.
fn config() -> Config {
    Config {
        error_rate: Some(1.0),
        calls_min: count(2),
        consecutive: None,
        window: Span::Time(Duration::from_millis(10 * CELLS as u64)),
        reopen: Duration::from_millis(1_000),
        reopen_max: Duration::from_millis(1_000),
        probes: count(1),
        lease: Duration::from_millis(160),
        ..Config::default()
    }
}

fn breaker(config: &Config) -> Arc<Breaker> {
    Arc::new(Breaker::new(config, 1).expect("valid"))
}

fn permit(breaker: &Breaker, now: Instant) -> Permit {
    breaker.acquire(now).expect("admitted").permit
}

fn fail(breaker: &Breaker, permit: Permit, now: Instant) -> Option<Transition> {
    breaker.failure(permit, Reason::Error, now)
}

/// Opens at half of at least two calls; `good` calls succeeded in tick 0.
fn half_after(good: u32) -> Arc<Breaker> {
    let breaker = breaker(&Config {
        error_rate: Some(0.5),
        ..config()
    });
    for _ in 0..good {
        breaker.success(permit(&breaker, at(0)), at(0));
    }
    breaker
}

#[test]
fn of_two_failures_where_one_more_was_spared_exactly_one_opens_the_circuit() {
    loom::model(|| {
        let breaker = half_after(3);
        // One of four: two more are half, so that the next one makes no sum.
        fail(&breaker, permit(&breaker, at(0)), at(0));
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        let (a, b) = race(
            &breaker,
            |breaker| fail(breaker, a, at(5)),
            |breaker| fail(breaker, b, at(5)),
        );
        assert_eq!([a, b].iter().flatten().count(), 1);
    });
}

#[test]
fn a_late_failure_is_never_missing_where_the_failures_of_the_next_tick_are_spared() {
    loom::model(|| {
        let breaker = half_after(4);
        let (late, a) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        let (b, c) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        race(
            &breaker,
            |breaker| fail(breaker, late, at(5)),
            |breaker| fail(breaker, a, at(15)),
        );
        assert_eq!(fail(&breaker, b, at(15)), None, "three of seven");
        let opened = fail(&breaker, c, at(15));
        assert!(opened.is_some(), "four of eight");
    });
}

#[test]
fn a_tick_that_begins_while_a_late_failure_is_spared_does_not_miss_it() {
    loom::model(|| {
        let breaker = half_after(4);
        // Of the old tick too a failure makes a sum, so that the late one may be spared.
        fail(&breaker, permit(&breaker, at(0)), at(0));
        let (late, a, b) = (
            permit(&breaker, at(0)),
            permit(&breaker, at(0)),
            permit(&breaker, at(0)),
        );
        race(
            &breaker,
            |breaker| fail(breaker, late, at(5)),
            |breaker| fail(breaker, a, at(15)),
        );
        let opened = fail(&breaker, b, at(15));
        assert!(opened.is_some(), "four of eight");
    });
}

#[test]
fn a_failure_that_races_with_another_rate_is_spared_by_none_of_before() {
    loom::model(|| {
        let config = Config {
            error_rate: Some(1.0),
            ..config()
        };
        let breaker = breaker(&config);
        breaker.success(permit(&breaker, at(0)), at(0));
        breaker.success(permit(&breaker, at(0)), at(0));
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        race(
            &breaker,
            |breaker| fail(breaker, a, at(5)),
            move |breaker| {
                let half = Config {
                    error_rate: Some(0.5),
                    ..config
                };
                breaker.reconfigure(&half).expect("valid");
            },
        );
        assert!(fail(&breaker, b, at(5)).is_some(), "two of four");
    });
}

/// A ring of so many calls.
fn ring(calls: u32) -> Arc<Window> {
    Arc::new(Window::new(Span::Calls(count(calls))))
}

fn bad(window: &Window, generation: u32) -> (u64, u64) {
    let counts = window.counts(generation, at(0));
    (counts.failed, counts.total)
}

#[test]
fn two_calls_of_a_ring_get_a_slot_each() {
    loom::model(|| {
        let window = ring(4);
        race(
            &window,
            |window| window.record(0, at(0), true),
            |window| window.record(0, at(0), true),
        );
        assert_eq!(bad(&window, 0), (2, 2));
    });
}

#[test]
fn a_full_ring_holds_the_two_calls_that_race_and_forgets_the_oldest() {
    loom::model(|| {
        let window = ring(2);
        window.record(0, at(0), true);
        window.record(0, at(0), true);
        race(
            &window,
            |window| window.record(0, at(0), false),
            |window| window.record(0, at(0), false),
        );
        assert_eq!(bad(&window, 0), (0, 2));
    });
}

#[test]
fn two_failures_that_fill_a_ring_do_not_both_miss_each_other() {
    loom::model(|| {
        let breaker = breaker(&Config {
            window: Span::Calls(count(2)),
            ..config()
        });
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        let (a, b) = race(
            &breaker,
            |breaker| fail(breaker, a, at(0)),
            |breaker| fail(breaker, b, at(0)),
        );
        assert_eq!([a, b].iter().flatten().count(), 1);
    });
}

#[test]
fn of_two_good_calls_without_a_time_the_one_that_completes_calls_min_opens_the_circuit() {
    loom::model(|| {
        let breaker = breaker(&Config {
            error_rate: Some(0.25),
            window: Span::Calls(count(4)),
            calls_min: count(3),
            ..config()
        });
        fail(&breaker, permit(&breaker, at(0)), at(0));
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        let succeed = |breaker: &Breaker, permit| match breaker.success_untimed(permit) {
            Ok(()) => None,
            Err(permit) => breaker.success(permit, at(0)),
        };
        let (a, b) = race(
            &breaker,
            |breaker| succeed(breaker, a),
            move |breaker| succeed(breaker, b),
        );
        assert_eq!([a, b].iter().flatten().count(), 1);
    });
}

#[test]
fn an_older_generation_never_fills_the_ring_of_a_newer_one() {
    loom::model(|| {
        let window = ring(4);
        window.record(0, at(0), true);
        race(
            &window,
            |window| window.record(0, at(0), true),
            |window| window.record(1, at(0), false),
        );
        assert_eq!(bad(&window, 1), (0, 1));
    });
}

/// A thread of its own lane.
fn in_lane(lane: u32) -> At {
    At {
        now: at(5),
        lane: Lane(lane),
    }
}

#[test]
fn two_failures_in_two_lanes_do_not_both_miss_each_other() {
    loom::model(|| {
        let config = Config::default();
        let span = config.window;
        let window = Arc::new(Window::new(span).lanes(count(2)));
        window.spread();
        let record = |lane: u32| {
            move |window: &Window| {
                window.record(0, in_lane(lane), true);
                window.counts(0, at(5)).failed
            }
        };
        let (a, b) = race(&window, record(0), record(1));
        assert!(a == 2 || b == 2, "{a} and {b}");
        assert_eq!(window.counts(0, at(5)).total, 2);
    });
}

/// Watches calls in flight; ticks of 10 ms.
fn watched(calls_min: u32) -> Arc<Breaker> {
    breaker(&Config {
        calls_min: count(calls_min),
        slow: Some(Slow {
            after: Duration::from_millis(40),
            rate: 1.0,
            in_flight: true,
        }),
        error_rate: None,
        ..config()
    })
}

#[test]
fn of_two_callers_that_find_calls_that_hang_exactly_one_opens_the_circuit() {
    loom::model(|| {
        let breaker = watched(2);
        let _hanging = [permit(&breaker, at(0)), permit(&breaker, at(0))];
        let ask = |breaker: &Breaker| breaker.acquire(at(70)).ok()?.transition;
        let (a, b) = race(&breaker, ask, ask);
        assert_eq!([a, b].iter().flatten().count(), 1);
        assert!(matches!(breaker.state(at(70)), State::Open { .. }));
    });
}

#[test]
fn a_call_that_ends_while_its_cell_is_taken_over_is_counted_out_once() {
    loom::model(|| {
        let breaker = watched(3);
        let first = permit(&breaker, at(0));
        let second = permit(&breaker, at(0));
        // Eight ticks later the same cell is needed again.
        let ((), third) = race(
            &breaker,
            |breaker| breaker.ignore(first),
            |breaker| permit(breaker, at(80)),
        );
        breaker.ignore(second);
        breaker.ignore(third);
        // Nothing is left over, and nothing is owed: three that hang open it, two do not.
        let _hanging = [permit(&breaker, at(200)), permit(&breaker, at(200))];
        let third = breaker.acquire(at(260)).expect("closed");
        assert_eq!(third.transition, None, "two hang");
        let fourth = breaker.acquire(at(400)).expect("the last one that passes");
        assert!(fourth.transition.is_some(), "three hang");
    });
}

#[test]
fn a_failure_that_races_with_the_end_of_a_ramp_still_opens_the_circuit() {
    loom::model(|| {
        let breaker = breaker(&Config {
            ramp: Some(Duration::from_millis(1)),
            ..config()
        });
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        fail(&breaker, a, at(0));
        fail(&breaker, b, at(0)).expect("opens");
        breaker
            .success(permit(&breaker, at(1_000)), at(1_000))
            .expect("closes");
        // The share is one in ten at first: the first call of the ramp's end is sure to pass.
        let c = loop {
            if let Ok(admitted) = breaker.acquire(at(1_000)) {
                break admitted.permit;
            }
        };
        let d = loop {
            if let Ok(admitted) = breaker.acquire(at(1_000)) {
                break admitted.permit;
            }
        };
        fail(&breaker, c, at(1_000));
        let (opened, passed) = race(
            &breaker,
            |breaker| fail(breaker, d, at(1_001)),
            |breaker| breaker.acquire(at(1_001)).is_ok(),
        );
        assert!(opened.is_some());
        let _either = passed;
        assert!(matches!(breaker.state(at(1_001)), State::Open { .. }));
    });
}

#[test]
fn a_circuit_forced_open_by_hand_stays_so_whatever_fails_meanwhile() {
    loom::model(|| {
        let breaker = breaker(&config());
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        fail(&breaker, a, at(0));
        race(
            &breaker,
            |breaker| breaker.force_open(),
            |breaker| fail(breaker, b, at(0)),
        );
        assert_eq!(breaker.state(at(9_000)), State::ForcedOpen);
    });
}

#[test]
fn a_wish_that_races_with_the_opening_is_honoured() {
    loom::model(|| {
        let breaker = breaker(&config());
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        fail(&breaker, a, at(0));
        let c = permit(&breaker, at(0));
        let wish = Some(Duration::from_millis(30_000));
        race(
            &breaker,
            |breaker| fail(breaker, b, at(0)),
            move |breaker| breaker.throttled(c, wish, at(0)),
        );
        let State::Open { retry_after } = breaker.state(at(0)) else {
            panic!("two failures open it");
        };
        assert!(
            retry_after >= Duration::from_millis(30_000),
            "{retry_after:?}"
        );
    });
}
