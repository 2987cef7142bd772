//! Claims about the live quantile, checked against exact ones.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::bucket::{OCTAVE_MAX, OCTAVE_MIN};
use super::*;

const SPAN: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn latency() -> Latency {
    Latency::new(SPAN).expect("the test's span is valid")
}

fn record(latency: &Latency, rtt: Duration, times: u64, now: Instant) {
    (0..times).for_each(|_| latency.record(rtt, now));
}

#[test]
fn its_size_is_constant_and_as_stated() {
    assert_eq!(size_of::<Latency>(), 3_344);
}

#[test]
fn a_span_that_cannot_work_is_refused() {
    for span in [Duration::ZERO, millis(9), Duration::MAX] {
        let error = Latency::new(span).expect_err("no such span");
        assert_eq!(error, SpanError(span));
    }
}

#[test]
fn too_few_samples_are_no_quantile() {
    let latency = latency();
    record(&latency, millis(5), SAMPLES_MIN - 1, at(0));
    assert_eq!(latency.quantile(0.5, at(0)), None);
    record(&latency, millis(5), 1, at(0));
    assert!(latency.quantile(0.5, at(0)).is_some());
    for no_share in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        assert_eq!(latency.quantile(no_share, at(0)), None, "{no_share}");
    }
}

#[test]
fn what_is_older_than_two_spans_does_not_count() {
    let latency = latency();
    record(&latency, millis(500), 1_000, at(999));
    assert_eq!(latency.samples(at(1_999)), 1_000);
    assert_eq!(
        latency.samples(at(2_000)),
        0,
        "also when nothing came since"
    );
    record(&latency, millis(5), 200, at(1_000));
    assert_eq!(latency.samples(at(1_999)), 1_200);
    record(&latency, millis(5), 200, at(2_000));
    assert_eq!(latency.samples(at(2_000)), 400);
    assert!(latency.quantile(1.0, at(2_000)) < Some(millis(6)));
    record(&latency, millis(5), 100, at(9_000));
    assert_eq!(latency.samples(at(9_000)), 100, "after a long pause");
}

#[test]
fn a_thread_whose_clock_is_behind_counts_in_the_newest_span() {
    let latency = latency();
    record(&latency, millis(5), 100, at(5_000));
    record(&latency, millis(5), 100, at(1_000));
    assert_eq!(latency.samples(at(5_000)), 200);
    assert_eq!(latency.samples(at(1_000)), 200, "and sees all of it");
}

#[test]
fn latencies_beyond_the_ends_count_as_the_ends() {
    let latency = latency();
    record(&latency, Duration::ZERO, 100, at(0));
    assert!(latency.quantile(0.5, at(0)) < Some(Duration::from_micros(2)));
    record(&latency, Duration::MAX, 300, at(0));
    assert!(latency.quantile(0.5, at(0)) > Some(Duration::from_mins(1)));
}

#[test]
fn every_latency_is_in_the_bucket_that_stands_for_it() {
    let mut nanos = 1_u64 << OCTAVE_MIN;
    while nanos < 1 << OCTAVE_MAX {
        for nanos in [nanos - 1, nanos, nanos + 1] {
            let nanos = nanos.max(1 << OCTAVE_MIN);
            let middle = middle_of(bucket_of(Duration::from_nanos(nanos))).as_nanos() as f64;
            let error = (middle - nanos as f64).abs() / nanos as f64;
            assert!(error <= ERROR_MAX, "{nanos} ns is told as {middle}");
        }
        nanos += nanos / 7;
    }
}

#[test]
fn eight_threads_lose_nothing_within_a_span() {
    let latency = latency();
    std::thread::scope(|scope| {
        for thread in 1..=8 {
            let latency = &latency;
            scope.spawn(move || record(latency, millis(thread), 1_000, at(thread)));
        }
    });
    assert_eq!(latency.samples(at(10)), 8_000);
}

proptest! {
    #[test]
    fn a_quantile_is_within_its_error_of_the_exact_one(
        // By octave, so that all orders of magnitude are tried.
        latencies in prop::collection::vec((10..36_u32, 0..1_u64 << 35), 100..600),
        percent in 0..=1_000_u32,
    ) {
        let latency = latency();
        let of = |(octave, rest): &(u32, u64)| (1 << octave) + rest % (1 << octave);
        let mut exact: Vec<u64> = latencies.iter().map(of).collect();
        for nanos in &exact {
            latency.record(Duration::from_nanos(*nanos), at(0));
        }
        exact.sort_unstable();
        // Nearest rank, in whole numbers.
        let rank = (exact.len() * percent as usize).div_ceil(1_000).max(1);
        let exact = exact[rank - 1] as f64;
        let quantile = f64::from(percent) / 1_000.0;
        let told = latency.quantile(quantile, at(0)).expect("enough samples").as_nanos() as f64;
        prop_assert!((told - exact).abs() <= exact * ERROR_MAX, "{} for {}", told, exact);
    }

    #[test]
    fn it_counts_what_a_list_of_two_spans_counts(
        steps in prop::collection::vec((0..1_500_u64, 0..4_u64), 1..100),
    ) {
        let latency = latency();
        let (mut now, mut list) = (0, Vec::new());
        for (advance, samples) in steps {
            now += advance;
            record(&latency, millis(5), samples, at(now));
            list.push((now / 1_000, samples));
            let live = list.iter().filter(|(span, _)| now / 1_000 - span <= 1);
            prop_assert_eq!(latency.samples(at(now)), live.map(|(_, samples)| samples).sum::<u64>());
        }
    }
}
