//! How long a call may wait in a queue that is never empty.
//!
//! Prevents a standing queue: one in which every call waits as long as it may, so that all are
//! served too late and none in time. The rule is that of controlled delay with adaptive LIFO (Ben
//! Maurer, "Fail at Scale", ACM Queue 2015, after `CoDel`: Nichols and Jacobson, "Controlling Queue
//! Delay", ACM Queue 2012, and RFC 8289): a burst may wait for the long interval, first come first
//! served. A queue that was not empty during the last interval stands; from then on a call waits
//! for the short target only, and the newest is served first, because somebody still waits for it.

use core::fmt;
use core::time::Duration;

use crate::time::Instant;

/// Longest interval, a minute: more is a mistake in the unit.
pub const INTERVAL_MAX: Duration = Duration::from_mins(1);

/// How long calls wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct DelayConfig {
    /// How long a call waits in a queue that stands: above zero, at most `interval`. Default: 5 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub target: Duration,
    /// How long a call waits otherwise, and after how long a queue that is not empty stands: at
    /// most [`INTERVAL_MAX`]. Default: 100 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub interval: Duration,
}

impl Default for DelayConfig {
    /// The values of the source: 5 ms and 100 ms.
    fn default() -> Self {
        Self {
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
        }
    }
}

/// Values that no queue can work with: not `0 < target <= interval`, or an interval above
/// [`INTERVAL_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayConfigError(pub DelayConfig);

impl fmt::Display for DelayConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(DelayConfig { target, interval }) = self;
        write!(
            f,
            "queue target is {target:?} and interval {interval:?}; set 0 < target <= interval <= {INTERVAL_MAX:?}"
        )
    }
}

impl core::error::Error for DelayConfigError {}

/// Which of those who wait is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The one that came first.
    #[default]
    Fifo,
    /// The one that came last.
    Lifo,
}

/// A validated [`DelayConfig`].
///
/// ```
/// use mainstay_core::limit::delay::{Delay, DelayConfig, Order};
/// use mainstay_core::time::{Duration, Instant};
///
/// let delay = Delay::new(&DelayConfig::default()).unwrap();
/// let at = Instant::from_millis;
/// // A burst: the queue was empty just now, and all may wait for their turn.
/// assert_eq!(delay.bound(at(0), at(90)), (Order::Fifo, Duration::from_millis(100)));
/// // It never empties: who waits any longer is served too late, and so is everybody behind.
/// assert_eq!(delay.bound(at(0), at(101)), (Order::Lifo, Duration::from_millis(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay(DelayConfig);

impl Delay {
    /// Checks both values.
    ///
    /// # Errors
    ///
    /// [`DelayConfigError`] when the target is zero or above the interval, or the interval above
    /// [`INTERVAL_MAX`].
    pub fn new(config: &DelayConfig) -> Result<Self, DelayConfigError> {
        let DelayConfig { target, interval } = *config;
        if target.is_zero() || target > interval || interval > INTERVAL_MAX {
            return Err(DelayConfigError(*config));
        }
        Ok(Self(*config))
    }

    /// The order of a queue that was last empty at `empty`, and how long a call that comes now may
    /// wait in it.
    pub fn bound(&self, empty: Instant, now: Instant) -> (Order, Duration) {
        let Self(DelayConfig { target, interval }) = *self;
        if now.since(empty) > interval {
            (Order::Lifo, target)
        } else {
            (Order::Fifo, interval)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_stands_once_it_was_not_empty_for_an_interval() {
        let delay = Delay::new(&DelayConfig::default()).expect("valid");
        let at = Instant::from_millis;
        let (burst, standing) = (Duration::from_millis(100), Duration::from_millis(5));
        assert_eq!(delay.bound(at(1_000), at(1_000)), (Order::Fifo, burst));
        assert_eq!(delay.bound(at(1_000), at(1_100)), (Order::Fifo, burst));
        assert_eq!(delay.bound(at(1_000), at(1_101)), (Order::Lifo, standing));
        assert_eq!(delay.bound(at(1_000), at(0)), (Order::Fifo, burst));
    }

    #[test]
    fn a_target_is_above_zero_and_within_the_interval() {
        let ms = Duration::from_millis;
        for (target, interval) in [(0, 5), (6, 5), (0, 0), (5, 60_001)] {
            let config = DelayConfig {
                target: ms(target),
                interval: ms(interval),
            };
            assert_eq!(Delay::new(&config), Err(DelayConfigError(config)));
        }
    }
}
