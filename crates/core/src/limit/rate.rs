//! A rate limit: so many calls per period, and a burst on top, in one word.
//!
//! Prevents one caller from taking what all share, and the double rate that fixed windows let
//! through at their edges. The algorithm is the generic cell rate algorithm (ITU-T I.371): the word
//! is the theoretical arrival time, at which the bucket would be full again. A call moves it on by
//! the time that one call is worth; it may not be further ahead of now than the burst is worth.
//!
//! Always holds, with any number of threads: in any span of time at most
//! `burst + span * per_period / period` calls pass. A clock that steps back delays calls and never
//! lets more through. A full bucket equals a new one, so it may be forgotten.
//!
//! Time is counted in ticks: as many of them make a nanosecond as make a call's worth a whole
//! number, up to 16. Where that is not enough the worth is rounded up: the rate is missed by less
//! than one part in `16 * nanoseconds per call`, downwards.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::{Instant, nanos};

/// Most ticks of a nanosecond: 2^64 of them are 36 years, the longest that a limiter can count.
const TICKS_MAX: u64 = 16;

/// Longest time over which a burst may be earned, and longest period, 365 days: more is a mistake
/// in the unit.
pub const REFILL_MAX: Duration = Duration::from_hours(365 * 24);

/// How many calls in which time. The default is a hundred calls per second, and as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateConfig {
    /// Calls per `period`. Default: 100.
    pub per_period: NonZeroU32,
    /// The period: above zero, at most [`REFILL_MAX`]; at most one call per nanosecond fits in it.
    /// Default: 1 s.
    pub period: Duration,
    /// Calls at once after a quiet time; at least the one call itself, at most what [`REFILL_MAX`]
    /// earns. Default: 100.
    pub burst: NonZeroU32,
}

impl Default for RateConfig {
    /// A hundred calls per second, and as many at once.
    fn default() -> Self {
        let hundred = const { NonZeroU32::MIN.saturating_add(99) };
        Self {
            per_period: hundred,
            period: Duration::from_secs(1),
            burst: hundred,
        }
    }
}

/// A value that no rate limit can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateConfigError {
    /// `period` is zero or longer than [`REFILL_MAX`].
    Period(Duration),
    /// More than one call per nanosecond.
    TooFast {
        /// Calls per period.
        per_period: NonZeroU32,
        /// The period that is too short for them.
        period: Duration,
    },
    /// It would take longer than [`REFILL_MAX`] to earn this burst.
    Burst(NonZeroU32),
}

impl fmt::Display for RateConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Period(period) => write!(
                f,
                "period is {period:?}; set it above zero and at most a year"
            ),
            Self::TooFast { per_period, period } => write!(
                f,
                "{per_period} calls per {period:?} are more than one per nanosecond; set fewer"
            ),
            Self::Burst(burst) => write!(
                f,
                "burst is {burst}, which takes longer than a year to earn; set fewer"
            ),
        }
    }
}

impl core::error::Error for RateConfigError {}

/// Why a call may not pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Calls come faster than the limit allows.
    Now {
        /// After this time it would pass, if nobody else took its turn.
        retry_after: Duration,
    },
    /// It asks for more than the burst: it can never pass.
    Never {
        /// The most that can be asked for.
        burst: NonZeroU32,
    },
}

/// A validated [`RateConfig`]: what all buckets of one limit have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    ticks_per_nano: u64,
    /// What one call is worth, in ticks.
    call: u64,
    /// What a burst is worth, in ticks.
    ahead: u64,
    burst: NonZeroU32,
}

/// A burst of so many calls and as long as so many spans of doubt is long enough not to care when
/// exactly it is.
pub const SPANS_MIN: u64 = 32;

/// The state of one limit: when it will be full again, in ticks. New, it is full.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

