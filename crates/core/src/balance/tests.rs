//! Claims about the balancer.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;
use crate::outcome::Reason;
use crate::random::Random;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn near(got: Duration, wanted: Duration, share: f64) -> bool {
    let (got, wanted) = (got.as_secs_f64(), wanted.as_secs_f64());
    (got - wanted).abs() <= wanted * share
}

#[test]
fn the_average_rises_at_once_and_falls_slowly() {
    let ewma = Ewma::new();
    ewma.succeeded(millis(2), at(0));
    ewma.succeeded(millis(900), at(10));
    assert!(near(ewma.rtt(at(10)), millis(900), 0.001));
    ewma.succeeded(millis(2), at(1_010));
    assert!(
        near(ewma.rtt(at(1_010)), millis(814), 0.01),
        "e^-0.1 is left"
    );
}

#[test]
fn the_average_falls_as_an_exponential_would() {
    let ewma = Ewma::new();
    ewma.succeeded(millis(1_000), at(0));
    for tenth in 1..=100 {
        ewma.succeeded(millis(1), at(tenth * 100));
    }
    // 1/e after ten seconds; the cheap exponential is exact for small steps.
    assert!(near(ewma.rtt(at(10_000)), millis(369), 0.02));
}

#[test]
fn the_first_answer_replaces_what_was_only_assumed() {
    let ewma = Ewma::new();
    assert_eq!(ewma.rtt(at(0)), RTT_UNKNOWN);
    ewma.succeeded(millis(2), at(0));
    assert!(near(ewma.rtt(at(0)), millis(2), 0.001));
}

#[test]
fn an_endpoint_that_was_slow_long_ago_is_taken_for_an_unknown_one_not_for_the_best() {
    let ewma = Ewma::new();
    ewma.succeeded(millis(5_000), at(0));
    assert!(near(ewma.rtt(at(600_000)), RTT_UNKNOWN, 0.01));
    let fast = Ewma::new();
    fast.succeeded(millis(2), at(0));
    assert!(near(fast.rtt(at(600_000)), millis(2), 0.001));
}

#[test]
fn an_endpoint_that_fails_fast_does_not_look_fast() {
    let (good, bad) = (Ewma::new(), Ewma::new());
    for call in 0..20 {
        good.succeeded(millis(10), at(call));
        bad.failed(Duration::from_micros(50), at(call));
    }
    assert!(bad.nanos(at(20)) > 10.0 * good.nanos(at(20)));
    assert!(
        bad.rtt(at(20)) <= FAILURE_RTT_MAX,
        "failures add up to a cap"
    );
}

#[test]
fn an_endpoint_that_came_back_is_as_unknown_as_a_new_one() {
    let load = Load::new();
    for _ in 0..9 {
        load.begin();
        load.end(Outcome::Failure(Reason::Timeout), millis(250), at(10));
    }

    load.forget();

    assert_eq!(load.rtt(at(10)), RTT_UNKNOWN);
}

#[test]
fn no_sample_makes_an_endpoint_free_of_cost() {
    let load = Load::new();
    for rtt in [Duration::ZERO, Duration::MAX] {
        load.begin();
        load.end(Outcome::Success, rtt, at(0));
        assert!(load.cost(at(0)).is_finite() && load.cost(at(0)) > 0.0);
    }
}

#[test]
fn time_that_seems_to_run_backwards_does_not_age_the_average() {
    let ewma = Ewma::new();
    ewma.succeeded(millis(1_000), at(5_000));
    ewma.succeeded(millis(1), at(4_500));
    assert!(near(ewma.rtt(at(4_500)), millis(1_000), 0.001));
}

#[test]
fn calls_in_flight_raise_the_cost_and_ignored_ones_leave_the_latency_alone() {
    let load = Load::new();
    let idle = load.cost(at(0));
    for _ in 0..3 {
        load.begin();
    }
    assert!((load.cost(at(0)) - 4.0 * idle).abs() < 1.0);
    assert_eq!(load.in_flight(), 3);
    load.end(Outcome::Ignored, Duration::ZERO, at(0));
    assert_eq!(load.rtt(at(0)), RTT_UNKNOWN);
    load.end(Outcome::Failure(Reason::Timeout), millis(1_000), at(0));
    assert!(near(load.rtt(at(0)), millis(1_000), 0.001));
}

