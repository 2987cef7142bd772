//! Claims about the breaker, each named after the failure of others that it rules out.

extern crate std;

use core::num::NonZeroU32;
use std::sync::atomic::{AtomicU32 as Counter, Ordering as Order};
use std::vec::Vec;

use self::race::in_eight_threads;
use super::permit::Kind;
use super::*;
use crate::outcome::Outcome;

mod clock;
mod control;
mod model;
mod race;
mod ring;
mod slow;
mod spared;
mod writes;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Opens at half of ten calls, no cooldown above a second, three probes.
fn config() -> Config {
    Config {
        error_rate: Some(0.5),
        calls_min: count(10),
        consecutive: None,
        window: Span::Time(millis(1_600)),
        reopen: millis(1_000),
        reopen_max: millis(1_000),
        probes: count(3),
        lease: millis(160),
        stable_after: millis(10_000),
        ..Config::default()
    }
}

fn breaker(config: &Config) -> Breaker {
    Breaker::new(config, 7).expect("the test's configuration is valid")
}

fn permit(breaker: &Breaker, now: Instant) -> Permit {
    breaker
        .acquire(now)
        .expect("the circuit admits calls")
        .permit
}

fn succeed(breaker: &Breaker, now: Instant) -> Option<Transition> {
    breaker.success(permit(breaker, now), now)
}

fn fail(breaker: &Breaker, now: Instant) -> Option<Transition> {
    breaker.failure(permit(breaker, now), Reason::Timeout, now)
}

fn opened(transition: Option<Transition>) -> bool {
    matches!(transition, Some(Transition::Opened { .. }))
}

/// A circuit that opened at 0 and whose cooldown is over at 1,000 at the latest.
fn open(config: &Config) -> Breaker {
    let breaker = breaker(config);
    let trips = (0..config.calls_min.get())
        .filter(|_| opened(fail(&breaker, at(0))))
        .count();
    assert_eq!(trips, 1);
    breaker
}

// Pitfall 1: counters that never forget hide it (tower-resilience).
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_million_good_calls_do_not_hide_an_outage() {
    let breaker = breaker(&config());
    for call in 0..1_000_000_u64 {
        succeed(&breaker, at(call / 100));
    }
    let mut now = 10_000 + 1_600;
    let trip = (0..20).find(|i| {
        now += 10;
        if i % 5 < 2 {
            succeed(&breaker, at(now));
            false
        } else {
            opened(fail(&breaker, at(now)))
        }
    });
    assert_eq!(trip, Some(9), "60 % failures trip with the tenth call");
}

// Pitfall 5: tower-resilience ignores the least number, recloser decides one call late.
#[test]
fn the_first_decision_is_at_exactly_calls_min() {
    let breaker = breaker(&config());
    let trips: Vec<bool> = (0..10).map(|_| opened(fail(&breaker, at(0)))).collect();
    assert_eq!(trips.iter().position(|&trip| trip), Some(9));
}

// Pitfall 7.
#[test]
fn a_success_that_completes_calls_min_trips_on_earlier_failures_and_names_their_reason() {
    let breaker = breaker(&config());
    for _ in 0..9 {
        assert_eq!(fail(&breaker, at(0)), None);
    }
    let transition = succeed(&breaker, at(1));
    assert!(
        matches!(
            transition,
            Some(Transition::Opened {
                reason: Reason::Timeout,
                ..
            })
        ),
        "{transition:?}"
    );
}

// Pitfall 6: rates in floating point miss 7 of 100 at 7 %.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_rate_that_is_reached_exactly_trips_and_one_below_does_not() {
    for (rate, failures) in [(0.07, 7), (0.5, 50), (0.29, 29), (1.0, 100)] {
        let exact = Config {
            error_rate: Some(rate),
            calls_min: count(100),
            ..config()
        };
        for (failures, trips) in [(failures, true), (failures - 1, false)] {
            let breaker = breaker(&exact);
            let failed = (0..failures).any(|_| opened(fail(&breaker, at(0))));
            let tripped = failed || (failures..100).any(|_| opened(succeed(&breaker, at(0))));
            assert_eq!(tripped, trips, "{failures} failures of 100 at {rate}");
        }
    }
}

#[test]
fn a_reset_closes_the_circuit_once_and_makes_results_of_before_stale() {
    let breaker = open(&config());
    let late = Permit::new(0, at(0), Kind::Plain);

    assert_eq!(breaker.reset(at(2)), Some(Transition::Closed));
    assert_eq!(breaker.reset(at(2)), None);

    assert_eq!(breaker.state(at(2)), State::Closed);
    assert_eq!(breaker.failure(late, Reason::Timeout, at(2)), None);
    assert_eq!(breaker.counts(at(2)), Counts::default());

    // One that was closed anyway, too.
    let late = permit(&breaker, at(3));
    assert_eq!(breaker.reset(at(3)), None);
    assert_eq!(breaker.failure(late, Reason::Timeout, at(3)), None);
    assert_eq!(breaker.counts(at(3)), Counts::default());
}

