//! The phi accrual detector (Hayashibara, Défago, Yared and Katayama, "The φ Accrual Failure
//! Detector", SRDS 2004).
//!
//! Prevents one timeout for all peers: suspicion grows with how unlikely the silence is for this
//! very peer. φ(t) = −log10(P(a heartbeat comes later than t)), with the intervals between
//! heartbeats taken as normally distributed: φ = 1 is wrong once in ten, φ = 8 once in a hundred
//! million, if they are. They are not quite, so the deviation has a floor and a pause is forgiven
//! (Akka's additions to the paper: `min-std-deviation`, `acceptable-heartbeat-pause`,
//! `first-heartbeat-estimate`).
//!
//! Always holds: φ never falls while no heartbeat comes, is finite for ever, and is never
//! negative. Memory is constant: a ring of intervals, whose sums are whole numbers and thus never
//! drift. An outage is remembered as one late heartbeat, not as an interval of an hour, which would
//! blind the detector for a whole window. A peer that slowed down for good is learnt within a few
//! heartbeats: of late intervals in a row only the first is cut short.

use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

use super::{ConfigError, Suspicion, check_duration, tail};
use crate::time::{Instant, nanos};

/// Fewest intervals that a deviation can be estimated from.
pub const WINDOW_MIN: u32 = 10;

/// Most intervals that a peer may keep: 8 KiB, as many as in the paper's experiment.
pub const WINDOW_MAX: u32 = 1_000;

/// Highest threshold: φ = 1,000 is no probability that anybody can mean.
const THRESHOLD_MAX: f64 = 1_000.0;

/// An interval is late, and remembered as no more, from this many times what was expected on.
const LATE_FACTOR: u64 = 2;

/// How a phi detector decides.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct PhiConfig {
    /// From which φ on a peer is suspect. 8 suits a local network, 12 one with long pauses. Above
    /// 0, at most 1,000. Default: 8.
    pub threshold: f64,
    /// Intervals that are remembered: [`WINDOW_MIN`] to [`WINDOW_MAX`]. Default: 200.
    pub window: NonZeroU32,
    /// The deviation is taken to be at least this, however regular heartbeats were.
    /// [`DURATION_MIN`](super::DURATION_MIN) to [`DURATION_MAX`](super::DURATION_MAX).
    /// Default: 100 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub std_deviation_min: Duration,
    /// A pause (garbage collection, a lost packet) that is forgiven: added to the mean. Zero
    /// forgives none; any other is [`DURATION_MIN`](super::DURATION_MIN) to
    /// [`DURATION_MAX`](super::DURATION_MAX). Text cannot say zero. Default: 2 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub pause_acceptable: Duration,
    /// The interval that is expected before the second heartbeat; its deviation is a quarter.
    /// [`DURATION_MIN`](super::DURATION_MIN) to [`DURATION_MAX`](super::DURATION_MAX).
    /// Default: 1 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub first_estimate: Duration,
}

impl Default for PhiConfig {
    fn default() -> Self {
        Self {
            threshold: 8.0,
            window: const { NonZeroU32::MIN.saturating_add(199) },
            std_deviation_min: Duration::from_millis(100),
            pause_acceptable: Duration::from_secs(2),
            first_estimate: Duration::from_secs(1),
        }
    }
}

impl PhiConfig {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Threshold`] and [`ConfigError::Window`] outside their bounds, and
    /// [`ConfigError::Duration`] for a duration that is too short or too long; `pause_acceptable`
    /// may be zero.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // Written so that NaN fails.
        if !(self.threshold > 0.0 && self.threshold <= THRESHOLD_MAX) {
            return Err(ConfigError::Threshold(self.threshold));
        }
        let window = self.window.get();
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&window) {
            return Err(ConfigError::Window(window));
        }
        check_duration("std_deviation_min", self.std_deviation_min)?;
        check_duration("first_estimate", self.first_estimate)?;
        if self.pause_acceptable.is_zero() {
            return Ok(());
        }
        check_duration("pause_acceptable", self.pause_acceptable)
    }
}

/// Suspicion by a peer's own heartbeats.
///
/// ```
/// use mainstay_core::detector::{Phi, PhiConfig};
/// use mainstay_core::time::{Duration, Instant};
///
/// let config = PhiConfig { pause_acceptable: Duration::ZERO, ..PhiConfig::default() };
/// let mut phi = Phi::new(&config, Instant::ORIGIN).unwrap();
/// for second in 1..=100 {
///     phi.heartbeat(Instant::from_millis(second * 1_000));
/// }
/// // This peer beats once a second: a little late is nothing, two seconds are no accident.
/// assert!(phi.suspicion(Instant::from_millis(101_100), 1).level < 1.0);
/// assert!(phi.suspicion(Instant::from_millis(102_000), 1).is_reached());
/// ```
#[derive(Clone, Debug)]
pub struct Phi {
    config: PhiConfig,
    last: Instant,
    /// Whether there was a heartbeat at all: the first has no interval.
    heard: bool,
    /// Whether the last interval was late: then another one is how this peer is now.
    late: bool,
    intervals: Ring,
}

impl Phi {
    /// A detector whose silence begins at `now`.
    ///
    /// # Errors
    ///
    /// As [`PhiConfig::validate`].
    pub fn new(config: &PhiConfig, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut intervals = Ring::new(config.window);
        // Two intervals whose mean is the estimate, and whose deviation is a quarter of it.
        let estimate = nanos(config.first_estimate);
        intervals.push(estimate - estimate / 4);
        intervals.push(estimate + estimate / 4);
        Ok(Self {
            config: *config,
            last: now,
            heard: false,
            late: false,
            intervals,
        })
    }

