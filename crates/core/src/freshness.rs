//! What may still be done with a kept answer: serve it, serve and refresh it, serve it in need.
//!
//! Prevents answers that are too old, and no answer at all where an old one would do. The windows
//! are those of RFC 5861 (`stale-while-revalidate`, `stale-if-error`): both count from the end of
//! freshness, and neither is open-ended. The early refresh is `XFetch` (Vattani, Chierichetti and
//! Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015).
//!
//! Always holds: an answer only ever gets worse with age, in the order of [`Freshness`].

use core::fmt;
use core::time::Duration;

use crate::random::Random;
use crate::time::Instant;

/// Longest of all durations here, 365 days: more is a mistake in the unit.
pub const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// Largest [`Config::early`]: beyond it, refreshing is all that a cache does.
pub const EARLY_MAX: f64 = 100.0;

/// No draw of the early refresh reaches further ahead than this many times its mean; a draw beyond
/// has the chance e^-40.
const EARLY_REACH: f64 = 40.0;

/// How long an answer may be used, and for what.
///
/// ```
/// use mainstay_core::freshness::{Config, Freshness};
/// use mainstay_core::time::Duration;
///
/// let minutes = |n: u64| Duration::from_secs(n * 60);
/// let config = Config {
///     stale_while_revalidate: Some(minutes(1)),
///     stale_if_error: Some(minutes(10)),
///     ..Config::default()
/// };
/// assert_eq!(config.judge_age(minutes(0)), Freshness::Fresh);
/// assert_eq!(config.judge_age(minutes(1)), Freshness::Revalidate);
/// // The callee is down: an old answer is better than none, but not for ever.
/// assert_eq!(config.judge_age(minutes(5)), Freshness::IfError);
/// assert_eq!(config.judge_age(minutes(11)), Freshness::Expired);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// How long an answer is as good as a new one: above zero, at most [`DURATION_MAX`].
    /// Default: 1 min.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub fresh: Duration,
    /// How long after that it may be served while somebody refreshes it (RFC 5861, 3). Above zero,
    /// at most [`DURATION_MAX`]; `None`: not at all. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration_or_off")
    )]
    pub stale_while_revalidate: Option<Duration>,
    /// How long after its freshness it may be served when a refresh failed (RFC 5861, 4). Above
    /// zero, at most [`DURATION_MAX`]; `None`: not at all. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration_or_off")
    )]
    pub stale_if_error: Option<Duration>,
    /// How long a permanent refusal (not found) is remembered (RFC 2308 does so for names): above
    /// zero, at most [`DURATION_MAX`]; not at all when `None`. Never served stale. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration_or_off")
    )]
    pub negative: Option<Duration>,
    /// Refreshes some answers before their end, so that the many readers of one key do not all find
    /// it stale at once. The mean lead in units of what the last load took: 1 is the optimum of the
    /// paper, more is earlier. Above 0, at most [`EARLY_MAX`]; `None`: no answer. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub early: Option<f64>,
}

impl Default for Config {
    /// Fresh for a minute, nothing stale, nothing negative, nothing early.
    fn default() -> Self {
        Self {
            fresh: Duration::from_mins(1),
            stale_while_revalidate: None,
            stale_if_error: None,
            negative: None,
            early: None,
        }
    }
}

/// A value that no cache can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The named duration is zero, or above [`DURATION_MAX`].
    Duration {
        /// Which field.
        field: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// `early` is not a number above 0 and at most [`EARLY_MAX`].
    Early(f64),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration { field, value } => write!(
                f,
                "{field} is {value:?}; set it above zero and to at most a year"
            ),
            Self::Early(early) => {
                write!(
                    f,
                    "early is {early}; set it above 0 and to at most {EARLY_MAX}"
                )
            },
        }
    }
}

impl core::error::Error for ConfigError {}

/// What was kept: an answer, or a permanent refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// An answer, which [`Config::fresh`] and the stale windows are for.
    Answer,
    /// A permanent refusal, which [`Config::negative`] is for.
    Refusal,
}

/// When something was kept, and what it cost to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it arrived.
    pub stored: Instant,
    /// How long it took to get.
    pub took: Duration,
    /// What it is.
    pub kept: Kept,
}

