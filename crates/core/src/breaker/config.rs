//! What a breaker is told, and the check that nothing behind it has to repeat.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use super::window;
use super::word::PROBES_MAX;

/// Most calls that [`Config::calls_min`] may ask for: what one cell of the window can always count.
pub const CALLS_MIN_MAX: u32 = 10_000;

/// Most failures in a row that [`Config::consecutive`] may ask for: what one word can count beside
/// the abandoned calls.
pub const CONSECUTIVE_MAX: u32 = 1_000_000;

/// Shortest window of time, 16 ms: a cell of it is a millisecond.
pub const WINDOW_MIN: Duration = Duration::from_millis(window::CELLS as u64);

/// Longest window of calls: what the cells of a window of time can hold as bits.
pub const WINDOW_CALLS_MAX: u32 = window::CALLS_MAX;

/// Shortest limit of a slow call, a microsecond: below, reading the clock takes longer.
pub const SLOW_MIN: Duration = Duration::from_micros(1);

/// Shortest cooldown and shortest lease, 1 ms: the engine's resolution.
pub const COOLDOWN_MIN: Duration = Duration::from_millis(1);

/// Longest of all durations here, 30 days: more is a mistake in the unit, and its milliseconds fit
/// in 32 bits.
pub const DURATION_MAX: Duration = Duration::from_hours(30 * 24);

/// When a circuit opens, and how it closes again.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Share of failed calls that opens the circuit, above 0 and at most 1; reached is enough.
    /// `None`: no rate of failures does. Default: 0.5.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share_or_off")
    )]
    pub error_rate: Option<f64>,
    /// Calls in the window before a rate counts; the call that completes them decides already. At
    /// most [`CALLS_MIN_MAX`], and no more than a window of calls holds. Default: 20.
    pub calls_min: NonZeroU32,
    /// Failures in a row that open the circuit, however few calls there were. With this alone (no
    /// rate, no slow calls) a healthy call writes nothing. At most [`CONSECUTIVE_MAX`]; `None`: no
    /// number does. Default: 5.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub consecutive: Option<NonZeroU32>,
    /// Calls that are too slow to be of use, and the share of them that opens the circuit. `None`:
    /// no call is slow. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub slow: Option<Slow>,
    /// How far back the rates look. Default: the calls of the last 10 s.
    pub window: Span,
    /// What calls count as that are dropped before their end. Default: [`Abandoned::FailureIfAll`].
    pub abandoned: Abandoned,
    /// First cooldown, [`COOLDOWN_MIN`] to [`DURATION_MAX`]; doubles each time the circuit opens
    /// again, and each time chance takes up to half of it away, so that instances do not probe in
    /// step. Default: 5 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub reopen: Duration,
    /// Cap of the cooldown, from `reopen` to [`DURATION_MAX`]. A callee that asks for a longer one
    /// by `Retry-After` gets it, up to [`RETRY_AFTER_MAX`](super::RETRY_AFTER_MAX). Default: 1 min.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub reopen_max: Duration,
    /// Calls that half-open lets through at a time, and results that decide it. At most
    /// [`PROBES_MAX`]. Default: 3.
    pub probes: NonZeroU32,
    /// Share of bad probes, failed or slow, that opens the circuit again; reached is enough.
    /// `None`: as `error_rate` (without it the rate of slow calls) and `consecutive` say.
    /// Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share_or_off")
    )]
    pub probe_rate: Option<f64>,
    /// How long all probes may stay without a result before they are given up and others are let
    /// through in their place. Longer than a call's timeout. [`COOLDOWN_MIN`] to [`DURATION_MAX`].
    /// Default: 10 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub lease: Duration,
    /// How long calls take to come back to their full number after the circuit closed, as HAProxy's
    /// `slowstart` and Envoy's slow start have it: an endpoint that just recovered has cold caches.
    /// [`COOLDOWN_MIN`] to [`DURATION_MAX`]; `None`: all at once. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration_or_off")
    )]
    pub ramp: Option<Duration>,
    /// Staying closed this long takes the cooldown back to `reopen`. [`COOLDOWN_MIN`] to
    /// [`DURATION_MAX`]. Default: 1 min.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub stable_after: Duration,
}

/// How far back a window looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The calls of the last so long, to one sixteenth of it: [`WINDOW_MIN`] to [`DURATION_MAX`].
    /// Scales with the number of threads.
    Time(Duration),
    /// The last so many calls, at most [`WINDOW_CALLS_MAX`], however long ago they were. All
    /// threads share one head: for callees that are called rarely.
    Calls(NonZeroU32),
}

impl From<Duration> for Span {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

/// `"10s"` is a span of time, `100` one of calls.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::unit::text::duration_or_count(deserializer).map(|either| match either {
            Ok(time) => Self::Time(time),
            Err(calls) => Self::Calls(calls),
        })
    }
}

/// When calls are slow, and how many of them open the circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Slow {
    /// A call that took longer than this is slow, whatever its result. [`SLOW_MIN`] to
    /// [`DURATION_MAX`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub after: Duration,
    /// Share of slow calls that opens the circuit, above 0 and at most 1; reached is enough.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub rate: f64,
    /// Whether a call counts as slow as soon as it has been in flight too long, not only when it
    /// ends: a callee that answers nothing any more opens the circuit without waiting for timeouts.
    /// Costs two more writes per call. Off in a configuration that does not name it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub in_flight: bool,
}

