//! Peak EWMA: a moving average of latency that rises at once and falls slowly.
//!
//! Prevents a balancer that notices a stalled endpoint only after dozens of slow calls (the average
//! of Finagle and of Linkerd, "peak EWMA"). One word, `rtt:32 | stamp:32`: the average in
//! nanoseconds as the bits of an `f32`, and when it was taken in units of 65.5 µs (78 hours a
//! turn).
//!
//! What is not known is not good: an endpoint that nobody called weighs [`RTT_UNKNOWN`], and an
//! average of long ago falls back to that, not to zero, which would draw everybody. The first
//! answer replaces it outright.

use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::{Instant, nanos};

/// Time constant, 10 s: after this long, 37 % of an old value is left.
pub const DECAY: Duration = Duration::from_secs(10);

/// Latency that an endpoint is taken to have until its first answer, 50 ms.
pub const RTT_UNKNOWN: Duration = Duration::from_millis(50);

/// A failed call weighs as if it had taken this many times the average, however fast it failed:
/// else an endpoint that refuses at once looks like the best.
pub const FAILURE_FACTOR: f64 = 2.0;

/// Cap of what failures in a row can add up to, 1 s. Keeping calls away from an endpoint that only
/// fails is the breaker's task; the average must be able to forget within a few time constants.
pub const FAILURE_RTT_MAX: Duration = Duration::from_secs(1);

const STAMP_SHIFT: u32 = 16;
const DECAY_STAMPS: f64 = 10e9 / 65_536.0;

/// A `now` that another thread read up to a second before the last update counts as no time.
const SKEW_STAMPS: u32 = 1 << 14;

/// The average of one endpoint.
#[derive(Debug)]
pub struct Ewma(AtomicU64);

impl Default for Ewma {
    fn default() -> Self {
        Self::new()
    }
}

impl Ewma {
    /// Nothing known: [`RTT_UNKNOWN`].
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A call succeeded after `rtt`. A slower one than the average replaces it at once; a faster
    /// one moves it by the time that has passed since the last, in parts of [`DECAY`].
    pub fn succeeded(&self, rtt: Duration, now: Instant) {
        let rtt = nanos(rtt).max(1) as f64;
        self.update(now, |_| rtt);
    }

    /// A call failed after `rtt`. Counts as [`FAILURE_FACTOR`] times the average, at most
    /// [`FAILURE_RTT_MAX`], and as `rtt` where that is longer.
    pub fn failed(&self, rtt: Duration, now: Instant) {
        let rtt = nanos(rtt).max(1) as f64;
        let max = nanos(FAILURE_RTT_MAX) as f64;
        self.update(now, |average| (average * FAILURE_FACTOR).min(max).max(rtt));
    }

    /// Forgets everything: what stands behind the endpoint has changed.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The average at `now`; above [`RTT_UNKNOWN`] it falls back to that with time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and saturates"
    )]
    pub fn rtt(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.nanos(now) as u64)
    }

    /// The average at `now`, in nanoseconds; above 0.
    pub fn nanos(&self, now: Instant) -> f64 {
        let word = self.0.load(Ordering::Relaxed);
        average(word, stamp(now))
    }

    fn update(&self, now: Instant, sample: impl Fn(f64) -> f64) {
        let now = stamp(now);
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let next = match seen {
                0 => encode(sample(RTT_UNKNOWN_NANOS), now),
                _ => after(seen, now, &sample),
            };
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }
}

const RTT_UNKNOWN_NANOS: f64 = 50e6;

/// The word after a sample at `now`.
fn after(seen: u64, now: u32, sample: impl Fn(f64) -> f64) -> u64 {
    let (old, taken) = decode(seen);
    let sample = sample(old);
    if sample >= old {
        return encode(sample, later(taken, now));
    }
    let weight = decay(elapsed(taken, now));
    encode(old * weight + sample * (1.0 - weight), later(taken, now))
}

/// What the word says at `now`: above [`RTT_UNKNOWN`] it falls back to that with time.
fn average(word: u64, now: u32) -> f64 {
    if word == 0 {
        return RTT_UNKNOWN_NANOS;
    }
    let (old, taken) = decode(word);
    if old <= RTT_UNKNOWN_NANOS {
        return old;
    }
    RTT_UNKNOWN_NANOS + (old - RTT_UNKNOWN_NANOS) * decay(elapsed(taken, now))
}

/// e^-x for `x` = `stamps` / [`DECAY`], as (1 + x/16)^-16: `core` has no exponential, and nothing
/// here depends on the last percent.
fn decay(stamps: u32) -> f64 {
    let base = 1.0 / (1.0 + f64::from(stamps) / DECAY_STAMPS / 16.0);
    let square = base * base;
    let fourth = square * square;
    let eighth = fourth * fourth;
    eighth * eighth
}

fn elapsed(taken: u32, now: u32) -> u32 {
    let elapsed = now.wrapping_sub(taken);
    if elapsed > u32::MAX - SKEW_STAMPS {
        0
    } else {
        elapsed
    }
}

fn later(taken: u32, now: u32) -> u32 {
    taken.wrapping_add(elapsed(taken, now))
}

#[expect(clippy::cast_possible_truncation, reason = "stamps wrap on purpose")]
const fn stamp(now: Instant) -> u32 {
    (now.as_nanos() >> STAMP_SHIFT) as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "24 bits of precision are plenty for a latency"
)]
fn encode(nanos: f64, stamp: u32) -> u64 {
    // At least 1 ns: zero bits mean that nothing is known.
    u64::from((nanos.max(1.0) as f32).to_bits()) << 32 | u64::from(stamp)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
fn decode(word: u64) -> (f64, u32) {
    let nanos = f32::from_bits((word >> 32) as u32);
    (f64::from(nanos), word as u32)
}
