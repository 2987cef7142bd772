//! What a breaker is told, and the check that nothing behind it has to repeat.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use super::window;
use super::word::PROBES_MAX;

/// Most calls that [`Config::calls_min`] may ask for: what one cell of the window can always count.
pub const CALLS_MIN_MAX: u32 = 10_000;

/// Shortest window: a cell of it is a millisecond.
pub const WINDOW_MIN: Duration = Duration::from_millis(window::CELLS as u64);

/// Shortest cooldown and shortest lease: the engine's resolution.
pub const COOLDOWN_MIN: Duration = Duration::from_millis(1);

/// Longest of all durations here: a year is a mistake in the unit.
pub const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// When a circuit opens, and how it closes again.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Share of failed calls that opens the circuit, above 0 and at most 1; reached is enough.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub error_rate: f64,
    /// Calls in the window before the rate counts; the call that completes them decides already.
    pub calls_min: NonZeroU32,
    /// Failures in a row that open the circuit, however few calls there were.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub consecutive: Option<NonZeroU32>,
    /// How far back the rate looks.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub window: Duration,
    /// First cooldown; doubles each time the circuit opens again.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub reopen: Duration,
    /// Cap of the cooldown.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub reopen_max: Duration,
    /// Calls that half-open lets through at a time, and results that decide it.
    pub probes: NonZeroU32,
    /// How long all probes may stay without a result before they are given up and others are let
    /// through in their place. Longer than a call's timeout.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub lease: Duration,
    /// Staying closed this long takes the cooldown back to `reopen`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub stable_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const fn count(n: u32) -> NonZeroU32 {
            match NonZeroU32::new(n) {
                Some(count) => count,
                None => NonZeroU32::MIN,
            }
        }
        Self {
            error_rate: 0.5,
            calls_min: const { count(20) },
            consecutive: Some(const { count(5) }),
            window: Duration::from_secs(10),
            reopen: Duration::from_secs(5),
            reopen_max: Duration::from_mins(1),
            probes: const { count(3) },
            lease: Duration::from_secs(10),
            stable_after: Duration::from_mins(1),
        }
    }
}

/// A value that no breaker can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `error_rate` is no share: not a number, not above 0, or above 1.
    ErrorRate(f64),
    /// `calls_min` is above [`CALLS_MIN_MAX`].
    CallsMin(u32),
    /// `probes` is above [`PROBES_MAX`].
    Probes(u32),
    /// The named duration is too short or too long.
    Duration {
        /// Which field.
        field: &'static str,
        /// What it was set to.
        value: Duration,
        /// The shortest that works.
        min: Duration,
    },
    /// `reopen_max` is shorter than `reopen`.
    ReopenMax {
        /// The first cooldown.
        reopen: Duration,
        /// The cap that is below it.
        reopen_max: Duration,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorRate(rate) => {
                write!(f, "error_rate is {rate}; set a share above 0 and at most 1")
            },
            Self::CallsMin(calls) => {
                write!(f, "calls_min is {calls}; set at most {CALLS_MIN_MAX}")
            },
            Self::Probes(probes) => write!(f, "probes is {probes}; set at most {PROBES_MAX}"),
            Self::Duration { field, value, min } => {
                write!(
                    f,
                    "{field} is {value:?}; set at least {min:?} and at most a year"
                )
            },
            Self::ReopenMax { reopen, reopen_max } => write!(
                f,
                "reopen_max is {reopen_max:?}, below reopen, which is {reopen:?}; set it as long or longer"
            ),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// The first value that no breaker can work with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // Written so that NaN fails; a rate that rounds to no part in a million could never trip.
        if !(self.error_rate > 0.0 && self.error_rate <= 1.0) || self.error_rate_ppm() == 0 {
            return Err(ConfigError::ErrorRate(self.error_rate));
        }
        if self.calls_min.get() > CALLS_MIN_MAX {
            return Err(ConfigError::CallsMin(self.calls_min.get()));
        }
        if self.probes.get() > PROBES_MAX {
            return Err(ConfigError::Probes(self.probes.get()));
        }
        for (field, value, min) in [
            ("window", self.window, WINDOW_MIN),
            ("reopen", self.reopen, COOLDOWN_MIN),
            ("reopen_max", self.reopen_max, COOLDOWN_MIN),
            ("lease", self.lease, COOLDOWN_MIN),
            ("stable_after", self.stable_after, COOLDOWN_MIN),
        ] {
            if value < min || value > DURATION_MAX {
                return Err(ConfigError::Duration { field, value, min });
            }
        }
        if self.reopen_max < self.reopen {
            return Err(ConfigError::ReopenMax {
                reopen: self.reopen,
                reopen_max: self.reopen_max,
            });
        }
        Ok(())
    }

    /// The rate as parts per million, so that 7 of 100 reaches 7 %: 0.07 * 100.0 is above 7.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1,000,000 once validated; saturates before"
    )]
    pub(super) fn error_rate_ppm(&self) -> u64 {
        (self.error_rate * 1_000_000.0 + 0.5) as u64
    }
}