/// A rate limit: a quota with its one bucket. Shared by reference between threads.
///
/// ```
/// use core::num::NonZeroU32;
/// use mainstay_core::limit::rate::{Exceeded, Rate, RateConfig};
/// use mainstay_core::time::{Duration, Instant};
///
/// let burst = NonZeroU32::new(2).unwrap();
/// let rate = Rate::new(&RateConfig { burst, ..RateConfig::default() }).unwrap();
/// let now = Instant::from_millis(1);
/// assert!(rate.check(now).is_ok());
/// assert!(rate.check(now).is_ok());
/// // One that takes more than its share is told when to come back.
/// let retry_after = Duration::from_millis(10);
/// assert_eq!(rate.check(now), Err(Exceeded::Now { retry_after }));
/// assert!(rate.check(now + retry_after).is_ok());
/// ```
#[derive(Debug)]
pub struct Rate {
    quota: Quota,
    bucket: Bucket,
}

impl Quota {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// [`RateConfigError::Period`] for a period that is zero or above [`REFILL_MAX`],
    /// [`RateConfigError::TooFast`] for more than one call per nanosecond,
    /// [`RateConfigError::Burst`] for a burst that takes longer than [`REFILL_MAX`] to earn.
    pub fn new(config: &RateConfig) -> Result<Self, RateConfigError> {
        let RateConfig {
            per_period,
            period,
            burst,
        } = *config;
        if period.is_zero() || period > REFILL_MAX {
            return Err(RateConfigError::Period(period));
        }
        let (calls, period_nanos) = reduced(u64::from(per_period.get()), nanos(period));
        if calls > period_nanos {
            return Err(RateConfigError::TooFast { per_period, period });
        }
        // Exact where the calls divide the ticks; rounded up, so that the rate is never exceeded.
        let ticks_per_nano = calls.min(TICKS_MAX);
        let call = (period_nanos * ticks_per_nano).div_ceil(calls);
        let ahead = u128::from(call) * u128::from(burst.get());
        let ahead = u64::try_from(ahead)
            .ok()
            .filter(|ticks| *ticks <= nanos(REFILL_MAX) * ticks_per_nano)
            .ok_or(RateConfigError::Burst(burst))?;
        Ok(Self {
            ticks_per_nano,
            call,
            ahead,
            burst,
        })
    }

    /// Most calls at once.
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// How long after one call the next may follow, when the burst is used up.
    pub const fn interval(&self) -> Duration {
        self.duration(self.call)
    }

    const fn ticks(&self, now: Instant) -> u64 {
        now.as_nanos().saturating_mul(self.ticks_per_nano)
    }

    /// Rounded up: who comes back after it is not early.
    const fn duration(&self, ticks: u64) -> Duration {
        Duration::from_nanos(ticks.div_ceil(self.ticks_per_nano))
    }

    /// The bucket after `cost` more, or by how many ticks it is too early.
    const fn next(&self, full_at: u64, cost: u64, now: u64) -> Result<u64, u64> {
        let next = later(full_at, now).saturating_add(cost);
        let ahead = next - now;
        if ahead > self.ahead {
            return Err(ahead - self.ahead);
        }
        Ok(next)
    }
}

