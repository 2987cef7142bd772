//! When copies are sent and how many, checked before anything runs.

use std::num::NonZeroU32;
use std::time::Duration;

use mainstay_core::latency::SpanError;

/// Most copies of a call, the first included (gRPC's limit).
pub const COPIES_MAX: u32 = 5;

/// Longest delay before a copy, an hour.
pub const DELAY_MAX: Duration = Duration::from_hours(1);

/// How long a call may take before a copy of it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Delay {
    /// Always this long: above zero, at most [`DELAY_MAX`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    Fixed(Duration),
    /// As long as a share of the last calls took. The share that takes longer is sent twice.
    Quantile {
        /// The share that is not sent twice, above 0 and below 1: 0.95 sends one in twenty.
        #[cfg_attr(
            feature = "serde",
            serde(deserialize_with = "mainstay_core::unit::text::share")
        )]
        quantile: f64,
        /// Never shorter than this, which is above zero: it keeps very fast services from being
        /// sent copies at every hiccup.
        #[cfg_attr(
            feature = "serde",
            serde(deserialize_with = "mainstay_core::unit::text::duration")
        )]
        min: Duration,
        /// Never longer than this, and this long as long as too little is known: from `min` to
        /// [`DELAY_MAX`].
        #[cfg_attr(
            feature = "serde",
            serde(deserialize_with = "mainstay_core::unit::text::duration")
        )]
        max: Duration,
    },
}

/// Which answer is the call's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Accept {
    /// The first good one; when all copies fail, the error of the first copy.
    #[default]
    FirstSuccess,
    /// The first, good or bad.
    FirstAnswer,
}

/// When copies are sent, and how many.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// How long before each further copy. Default: a quantile of 0.95, from 1 ms to 1 s.
    pub delay: Delay,
    /// Copies in all, the first included: 2 to [`COPIES_MAX`]. Default: 2.
    pub copies: NonZeroU32,
    /// Which answer is the call's. Default: [`Accept::FirstSuccess`].
    pub accept: Accept,
    /// Latencies count for one to two times this: [`SPAN_MIN`](mainstay_core::latency::SPAN_MIN) to
    /// [`SPAN_MAX`](mainstay_core::latency::SPAN_MAX). Default: 30 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    pub span: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delay: Delay::Quantile {
                quantile: 0.95,
                min: Duration::from_millis(1),
                max: Duration::from_secs(1),
            },
            copies: const { NonZeroU32::MIN.saturating_add(1) },
            accept: Accept::FirstSuccess,
            span: Duration::from_secs(30),
        }
    }
}

/// A value that no hedge can work with.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `quantile` is this, which is no share between 0 and 1.
    #[error("hedge quantile is {0}; set a share above 0 and below 1")]
    Quantile(f64),
    /// A delay is zero, which would send each call twice at once, or above [`DELAY_MAX`].
    #[error("hedge {field} is {value:?}; set more than 0 and at most {DELAY_MAX:?}")]
    Delay {
        /// Which field.
        field: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// `max` is below `min`.
    #[error("hedge max is {max:?}, below min, which is {min:?}; set it as long or longer")]
    Range {
        /// The shortest delay.
        min: Duration,
        /// The longest, which is shorter.
        max: Duration,
    },
    /// `copies` is this: below 2, which is no hedge, or above [`COPIES_MAX`].
    #[error("hedge copies are {0}; set 2 to {COPIES_MAX}, the first included")]
    Copies(u32),
    /// `span` is below [`SPAN_MIN`](mainstay_core::latency::SPAN_MIN) or above
    /// [`SPAN_MAX`](mainstay_core::latency::SPAN_MAX).
    #[error(transparent)]
    Span(SpanError),
}

impl Config {
    /// Checks every value but `span`, which the histogram checks.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self.delay {
            Delay::Fixed(delay) => check("delay", delay)?,
            Delay::Quantile { quantile, min, max } => {
                // Written so that NaN fails.
                if !(quantile > 0.0 && quantile < 1.0) {
                    return Err(ConfigError::Quantile(quantile));
                }
                check("min", min)?;
                check("max", max)?;
                if max < min {
                    return Err(ConfigError::Range { min, max });
                }
            },
        }
        let copies = self.copies.get();
        if (2..=COPIES_MAX).contains(&copies) {
            Ok(())
        } else {
            Err(ConfigError::Copies(copies))
        }
    }
}

fn check(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() || value > DELAY_MAX {
        return Err(ConfigError::Delay { field, value });
    }
    Ok(())
}
