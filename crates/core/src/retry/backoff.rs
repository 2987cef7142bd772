//! The wait between attempts: how it grows, and how chance spreads it.
//!
//! Prevents retries in step: clients that failed together would come back together. Full jitter
//! (uniform from zero to the grown wait) spreads them best for the least waiting in sum (Brooker,
//! "Exponential Backoff And Jitter", AWS Architecture Blog 2015).
//!
//! Always holds: no wait is above [`BackoffConfig::max`], and no number of attempts overflows.

use core::fmt;
use core::time::Duration;

use crate::random::Random;
use crate::time::nanos;

/// Longest wait that may be configured, 365 days: nobody waits longer for an attempt.
pub const BACKOFF_MAX: Duration = Duration::from_hours(365 * 24);

/// How the wait grows with the attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Growth {
    /// It does not: always `base`.
    Constant,
    /// By `base` each time: `base`, `2 * base`, `3 * base`.
    Linear,
    /// By a factor each time: `base`, `base * factor`, `base * factor^2`.
    Exponential {
        /// At least 1, which does not grow, and finite. The usual one is 2.
        factor: f64,
    },
    /// Uniform from `base` to three times the wait before: what Brooker calls decorrelated jitter.
    /// It is random by itself; [`Jitter`] is applied on top, and is best [`Jitter::None`].
    Decorrelated,
}

/// How chance spreads the grown wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Jitter {
    /// Not at all. Only where there is one client.
    None,
    /// Uniform from zero to the whole.
    #[default]
    Full,
    /// Uniform from the half to the whole.
    Equal,
}

/// The wait between attempts, as configured.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct BackoffConfig {
    /// How it grows. Default: exponential, by a factor of 2.
    pub growth: Growth,
    /// The first wait, before jitter: above zero, at most `max`. Default: 25 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub base: Duration,
    /// Cap of the grown wait, before jitter: at most [`BACKOFF_MAX`]. Default: 1 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub max: Duration,
    /// How chance spreads it. Default: [`Jitter::Full`].
    pub jitter: Jitter,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            growth: Growth::Exponential { factor: 2.0 },
            base: Duration::from_millis(25),
            max: Duration::from_secs(1),
            jitter: Jitter::Full,
        }
    }
}

/// A value that no backoff can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum BackoffConfigError {
    /// `base` is zero. To try again at once, say [`Backoff::IMMEDIATE`].
    Base,
    /// `max` is below `base`, or above [`BACKOFF_MAX`].
    Max {
        /// The first wait.
        base: Duration,
        /// The cap.
        max: Duration,
    },
    /// `factor` is not a finite number of at least 1.
    Factor(f64),
}

impl fmt::Display for BackoffConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("backoff base is 0; set the first wait"),
            Self::Max { base, max } => write!(
                f,
                "backoff max is {max:?}; set at least the base of {base:?} and at most a year"
            ),
            Self::Factor(factor) => {
                write!(f, "backoff factor is {factor}; set a number of at least 1")
            },
        }
    }
}

impl core::error::Error for BackoffConfigError {}

/// The wait between attempts, as a function of the attempts made. Checked when it was made.
///
/// ```
/// use mainstay_core::random::Random;
/// use mainstay_core::retry::Backoff;
/// use mainstay_core::time::Duration;
///
/// let backoff = Backoff::default();
/// assert_eq!(backoff.bound(1, Duration::ZERO), Duration::from_millis(25));
/// assert_eq!(backoff.bound(3, Duration::ZERO), Duration::from_millis(100));
/// assert_eq!(backoff.bound(99, Duration::ZERO), Duration::from_secs(1), "and no longer");
///
/// // Two clients that failed together do not come back together.
/// let wait = |seed| backoff.after(3, Duration::ZERO, &mut Random::seeded(seed));
/// assert_ne!(wait(7), wait(8));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backoff(BackoffConfig);

impl Backoff {
    /// No wait at all: the next attempt is made at once.
    pub const IMMEDIATE: Self = Self(BackoffConfig {
        growth: Growth::Constant,
        base: Duration::ZERO,
        max: Duration::ZERO,
        jitter: Jitter::None,
    });

    /// The backoff of `config`.
    ///
    /// # Errors
    ///
    /// [`BackoffConfigError::Base`] for a `base` of zero, [`BackoffConfigError::Max`] for a `max`
    /// below it or above [`BACKOFF_MAX`], [`BackoffConfigError::Factor`] for a factor that is no
    /// finite number of at least 1.
    pub fn new(config: &BackoffConfig) -> Result<Self, BackoffConfigError> {
        let BackoffConfig { base, max, .. } = *config;
        if base.is_zero() {
            return Err(BackoffConfigError::Base);
        }
        if max < base || max > BACKOFF_MAX {
            return Err(BackoffConfigError::Max { base, max });
        }
        match config.growth {
            // Written so that NaN fails.
            Growth::Exponential { factor } if !(factor >= 1.0 && factor.is_finite()) => {
                Err(BackoffConfigError::Factor(factor))
            },
            Growth::Constant
            | Growth::Linear
            | Growth::Exponential { .. }
            | Growth::Decorrelated => Ok(Self(*config)),
        }
    }

    /// The backoff of a `config` that its owner answers for.
    pub(crate) const fn unchecked(config: BackoffConfig) -> Self {
        Self(config)
    }

    /// The longest wait after `attempts_used` attempts, when the wait before them was `previous`.
    /// Only the decorrelated one looks at `previous`.
    pub fn bound(&self, attempts_used: u32, previous: Duration) -> Duration {
        let BackoffConfig { base, max, .. } = self.0;
        let times_before = attempts_used.saturating_sub(1);
        match self.0.growth {
            Growth::Constant => base,
            Growth::Linear => base.saturating_mul(times_before.saturating_add(1)).min(max),
            Growth::Exponential { factor } => grown(base, power(factor, times_before), max),
            Growth::Decorrelated => previous.max(base).saturating_mul(3).min(max),
        }
    }

    /// The wait after `attempts_used` attempts, from 1, when the wait before them was `previous`
    /// (zero before the first).
    pub fn after(&self, attempts_used: u32, previous: Duration, random: &mut Random) -> Duration {
        let bound = self.bound(attempts_used, previous);
        let grown = match self.0.growth {
            Growth::Decorrelated => between(self.0.base, bound, random),
            Growth::Constant | Growth::Linear | Growth::Exponential { .. } => bound,
        };
        match self.0.jitter {
            Jitter::None => grown,
            Jitter::Full => random.up_to(grown),
            Jitter::Equal => between(grown / 2, grown, random),
        }
    }
}

/// Uniform in `low..=high`.
fn between(low: Duration, high: Duration, random: &mut Random) -> Duration {
    low + random.up_to(high.saturating_sub(low))
}

/// `base * times`, at most `max`. Compared before it is converted, so that infinity is just large.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and below max, which is a year at most"
)]
fn grown(base: Duration, times: f64, max: Duration) -> Duration {
    let grown = nanos(base) as f64 * times;
    if grown < nanos(max) as f64 {
        Duration::from_nanos(grown as u64)
    } else {
        max
    }
}

/// `factor` to the power of `exponent`, infinite when it is too large; `core` has no `powi`.
fn power(factor: f64, exponent: u32) -> f64 {
    let (mut result, mut square, mut left) = (1.0, factor, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}
