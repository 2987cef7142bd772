//! A live quantile of latency, lock-free and of constant size.
//!
//! Prevents hedges and limits that wait for the latency of yesterday: what was recorded counts for
//! one to two spans of time, and then no more.
//!
//! A log-linear histogram (the idea of `HdrHistogram`): each power of two of nanoseconds is cut
//! into 16 buckets of equal width, from one microsecond to 68 seconds. Two such histograms take
//! turns: one collects, the other is that of the span before. The first record of a new span
//! clears the older one.
//!
//! Always holds: a quantile is within [`ERROR_MAX`] of the exact one of what was recorded (by
//! nearest rank, between the two ends of the range); the size is 3,344 bytes. A record that comes
//! while its histogram is being cleared may be lost or, when its thread was stopped for a whole
//! span, be counted in a later one: it is a sample among at least [`SAMPLES_MIN`].

use core::fmt;
use core::time::Duration;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::time::{Instant, nanos};

mod bucket;

pub use bucket::{BUCKETS, bucket_of, middle_of, quantile_of};

/// Fewest samples that a quantile is made of: of fewer, one that is out of line would move a 99th
/// percentile.
pub const SAMPLES_MIN: u64 = 100;

/// The relative error of a quantile: half a bucket, of which a power of two has 16.
pub const ERROR_MAX: f64 = 1.0 / 32.0;

/// Shortest span, 10 ms: below, the samples of a quiet service would never be enough.
pub const SPAN_MIN: Duration = Duration::from_millis(10);

/// Longest span, 24 hours: beyond, it would be the latency of yesterday.
pub const SPAN_MAX: Duration = Duration::from_hours(24);

/// Samples of a bucket are counted up to here: no number of threads gets from here to an overflow.
const COUNT_MAX: u32 = u32::MAX / 2;

const CLEARING: u64 = 1 << 63;

/// A span that no histogram can work with: below [`SPAN_MIN`] or above [`SPAN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanError(pub Duration);

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "latency span is {:?}; set at least {SPAN_MIN:?} and at most {SPAN_MAX:?}",
            self.0
        )
    }
}

impl core::error::Error for SpanError {}

/// The latencies of the last one to two spans. Shared by reference between threads.
///
/// ```
/// use mainstay_core::latency::Latency;
/// use mainstay_core::time::{Duration, Instant};
///
/// let latency = Latency::new(Duration::from_secs(30)).unwrap();
/// let now = Instant::from_millis(1);
/// assert_eq!(latency.quantile(0.95, now), None, "nothing is known yet");
/// for millis in 1..=100 {
///     latency.record(Duration::from_millis(millis), now);
/// }
/// let p95 = latency.quantile(0.95, now).unwrap();
/// assert!((p95.as_secs_f64() / 0.095 - 1.0).abs() < 1.0 / 32.0);
/// ```
#[derive(Debug)]
pub struct Latency {
    /// `clearing:1 | span:63`: the number of the span that is collected.
    word: AtomicU64,
    span_nanos: u64,
    /// That of even spans, and that of odd ones.
    halves: [Half; 2],
}

#[derive(Debug)]
struct Half([AtomicU32; BUCKETS]);

impl Half {
    fn clear(&self) {
        for bucket in &self.0 {
            // Reading first leaves the cache lines of empty buckets alone.
            if bucket.load(Ordering::Relaxed) != 0 {
                bucket.store(0, Ordering::Relaxed);
            }
        }
    }
}

impl Latency {
    /// Nothing recorded. What is recorded counts for one to two times `span`.
    ///
    /// # Errors
    ///
    /// [`SpanError`] for a `span` below [`SPAN_MIN`] or above [`SPAN_MAX`].
    pub fn new(span: Duration) -> Result<Self, SpanError> {
        if span < SPAN_MIN || span > SPAN_MAX {
            return Err(SpanError(span));
        }
        let half = || Half(core::array::from_fn(|_| AtomicU32::new(0)));
        Ok(Self {
            word: AtomicU64::new(0),
            span_nanos: nanos(span),
            halves: [half(), half()],
        })
    }

    /// A call took `rtt`, and ended at `now`. Below a microsecond it counts as that, above 68 s as
    /// that.
    pub fn record(&self, rtt: Duration, now: Instant) {
        let span = self.open_span(now);
        let bucket = &self.half(span).0[bucket_of(rtt)];
        // Two steps, so that no compare-and-swap is needed: see `COUNT_MAX`.
        if bucket.load(Ordering::Relaxed) < COUNT_MAX {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The latency that the share `quantile` of calls keeps to, for 0 (the shortest) to 1 (the
    /// longest); `None` while there are fewer than [`SAMPLES_MIN`] samples, and for a `quantile`
    /// outside of 0 to 1.
    ///
    /// Adds up all buckets, which takes a few hundred nanoseconds: callers on a hot path remember
    /// the answer for a while.
    pub fn quantile(&self, quantile: f64, now: Instant) -> Option<Duration> {
        // Written so that NaN fails.
        if !(0.0..=1.0).contains(&quantile) {
            return None;
        }
        let halves = self.live(now);
        let count = |bucket: usize| -> u64 {
            let halves = halves.iter().flatten();
            halves
                .map(|half| u64::from(half.0[bucket].load(Ordering::Relaxed)))
                .sum()
        };
        // Read once: the buckets change while they are added up.
        let counts: [u64; BUCKETS] = core::array::from_fn(count);
        let samples: u64 = counts.iter().sum();
        if samples < SAMPLES_MIN {
            return None;
        }
        quantile_of(&counts, quantile)
    }

    /// Samples that a quantile would be made of at `now`.
    pub fn samples(&self, now: Instant) -> u64 {
        let halves = self.live(now);
        let buckets = halves.iter().flatten().flat_map(|half| &half.0);
        buckets
            .map(|bucket| u64::from(bucket.load(Ordering::Relaxed)))
            .sum()
    }

    /// The halves that count at `now`.
    fn live(&self, now: Instant) -> [Option<&Half>; 2] {
        let word = self.word.load(Ordering::Acquire);
        let (span, is_clearing) = (word & !CLEARING, word & CLEARING != 0);
        let age = (now.as_nanos() / self.span_nanos).saturating_sub(span);
        let current = (age <= 1).then(|| self.half(span));
        let before = (age == 0 && !is_clearing).then(|| self.half(span.wrapping_add(1)));
        [current, before]
    }

    fn half(&self, span: u64) -> &Half {
        &self.halves[usize::from(span & 1 == 1)]
    }

    /// The span to record into at `now`. One thread turns to a new one; the others go on with the
    /// one before until that is done, so that nobody waits.
    fn open_span(&self, now: Instant) -> u64 {
        let span = now.as_nanos() / self.span_nanos;
        let seen = self.word.load(Ordering::Acquire);
        let current = seen & !CLEARING;
        if span <= current || seen & CLEARING != 0 {
            return current;
        }
        let turning = seen | CLEARING;
        let won = self
            .word
            .compare_exchange(seen, turning, Ordering::AcqRel, Ordering::Acquire);
        if won.is_err() {
            return current;
        }
        self.half(span).clear();
        if span > current + 1 {
            // Nothing came for a whole span, so that the last one is too old as well.
            self.half(span + 1).clear();
        }
        self.word.store(span, Ordering::Release);
        span
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
