//! Claims about phi: the definition to many digits, the ring, and how it forgets.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn config() -> PhiConfig {
    PhiConfig {
        pause_acceptable: Duration::ZERO,
        window: NonZeroU32::new(100).expect("positive"),
        ..PhiConfig::default()
    }
}

/// Beats with these intervals, from zero on; returns when the last one came.
fn beat(phi: &mut Phi, intervals: impl IntoIterator<Item = u64>) -> u64 {
    let mut now = 0;
    phi.heartbeat(at(now));
    for interval in intervals {
        now += interval;
        phi.heartbeat(at(now));
    }
    now
}

fn level(phi: &Phi, nanos: u64) -> f64 {
    phi.suspicion(at(nanos), 1).level
}

/// Computed with Python's mpmath 1.3 at 60 digits as −log10(erfc(z/√2)/2), z = (t − 1)/0.1: a
/// hundred intervals of exactly one second, the deviation at its floor of 100 ms, `t` the silence in
/// milliseconds.
const BY_SILENCE: [(u64, f64); 8] = [
    (900, 0.075_026_012_957_818_02),
    (1_000, core::f64::consts::LOG10_2),
    (1_100, 0.799_545_541_491_970_5),
    (1_500, 6.542_645_672_390_654),
    (2_000, 23.118_053_405_486_075),
    (4_000, 197.309_209_261_660_95),
    (5_000, 349.437_006_459_345_87),
    (101_000, 217_150.640_041_994_4),
];

#[test]
fn phi_is_minus_log10_of_the_probability_that_a_heartbeat_is_later() {
    let mut phi = Phi::new(&config(), at(0)).expect("valid");
    let last = beat(&mut phi, [SECOND; 100]);
    for (silence, expected) in BY_SILENCE {
        let computed = level(&phi, last + silence * 1_000_000);
        let error = ((computed - expected) / expected).abs();
        assert!(error < 1e-13, "{silence} ms: {computed}, not {expected}");
    }
}

#[test]
fn mean_and_deviation_are_those_of_the_heartbeats() {
    let mut phi = Phi::new(&config(), at(0)).expect("valid");
    // Half at 0.8 s, half at 1.2 s: mean 1 s, deviation 0.2 s. The estimate has left the ring.
    beat(&mut phi, [800_000_000, 1_200_000_000].repeat(60));
    assert_eq!(phi.mean(), Duration::from_secs(1));
    assert_eq!(phi.std_deviation(), Duration::from_millis(200));
}

#[test]
fn before_the_second_heartbeat_the_estimate_counts() {
    let mut phi = Phi::new(&config(), at(0)).expect("valid");
    assert_eq!(phi.mean(), Duration::from_secs(1));
    assert_eq!(phi.std_deviation(), Duration::from_millis(250));
    // A peer that never beats is suspected in the end: at 1 s + 5.7 deviations of 250 ms.
    assert!(!phi.suspicion(at(2 * SECOND), 1).is_reached());
    assert!(phi.suspicion(at(5 * SECOND / 2), 1).is_reached());
    // The first heartbeat ends that silence, and is no interval.
    phi.heartbeat(at(3 * SECOND));
    assert_eq!(phi.mean(), Duration::from_secs(1));
    assert!(level(&phi, 3 * SECOND) < 0.001);
}

#[test]
fn an_acceptable_pause_shifts_suspicion_and_is_stretched() {
    let forgiving = PhiConfig {
        pause_acceptable: Duration::from_secs(2),
        ..config()
    };
    let mut phi = Phi::new(&forgiving, at(0)).expect("valid");
    let last = beat(&mut phi, [SECOND; 100]);
    let half = core::f64::consts::LOG10_2;
    assert!((level(&phi, last + 3 * SECOND) - half).abs() < 1e-15);
    let stretched = phi.suspicion(at(last + 7 * SECOND), 3).level;
    assert!((stretched - half).abs() < 1e-15, "{stretched}");
}

#[test]
fn where_no_pause_is_acceptable_the_mean_is_stretched() {
    let mut phi = Phi::new(&config(), at(0)).expect("valid");
    let last = beat(&mut phi, [SECOND; 100]);
    let stretched = phi.suspicion(at(last + 4 * SECOND), 4).level;
    assert!((stretched - core::f64::consts::LOG10_2).abs() < 1e-15);
}

#[test]
fn an_outage_of_an_hour_does_not_blind_the_detector() {
    let mut phi = Phi::new(&PhiConfig::default(), at(0)).expect("valid");
    let last = beat(&mut phi, [SECOND; 200]) + 3_600 * SECOND;
    phi.heartbeat(at(last));
    // One interval of 6 s among 199 of 1 s; an hour would have made the mean 19 s.
    assert!(
        phi.mean() < Duration::from_millis(1_050),
        "{:?}",
        phi.mean()
    );
    assert!(phi.suspicion(at(last + 6 * SECOND), 1).is_reached());
}

