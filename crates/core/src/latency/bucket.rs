//! Log-linear buckets: where a latency is counted, and what a count of them says.
//!
//! Prevents two histograms that disagree about the same calls: [`Latency`](super::Latency) and the
//! gateway's counts, which have a single writer each, share this arithmetic.

use core::time::Duration;

use crate::time::nanos;

/// Buckets of a power of two, as a power of two.
const PART_BITS: u32 = 4;
const PARTS: usize = 1 << PART_BITS;
/// 2^10 ns are a microsecond; what is faster counts as that.
pub(super) const OCTAVE_MIN: u32 = 10;
/// 2^36 ns are 68 s; what is slower counts as that.
pub(super) const OCTAVE_MAX: u32 = 36;

/// Buckets in all: 26 powers of two, 16 each. The model checker needs few.
pub const BUCKETS: usize = if cfg!(loom) {
    4
} else {
    (OCTAVE_MAX - OCTAVE_MIN) as usize * PARTS
};

/// The bucket of a latency, below [`BUCKETS`]: that of the microsecond for a shorter one, that of
/// 68 s for a longer one.
#[inline]
pub fn bucket_of(latency: Duration) -> usize {
    let nanos = nanos(latency).clamp(1 << OCTAVE_MIN, (1 << OCTAVE_MAX) - 1);
    let octave = nanos.ilog2();
    let part = nanos >> (octave - PART_BITS) & (PARTS as u64 - 1);
    let bucket = (octave - OCTAVE_MIN) as usize * PARTS + part as usize;
    bucket.min(BUCKETS - 1)
}

/// The middle of a bucket, within [`ERROR_MAX`](super::ERROR_MAX) of all that is in it. A bucket
/// that does not exist is told as the last one.
pub fn middle_of(bucket: usize) -> Duration {
    let bucket = bucket.min(BUCKETS - 1);
    let (octave, part) = (bucket / PARTS, bucket % PARTS);
    let width = (1_u64 << OCTAVE_MIN << octave) >> PART_BITS;
    let low = (PARTS + part) as u64 * width;
    Duration::from_nanos(low + width / 2)
}

/// The latency that the share `quantile` of the counted calls keeps to, by nearest rank; `None`
/// when none was counted, and for a `quantile` outside of 0 to 1.
///
/// ```
/// use mainstay_core::latency::{BUCKETS, bucket_of, quantile_of};
/// use mainstay_core::time::Duration;
///
/// let mut counts = [0; BUCKETS];
/// counts[bucket_of(Duration::from_millis(5))] = 9;
/// counts[bucket_of(Duration::from_millis(80))] = 1;
/// let median = quantile_of(&counts, 0.5).unwrap();
/// assert!((median.as_secs_f64() / 0.005 - 1.0).abs() < 1.0 / 32.0);
/// ```
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of samples is between 0 and it"
)]
pub fn quantile_of(counts: &[u64; BUCKETS], quantile: f64) -> Option<Duration> {
    let samples: u64 = counts.iter().sum();
    // Written so that NaN fails.
    if !(0.0..=1.0).contains(&quantile) || samples == 0 {
        return None;
    }
    // `core` has no `ceil`; the half of a millionth takes back what 0.95 * 100.0 is above 95.
    let exact = quantile * samples as f64 - 0.000_000_5;
    let below = exact.max(0.0) as u64;
    let rank = (below + 1).min(samples);
    let mut passed = 0;
    let reaches = |count: &u64| {
        passed += *count;
        passed >= rank
    };
    counts.iter().position(reaches).map(middle_of)
}