// Pitfall 6: no calls are no rate (resilience4j gives -1).
#[test]
fn no_calls_are_no_data_and_successes_alone_never_trip() {
    let low = Config {
        error_rate: Some(0.000_001),
        calls_min: count(1),
        ..config()
    };
    let breaker = breaker(&low);
    assert_eq!(breaker.counts(at(0)), Counts::default());
    assert!((0..1_000).all(|_| succeed(&breaker, at(0)).is_none()));
    assert!(
        opened(fail(&breaker, at(0))),
        "one of 1,001 is above a millionth"
    );
}

#[test]
fn failures_in_a_row_trip_before_calls_min_and_a_success_ends_the_row() {
    let config = Config {
        calls_min: count(100),
        consecutive: Some(count(5)),
        ..config()
    };
    let breaker = breaker(&config);
    for _ in 0..4 {
        assert_eq!(fail(&breaker, at(0)), None);
    }
    succeed(&breaker, at(0));
    let trips: Vec<bool> = (0..5).map(|_| opened(fail(&breaker, at(0)))).collect();
    assert_eq!(trips, [false, false, false, false, true]);
}

// Pitfall 6: not a number, negative, infinite.
#[test]
fn values_that_cannot_work_are_refused() {
    for rate in [f64::NAN, f64::INFINITY, -0.1, 0.0, 1e-9, 1.000_001] {
        let wrong = Config {
            error_rate: Some(rate),
            ..config()
        };
        assert!(
            matches!(wrong.validate(), Err(ConfigError::ErrorRate(_))),
            "{rate}"
        );
    }
    let wrong = |edit: fn(&mut Config)| {
        let mut config = config();
        edit(&mut config);
        Breaker::new(&config, 0).expect_err("the value cannot work")
    };
    assert_eq!(wrong(|c| c.probes = count(256)), ConfigError::Probes(256));
    assert_eq!(
        wrong(|c| c.calls_min = count(CALLS_MIN_MAX + 1)),
        ConfigError::CallsMin {
            calls: CALLS_MIN_MAX + 1,
            max: CALLS_MIN_MAX
        }
    );
    for edit in [
        (|c| c.window = Span::Time(Duration::ZERO)) as fn(&mut Config),
        |c| c.reopen = Duration::ZERO,
        |c| c.lease = Duration::ZERO,
        |c| c.stable_after = Duration::MAX,
    ] {
        assert!(matches!(wrong(edit), ConfigError::Duration { .. }));
    }
    assert!(matches!(
        wrong(|c| c.reopen_max = millis(999)),
        ConfigError::ReopenMax { .. }
    ));
    Config::default().validate().expect("the default works");
}

#[test]
fn an_open_circuit_rejects_until_its_cooldown_ends_and_says_when() {
    let breaker = open(&config());
    let State::Open { retry_after } = breaker.state(at(0)) else {
        panic!("it opened");
    };
    assert!(retry_after >= millis(500) && retry_after <= millis(1_000));
    let end = at(0) + retry_after;
    let before = Instant::from_nanos(end.as_nanos() - 1);

    let rejected = breaker.acquire(before).expect_err("still open");
    assert_eq!(rejected.retry_after, Some(Duration::from_nanos(1)));
    assert!(!breaker.would_admit(before));

    assert!(breaker.would_admit(end));
    let admitted = breaker.acquire(end).expect("the cooldown has ended");
    assert_eq!(admitted.transition, Some(Transition::HalfOpened));
}

#[test]
fn the_end_of_an_open_circuit_says_what_asking_it_says() {
    assert_eq!(breaker(&config()).open_until(), None, "closed");
    let breaker = open(&config());
    let until = breaker.open_until().expect("it opened");
    let rejected = breaker.acquire(at(7)).expect_err("still open");
    assert_eq!(rejected.retry_after, Some(until.since(at(7))));
    breaker.shadow(at(7));
    assert_eq!(breaker.open_until(), None, "in the shadow calls pass");
}

#[test]
fn all_probes_good_close_the_circuit_and_the_last_one_says_so() {
    let breaker = open(&config());
    let probes: Vec<Permit> = (0..3).map(|_| permit(&breaker, at(1_000))).collect();
    let transitions: Vec<_> = probes
        .into_iter()
        .map(|probe| breaker.success(probe, at(1_001)))
        .collect();
    assert_eq!(transitions, [None, None, Some(Transition::Closed)]);
    assert_eq!(breaker.state(at(1_001)), State::Closed);
}