const fn later(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

/// Both without their greatest common divisor; neither is zero.
const fn reduced(a: u64, b: u64) -> (u64, u64) {
    let (mut divisor, mut rest) = (b, a);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (a / divisor, b / divisor)
}

impl Bucket {
    /// A full one.
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes one call out, if it is time.
    ///
    /// # Errors
    ///
    /// [`Exceeded::Now`] when it is too early.
    pub fn check(&self, quota: &Quota, now: Instant) -> Result<(), Exceeded> {
        self.take(quota, quota.call, now)
    }

    /// Takes `calls` out at once, or none of them.
    ///
    /// # Errors
    ///
    /// [`Exceeded::Now`] when it is too early, [`Exceeded::Never`] when `calls` is more than the
    /// burst.
    pub fn check_n(&self, quota: &Quota, calls: NonZeroU32, now: Instant) -> Result<(), Exceeded> {
        if calls > quota.burst {
            let burst = quota.burst;
            return Err(Exceeded::Never { burst });
        }
        // At most `ahead`, which fits.
        self.take(quota, quota.call * u64::from(calls.get()), now)
    }

    /// [`check`](Self::check) where only a span is known that now is in. `None` when the answer
    /// depends on when exactly it is: then read a better clock, and [`check`](Self::check).
    ///
    /// While the bucket is not nearly full, what a call leaves behind does not depend on now, and
    /// the answer is exact. A full one whose burst has [`SPANS_MIN`] calls and is as long as so many
    /// spans counts as filled at the span's end: it lets pass at most a [`SPANS_MIN`]th of its burst
    /// and one call too few, never one too many.
    pub fn check_within(&self, quota: &Quota, from: Instant, to: Instant) -> Option<bool> {
        let (from, to) = (quota.ticks(from), quota.ticks(to));
        // Of a burst of two calls, a moment too few would be a whole call.
        let is_long = quota.ahead / SPANS_MIN >= to.saturating_sub(from)
            && u64::from(quota.burst.get()) >= SPANS_MIN;
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen < to && !is_long {
                return None;
            }
            let Ok(next) = quota.next(later(seen, to), quota.call, from) else {
                // Too early even at the end of the span, or who knows.
                return quota.next(seen, quota.call, to).is_err().then_some(false);
            };
            match self.swap(seen, next) {
                Ok(()) => return Some(true),
                Err(current) => seen = current,
            }
        }
    }

    /// How long a call that comes behind `before` others that wait must wait itself; zero when it
    /// is its turn.
    pub fn wait(&self, quota: &Quota, before: u32, now: Instant) -> Duration {
        let now = quota.ticks(now);
        let cost = quota.call.saturating_mul(u64::from(before) + 1);
        let full_at = later(self.0.load(Ordering::Relaxed), now).saturating_add(cost);
        quota.duration((full_at - now).saturating_sub(quota.ahead))
    }

    /// Whether it equals a new one, and may be forgotten.
    pub fn is_full(&self, quota: &Quota, now: Instant) -> bool {
        self.0.load(Ordering::Relaxed) <= quota.ticks(now)
    }

    fn take(&self, quota: &Quota, cost: u64, now: Instant) -> Result<(), Exceeded> {
        let now = quota.ticks(now);
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let next = quota.next(seen, cost, now).map_err(|early| Exceeded::Now {
                retry_after: quota.duration(early),
            })?;
            match self.swap(seen, next) {
                Ok(()) => return Ok(()),
                Err(current) => seen = current,
            }
        }
    }

    fn swap(&self, seen: u64, next: u64) -> Result<(), u64> {
        // The word is all there is: it publishes nothing else.
        self.0
            .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            .map(drop)
    }
}

impl Rate {
    /// A limit whose bucket is full.
    ///
    /// # Errors
    ///
    /// As [`Quota::new`].
    pub fn new(config: &RateConfig) -> Result<Self, RateConfigError> {
        Ok(Self {
            quota: Quota::new(config)?,
            bucket: Bucket::new(),
        })
    }

    /// What was configured.
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The state.
    pub const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Takes one call out, if it is time.
    ///
    /// # Errors
    ///
    /// [`Exceeded::Now`] when it is too early.
    pub fn check(&self, now: Instant) -> Result<(), Exceeded> {
        self.bucket.check(&self.quota, now)
    }

    /// Takes `calls` out at once, or none of them.
    ///
    /// # Errors
    ///
    /// [`Exceeded::Now`] when it is too early, [`Exceeded::Never`] when `calls` is more than the
    /// burst.
    pub fn check_n(&self, calls: NonZeroU32, now: Instant) -> Result<(), Exceeded> {
        self.bucket.check_n(&self.quota, calls, now)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