#[test]
fn one_endpoint_is_picked_and_none_is_not() {
    let mut random = Random::seeded(1);
    assert_eq!(pick(1, &mut random, |_| true, |_| 1.0), Some(0));
    assert_eq!(pick(0, &mut random, |_| true, |_| 1.0), None);
    assert_eq!(pick(3, &mut random, |_| false, |_| 1.0), None);
    assert_eq!(pick(3, &mut random, |i| i == 2, |_| f64::NAN), Some(2));
}

#[test]
fn excluded_endpoints_are_never_picked_and_of_two_the_cheaper_always_is() {
    let mut random = Random::seeded(2);
    for _ in 0..1_000 {
        let picked = pick(4, &mut random, |i| i % 2 == 1, |i| i as f64);
        assert_eq!(picked, Some(1));
        let picked = pick(
            2,
            &mut random,
            |_| true,
            |i| if i == 0 { f64::NAN } else { 9.0 },
        );
        assert_eq!(picked, Some(1), "a cost that is not a number loses");
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn every_pair_is_drawn_equally_often() {
    let mut random = Random::seeded(3);
    let mut picked = [0_u32; 5];
    for _ in 0..50_000 {
        if let Some(index) = pick(5, &mut random, |_| true, |i| i as f64) {
            picked[index] += 1;
        }
    }
    // Of ten pairs, endpoint i is the cheaper one of 4 - i.
    for (index, wins) in [4, 3, 2, 1, 0].into_iter().enumerate() {
        let wanted = f64::from(wins) * 5_000.0;
        let got = f64::from(picked[index]);
        assert!((got - wanted).abs() < 300.0, "endpoint {index}: {got}");
    }
}

#[test]
fn equal_endpoints_share_evenly() {
    let mut random = Random::seeded(4);
    let mut picked = [0_u32; 3];
    for _ in 0..30_000 {
        if let Some(index) = pick(3, &mut random, |_| true, |_| 1.0) {
            picked[index] += 1;
        }
    }
    assert!(
        picked.iter().all(|n| n.abs_diff(10_000) < 400),
        "{picked:?}"
    );
}

/// Calls that each endpoint got, when endpoint `i` takes `latency[i]` and calls arrive every
/// millisecond.
fn simulate(loads: &[Load], latency: &[u64], seed: u64) -> Vec<u32> {
    let mut random = Random::seeded(seed);
    let mut calls = vec![0; loads.len()];
    let mut running: Vec<(u64, usize)> = Vec::new();
    for now in 0..5_000 {
        running.retain(|&(end, index)| {
            if end == now {
                loads[index].end(Outcome::Success, millis(latency[index]), at(now));
            }
            end != now
        });
        let cost = |index: usize| loads[index].cost(at(now));
        if let Some(index) = pick(loads.len(), &mut random, |_| true, cost) {
            calls[index] += 1;
            loads[index].begin();
            running.push((now + latency[index], index));
        }
    }
    calls
}

#[test]
fn an_endpoint_ten_times_slower_gets_a_fraction_of_the_calls() {
    let loads: Vec<Load> = (0..3).map(|_| Load::new()).collect();
    let calls = simulate(&loads, &[5, 5, 50], 5);
    assert!(calls[2] < 400, "{calls:?}");
    assert!(calls[0].abs_diff(calls[1]) < 600, "{calls:?}");
}

#[test]
fn a_new_endpoint_does_not_draw_the_herd() {
    let loads: Vec<Load> = (0..3).map(|_| Load::new()).collect();
    for known in &loads[..2] {
        known.begin();
        known.end(Outcome::Success, millis(5), at(0));
    }
    // The new one never answers: it must not be given call after call.
    let calls = simulate(&loads, &[5, 5, 1_000_000], 6);
    assert!(calls[2] < 100, "{calls:?}");
}
