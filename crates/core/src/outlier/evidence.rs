//! What is known of one endpoint's calls, and of those of all others.
//!
//! Prevents one lucky second from outweighing a bad minute, and yesterday from outweighing now:
//! counts fade with time. They are fractions then, a little below the number of calls they stand
//! for, which makes the tests of [`Outliers`](super::Outliers) a little more careful.

use core::time::Duration;

use super::cell::Cell;
use crate::time::nanos;

/// Four to an octave, up to [`LATENCY_MAX`]: a median is right within an eighth. The model checker
/// explores the steps of a call, of which more buckets are only more.
pub const BUCKETS: usize = if cfg!(loom) { 4 } else { 104 };

/// Longer latencies count as this, 134 s.
pub const LATENCY_MAX: Duration = Duration::from_micros((1 << 27) - 1);

/// The bucket of a latency: its microseconds' highest bit, and the two below it.
pub(super) fn bucket(rtt: Duration) -> usize {
    let micros = nanos(rtt.min(LATENCY_MAX)) / 1_000;
    if micros < 4 {
        return usize::try_from(micros).unwrap_or_default();
    }
    let octave = micros.ilog2();
    let quarter = (micros >> (octave - 2)) & 3;
    usize::try_from(u64::from(octave - 1) * 4 + quarter).unwrap_or(BUCKETS - 1)
}

/// The lowest latency of a bucket, in microseconds.
fn lowest(bucket: usize) -> f64 {
    if bucket < 4 {
        return bucket as f64;
    }
    let quarter = 1_u64 << (bucket / 4 - 1);
    ((4 + bucket as u64 % 4) * quarter) as f64
}

/// Calls, and those that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Calls {
    pub(super) total: f64,
    pub(super) failed: f64,
}

impl Calls {
    /// The share that failed; 0 where nothing was called.
    pub(super) fn rate(self) -> f64 {
        if self.total > 0.0 {
            self.failed / self.total
        } else {
            0.0
        }
    }

    /// The one-sided two-proportion z-test: whether this rate is above `rest`'s by so many
    /// standard deviations. Squared, so that no root is needed.
    pub(super) fn is_above(self, rest: Self, deviations: f64) -> bool {
        let gap = self.rate() - rest.rate();
        let pooled = (self.failed + rest.failed) / (self.total + rest.total);
        let variance = pooled * (1.0 - pooled) * (1.0 / self.total + 1.0 / rest.total);
        gap > 0.0 && gap * gap >= deviations * deviations * variance
    }
}

/// What is known of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    calls: Calls,
    latencies: [f64; BUCKETS],
}

impl Evidence {
    pub(super) const fn new() -> Self {
        Self {
            calls: Calls {
                total: 0.0,
                failed: 0.0,
            },
            latencies: [0.0; BUCKETS],
        }
    }

    /// Takes what the cell has counted; what is known already counts by `weight`.
    pub(super) fn gather(&mut self, cell: &Cell, weight: f64) {
        let (total, failed) = cell.take_calls();
        self.calls.total = self.calls.total * weight + total as f64;
        self.calls.failed = self.calls.failed * weight + failed as f64;
        for (known, new) in self.latencies.iter_mut().zip(cell.take_latencies()) {
            *known = *known * weight + f64::from(new);
        }
    }

    pub(super) const fn calls(&self) -> Calls {
        self.calls
    }

    /// Whether at least half a call's worth of good answers is known.
    pub(super) fn has_success(&self) -> bool {
        self.calls.total - self.calls.failed >= 0.5
    }

    /// The median latency, if it is of at least so many calls.
    pub(super) fn median(&self, calls_min: f64) -> Option<Duration> {
        median(self.latencies.iter().copied(), calls_min)
    }
}

/// What is known of all endpoints together.
#[derive(Clone, Debug)]
pub(super) struct Pool(Evidence);

impl Pool {
    pub(super) fn of<'a>(members: impl Iterator<Item = &'a Evidence>) -> Self {
        let mut pool = Evidence::new();
        for member in members {
            pool.calls.total += member.calls.total;
            pool.calls.failed += member.calls.failed;
            for (sum, latency) in pool.latencies.iter_mut().zip(&member.latencies) {
                *sum += latency;
            }
        }
        Self(pool)
    }

    /// The calls of all but this one.
    pub(super) fn rest(&self, own: &Evidence) -> Calls {
        // Sums of fractions differ in their last bits.
        Calls {
            total: (self.0.calls.total - own.calls.total).max(0.0),
            failed: (self.0.calls.failed - own.calls.failed).max(0.0),
        }
    }

    /// The median latency of all but this one, if it is of at least so many calls.
    pub(super) fn median_of_rest(&self, own: &Evidence, calls_min: f64) -> Option<Duration> {
        let pairs = self.0.latencies.iter().zip(&own.latencies);
        median(pairs.map(|(all, own)| (all - own).max(0.0)), calls_min)
    }
}

/// The median of a histogram, interpolated within its bucket.
fn median(counts: impl Iterator<Item = f64> + Clone, calls_min: f64) -> Option<Duration> {
    let total: f64 = counts.clone().sum();
    if total < calls_min {
        return None;
    }
    let half = total / 2.0;
    let mut below = 0.0;
    for (bucket, count) in counts.enumerate() {
        if count > 0.0 && below + count >= half {
            let (from, to) = (lowest(bucket), lowest(bucket + 1));
            let micros = from + (to - from) * ((half - below) / count);
            return Duration::try_from_secs_f64(micros * 1e-6).ok();
        }
        below += count;
    }
    None
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_without_gaps() {
        for bucket_of in 0..BUCKETS - 1 {
            let micros = lowest(bucket_of);
            let first = Duration::from_secs_f64(micros * 1e-6);
            assert_eq!(bucket(first + Duration::from_nanos(1)), bucket_of);
            assert!(lowest(bucket_of + 1) > micros);
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::ZERO), 0);
    }

    #[test]
    fn a_median_is_right_within_an_eighth() {
        for micros in [1_u64, 3, 10, 777, 5_000, 123_456, 60_000_000] {
            let mut evidence = Evidence::new();
            evidence.latencies[bucket(Duration::from_micros(micros))] = 100.0;
            let median = evidence.median(20.0).expect("a hundred calls");
            let error = (median.as_secs_f64() * 1e6 / micros as f64 - 1.0).abs();
            assert!(error <= 0.125 || micros < 4, "{micros} us: {median:?}");
        }
    }

    #[test]
    fn a_median_needs_its_calls() {
        let mut evidence = Evidence::new();
        assert_eq!(evidence.median(0.0), None);
        evidence.latencies[40] = 19.9;
        assert_eq!(evidence.median(20.0), None);
    }

    #[test]
    fn the_z_test_agrees_with_a_textbook() {
        // 30 of 100 against 15 of 100: pooled 0.225, z = 0.15 / 0.059055 = 2.54.
        let calls = |total: f64, failed: f64| Calls { total, failed };
        let (own, rest) = (calls(100.0, 30.0), calls(100.0, 15.0));
        assert!(own.is_above(rest, 2.53));
        assert!(!own.is_above(rest, 2.55));
        assert!(!rest.is_above(own, 0.0));
        // Nobody failed, or everybody: no difference, whatever the numbers.
        assert!(!calls(10.0, 0.0).is_above(calls(10.0, 0.0), 0.0));
        assert!(!calls(10.0, 10.0).is_above(calls(10.0, 10.0), 0.0));
    }
}
