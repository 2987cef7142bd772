//! Claims about slow calls, ended or still in flight.

use super::*;

/// Opens when half of ten calls took longer than 100 ms.
fn slow() -> Config {
    Config {
        error_rate: None,
        slow: Some(Slow {
            after: millis(100),
            rate: 0.5,
            in_flight: false,
        }),
        ..config()
    }
}

/// As [`slow`], and watches the calls in flight.
fn watched() -> Config {
    Config {
        slow: Some(Slow {
            after: millis(100),
            rate: 0.5,
            in_flight: true,
        }),
        ..slow()
    }
}

/// Makes a call that takes so long.
fn take(breaker: &Breaker, from: u64, ms: u64) -> Option<Transition> {
    breaker.success(permit(breaker, at(from)), at(from + ms))
}

fn opened_by(transition: Option<Transition>, wanted: Reason) -> bool {
    matches!(transition, Some(Transition::Opened { reason, .. }) if reason == wanted)
}

#[test]
fn slow_successes_open_the_circuit_and_are_named_as_its_reason() {
    for window in [Span::Time(millis(1_600)), Span::Calls(count(20))] {
        let breaker = breaker(&Config { window, ..slow() });
        for _ in 0..5 {
            assert_eq!(take(&breaker, 0, 100), None, "as long as allowed");
        }
        for _ in 0..4 {
            assert_eq!(take(&breaker, 0, 101), None);
        }
        assert_eq!(
            breaker.counts(at(101)),
            Counts {
                failed: 0,
                slow: 4,
                total: 9
            }
        );
        assert!(
            opened_by(take(&breaker, 0, 101), Reason::Slow),
            "{window:?}"
        );
    }
}

// Pitfall 7, for slow calls.
#[test]
fn a_fast_success_that_completes_calls_min_trips_on_earlier_slow_calls() {
    for window in [Span::Time(millis(1_600)), Span::Calls(count(20))] {
        let breaker = breaker(&Config { window, ..slow() });
        for _ in 0..9 {
            assert_eq!(take(&breaker, 0, 200), None);
        }
        assert!(
            opened_by(take(&breaker, 200, 1), Reason::Slow),
            "{window:?}"
        );
    }
}

#[test]
fn in_a_ring_a_fast_call_takes_the_place_of_a_slow_one() {
    let breaker = breaker(&Config {
        window: Span::Calls(count(10)),
        calls_min: count(10),
        ..slow()
    });
    for _ in 0..4 {
        assert_eq!(take(&breaker, 0, 200), None);
    }
    for _ in 0..10 {
        assert_eq!(take(&breaker, 200, 1), None);
    }
    assert_eq!(breaker.counts(at(200)).slow, 0);
}

// Pitfall 16: tower-resilience closes a slow-tripped circuit with slow probes.
#[test]
fn slow_probes_do_not_close_a_circuit_that_slow_calls_opened() {
    let breaker = breaker(&slow());
    let opened = (0..10).find_map(|_| take(&breaker, 0, 200));
    assert!(opened_by(opened, Reason::Slow));
    assert_eq!(take(&breaker, 2_000, 200), None);
    assert!(opened_by(take(&breaker, 2_000, 200), Reason::Slow));
    assert!(matches!(breaker.state(at(2_200)), State::Open { .. }));
}

#[test]
fn a_slow_failure_counts_as_both() {
    let breaker = breaker(&Config {
        error_rate: Some(1.0),
        ..slow()
    });
    let slow = permit(&breaker, at(0));
    assert_eq!(breaker.failure(slow, Reason::Timeout, at(500)), None);
    let counts = breaker.counts(at(500));
    assert_eq!((counts.failed, counts.slow, counts.total), (1, 1, 1));
}

// The peers have nothing like it (resilience4j #1597 asks for it).
#[test]
fn calls_that_hang_open_the_circuit_before_any_of_them_ends() {
    let breaker = breaker(&watched());
    let hanging: Vec<Permit> = (0..10).map(|_| permit(&breaker, at(0))).collect();
    // Not yet overdue: a caller changes nothing.
    let early = breaker.acquire(at(100)).expect("closed");
    assert_eq!(early.transition, None);

    let found = breaker.acquire(at(150)).expect("the last one that passes");
    assert!(opened_by(found.transition, Reason::Slow));
    assert!(breaker.acquire(at(150)).is_err());
    for late in hanging {
        assert_eq!(breaker.failure(late, Reason::Timeout, at(5_000)), None);
    }
    assert_eq!(breaker.stale_total(), 10);
}

#[test]
fn calls_that_hang_beside_many_that_are_answered_do_not_open_it() {
    let breaker = breaker(&watched());
    let _hanging: Vec<Permit> = (0..10).map(|_| permit(&breaker, at(0))).collect();
    for now in (0..150).step_by(10) {
        assert_eq!(take(&breaker, now, 1), None);
    }
    let admitted = breaker.acquire(at(160)).expect("10 of 25 are below half");
    assert_eq!(admitted.transition, None);
}

#[test]
fn a_result_finds_calls_that_hang_as_well() {
    let breaker = breaker(&watched());
    let answered = permit(&breaker, at(0));
    let _hanging: Vec<Permit> = (0..10).map(|_| permit(&breaker, at(0))).collect();
    assert!(opened_by(breaker.success(answered, at(150)), Reason::Slow));
}

#[test]
fn a_call_in_flight_counts_once_wherever_it_ends() {
    let in_flight = InFlight::new(millis(100));
    let starts: Vec<u64> = (0..40).map(|call| call * 7 % 260).collect();
    let begun: Vec<Instant> = starts
        .iter()
        .map(|&start| in_flight.begin(3, at(start)))
        .collect();
    assert_eq!(in_flight.overdue(3, at(2_000)), 40);
    assert_eq!(in_flight.overdue(4, at(2_000)), 0, "another generation");
    for (ended, started) in begun.into_iter().enumerate() {
        in_flight.end(3, started);
        assert_eq!(in_flight.overdue(3, at(2_000)), 39 - ended as u64);
    }
}

#[test]
fn a_thread_whose_clock_is_behind_joins_the_newer_tick() {
    let in_flight = InFlight::new(millis(100));
    let ahead = in_flight.begin(0, at(200));
    let behind = in_flight.begin(0, at(0));
    assert!(behind >= at(200), "{behind:?}");
    assert_eq!(in_flight.overdue(0, at(300)), 0);
    in_flight.end(0, behind);
    in_flight.end(0, ahead);
    assert_eq!(in_flight.overdue(0, at(10_000)), 0);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn eight_threads_leave_nothing_in_flight() {
    let breaker = breaker(&Config {
        calls_min: count(10_000),
        ..watched()
    });
    let next = AtomicU64::new(0);
    in_eight_threads(&|| {
        for _ in 0..2_000 {
            let now = next.fetch_add(1, Order::Relaxed);
            let call = permit(&breaker, at(now));
            breaker.success(call, at(now + now % 300));
        }
    });
    assert_eq!(breaker.in_flight().overdue(0, at(1_000_000)), 0);
}
