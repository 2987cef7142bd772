//! When an endpoint stands out, and for how long it is left out.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

/// Most endpoints of one service: one evaluation of so many takes half a millisecond.
pub const ENDPOINTS_MAX: usize = 1_024;

/// Shortest of all durations here, a millisecond.
pub const DURATION_MIN: Duration = Duration::from_millis(1);

/// Longest of all durations here, 24 hours: who is out for longer should be taken off the list.
pub const DURATION_MAX: Duration = Duration::from_hours(24);

/// Highest ratio of latencies, and highest number of deviations: beyond, nobody ever stands out.
const FACTOR_MAX: f64 = 1_000.0;

/// When an endpoint stands out, and for how long it is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Failures in a row that eject an endpoint while another one answers; `None` is off.
    /// Default: 5.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub consecutive: Option<NonZeroU32>,
    /// By how much its share of failed calls must be above the rest's, above 0 and at most 1;
    /// `None` is off. Default: 0.1.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share_or_off")
    )]
    pub failure_gap: Option<f64>,
    /// How sure that must be, in standard deviations. 4 is wrong once in 30,000 independent
    /// comparisons of endpoints that differ by chance alone; 3 once in 740, which is every few
    /// hours where a comparison is made each second of the calls of the last few. Above 0, at most
    /// 1,000. Default: 4.
    pub deviations: f64,
    /// How many times the rest's median latency its own must be, above 1 and at most 1,000; `None`
    /// is off. Default: 3.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub latency_ratio: Option<f64>,
    /// By how much, besides: nobody minds half a millisecond in place of a tenth. [`DURATION_MIN`]
    /// to [`DURATION_MAX`]. Default: 20 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub latency_gap: Duration,
    /// Calls that must be known, of the endpoint and of the rest, before the two are compared.
    /// Calls that have faded count in part. Default: 20.
    pub calls_min: NonZeroU32,
    /// After this long, a call counts half. [`DURATION_MIN`] to [`DURATION_MAX`]. Default: 5 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub half_life: Duration,
    /// How often endpoints are evaluated. [`DURATION_MIN`] to [`DURATION_MAX`]. Default: 1 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub interval: Duration,
    /// First time out, of which chance takes up to half away; doubles with each ejection in a row.
    /// [`DURATION_MIN`] to [`DURATION_MAX`]. Default: 30 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub eject: Duration,
    /// Cap of the time out, from `eject` to [`DURATION_MAX`]. Default: 5 min.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub eject_max: Duration,
    /// Most endpoints that are out at a time; all but one when `None`. One always stays.
    /// Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub ejected_max: Option<NonZeroU32>,
    /// How long an endpoint that returns takes to get its full share, [`DURATION_MIN`] to
    /// [`DURATION_MAX`]; at once when `None`. Default: 10 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration_or_off")
    )]
    pub ramp: Option<Duration>,
    /// Staying in this long takes the time out back to `eject`. [`DURATION_MIN`] to
    /// [`DURATION_MAX`]. Default: 5 min.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub stable_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            consecutive: Some(const { NonZeroU32::MIN.saturating_add(4) }),
            failure_gap: Some(0.1),
            deviations: 4.0,
            latency_ratio: Some(3.0),
            latency_gap: Duration::from_millis(20),
            calls_min: const { NonZeroU32::MIN.saturating_add(19) },
            half_life: Duration::from_secs(5),
            interval: Duration::from_secs(1),
            eject: Duration::from_secs(30),
            eject_max: Duration::from_mins(5),
            ejected_max: None,
            ramp: Some(Duration::from_secs(10)),
            stable_after: Duration::from_mins(5),
        }
    }
}

/// A value that outlier detection cannot work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `failure_gap` is no share: not a number, not above 0, or above 1.
    FailureGap(f64),
    /// `deviations` is not a number, not above 0, or above 1,000.
    Deviations(f64),
    /// `latency_ratio` is not a number, not above 1, or above 1,000.
    LatencyRatio(f64),
    /// The named duration is below [`DURATION_MIN`] or above [`DURATION_MAX`].
    Duration {
        /// Which field.
        field: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// `eject_max` is shorter than `eject`.
    EjectMax {
        /// The first time out.
        eject: Duration,
        /// The cap that is below it.
        eject_max: Duration,
    },
    /// Nothing is looked for: `consecutive`, `failure_gap` and `latency_ratio` are all off.
    Nothing,
    /// More endpoints than [`ENDPOINTS_MAX`].
    Endpoints(usize),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureGap(gap) => {
                write!(f, "failure_gap is {gap}; set a share above 0 and at most 1")
            },
            Self::Deviations(deviations) => {
                write!(f, "deviations is {deviations}; set above 0 and at most {FACTOR_MAX}")
            },
            Self::LatencyRatio(ratio) => {
                write!(f, "latency_ratio is {ratio}; set above 1 and at most {FACTOR_MAX}")
            },
            Self::Duration { field, value } => write!(
                f,
                "{field} is {value:?}; set at least {DURATION_MIN:?} and at most a day"
            ),
            Self::EjectMax { eject, eject_max } => write!(
                f,
                "eject_max is {eject_max:?}, below eject, which is {eject:?}; set it as long or longer"
            ),
            Self::Nothing => f.write_str(
                "consecutive, failure_gap and latency_ratio are all off; leave outlier detection out",
            ),
            Self::Endpoints(endpoints) => {
                write!(f, "there are {endpoints} endpoints; at most {ENDPOINTS_MAX} are compared")
            },
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies, except [`ConfigError::Endpoints`]: how many there
    /// are is not known here.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // All written so that NaN fails.
        if let Some(gap) = self.failure_gap
            && !(gap > 0.0 && gap <= 1.0)
        {
            return Err(ConfigError::FailureGap(gap));
        }
        if !(self.deviations > 0.0 && self.deviations <= FACTOR_MAX) {
            return Err(ConfigError::Deviations(self.deviations));
        }
        if let Some(ratio) = self.latency_ratio
            && !(ratio > 1.0 && ratio <= FACTOR_MAX)
        {
            return Err(ConfigError::LatencyRatio(ratio));
        }
        if self.consecutive.is_none() && self.failure_gap.is_none() && self.latency_ratio.is_none()
        {
            return Err(ConfigError::Nothing);
        }
        self.validate_durations()
    }

    fn validate_durations(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("latency_gap", self.latency_gap),
            ("half_life", self.half_life),
            ("interval", self.interval),
            ("eject", self.eject),
            ("eject_max", self.eject_max),
            ("ramp", self.ramp.unwrap_or(DURATION_MIN)),
            ("stable_after", self.stable_after),
        ] {
            if value < DURATION_MIN || value > DURATION_MAX {
                return Err(ConfigError::Duration { field, value });
            }
        }
        if self.eject_max < self.eject {
            return Err(ConfigError::EjectMax {
                eject: self.eject,
                eject_max: self.eject_max,
            });
        }
        Ok(())
    }
}