#[test]
fn probes_that_fail_at_the_rate_that_opens_a_circuit_open_it_again_at_once() {
    let breaker = open(&config());
    assert_eq!(
        fail(&breaker, at(1_000)),
        None,
        "one of three is below half"
    );
    assert!(opened(fail(&breaker, at(1_000))), "two of three are above");
}

#[test]
fn one_bad_probe_of_three_is_below_the_rate_and_closes() {
    let breaker = open(&config());
    assert_eq!(fail(&breaker, at(1_000)), None);
    assert_eq!(succeed(&breaker, at(1_000)), None);
    assert_eq!(succeed(&breaker, at(1_000)), Some(Transition::Closed));
}

#[test]
fn a_closed_circuit_starts_with_an_empty_window() {
    let breaker = open(&config());
    for _ in 0..3 {
        succeed(&breaker, at(1_000));
    }
    assert_eq!(breaker.counts(at(1_000)), Counts::default());
    assert_eq!(fail(&breaker, at(1_000)), None);
}

// Pitfalls 10 and 14: Polly v8 closes for a cancelled probe.
#[test]
fn a_dropped_or_ignored_probe_gives_its_slot_back_and_never_closes_the_circuit() {
    let breaker = open(&config());
    for _ in 0..100 {
        let probe = permit(&breaker, at(1_000));
        assert_eq!(breaker.abandon(probe, at(1_000)), None);
        breaker.ignore(permit(&breaker, at(1_000)));
    }
    assert_eq!(breaker.state(at(1_000)), State::HalfOpen);
    assert_eq!(
        (0..9)
            .filter(|_| breaker.acquire(at(1_000)).is_ok())
            .count(),
        3
    );
}

// Pitfall 11: resilience4j #903, Polly #1979, Sentinel #1638 stay half-open for ever.
#[test]
fn probes_that_are_lost_cost_one_lease_and_their_late_results_change_nothing() {
    let breaker = open(&config());
    let lost: Vec<Permit> = (0..3).map(|_| permit(&breaker, at(1_000))).collect();
    let rejected = breaker.acquire(at(1_001)).expect_err("all probes are out");
    assert!(rejected.retry_after <= Some(millis(170)));

    let again = at(1_001) + rejected.retry_after.expect("a lease ends");
    assert!(breaker.would_admit(again));
    let fresh = permit(&breaker, again);
    for probe in lost {
        assert_eq!(breaker.failure(probe, Reason::Timeout, again), None);
    }
    assert_eq!(breaker.state(again), State::HalfOpen);
    assert_eq!(breaker.success(fresh, again), None);
    assert_eq!(succeed(&breaker, again), None);
    assert_eq!(succeed(&breaker, again), Some(Transition::Closed));
}

#[test]
fn probes_far_apart_keep_the_results_of_those_before() {
    let breaker = open(&config());
    // Ten leases between one call and the next: nobody hangs, so nothing expires.
    assert_eq!(succeed(&breaker, at(1_000)), None);
    assert_eq!(succeed(&breaker, at(2_600)), None);
    assert_eq!(succeed(&breaker, at(4_200)), Some(Transition::Closed));
}

