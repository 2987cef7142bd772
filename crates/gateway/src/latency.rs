//! Rate, success and latency of the last ten seconds, as one worker saw them.
//!
//! Prevents a dashboard that costs the requests it shows: one worker writes, with plain loads and
//! stores, and whoever asks adds the workers up. The buckets are those of [`mainstay_core::latency`],
//! so a percentile is as exact; its engine is another one, since many threads write that.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mainstay_core::latency::{BUCKETS, bucket_of, quantile_of};
use mainstay_core::time::{Duration, Instant};

/// Seconds that are shown.
const SECONDS: usize = 10;
/// One slot per second, and one that is being filled.
const SLOTS: usize = SECONDS + 1;

#[derive(Debug)]
struct Slot {
    second: AtomicU64,
    good: AtomicU32,
    counts: [AtomicU32; BUCKETS],
}

/// The last seconds of one worker. One thread records; any may sum.
#[derive(Debug)]
pub(crate) struct Latency {
    slots: [Slot; SLOTS],
}

/// The last ten seconds of all workers.
#[derive(Debug)]
pub(crate) struct Summary {
    counts: [u64; BUCKETS],
    good: u64,
    seconds: u64,
}

impl Latency {
    /// Nothing recorded.
    pub(crate) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot {
                second: AtomicU64::new(0),
                good: AtomicU32::new(0),
                counts: [const { AtomicU32::new(0) }; BUCKETS],
            }),
        }
    }

    /// Records an answer that took `latency` and was given at `now`.
    pub(crate) fn record(&self, latency: Duration, good: bool, now: Instant) {
        let second = second(now);
        let slot = &self.slots[slot_index(second)];
        if slot.second.load(Ordering::Relaxed) != second {
            slot.good.store(0, Ordering::Relaxed);
            for count in &slot.counts {
                count.store(0, Ordering::Relaxed);
            }
            slot.second.store(second, Ordering::Release);
        }
        bump(&slot.counts[bucket_of(latency)]);
        if good {
            bump(&slot.good);
        }
    }

    /// Adds the last full seconds before `now` to `summary`.
    pub(crate) fn add_to(&self, summary: &mut Summary, now: Instant) {
        let current = second(now);
        for slot in &self.slots {
            let second = slot.second.load(Ordering::Acquire);
            if second >= current || second + (SECONDS as u64) < current {
                continue;
            }
            summary.good += u64::from(slot.good.load(Ordering::Relaxed));
            for (sum, count) in summary.counts.iter_mut().zip(&slot.counts) {
                *sum += u64::from(count.load(Ordering::Relaxed));
            }
        }
    }
}

impl Summary {
    /// Nothing yet; `up_for` is how long the service has been there.
    pub(crate) fn new(up_for: Duration) -> Self {
        Self {
            counts: [0; BUCKETS],
            good: 0,
            seconds: up_for.as_secs().clamp(1, SECONDS as u64),
        }
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.total() as f64 / self.seconds as f64
    }

    /// The share of good answers.
    pub(crate) fn success(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| (self.good as f64 / total as f64).min(1.0))
    }

    /// The latency that `share` of the answers did not exceed, in milliseconds.
    pub(crate) fn percentile_ms(&self, share: f64) -> Option<f64> {
        quantile_of(&self.counts, share).map(|latency| latency.as_secs_f64() * 1_000.0)
    }
}

/// One writer: no locked instruction is needed.
fn bump(count: &AtomicU32) {
    count.store(
        count.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

fn second(now: Instant) -> u64 {
    now.as_nanos() / 1_000_000_000
}

fn slot_index(second: u64) -> usize {
    usize::try_from(second % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_older_than_ten_are_forgotten() {
        let latency = Latency::new();
        let at = |second| Instant::from_millis(second * 1_000);
        for second in 1..=30 {
            latency.record(Duration::from_millis(second), second % 2 == 0, at(second));
        }
        let mut summary = Summary::new(Duration::from_secs(30));
        latency.add_to(&mut summary, at(31));
        assert_eq!(summary.total(), 10);
        assert_eq!(summary.success(), Some(0.5));
        assert!((summary.rate() - 1.0).abs() < 1e-9);
        let median = summary.percentile_ms(0.5).expect("there are answers");
        assert!((median - 25.0).abs() < 3.0, "{median}");
    }
}
