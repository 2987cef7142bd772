//! Claims about outliers: who is ejected, for how long, and who never.

use core::num::NonZeroU32;

use super::*;
use crate::outcome::Outcome;

mod model;

const FAILED: Outcome = Outcome::Failure(Reason::Status);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A service with its callers.
struct Service {
    cells: Vec<Cell>,
    outliers: Outliers,
    now: u64,
}

impl Service {
    fn new(config: &Config, endpoints: usize) -> Self {
        Self {
            cells: (0..endpoints).map(|_| Cell::new(config)).collect(),
            outliers: Outliers::new(config, endpoints, 1, at(0)).expect("valid"),
            now: 0,
        }
    }

    /// So many calls to one endpoint, of which each `every`th fails (none when 0), interleaved.
    fn call(&self, endpoint: usize, calls: u32, every: u32, rtt: u64) {
        for call in 1..=calls {
            let failed = every != 0 && call % every == 0;
            let outcome = if failed { FAILED } else { Outcome::Success };
            self.cells[endpoint].record(outcome, ms(rtt), at(self.now));
        }
    }

    /// A second passes; what was decided.
    fn second(&mut self) -> Vec<Decision> {
        self.now += 1_000;
        self.outliers.evaluate(&self.cells, at(self.now))
    }

    fn is_ejected(&self, endpoint: usize) -> bool {
        self.cells[endpoint].is_ejected(at(self.now))
    }
}

fn ejected(decisions: &[Decision]) -> Vec<usize> {
    let of = |decision: &Decision| match *decision {
        Decision::Ejected { endpoint, .. } => Some(endpoint),
        Decision::Returned { .. } => None,
    };
    decisions.iter().filter_map(of).collect()
}

fn only(decisions: &[Decision]) -> Decision {
    match decisions {
        [decision] => *decision,
        _ => panic!("not one decision: {decisions:?}"),
    }
}

#[test]
fn one_dead_endpoint_of_two_is_ejected_after_five_failures() {
    let mut service = Service::new(&Config::default(), 2);
    service.call(1, 10, 0, 5);
    let reached: Vec<bool> = (0..7)
        .map(|_| service.cells[0].record(FAILED, ms(1), at(0)))
        .collect();
    assert_eq!(reached, [false, false, false, false, true, false, false]);

    let decision = only(&service.outliers.evaluate(&service.cells, at(10)));
    let Decision::Ejected {
        endpoint,
        by,
        reason,
        ..
    } = decision
    else {
        panic!("{decision:?}");
    };
    assert_eq!((endpoint, by), (0, Evident::Streak(5)));
    assert_eq!(reason, Reason::Status);
    assert!(service.is_ejected(0) && !service.is_ejected(1));
}

#[test]
fn of_two_endpoints_the_one_that_fails_a_third_of_its_calls_is_ejected() {
    let mut service = Service::new(&Config::default(), 2);
    service.call(0, 60, 3, 5);
    service.call(1, 60, 50, 5);
    let decision = only(&service.second());
    assert!(
        matches!(
            decision,
            Decision::Ejected { endpoint: 0, by: Evident::FailureRate { own, rest }, .. }
            if (own - 1.0 / 3.0).abs() < 1e-9 && (rest - 1.0 / 60.0).abs() < 1e-9
        ),
        "{decision:?}"
    );
}

#[test]
fn the_method_of_standard_deviations_cannot_single_out_one_of_four() {
    // The control: mean and deviation over the endpoints, Envoy's factor of 1.9. One endpoint that
    // fails every call is √(n−1) deviations below the mean of all.
    let stands_out = |endpoints: u32| {
        let n = f64::from(endpoints);
        let mean = (n - 1.0) / n;
        let variance = ((n - 1.0) * (1.0 - mean) * (1.0 - mean) + mean * mean) / n;
        0.0 < mean - 1.9 * libm::sqrt(variance)
    };
    assert_eq!([2, 3, 4, 5].map(stands_out), [false, false, false, true]);

    let by_rate = Config {
        consecutive: None,
        ..Config::default()
    };
    for endpoints in 2..=5 {
        let mut service = Service::new(&by_rate, endpoints);
        service.call(0, 50, 1, 5);
        (1..endpoints).for_each(|endpoint| service.call(endpoint, 50, 0, 5));
        assert_eq!(ejected(&service.second()), [0], "{endpoints} endpoints");
    }
}

