//! Claims about the adaptive limit, window by window.

extern crate std;

use core::time::Duration;
use std::format;

use proptest::prelude::*;

use super::*;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

fn algorithms() -> [Algorithm; 3] {
    [
        Algorithm::Gradient(Gradient::default()),
        Algorithm::Aimd(Aimd::default()),
        Algorithm::Vegas(Vegas::default()),
    ]
}

fn config(algorithm: Algorithm) -> AdaptiveConfig {
    AdaptiveConfig {
        algorithm,
        ..AdaptiveConfig::default()
    }
}

fn limit(config: &AdaptiveConfig) -> Adaptive {
    Adaptive::new(config, None, Instant::ORIGIN).expect("valid")
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A window of calls that use the limit in full; the limit after it.
fn window(limit: &Adaptive, number: u64, end: impl Fn(u32) -> (Duration, Outcome)) -> u32 {
    let calls = limit.limit().get().max(10);
    let in_flight = (0..calls).filter(|_| limit.permits().enter().is_ok());
    let in_flight = in_flight.count();
    let began = at(number * 1_000);
    for call in 0..calls {
        let (latency, outcome) = end(call);
        let last = call == calls - 1;
        let now = if last {
            at(number * 1_000 + 999)
        } else {
            began + latency
        };
        // The last call ends the window, and began in it as all do.
        let started = if last {
            at(number * 1_000) + Duration::from_millis(999).saturating_sub(latency)
        } else {
            began
        };
        let _promote = limit.record(started, outcome, now);
    }
    for _ in 0..in_flight {
        let _nobody_waits = limit.permits().leave();
    }
    limit.limit().get()
}

const TEN: Duration = Duration::from_millis(10);
const DROP: Outcome = Outcome::Failure(Reason::Timeout);

#[test]
fn slow_start_doubles_until_the_first_drop_and_takes_the_last_step_back() {
    for algorithm in algorithms() {
        let limit = limit(&config(algorithm));
        assert_eq!(window(&limit, 1, |_| (TEN, Outcome::Success)), 40);
        assert_eq!(window(&limit, 2, |_| (TEN, Outcome::Success)), 80);
        let dropped = window(&limit, 3, |call| {
            (TEN, if call == 0 { DROP } else { Outcome::Success })
        });
        assert_eq!(dropped, 40, "{algorithm:?}");
        let steady = window(&limit, 4, |_| (TEN, Outcome::Success));
        assert!((40..80).contains(&steady), "{algorithm:?}: {steady}");
    }
}

#[test]
fn timeouts_and_refusals_of_the_callee_lower_the_limit_to_its_minimum_and_no_further() {
    let throttled = Outcome::Throttled { retry_after: None };
    for (algorithm, outcome) in algorithms().into_iter().zip([DROP, throttled, DROP]) {
        let limit = limit(&AdaptiveConfig {
            min: count(3),
            ..config(algorithm)
        });
        for number in 1..100 {
            window(&limit, number, |_| (TEN, outcome));
        }
        assert_eq!(limit.limit(), count(3), "{algorithm:?}");
    }
}

// Pitfall 36: a limit at its minimum must find its way back.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_limit_at_its_minimum_recovers() {
    for algorithm in algorithms() {
        let limit = limit(&config(algorithm));
        for number in 1..100 {
            window(&limit, number, |_| (TEN, DROP));
        }
        assert_eq!(limit.limit().get(), 1, "{algorithm:?}");
        for number in 100..150 {
            window(&limit, number, |_| (TEN, Outcome::Success));
        }
        assert!(
            limit.limit().get() > 20,
            "{algorithm:?}: {:?}",
            limit.limit()
        );
    }
}

// Pitfall 36: one lucky fast call sets the smallest latency, and the limit collapses
// (concurrency-limits #37, Vegas and the old gradient).
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn one_lucky_fast_call_does_not_collapse_the_limit() {
    for algorithm in algorithms() {
        let limit = limit(&config(algorithm));
        for number in 1..20 {
            window(&limit, number, |_| (TEN, Outcome::Success));
        }
        let before = limit.limit().get();
        window(&limit, 20, |call| {
            let latency = if call == 0 { Duration::ZERO } else { TEN };
            (latency, Outcome::Success)
        });
        for number in 21..30 {
            window(&limit, number, |_| (TEN, Outcome::Success));
        }
        assert!(limit.limit().get() >= before, "{algorithm:?}");
    }
}

// Pitfall 36: errors that come at once look like a fast callee (concurrency-limits #176).
#[test]
fn calls_that_fail_at_once_are_no_low_latency() {
    for algorithm in algorithms() {
        let limit = limit(&config(algorithm));
        for number in 1..50 {
            let failed = Outcome::Failure(Reason::Connect);
            window(&limit, number, |_| (Duration::ZERO, failed));
        }
        assert_eq!(limit.limit().get(), 20, "nothing was learnt");
        for number in 50..60 {
            window(&limit, number, |_| (Duration::ZERO, Outcome::Ignored));
        }
        assert_eq!(limit.limit().get(), 20, "nothing was learnt");
    }
}

// Pitfall 36: a latency of zero must not divide anything.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn calls_that_take_no_time_do_no_harm() {
    for algorithm in algorithms() {
        let limit = limit(&config(algorithm));
        for number in 1..30 {
            window(&limit, number, |_| (Duration::ZERO, Outcome::Success));
        }
        assert!((20..=200).contains(&limit.limit().get()), "{algorithm:?}");
        for number in 30..90 {
            window(&limit, number, |_| (TEN, Outcome::Success));
        }
        assert!((20..=200).contains(&limit.limit().get()), "{algorithm:?}");
    }
}