#[test]
fn a_lease_never_ends_early_even_for_a_caller_whose_clock_is_a_little_behind() {
    let breaker = open(&config());
    for _ in 0..3 {
        let _lost = permit(&breaker, at(5_000));
    }
    for now in (4_900..=5_160).map(at) {
        assert!(breaker.acquire(now).is_err(), "{now:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn lost_probes_never_wedge_the_circuit_whenever_somebody_asks_again() {
    // Stamps turn once in 1,024 leases: try every lease of two turns.
    for leases in 2..2_100_u64 {
        let breaker = open(&config());
        for _ in 0..3 {
            let _lost = permit(&breaker, at(1_000));
        }
        let asked = at(1_000 + leases * 160);
        let admitted = breaker.acquire(asked).is_ok();
        let later = at(1_000 + leases * 160 + 2 * 160 + 10);
        assert!(
            admitted || breaker.acquire(later).is_ok(),
            "wedged after {leases} leases"
        );
    }
}

// Pitfall 12: Polly #216, seatbelt counts a probe of an earlier cycle.
#[test]
fn results_of_an_older_generation_change_no_state() {
    let breaker = breaker(&config());
    let old: Vec<Permit> = (0..40).map(|_| permit(&breaker, at(0))).collect();
    let mut old = old.into_iter();
    let mut late = |outcome, now| {
        let permit = old.next().expect("there are forty");
        let before = breaker.state(now);
        assert_eq!(breaker.record(permit, outcome, now), None);
        assert_eq!(breaker.state(now), before);
    };
    for _ in 0..10 {
        fail(&breaker, at(0));
    }
    late(Outcome::Success, at(1));
    let probe_of_the_first_cycle = permit(&breaker, at(1_000));
    late(Outcome::Success, at(1_000));
    fail(&breaker, at(1_000));
    fail(&breaker, at(1_000));
    let _probe = permit(&breaker, at(2_000));
    for _ in 0..3 {
        late(Outcome::Success, at(2_000));
        late(Outcome::Failure(Reason::Timeout), at(2_000));
        late(Outcome::Ignored, at(2_000));
    }
    assert_eq!(breaker.success(probe_of_the_first_cycle, at(2_000)), None);
    assert_eq!(breaker.state(at(2_000)), State::HalfOpen);
    assert_eq!(
        (0..9)
            .filter(|_| breaker.acquire(at(2_000)).is_ok())
            .count(),
        2
    );
}

// Pitfall 13: resilience4j and failsafe-go (failsafe #391).
#[test]
fn a_stale_release_does_not_raise_the_number_of_probes() {
    let breaker = open(&config());
    let stale: Vec<Permit> = (0..3).map(|_| permit(&breaker, at(1_000))).collect();
    let reissued = at(2_000);
    for _ in 0..3 {
        let _probe = permit(&breaker, reissued);
    }
    for probe in stale {
        breaker.ignore(probe);
    }
    assert!(breaker.acquire(reissued).is_err());
}

// Pitfall 15: seatbelt #506.
#[test]
fn an_endpoint_whose_every_call_is_abandoned_is_opened() {
    let breaker = breaker(&config());
    let transitions: Vec<_> = (0..10)
        .map(|_| breaker.abandon(permit(&breaker, at(0)), at(0)))
        .collect();
    assert!(transitions[..9].iter().all(Option::is_none));
    assert!(matches!(
        transitions[9],
        Some(Transition::Opened {
            reason: Reason::Abandoned,
            ..
        })
    ));
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn abandoned_calls_beside_answered_ones_count_as_nothing() {
    let breaker = breaker(&config());
    succeed(&breaker, at(0));
    for _ in 0..1_000 {
        assert_eq!(breaker.abandon(permit(&breaker, at(0)), at(0)), None);
    }
    assert_eq!(breaker.counts(at(0)).total, 1);
}

// Pitfall 20: Polly #2163 overflows.
#[test]
fn cooldowns_double_up_to_their_cap_with_jitter_and_forget_after_a_stable_time() {
    let growing = Config {
        reopen: millis(100),
        reopen_max: millis(3_000),
        probes: count(1),
        ..config()
    };
    let breaker = open(&growing);
    let mut now = at(0);
    // Many more cooldowns than are told apart: nothing overflows.
    for cycle in 1..100_u32 {
        let State::Open { retry_after } = breaker.state(now) else {
            panic!("cycle {cycle} ended open");
        };
        let whole = millis(100 << (cycle - 1).min(20)).min(millis(3_000));
        assert!(retry_after >= whole / 2, "cycle {cycle}: {retry_after:?}");
        assert!(retry_after <= whole, "cycle {cycle}: {retry_after:?}");
        now = now + retry_after;
        assert!(opened(fail(&breaker, now)));
    }
    now = now + millis(3_000);
    succeed(&breaker, now);
    now = now + growing.stable_after;
    for _ in 0..10 {
        fail(&breaker, now);
    }
    let State::Open { retry_after } = breaker.state(now) else {
        panic!("it opened again");
    };
    assert!(retry_after <= millis(100), "{retry_after:?}");
}

#[test]
fn a_circuit_that_opens_again_soon_after_closing_waits_longer() {
    let growing = Config {
        reopen: millis(100),
        reopen_max: millis(10_000),
        probes: count(1),
        ..config()
    };
    let breaker = open(&growing);
    succeed(&breaker, at(1_000));
    let transition = (0..10).find_map(|_| fail(&breaker, at(1_001)));
    assert!(
        matches!(transition, Some(Transition::Opened { cooldowns: 2, retry_after: Some(after), .. }) if after >= millis(100)),
        "{transition:?}"
    );
}

// Pitfall 20: failsafe #70 has no jitter.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn breakers_with_different_seeds_do_not_reopen_in_step() {
    let ends: std::collections::BTreeSet<Duration> = (0..100)
        .map(|seed| {
            let breaker = Breaker::new(&config(), seed).expect("valid");
            for _ in 0..10 {
                fail(&breaker, at(0));
            }
            let State::Open { retry_after } = breaker.state(at(0)) else {
                panic!("seed {seed} did not open");
            };
            retry_after
        })
        .collect();
    assert!(ends.len() > 80, "only {} different cooldowns", ends.len());
}

#[test]
fn a_breaker_stays_small() {
    assert!(size_of::<Breaker>() <= 288, "{}", size_of::<Breaker>());
    assert!(size_of::<Option<Permit>>() <= 16);
}
