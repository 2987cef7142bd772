//! Which calls are broken on purpose, and how.
//!
//! Prevents protections that are first tried in an outage ("Principles of Chaos Engineering", 2015).
//! The same seed breaks the same calls in the same way, counted in the order in which calls ask.
//!
//! Always holds: while it is off, a decision is one load and draws nothing.

use core::fmt;
use core::time::Duration;

use crate::atomic::{AtomicU32, Ordering};
use crate::random::{Random, SharedRandom};
use crate::time::nanos;

/// Longest latency that may be added, an hour: more is a mistake in the unit.
pub const LATENCY_MAX: Duration = Duration::from_hours(1);

/// Which share of calls gets which fault; at most one each, so the shares add up to at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Share of calls that fail without being made, 0 to 1. Default: 0.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub error: f64,
    /// Share of calls that are made late, 0 to 1. Default: 0.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub latency: f64,
    /// The shortest delay of those; zero is none. Default: 100 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub latency_min: Duration,
    /// The longest, at most [`LATENCY_MAX`]; each delay in between is as likely. Default: 100 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub latency_max: Duration,
    /// Share of calls that never end, 0 to 1. Default: 0.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub hang: f64,
    /// Share of calls that are turned away, as an overloaded policy would, 0 to 1. Default: 0.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub reject: f64,
    /// Share of calls whose answer is falsified, 0 to 1. Default: 0.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub wrong: f64,
}

impl Default for Config {
    /// No faults.
    fn default() -> Self {
        Self {
            error: 0.0,
            latency: 0.0,
            latency_min: Duration::from_millis(100),
            latency_max: Duration::from_millis(100),
            hang: 0.0,
            reject: 0.0,
            wrong: 0.0,
        }
    }
}

/// A value that no drill can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The named share is not a number from 0 to 1.
    Share {
        /// Which field.
        field: &'static str,
        /// What it was set to.
        value: f64,
    },
    /// The shares add up to this, which is more than 1.
    Sum(f64),
    /// `latency_max` is below `latency_min`, or above [`LATENCY_MAX`].
    Latency {
        /// The shortest delay.
        min: Duration,
        /// The longest.
        max: Duration,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share { field, value } => {
                write!(f, "{field} is {value}; set a share from 0 to 1")
            },
            Self::Sum(sum) => write!(f, "the shares add up to {sum}; set at most 1 in all"),
            Self::Latency { min, max } => write!(
                f,
                "latency_max is {max:?}; set at least latency_min, which is {min:?}, and at most an hour"
            ),
        }
    }
}

impl core::error::Error for ConfigError {}

/// What is done to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails without being made.
    Error,
    /// It is made after this time, from [`Config::latency_min`] to [`Config::latency_max`].
    Latency(Duration),
    /// It never ends.
    Hang,
    /// It is turned away.
    Reject,
    /// Its answer is falsified.
    Wrong,
}

/// Decides which calls are broken. Off at first. Shared by reference between threads.
///
/// ```
/// use mainstay_core::fault::{Config, Fault, Injector};
///
/// let half = Config { error: 0.5, ..Config::default() };
/// let drill = || {
///     let injector = Injector::new(half, 7).unwrap();
///     assert_eq!(injector.decide(), None, "off at first");
///     injector.enable();
///     (0..100).map(|_| injector.decide()).collect::<Vec<_>>()
/// };
/// // What broke can be broken again, call for call.
/// assert_eq!(drill(), drill());
/// assert!(drill().contains(&Some(Fault::Error)));
/// ```
#[derive(Debug)]
pub struct Injector {
    on: AtomicU32,
    config: Config,
    random: SharedRandom,
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Share`] for a share outside of 0 to 1, [`ConfigError::Sum`] for shares of
    /// more than 1 in all, [`ConfigError::Latency`] for delays that are upside down or too long.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let shares = self.shares();
        for (field, value) in shares {
            // Written so that NaN fails.
            if !(0.0..=1.0).contains(&value) {
                return Err(ConfigError::Share { field, value });
            }
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        // Ten times 0.1 is a little more than 1.
        if sum > 1.0 + 1e-9 {
            return Err(ConfigError::Sum(sum));
        }
        let (min, max) = (self.latency_min, self.latency_max);
        if max < min || max > LATENCY_MAX {
            return Err(ConfigError::Latency { min, max });
        }
        Ok(())
    }

    const fn shares(&self) -> [(&'static str, f64); 5] {
        [
            ("error", self.error),
            ("latency", self.latency),
            ("hang", self.hang),
            ("reject", self.reject),
            ("wrong", self.wrong),
        ]
    }

    fn draw(&self, random: &mut Random) -> Option<Fault> {
        let mut left = random.unit();
        let mut falls_into = |share: f64| {
            let inside = left < share;
            left -= share;
            inside
        };
        // A call falls into the first share that it reaches; the order is part of the seed's meaning.
        if falls_into(self.error) {
            Some(Fault::Error)
        } else if falls_into(self.latency) {
            Some(Fault::Latency(self.delay(random)))
        } else if falls_into(self.hang) {
            Some(Fault::Hang)
        } else if falls_into(self.reject) {
            Some(Fault::Reject)
        } else if falls_into(self.wrong) {
            Some(Fault::Wrong)
        } else {
            None
        }
    }

    const fn delay(&self, random: &mut Random) -> Duration {
        let (min, max) = (nanos(self.latency_min), nanos(self.latency_max));
        Duration::from_nanos(min + random.below(max.saturating_sub(min).saturating_add(1)))
    }
}

impl Injector {
    /// An injector that is off. The same `seed` breaks the same calls.
    ///
    /// # Errors
    ///
    /// As [`Config::validate`].
    pub fn new(config: Config, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            on: AtomicU32::new(0),
            config,
            random: SharedRandom::seeded(seed),
        })
    }

    /// Breaks calls from now on.
    pub fn enable(&self) {
        self.on.store(1, Ordering::Release);
    }

    /// Breaks no further call.
    pub fn disable(&self) {
        self.on.store(0, Ordering::Release);
    }

    /// Whether it breaks calls.
    pub fn is_enabled(&self) -> bool {
        self.on.load(Ordering::Acquire) != 0
    }

    /// What to do to the next call. `None`, which is one load, while it is off.
    pub fn decide(&self) -> Option<Fault> {
        if !self.is_enabled() {
            return None;
        }
        self.config.draw(&mut self.random.draw())
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