/// What may be done with it, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it; this caller was drawn to refresh it before its end.
    Early,
    /// Serve it, and have it refreshed.
    Revalidate,
    /// Get another; serve it only if that fails.
    IfError,
    /// Forget it.
    Expired,
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] for a duration that is zero or above [`DURATION_MAX`],
    /// [`ConfigError::Early`] for an `early` that is no number above 0 and at most [`EARLY_MAX`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("fresh", Some(self.fresh)),
            ("stale_while_revalidate", self.stale_while_revalidate),
            ("stale_if_error", self.stale_if_error),
            ("negative", self.negative),
        ] {
            if let Some(value) = value
                && (value.is_zero() || value > DURATION_MAX)
            {
                return Err(ConfigError::Duration { field, value });
            }
        }
        match self.early {
            // Written so that NaN fails.
            Some(early) if !(early > 0.0 && early <= EARLY_MAX) => Err(ConfigError::Early(early)),
            Some(_) | None => Ok(()),
        }
    }

    /// What may be done at `now` with what was kept at `stamp`. Never [`Freshness::Early`].
    pub fn judge(&self, stamp: &Stamp, now: Instant) -> Freshness {
        let age = now.since(stamp.stored);
        if stamp.kept == Kept::Refusal {
            return match self.negative {
                Some(negative) if age < negative => Freshness::Fresh,
                Some(_) | None => Freshness::Expired,
            };
        }
        self.judge_age(age)
    }

    /// What may be done with an answer of this age, for a caller that knows the age from elsewhere
    /// (`Age` of HTTP). Never [`Freshness::Early`].
    pub fn judge_age(&self, age: Duration) -> Freshness {
        let Some(stale) = age.checked_sub(self.fresh) else {
            return Freshness::Fresh;
        };
        if within(stale, self.stale_while_revalidate) {
            Freshness::Revalidate
        } else if within(stale, self.stale_if_error) {
            Freshness::IfError
        } else {
            Freshness::Expired
        }
    }

    /// As [`judge`](Self::judge), and draws whether this caller refreshes a fresh answer early.
    pub fn judge_early(&self, stamp: &Stamp, now: Instant, random: &mut Random) -> Freshness {
        let freshness = self.judge(stamp, now);
        match (freshness, stamp.kept, self.early) {
            (Freshness::Fresh, Kept::Answer, Some(early)) => {
                let left = self.fresh.saturating_sub(now.since(stamp.stored));
                if is_early(left, stamp.took, early, random) {
                    Freshness::Early
                } else {
                    Freshness::Fresh
                }
            },
            (_, Kept::Answer | Kept::Refusal, Some(_) | None) => freshness,
        }
    }

    /// Whether what was kept may be served at `now` because a refresh failed: within either window,
    /// and while it is fresh.
    pub fn serves_in_need(&self, stamp: &Stamp, now: Instant) -> bool {
        stamp.kept == Kept::Answer && self.judge(stamp, now) < Freshness::Expired
    }
}

fn within(stale: Duration, window: Option<Duration>) -> bool {
    window.is_some_and(|window| stale < window)
}

/// `XFetch`: the refresh begins when an exponential draw, in units of what the last one took,
/// reaches over the time that is left.
fn is_early(left: Duration, took: Duration, early: f64, random: &mut Random) -> bool {
    let mean = took.as_secs_f64() * early;
    let left = left.as_secs_f64();
    left < mean * EARLY_REACH && mean * exponential(random) >= left
}

/// An exponential draw with the mean 1, by comparisons only (von Neumann, "Various Techniques Used
/// in Connection with Random Digits", 1951): `core` has no logarithm.
fn exponential(random: &mut Random) -> f64 {
    let mut whole = 0.0;
    // Each round ends it with the chance 1 - 1/e.
    while whole < EARLY_REACH {
        let first = random.unit();
        if falling_run(first, random) % 2 == 1 {
            return whole + first;
        }
        whole += 1.0;
    }
    whole
}

/// The length of the falling run of draws that begins with `first`.
fn falling_run(first: f64, random: &mut Random) -> u32 {
    let mut last = first;
    let mut length = 1;
    loop {
        let next = random.unit();
        // Ends by itself: a run of 64 has the chance 1/64!.
        if next >= last || length == 64 {
            return length;
        }
        last = next;
        length += 1;
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