#[test]
fn a_window_without_enough_calls_moves_nothing() {
    let limit = limit(&AdaptiveConfig::default());
    for second in 1..10 {
        let _promote = limit.record(at(second * 1_000), DROP, at(second * 1_000 + 10));
    }
    assert_eq!(limit.limit().get(), 20);
    let _promote = limit.record(at(10_000), DROP, at(10_010));
    assert_eq!(limit.limit().get(), 10, "the tenth call is enough");
}

#[test]
fn calls_that_began_under_an_older_limit_do_not_count() {
    let limit = limit(&AdaptiveConfig::default());
    for _ in 0..20 {
        let _promote = limit.record(at(0), DROP, at(1_000));
    }
    assert_eq!(limit.limit().get(), 10, "lowered once");
    for second in 2..100 {
        let _promote = limit.record(at(500), DROP, at(second * 1_000));
    }
    assert_eq!(
        limit.limit().get(),
        10,
        "one burst of timeouts lowers it once"
    );
}

#[test]
fn a_limit_that_is_reached_all_the_time_looks_at_half_of_it_now_and_then() {
    let limit = limit(&AdaptiveConfig {
        max: count(100),
        relearn: Some(count(5)),
        ..AdaptiveConfig::default()
    });
    let limits: std::vec::Vec<_> = (1..20)
        .map(|number| window(&limit, number, |_| (TEN, Outcome::Success)))
        .collect();
    assert_eq!(limits[..3], [40, 80, 100]);
    assert_eq!(
        limits.iter().filter(|&&limit| limit == 50).count(),
        2,
        "{limits:?}"
    );
    assert_eq!(
        limits.iter().filter(|&&limit| limit < 50).count(),
        1,
        "{limits:?}"
    );
}

#[test]
fn a_limit_that_rises_says_so_when_somebody_waits() {
    let limit = Adaptive::new(&AdaptiveConfig::default(), Some(count(5)), at(0)).expect("valid");
    for _ in 0..21 {
        assert!(limit.permits().arrive(u32::MAX).is_ok());
    }
    let promote = (0..20).any(|_| limit.record(at(980), Outcome::Success, at(990)));
    assert!(promote);
    assert!(limit.permits().promote());
    assert!(!limit.permits().promote(), "one waited");
}

#[test]
fn values_that_cannot_work_are_refused() {
    let refused = |config: AdaptiveConfig| {
        let error = Adaptive::new(&config, None, at(0)).expect_err("cannot work");
        format!("{error}")
    };
    let default = AdaptiveConfig::default();
    let message = refused(AdaptiveConfig {
        min: count(21),
        ..default
    });
    assert!(message.contains("min 21"), "{message}");
    refused(AdaptiveConfig {
        max: count(19),
        ..default
    });
    refused(AdaptiveConfig {
        max: count(u32::MAX),
        ..default
    });
    refused(AdaptiveConfig {
        window: Duration::ZERO,
        ..default
    });
    refused(AdaptiveConfig {
        window: Duration::MAX,
        ..default
    });
    for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 0.99, 10.1] {
        let gradient = Gradient {
            tolerance: value,
            ..Gradient::default()
        };
        refused(config(Algorithm::Gradient(gradient)));
    }
    for value in [f64::NAN, f64::NEG_INFINITY, 0.0, 1.1] {
        let vegas = Vegas {
            smoothing: value,
            ..Vegas::default()
        };
        refused(config(Algorithm::Vegas(vegas)));
        let aimd = Aimd {
            backoff: value,
            ..Aimd::default()
        };
        refused(config(Algorithm::Aimd(aimd)));
    }
    let vegas = Vegas {
        alpha: 7,
        ..Vegas::default()
    };
    refused(config(Algorithm::Vegas(vegas)));
    let latency_max = Some(Duration::ZERO);
    let aimd = Aimd {
        latency_max,
        ..Aimd::default()
    };
    refused(config(Algorithm::Aimd(aimd)));
}

#[test]
fn aimd_takes_a_high_mean_latency_for_a_drop() {
    let latency_max = Some(TEN);
    let limit = limit(&config(Algorithm::Aimd(Aimd {
        latency_max,
        ..Aimd::default()
    })));
    assert_eq!(window(&limit, 1, |_| (TEN, Outcome::Success)), 40);
    assert_eq!(window(&limit, 2, |_| (TEN * 2, Outcome::Success)), 20);
    assert_eq!(window(&limit, 3, |_| (TEN * 2, Outcome::Success)), 18);
}

proptest! {
    #[test]
    fn whatever_calls_do_the_limit_stays_within_its_bounds(
        algorithm in prop::sample::select(algorithms().to_vec()),
        min in 1_u32..5,
        initial in 5_u32..50,
        max in 50_u32..100,
        windows in prop::collection::vec((0_u64..=u64::MAX, 0_u8..4), 1..80),
    ) {
        let config = AdaptiveConfig {
            min: count(min),
            initial: count(initial),
            max: count(max),
            relearn: Some(count(3)),
            ..config(algorithm)
        };
        let limit = limit(&config);
        for (number, (nanos, outcome)) in (1..).zip(windows) {
            let outcome = match outcome {
                0 => Outcome::Success,
                1 => Outcome::Permanent,
                2 => DROP,
                _ => Outcome::Ignored,
            };
            let now = window(&limit, number, |_| (Duration::from_nanos(nanos), outcome));
            prop_assert!((min..=max).contains(&now), "{}", now);
        }
    }
}