#[test]
fn one_slow_endpoint_of_two_is_ejected() {
    let mut service = Service::new(&Config::default(), 2);
    service.call(0, 50, 0, 400);
    service.call(1, 50, 0, 40);
    let decision = only(&service.second());
    let Decision::Ejected {
        endpoint: 0,
        by: Evident::Latency { own, rest },
        reason,
        ..
    } = decision
    else {
        panic!("{decision:?}");
    };
    assert!(own > ms(350) && own < ms(450), "{own:?}");
    assert!(rest > ms(35) && rest < ms(45), "{rest:?}");
    assert_eq!(reason, Reason::Slow);
}

#[test]
fn a_ratio_of_latencies_that_nobody_notices_ejects_nobody() {
    let mut service = Service::new(&Config::default(), 2);
    service.call(0, 500, 0, 10);
    service.call(1, 500, 0, 1);
    assert_eq!(service.second(), []);
}

#[test]
fn an_endpoint_that_fails_fast_does_not_make_the_others_look_slow() {
    let config = Config {
        consecutive: None,
        failure_gap: None,
        ..Config::default()
    };
    let mut service = Service::new(&config, 2);
    service.call(0, 500, 1, 1);
    service.call(1, 500, 0, 400);
    assert_eq!(service.second(), []);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn when_all_endpoints_fail_none_is_ejected() {
    let mut service = Service::new(&Config::default(), 3);
    for _ in 0..30 {
        for endpoint in 0..3 {
            service.call(endpoint, 7, 1, 5);
            assert_eq!(
                service.outliers.evaluate(&service.cells, at(service.now)),
                []
            );
        }
        assert_eq!(service.second(), []);
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn when_all_endpoints_fail_alike_or_are_slow_alike_none_is_ejected() {
    let mut service = Service::new(&Config::default(), 2);
    for _ in 0..30 {
        service.call(0, 60, 3, 900);
        service.call(1, 60, 3, 900);
        assert_eq!(service.second(), []);
    }
}

#[test]
fn where_the_rest_fails_more_often_than_not_the_worst_stays() {
    let config = Config {
        consecutive: None,
        ..Config::default()
    };
    let mut service = Service::new(&config, 2);
    service.call(0, 300, 1, 5);
    // Two of three fail.
    (0..100).for_each(|_| service.call(1, 1, 0, 5));
    service.call(1, 200, 1, 5);
    assert_eq!(service.second(), []);
}

#[test]
fn when_the_last_one_fails_too_the_ejected_one_returns() {
    let mut service = Service::new(&Config::default(), 2);
    service.call(1, 10, 0, 5);
    service.call(0, 5, 1, 5);
    assert_eq!(ejected(&service.second()), [0]);

    service.call(1, 5, 1, 5);
    assert_eq!(service.second(), [Decision::Returned { endpoint: 0 }]);
    assert!(!service.is_ejected(0) && !service.is_ejected(1));
    // And if it works by now, it is the other one's turn.
    service.call(0, 5, 0, 5);
    assert_eq!(ejected(&service.second()), [1]);
}

#[test]
fn several_bad_endpoints_do_not_hide_each_other() {
    let config = Config {
        consecutive: None,
        ..Config::default()
    };
    let mut service = Service::new(&config, 5);
    for endpoint in 0..5 {
        service.call(endpoint, 100, if endpoint < 2 { 2 } else { 0 }, 5);
    }
    let mut out = ejected(&service.second());
    out.sort_unstable();
    assert_eq!(out, [0, 1]);
}

#[test]
fn never_more_than_the_configured_number_are_out_and_one_always_stays() {
    for (max, expected) in [(None, 2), (Some(1), 1), (Some(9), 2)] {
        let ejected_max = max.and_then(NonZeroU32::new);
        let config = Config {
            ejected_max,
            ..Config::default()
        };
        let mut service = Service::new(&config, 3);
        service.call(2, 10, 0, 5);
        service.call(0, 5, 1, 5);
        service.call(1, 5, 1, 5);
        assert_eq!(ejected(&service.second()).len(), expected, "{max:?}");
        assert_eq!(service.outliers.ejected(), expected);
    }
    let mut alone = Service::new(&Config::default(), 1);
    alone.call(0, 50, 1, 5);
    assert_eq!(alone.second(), []);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn one_evaluation_ejects_a_bounded_number_and_the_next_goes_on() {
    let mut service = Service::new(&Config::default(), 64);
    (0..64).for_each(|endpoint| service.call(endpoint, 5, u32::from(endpoint < 40), 5));
    let each = [(); 4].map(|()| ejected(&service.second()).len());
    assert_eq!(each, [EJECTIONS_MAX, EJECTIONS_MAX, 8, 0]);
}

#[test]
fn few_calls_prove_nothing() {
    let config = Config {
        consecutive: None,
        ..Config::default()
    };
    let mut service = Service::new(&config, 2);
    service.call(0, 19, 1, 900);
    service.call(1, 1_000, 0, 5);
    assert_eq!(service.second(), []);
    let mut service = Service::new(&config, 2);
    service.call(0, 1_000, 1, 900);
    service.call(1, 19, 0, 5);
    assert_eq!(service.second(), []);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_difference_that_does_not_matter_ejects_nobody_however_sure() {
    let mut service = Service::new(&Config::default(), 2);
    service.call(0, 100_000, 20, 5);
    service.call(1, 100_000, 1_000, 5);
    assert_eq!(service.second(), []);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn an_hour_of_chance_ejects_nobody() {
    // Endpoints that are alike: one call in twenty fails, latencies from 0 to 200 ms.
    for (seed, endpoints, calls) in [(1, 2, 5), (2, 2, 50), (3, 3, 10), (4, 5, 8)] {
        let config = Config {
            consecutive: None,
            ..Config::default()
        };
        let mut service = Service::new(&config, endpoints);
        let mut random = Random::seeded(seed);
        for second in 0..3_600 {
            for call in 0..endpoints * calls {
                let outcome = [FAILED, Outcome::Success][usize::from(random.below(20) > 0)];
                let rtt = ms(random.below(200));
                service.cells[call % endpoints].record(outcome, rtt, at(service.now));
            }
            let decisions = service.second();
            assert_eq!(decisions, [], "seed {seed}, second {second}");
        }
    }
}

#[test]
fn old_evidence_fades() {
    let config = Config {
        consecutive: None,
        ..Config::default()
    };
    let mut service = Service::new(&config, 2);
    service.call(0, 100, 2, 5);
    service.call(1, 15, 0, 5);
    assert_eq!(service.second(), []);
    // A minute later the other has its calls as well, and nobody knows of those failures.
    service.now += 60_000;
    service.call(0, 100, 0, 5);
    service.call(1, 100, 0, 5);
    assert_eq!(service.second(), []);
}

/// Ejects the first of two endpoints by a streak; for how long, and how often in a row.
fn eject_first(service: &mut Service) -> (Duration, u32) {
    service.call(1, 10, 0, 5);
    service.call(0, 5, 1, 5);
    let decision = only(&service.second());
    let Decision::Ejected {
        endpoint: 0,
        duration,
        ejections,
        ..
    } = decision
    else {
        panic!("{decision:?}");
    };
    (duration, ejections)
}

#[test]
fn the_time_out_doubles_with_jitter_up_to_its_cap_and_is_forgotten() {
    let mut service = Service::new(&Config::default(), 2);
    for (n, whole) in [30, 60, 120, 240, 300, 300].into_iter().enumerate() {
        let (duration, ejections) = eject_first(&mut service);
        assert_eq!(ejections as usize, n + 1);
        let whole = Duration::from_secs(whole);
        assert!(
            (whole / 2..=whole).contains(&duration),
            "{duration:?} of {whole:?}"
        );
        service.now += u64::try_from(duration.as_millis()).expect("minutes") + 1;
        assert_eq!(service.second(), [Decision::Returned { endpoint: 0 }]);
    }
    service.now += 300_000;
    assert_eq!(eject_first(&mut service).1, 1);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn groups_with_different_seeds_do_not_return_endpoints_in_step() {
    let until = |seed| {
        let config = Config::default();
        let mut service = Service::new(&config, 2);
        service.outliers = Outliers::new(&config, 2, seed, at(0)).expect("valid");
        eject_first(&mut service).0
    };
    let mut all: Vec<Duration> = (0..100).map(until).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.len() > 95);
    let (first, last) = (all[0], all[all.len() - 1]);
    assert!(last > first + Duration::from_secs(10), "{first:?} {last:?}");
}

#[test]
fn an_ejection_ends_by_the_clock_and_the_share_rises() {
    let config = Config {
        ramp: Some(ms(10_000)),
        ..Config::default()
    };
    let mut service = Service::new(&config, 2);
    let (duration, _) = eject_first(&mut service);
    let until = service.now * 1_000_000 + nanos(duration);
    let share =
        |millis: u64| service.cells[0].share(Instant::from_nanos(until + millis * 1_000_000));
    assert!(service.cells[0].is_ejected(Instant::from_nanos(until - 1)));
    assert!(service.cells[0].share(Instant::from_nanos(until - 1)) <= 0.0);
    // Nobody evaluated.
    for (millis, expected) in [(0, 0.1), (5_000, 0.55), (10_000, 1.0), (60_000, 1.0)] {
        assert!((share(millis) - expected).abs() < 1e-9, "{millis}");
    }
    let mut random = Random::seeded(3);
    let half_way = Instant::from_nanos(until + 5_000_000_000);
    let taken = (0..1_000).filter(|_| service.cells[0].takes(half_way, &mut random));
    assert!((500..600).contains(&taken.count()), "seed 3");
}

#[test]
fn late_results_of_an_ejected_endpoint_do_not_eject_it_again_when_it_returns() {
    let mut service = Service::new(&Config::default(), 2);
    let (duration, _) = eject_first(&mut service);
    service.call(0, 1_000, 1, 5);
    service.now += u64::try_from(duration.as_millis()).expect("seconds") + 1;
    service.call(1, 100, 0, 5);
    assert_eq!(service.second(), [Decision::Returned { endpoint: 0 }]);
    assert_eq!(service.second(), []);
}

#[test]
fn a_replaced_endpoint_is_in_and_unknown() {
    let mut service = Service::new(&Config::default(), 2);
    eject_first(&mut service);
    let decision = service
        .outliers
        .forget(0, &service.cells[0], at(service.now));
    assert_eq!(decision, Some(Decision::Returned { endpoint: 0 }));
    assert!(!service.is_ejected(0));
    assert!((service.cells[0].share(at(service.now)) - 1.0).abs() < 1e-9);
    assert_eq!(eject_first(&mut service).1, 1);
    assert_eq!(service.outliers.forget(7, &service.cells[0], at(0)), None);
}

#[test]
fn what_says_nothing_counts_as_nothing() {
    let service = Service::new(&Config::default(), 2);
    (0..10).for_each(|_| {
        assert!(!service.cells[0].record(Outcome::Ignored, ms(1), at(0)));
    });
    assert_eq!(service.cells[0].streak(), 0);
    assert_eq!(service.cells[0].take_calls(), (0, 0));
    // A refusal for good is work done.
    service.cells[0].record(Outcome::Permanent, ms(1), at(0));
    assert_eq!(service.cells[0].take_calls(), (1, 0));
    service.cells[0].record(Outcome::Throttled { retry_after: None }, ms(1), at(0));
    assert_eq!(service.cells[0].take_calls(), (1, 1));
    assert_eq!(service.cells[0].last_reason(), Reason::Throttled);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        let error = config.validate().expect_err("must be refused");
        assert!(Outliers::new(&config, 2, 1, at(0)).is_err(), "{error}");
    };
    refused(|config| config.failure_gap = Some(f64::NAN));
    refused(|config| config.failure_gap = Some(0.0));
    refused(|config| config.failure_gap = Some(1.1));
    refused(|config| config.deviations = f64::INFINITY);
    refused(|config| config.deviations = -3.0);
    refused(|config| config.latency_ratio = Some(1.0));
    refused(|config| config.latency_ratio = Some(f64::NAN));
    refused(|config| config.half_life = Duration::ZERO);
    refused(|config| config.ramp = Some(Duration::ZERO));
    refused(|config| config.interval = Duration::MAX);
    refused(|config| config.eject_max = ms(29_999));
    refused(|config| {
        (config.consecutive, config.failure_gap, config.latency_ratio) = (None, None, None);
    });
    assert_eq!(Config::default().validate(), Ok(()));
    let many = Outliers::new(&Config::default(), ENDPOINTS_MAX + 1, 1, at(0));
    assert!(matches!(many, Err(ConfigError::Endpoints(_))));
}