#[test]
fn a_peer_that_slows_down_for_good_is_learnt() {
    let mut phi = Phi::new(&config(), at(0)).expect("valid");
    let start = beat(&mut phi, [SECOND; 100]);
    let slow = 10 * SECOND;
    let suspected: Vec<bool> = (1..=101)
        .map(|n| {
            let now = at(start + n * slow);
            let suspicion = phi.suspicion(now, 1);
            phi.heartbeat(now);
            suspicion.is_reached()
        })
        .collect();
    // Suspected at first, believed after five heartbeats, known after a window.
    let believed = suspected.iter().position(|suspected| !suspected);
    assert_eq!(believed, Some(5));
    assert!(suspected[5..].iter().all(|suspected| !suspected));
    assert_eq!(phi.mean(), Duration::from_secs(10));
}

#[test]
fn heartbeats_that_come_twice_or_out_of_order_change_nothing() {
    let mut phi = Phi::new(&config(), at(0)).expect("valid");
    let last = beat(&mut phi, [SECOND; 50]);
    let before = phi.clone();
    phi.heartbeat(at(last));
    phi.heartbeat(at(last - SECOND));
    assert_eq!(phi.mean(), before.mean());
    let [before, after] = [&before, &phi].map(|phi| level(phi, last + SECOND));
    assert_eq!(before.to_bits(), after.to_bits());
}

#[test]
fn phi_stays_a_number_for_all_time() {
    for pause in [Duration::ZERO, super::super::DURATION_MAX] {
        let config = PhiConfig {
            pause_acceptable: pause,
            std_deviation_min: super::super::DURATION_MIN,
            ..config()
        };
        let mut phi = Phi::new(&config, at(0)).expect("valid");
        let last = beat(&mut phi, [1; 200]);
        let end = level(&phi, u64::MAX);
        assert!(end.is_finite() && end > 300.0, "{end}");
        assert!(phi.suspicion(at(u64::MAX), u32::MAX).level.is_finite());
        assert!(level(&phi, last) >= 0.0);
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let bad = |change: fn(&mut PhiConfig)| {
        let mut config = PhiConfig::default();
        change(&mut config);
        config.validate().expect_err("must be refused")
    };
    for threshold in [f64::NAN, f64::INFINITY, 0.0, -1.0, 1_000.1] {
        let config = PhiConfig {
            threshold,
            ..PhiConfig::default()
        };
        assert!(matches!(config.validate(), Err(ConfigError::Threshold(_))));
    }
    bad(|config| config.window = NonZeroU32::MIN);
    bad(|config| config.window = NonZeroU32::MAX);
    bad(|config| config.std_deviation_min = Duration::ZERO);
    bad(|config| config.first_estimate = Duration::MAX);
    bad(|config| config.pause_acceptable = Duration::MAX);
}

/// Mean and variance of the last `window` intervals, one by one.
fn slow_statistics(intervals: &[u64], window: usize) -> (f64, f64) {
    let kept = &intervals[intervals.len().saturating_sub(window)..];
    let len = kept.len() as f64;
    let mean = kept.iter().map(|&nanos| nanos as f64).sum::<f64>() / len;
    let square = |nanos: u64| (nanos as f64 - mean) * (nanos as f64 - mean);
    let variance = kept.iter().map(|&nanos| square(nanos)).sum::<f64>() / len;
    (mean, libm::sqrt(variance))
}

proptest! {
    #[test]
    fn phi_never_falls_while_no_heartbeat_comes(
        intervals in prop::collection::vec(1_u64..10 * SECOND, 0..300),
        silences in prop::collection::vec(0_u64..1_000 * SECOND, 2..40),
        stretch in 1_u32..10,
    ) {
        let mut phi = Phi::new(&PhiConfig::default(), at(0)).expect("valid");
        let last = beat(&mut phi, intervals);
        let mut silences = silences;
        silences.sort_unstable();
        let levels: Vec<f64> = silences
            .iter()
            .map(|silence| phi.suspicion(at(last + silence), stretch).level)
            .collect();
        prop_assert!(levels.iter().all(|level| level.is_finite() && *level >= 0.0));
        // The last bits of the error function are not sorted.
        prop_assert!(levels.windows(2).all(|pair| pair[0] <= pair[1] * (1.0 + 1e-14)));
    }

    #[test]
    fn the_ring_keeps_exactly_the_last_intervals_in_memory_that_never_grows(
        intervals in prop::collection::vec(1_u64..4 * SECOND, 0..400),
    ) {
        let window = config().window.get() as usize;
        let mut phi = Phi::new(&config(), at(0)).expect("valid");
        let room = phi.intervals.intervals.capacity();
        let mut model = alloc::vec![SECOND * 3 / 4, SECOND * 5 / 4];
        let (mut now, mut late) = (0, false);
        phi.heartbeat(at(now));
        for interval in intervals {
            let due = 2 * slow_mean(&model, window);
            model.push(if late { interval } else { interval.min(due) });
            late = interval > due;
            now += interval;
            phi.heartbeat(at(now));
        }
        let (mean, deviation) = slow_statistics(&model, window);
        prop_assert!((nanos(phi.mean()) as f64 - mean).abs() <= 1.0);
        let computed = nanos(phi.intervals.std_deviation()) as f64;
        prop_assert!((computed - deviation).abs() <= 2.0, "{} {}", computed, deviation);
        prop_assert_eq!(phi.intervals.intervals.capacity(), room);
    }
}

fn slow_mean(intervals: &[u64], window: usize) -> u64 {
    let kept = &intervals[intervals.len().saturating_sub(window)..];
    kept.iter().sum::<u64>() / kept.len() as u64
}