    /// A heartbeat arrived at `now`. One that is not newer than the last changes nothing.
    pub fn heartbeat(&mut self, now: Instant) {
        if self.heard && now <= self.last {
            return;
        }
        if self.heard {
            self.learn(nanos(now.since(self.last)));
        }
        self.heartbeat_untimed(now);
    }

    /// A heartbeat arrived whose interval says nothing.
    pub fn heartbeat_untimed(&mut self, now: Instant) {
        self.heard = true;
        self.last = self.last.max(now);
    }

    /// φ at `now`; the acceptable pause is multiplied by `stretch`. Where no pause is acceptable,
    /// the mean is stretched instead. `stretch` 0 counts as 1.
    pub fn suspicion(&self, now: Instant, stretch: u32) -> Suspicion {
        Suspicion {
            level: self.phi(now, stretch),
            threshold: self.config.threshold,
        }
    }

    /// The mean interval between heartbeats.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.intervals.mean())
    }

    /// The standard deviation of the intervals, at least the configured one.
    pub fn std_deviation(&self) -> Duration {
        self.intervals
            .std_deviation()
            .max(self.config.std_deviation_min)
    }

    fn phi(&self, now: Instant, stretch: u32) -> f64 {
        let silence = nanos(now.since(self.last)) as f64;
        let deviation = nanos(self.std_deviation()) as f64;
        tail::minus_log10((silence - self.expected(stretch) as f64) / deviation)
    }

    /// When the next heartbeat is due, after the last one.
    fn expected(&self, stretch: u32) -> u64 {
        let mean = self.intervals.mean();
        let stretch = u64::from(stretch.max(1));
        match nanos(self.config.pause_acceptable) {
            0 => mean.saturating_mul(stretch),
            pause => mean.saturating_add(pause.saturating_mul(stretch)),
        }
    }

    fn learn(&mut self, interval: u64) {
        let late_from = self.expected(1).saturating_mul(LATE_FACTOR);
        let max = if self.late {
            nanos(super::DURATION_MAX)
        } else {
            late_from.min(nanos(super::DURATION_MAX))
        };
        self.late = interval > late_from;
        self.intervals.push(interval.min(max));
    }
}

/// The last intervals in nanoseconds, with their sums.
#[derive(Clone, Debug)]
struct Ring {
    intervals: Vec<u64>,
    capacity: usize,
    /// Where the next interval goes once the ring is full.
    oldest: usize,
    sum: u128,
    /// A day of nanoseconds squared, a thousand times, is 2^103.
    sum_of_squares: u128,
}

impl Ring {
    fn new(window: NonZeroU32) -> Self {
        let capacity = window.get() as usize;
        Self {
            intervals: Vec::with_capacity(capacity),
            capacity,
            oldest: 0,
            sum: 0,
            sum_of_squares: 0,
        }
    }

    fn push(&mut self, interval: u64) {
        let square = |interval: u64| u128::from(interval) * u128::from(interval);
        self.sum += u128::from(interval);
        self.sum_of_squares += square(interval);
        if self.intervals.len() < self.capacity {
            self.intervals.push(interval);
            return;
        }
        if let Some(slot) = self.intervals.get_mut(self.oldest) {
            let forgotten = core::mem::replace(slot, interval);
            self.sum -= u128::from(forgotten);
            self.sum_of_squares -= square(forgotten);
        }
        self.oldest = (self.oldest + 1) % self.capacity;
    }

    /// Never without intervals: the estimate fills the first two places.
    fn len(&self) -> u128 {
        self.intervals.len().max(1) as u128
    }

    fn mean(&self) -> u64 {
        u64::try_from(self.sum / self.len()).unwrap_or(u64::MAX)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and at most the longest interval"
    )]
    fn std_deviation(&self) -> Duration {
        let len = self.len();
        // n² times the variance, in whole numbers: nothing cancels out.
        let scaled = (len * self.sum_of_squares).saturating_sub(self.sum * self.sum);
        let deviation = libm::sqrt(scaled as f64) / len as f64;
        Duration::from_nanos(deviation as u64)
    }
}

#[cfg(test)]
mod tests;
