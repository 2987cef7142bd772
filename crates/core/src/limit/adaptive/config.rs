//! What an adaptive limit is told, and the check that nothing behind it has to repeat.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use super::algorithm::{Aimd, Algorithm, Gradient, Vegas};
use crate::bulkhead::IN_FLIGHT_MAX;

/// Shortest window, 1 ms: below, its mean is of a handful of calls.
pub const WINDOW_MIN: Duration = Duration::from_millis(1);

/// Longest window, a minute: beyond, the limit is moved too late to protect anything.
pub const WINDOW_MAX: Duration = Duration::from_mins(1);

/// Highest [`Gradient::tolerance`]: ten times the latency is no longer "the same".
const TOLERANCE_MAX: f64 = 10.0;

/// Lowest [`Aimd::backoff`]: below half, the limit would swing instead of settle.
const BACKOFF_MIN: f64 = 0.5;

/// How a limit finds its value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AdaptiveConfig {
    /// How it moves. Default: [`Algorithm::Gradient`], as [`Gradient::default`] has it.
    pub algorithm: Algorithm,
    /// Where it begins, in calls at a time: from `min` to `max`. Default: 20.
    pub initial: NonZeroU32,
    /// It never falls below so many calls at a time. Default: 1.
    pub min: NonZeroU32,
    /// It never rises above so many calls at a time; at most [`IN_FLIGHT_MAX`]. Default: 200.
    pub max: NonZeroU32,
    /// How long calls are sampled at least before it moves. [`WINDOW_MIN`] to [`WINDOW_MAX`].
    /// Default: 250 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub window: Duration,
    /// How many calls are sampled at least before it moves. Default: 10.
    pub samples_min: NonZeroU32,
    /// Windows in a row in which the limit was reached, after which one window has half the limit,
    /// to see what the latency is without queueing. Without it, the limit takes its own queueing
    /// for the callee's latency and grows for ever. [`Aimd`] needs none. Default: 40.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub relearn: Option<NonZeroU32>,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        const fn count(n: u32) -> NonZeroU32 {
            match NonZeroU32::new(n) {
                Some(count) => count,
                None => NonZeroU32::MIN,
            }
        }
        Self {
            algorithm: Algorithm::Gradient(Gradient::default()),
            initial: const { count(20) },
            min: const { count(1) },
            max: const { count(200) },
            window: Duration::from_millis(250),
            samples_min: const { count(10) },
            relearn: Some(const { count(40) }),
        }
    }
}

/// A value that no adaptive limit can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AdaptiveConfigError {
    /// Not `min <= initial <= max`, or `max` is above [`IN_FLIGHT_MAX`].
    Bounds {
        /// Where it begins.
        initial: NonZeroU32,
        /// The lower bound.
        min: NonZeroU32,
        /// The upper bound.
        max: NonZeroU32,
    },
    /// `window` is below [`WINDOW_MIN`] or above [`WINDOW_MAX`].
    Window(Duration),
    /// The named number of the algorithm is outside its bounds, or not a number.
    Number {
        /// Which field.
        field: &'static str,
        /// What it was set to.
        value: f64,
        /// The lowest that works.
        min: f64,
        /// The highest that works.
        max: f64,
    },
    /// [`Aimd::latency_max`] is zero.
    LatencyMax,
    /// [`Vegas::alpha`] is above [`Vegas::beta`].
    AlphaBeta(Vegas),
}

impl fmt::Display for AdaptiveConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds { initial, min, max } => write!(
                f,
                "initial is {initial}, min {min} and max {max}; set min <= initial <= max <= {IN_FLIGHT_MAX}"
            ),
            Self::Window(window) => write!(
                f,
                "window is {window:?}; set at least {WINDOW_MIN:?} and at most {WINDOW_MAX:?}"
            ),
            Self::Number {
                field,
                value,
                min,
                max,
            } => write!(
                f,
                "{field} is {value}; set at least {min} and at most {max}"
            ),
            Self::LatencyMax => f.write_str("latency_max is zero; leave it out to switch it off"),
            Self::AlphaBeta(Vegas { alpha, beta, .. }) => {
                write!(f, "alpha is {alpha}, above beta, which is {beta}")
            },
        }
    }
}

impl core::error::Error for AdaptiveConfigError {}

impl AdaptiveConfig {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// The first of [`AdaptiveConfigError`] that applies: the bounds of the limit, the window, and
    /// then what the algorithm has of its own.
    pub fn validate(&self) -> Result<(), AdaptiveConfigError> {
        let Self {
            initial, min, max, ..
        } = *self;
        if min > initial || initial > max || max.get() > IN_FLIGHT_MAX {
            return Err(AdaptiveConfigError::Bounds { initial, min, max });
        }
        if self.window < WINDOW_MIN || self.window > WINDOW_MAX {
            return Err(AdaptiveConfigError::Window(self.window));
        }
        match &self.algorithm {
            Algorithm::Gradient(Gradient {
                tolerance,
                smoothing,
                long: _,
            }) => {
                number("tolerance", *tolerance, 1.0, TOLERANCE_MAX)?;
                number("smoothing", *smoothing, 0.01, 1.0)
            },
            Algorithm::Aimd(Aimd {
                backoff,
                latency_max,
            }) => {
                if latency_max.is_some_and(|latency| latency.is_zero()) {
                    return Err(AdaptiveConfigError::LatencyMax);
                }
                number("backoff", *backoff, BACKOFF_MIN, 0.99)
            },
            Algorithm::Vegas(vegas) => {
                if vegas.alpha > vegas.beta {
                    return Err(AdaptiveConfigError::AlphaBeta(*vegas));
                }
                number("smoothing", vegas.smoothing, 0.01, 1.0)
            },
        }
    }
}

fn number(field: &'static str, value: f64, min: f64, max: f64) -> Result<(), AdaptiveConfigError> {
    // Written so that NaN fails.
    if value >= min && value <= max {
        return Ok(());
    }
    Err(AdaptiveConfigError::Number {
        field,
        value,
        min,
        max,
    })
}
