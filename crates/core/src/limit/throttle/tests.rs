//! Claims about the client throttle.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const SEED: u64 = 38;

fn throttle(config: &ThrottleConfig) -> Throttle {
    Throttle::new(config).expect("valid")
}

fn default() -> Throttle {
    throttle(&ThrottleConfig::default())
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

fn record(throttle: &Throttle, calls: u64, accepted: bool, now: Instant) {
    (0..calls).for_each(|_| throttle.record(accepted, now));
}

#[test]
fn a_callee_that_lets_in_half_of_all_calls_is_sent_all_of_them() {
    let throttle = default();
    record(&throttle, 500, true, at(0));
    record(&throttle, 500, false, at(0));
    assert!(throttle.probability(at(0)) <= 0.0);
    record(&throttle, 100, false, at(0));
    let expected = 100.0 / 1_101.0;
    assert!((throttle.probability(at(0)) - expected).abs() < 1e-9);
}

#[test]
fn a_few_calls_turn_nothing_away() {
    let throttle = default();
    record(&throttle, 19, false, at(0));
    assert!(throttle.probability(at(0)) <= 0.0);
    record(&throttle, 1, false, at(0));
    assert!(throttle.probability(at(0)) > 0.9);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn some_calls_always_go_through() {
    let throttle = default();
    let random = SharedRandom::seeded(SEED);
    record(&throttle, 100_000, false, at(0));
    let probability = throttle.probability(at(0));
    assert!((probability - 0.95).abs() < 1e-9, "{probability}");
    let sent = (0..10_000).filter(|_| throttle.check(at(0), &random).is_ok());
    let sent = sent.count();
    assert!((400..600).contains(&sent), "{sent}, seed {SEED}");
}

// Pitfall 38: failsafe-go reads its window without expiring it, so that the first calls after a
// quiet time are turned away for an overload that is long over.
#[test]
fn an_overload_before_a_quiet_time_is_forgotten() {
    let throttle = default();
    record(&throttle, 1_000, false, at(0));
    assert!(throttle.probability(at(10)) > 0.9);
    assert!(throttle.probability(at(26)) > 0.9);
    assert!(throttle.probability(at(30)) <= 0.0);
    assert!(throttle.probability(at(1_000_000)) <= 0.0);
    assert_eq!(throttle.counts(at(30)), Counts::default());
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_callee_that_recovers_is_sent_all_calls_again() {
    let throttle = default();
    let random = SharedRandom::seeded(SEED);
    let mut sent_per_second = Vec::new();
    for second in 0..600 {
        let down = (60..240).contains(&second);
        let sent = (0..100).filter(|_| {
            let sent = throttle.check(at(second), &random).is_ok();
            if sent {
                throttle.record(!down, at(second));
            }
            sent
        });
        sent_per_second.push(sent.count());
    }
    assert!(sent_per_second[..60].iter().all(|&sent| sent == 100));
    let down: usize = sent_per_second[220..240].iter().sum();
    assert!(down < 200, "{down} of 2,000, seed {SEED}");
    let recovered = sent_per_second.iter().rposition(|&sent| sent < 100);
    let recovered = recovered.expect("it was down") - 240;
    assert!(recovered < 150, "after {recovered} s, seed {SEED}");
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_callee_that_lets_in_a_tenth_gets_about_twice_of_what_it_lets_in() {
    let throttle = default();
    let random = SharedRandom::seeded(SEED);
    let (mut sent, mut accepted) = (0, 0);
    for call in 0..60_000 {
        let now = at(call / 100);
        if throttle.check(now, &random).is_err() {
            continue;
        }
        let lets_in = call % 10 == 0;
        throttle.record(lets_in, now);
        if call >= 30_000 {
            sent += 1;
            accepted += u32::from(lets_in);
        }
    }
    // Each call that is sent has a tenth of a chance, so that `K` of 2 cannot be reached: the
    // most that may be turned away is.
    assert!(
        sent < 300 * 100 / 10,
        "{sent} with {accepted} let in, seed {SEED}"
    );
}

#[test]
fn a_clock_that_steps_back_does_no_harm() {
    let throttle = default();
    record(&throttle, 100, false, at(1_000));
    record(&throttle, 100, true, at(1));
    assert!(throttle.counts(at(1)).requests <= 100);
    assert_eq!(throttle.counts(at(1_000)).requests, 100);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_cell_that_is_full_keeps_its_share() {
    let throttle = default();
    for call in 0..3_000_000_u32 {
        throttle.record(call % 4 == 0, at(0));
    }
    let Counts { requests, accepts } = throttle.counts(at(0));
    let share = accepts as f64 / requests as f64;
    assert!((share - 0.25).abs() < 0.01, "{accepts} of {requests}");
}

#[test]
fn values_that_cannot_work_are_refused() {
    let default = ThrottleConfig::default();
    for multiplier in [f64::NAN, f64::INFINITY, 0.0, 0.99, -2.0, 101.0] {
        let config = ThrottleConfig {
            multiplier,
            ..default
        };
        assert!(Throttle::new(&config).is_err(), "{multiplier}");
    }
    for rejection_max in [f64::NAN, 0.0, 1.0, -0.5, f64::INFINITY] {
        let config = ThrottleConfig {
            rejection_max,
            ..default
        };
        assert!(Throttle::new(&config).is_err(), "{rejection_max}");
    }
    for window in [Duration::ZERO, Duration::MAX] {
        let config = ThrottleConfig { window, ..default };
        let error = Throttle::new(&config).expect_err("cannot work");
        assert_eq!(error, ThrottleConfigError::Window(window));
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn eight_threads_lose_no_call() {
    let throttle = default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..2_000).for_each(|second| throttle.record(true, at(second / 200))));
        }
    });
    let counts = throttle.counts(at(10));
    assert_eq!((counts.requests, counts.accepts), (16_000, 16_000));
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn exactly_the_calls_of_the_window_count(
        calls in prop::collection::vec((0_u64..20_000, any::<bool>()), 1..200),
    ) {
        let throttle = throttle(&ThrottleConfig {
            window: Duration::from_secs(10),
            ..ThrottleConfig::default()
        });
        let mut all: Vec<(u64, bool)> = Vec::new();
        let mut now = 0;
        for (gap, accepted) in calls {
            now += gap / 10;
            throttle.record(accepted, Instant::from_millis(now));
            all.push((now, accepted));
            // Cells of a second: this one and the nine before.
            let window = all.iter().filter(|(then, _)| then / 1_000 + 9 >= now / 1_000);
            let requests = window.clone().count() as u64;
            let accepts = window.filter(|(_, accepted)| *accepted).count() as u64;
            let counts = throttle.counts(Instant::from_millis(now));
            prop_assert_eq!(counts, Counts { requests, accepts });
        }
    }
}