/// What a call counts as that is dropped before its end: the caller went away, or a hedge won.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Abandoned {
    /// It counts as nothing.
    Ignore,
    /// It counts as a failure, with [`Reason::Abandoned`](crate::outcome::Reason::Abandoned).
    Failure,
    /// As nothing, unless `calls_min` in a row are abandoned and no call of the window was
    /// answered: a callee that never answers before its callers leave is not healthy.
    #[default]
    FailureIfAll,
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
            error_rate: Some(0.5),
            calls_min: const { count(20) },
            consecutive: Some(const { count(5) }),
            slow: None,
            window: Span::Time(Duration::from_secs(10)),
            abandoned: Abandoned::FailureIfAll,
            reopen: Duration::from_secs(5),
            reopen_max: Duration::from_mins(1),
            probes: const { count(3) },
            probe_rate: None,
            lease: Duration::from_secs(10),
            ramp: None,
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
    /// [`Slow::rate`] is no share.
    SlowRate(f64),
    /// `probe_rate` is no share.
    ProbeRate(f64),
    /// Neither a rate of failures, nor failures in a row, nor slow calls open the circuit.
    NeverOpens,
    /// `calls_min` is above [`CALLS_MIN_MAX`], or above the calls that the window holds.
    CallsMin {
        /// What it was set to.
        calls: u32,
        /// The most that can be reached.
        max: u32,
    },
    /// `consecutive` is above [`CONSECUTIVE_MAX`].
    Consecutive(u32),
    /// The window is of more calls than [`WINDOW_CALLS_MAX`].
    WindowCalls(u32),
    /// `probes` is above [`PROBES_MAX`].
    Probes(u32),
    /// The named duration is below `min`, or above [`DURATION_MAX`].
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
        let share = "set a share above 0 and at most 1";
        match self {
            Self::ErrorRate(rate) => write!(f, "error_rate is {rate}; {share}"),
            Self::SlowRate(rate) => write!(f, "the rate of slow calls is {rate}; {share}"),
            Self::ProbeRate(rate) => write!(f, "probe_rate is {rate}; {share}"),
            Self::NeverOpens => {
                write!(f, "nothing opens it; set error_rate, consecutive or slow")
            },
            Self::CallsMin { calls, max } => write!(f, "calls_min is {calls}; set at most {max}"),
            Self::Consecutive(failures) => {
                write!(
                    f,
                    "consecutive is {failures}; set at most {CONSECUTIVE_MAX}"
                )
            },
            Self::WindowCalls(calls) => {
                write!(f, "window is {calls} calls; set at most {WINDOW_CALLS_MAX}")
            },
            Self::Probes(probes) => write!(f, "probes is {probes}; set at most {PROBES_MAX}"),
            Self::Duration { field, value, min } => {
                write!(
                    f,
                    "{field} is {value:?}; set at least {min:?} and at most {DURATION_MAX:?}"
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
    /// The first of [`ConfigError`] that applies: rates before counts, counts before durations.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_rates()?;
        self.validate_counts()?;
        self.validate_durations()
    }

    fn validate_rates(&self) -> Result<(), ConfigError> {
        match self.error_rate {
            Some(rate) if !is_share(rate) => return Err(ConfigError::ErrorRate(rate)),
            Some(_) | None => {},
        }
        match self.slow {
            Some(Slow { rate, .. }) if !is_share(rate) => return Err(ConfigError::SlowRate(rate)),
            Some(_) | None => {},
        }
        match self.probe_rate {
            Some(rate) if !is_share(rate) => return Err(ConfigError::ProbeRate(rate)),
            Some(_) | None => {},
        }
        if self.error_rate.is_none() && self.consecutive.is_none() && self.slow.is_none() {
            return Err(ConfigError::NeverOpens);
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<(), ConfigError> {
        let max = match self.window {
            Span::Time(_) => CALLS_MIN_MAX,
            Span::Calls(calls) if calls.get() > WINDOW_CALLS_MAX => {
                return Err(ConfigError::WindowCalls(calls.get()));
            },
            Span::Calls(calls) => calls.get(),
        };
        let calls = self.calls_min.get();
        if calls > max {
            return Err(ConfigError::CallsMin { calls, max });
        }
        match self.consecutive {
            Some(failures) if failures.get() > CONSECUTIVE_MAX => {
                return Err(ConfigError::Consecutive(failures.get()));
            },
            Some(_) | None => {},
        }
        if self.probes.get() > PROBES_MAX {
            return Err(ConfigError::Probes(self.probes.get()));
        }
        Ok(())
    }

    fn validate_durations(&self) -> Result<(), ConfigError> {
        let window = match self.window {
            Span::Time(time) => time,
            Span::Calls(_) => WINDOW_MIN,
        };
        let slow = self.slow.map_or(SLOW_MIN, |slow| slow.after);
        let ramp = self.ramp.unwrap_or(COOLDOWN_MIN);
        for (field, value, min) in [
            ("window", window, WINDOW_MIN),
            ("slow.after", slow, SLOW_MIN),
            ("reopen", self.reopen, COOLDOWN_MIN),
            ("reopen_max", self.reopen_max, COOLDOWN_MIN),
            ("lease", self.lease, COOLDOWN_MIN),
            ("ramp", ramp, COOLDOWN_MIN),
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
}

/// Written so that NaN fails; a rate that rounds to no part in a million could never trip.
fn is_share(rate: f64) -> bool {
    rate > 0.0 && rate <= 1.0 && parts_per_million(rate) > 0
}

/// The rate as parts per million, so that 7 of 100 reaches 7 %: 0.07 * 100.0 is above 7.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and 1,000,000 once validated; saturates before"
)]
pub(super) fn parts_per_million(rate: f64) -> u32 {
    (rate * 1_000_000.0 + 0.5) as u32
}
