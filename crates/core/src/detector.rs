//! Failure detectors: how much a silent peer is suspected, and when that is a verdict.
//!
//! Prevents a dead peer from being believed alive, and a late one from being believed dead. A
//! [`Detector`] is a [`Timeout`] (silent for so long) or [`Phi`] (silent for longer than this
//! peer's own heartbeats make likely). A [`Peer`] is one of them with hysteresis, so that one late
//! heartbeat changes no verdict. [`LocalHealth`] asks whether the silence is not our own: a process
//! that was stopped for ten seconds has heard nobody, and must accuse nobody.
//!
//! Always holds, when all calls go through [`Peer`]: time in which this process did not run counts
//! as nobody's silence. Memory is constant: a phi detector keeps [`PhiConfig::window`] intervals.
//!
//! No detector is right about a peer that is merely slow or cut off (Chandra and Toueg, "Unreliable
//! Failure Detectors for Reliable Distributed Systems", JACM 1996). A verdict is a belief: act on it
//! only where acting on a living peer does no harm, or fence the peer first.

use core::fmt;
use core::time::Duration;

use crate::health::{Health, Hysteresis, Verdict};
use crate::time::Instant;

mod local_health;
mod phi;
mod tail;
mod timeout;

pub use local_health::{LocalHealth, LocalHealthConfig, SCORE_LIMIT};
pub use phi::{Phi, PhiConfig, WINDOW_MAX, WINDOW_MIN};
pub use timeout::Timeout;

/// Longest of all durations here, 24 hours: a peer that may be silent for a day is not watched.
pub const DURATION_MAX: Duration = Duration::from_hours(24);

/// Shortest of all durations here, 1 ms: below, timers themselves are late.
pub const DURATION_MIN: Duration = Duration::from_millis(1);

/// How a peer is watched.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// What makes a peer suspect. Default: phi, as [`PhiConfig::default`] has it.
    pub method: Method,
    /// Checks in a row that change the verdict. Default: two, either way.
    pub hysteresis: Hysteresis,
}

/// What makes a peer suspect.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Method {
    /// Silence for this long, [`DURATION_MIN`] to [`DURATION_MAX`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    Timeout(Duration),
    /// Silence that is unlikely for this peer.
    Phi(PhiConfig),
}

impl Default for Config {
    fn default() -> Self {
        let twice = const { core::num::NonZeroU32::MIN.saturating_add(1) };
        Self {
            method: Method::Phi(PhiConfig::default()),
            hysteresis: Hysteresis {
                rise: twice,
                fall: twice,
            },
        }
    }
}

/// A value that no detector can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The named duration is below [`DURATION_MIN`] or above [`DURATION_MAX`].
    Duration {
        /// Which field.
        field: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// The threshold of phi is not a number, not above 0, or above 1,000.
    Threshold(f64),
    /// The window of phi is below [`WINDOW_MIN`] or above [`WINDOW_MAX`].
    Window(u32),
    /// The highest score of the local health is above [`SCORE_LIMIT`].
    ScoreMax(u32),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration { field, value } => write!(
                f,
                "{field} is {value:?}; set at least {DURATION_MIN:?} and at most a day"
            ),
            Self::Threshold(threshold) => {
                write!(
                    f,
                    "threshold is {threshold}; set a phi above 0 and at most 1000"
                )
            },
            Self::Window(window) => write!(
                f,
                "window is {window}; set {WINDOW_MIN} to {WINDOW_MAX} heartbeats"
            ),
            Self::ScoreMax(score) => {
                write!(f, "score_max is {score}; set at most {SCORE_LIMIT}")
            },
        }
    }
}

impl core::error::Error for ConfigError {}

fn check_duration(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value < DURATION_MIN || value > DURATION_MAX {
        return Err(ConfigError::Duration { field, value });
    }
    Ok(())
}

/// How much a peer is suspected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspicion {
    /// Phi, or for a timeout the share of it that has passed. 0 is no suspicion; never infinite. A
    /// phi of 1 is wrong once in ten, of 8 once in a hundred million; a share of 1 is the limit
    /// itself.
    pub level: f64,
    /// The level from which on the peer is suspect: [`PhiConfig::threshold`], or 1 for a timeout.
    pub threshold: f64,
}

impl Suspicion {
    /// Whether the peer is suspect.
    pub fn is_reached(self) -> bool {
        self.level >= self.threshold
    }
}

/// Turns heartbeats into suspicion. Its time is whatever the caller's is; [`Peer`] feeds it the
/// time in which this process ran.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Detector {
    /// By a fixed time of silence.
    Timeout(Timeout),
    /// By this peer's own heartbeats.
    Phi(Phi),
}

impl Detector {
    /// A detector that waits for its first heartbeat from `now` on.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] for a timeout that is too short or too long, or as
    /// [`PhiConfig::validate`].
    pub fn new(method: Method, now: Instant) -> Result<Self, ConfigError> {
        match method {
            Method::Timeout(limit) => Timeout::new(limit, now).map(Self::Timeout),
            Method::Phi(config) => Phi::new(&config, now).map(Self::Phi),
        }
    }

    /// A heartbeat arrived at `now`.
    pub fn heartbeat(&mut self, now: Instant) {
        match self {
            Self::Timeout(timeout) => timeout.heartbeat(now),
            Self::Phi(phi) => phi.heartbeat(now),
        }
    }

    /// A heartbeat arrived, but when it would have been heard by a process that runs is not known:
    /// it ends the silence and says nothing about intervals.
    pub fn heartbeat_untimed(&mut self, now: Instant) {
        match self {
            Self::Timeout(timeout) => timeout.heartbeat(now),
            Self::Phi(phi) => phi.heartbeat_untimed(now),
        }
    }

    /// The suspicion at `now`; what is tolerated is multiplied by `stretch`, which is at least 1. 0
    /// counts as 1.
    pub fn suspicion(&self, now: Instant, stretch: u32) -> Suspicion {
        match self {
            Self::Timeout(timeout) => timeout.suspicion(now, stretch),
            Self::Phi(phi) => phi.suspicion(now, stretch),
        }
    }
}

/// One watched peer: a detector, and a verdict with hysteresis.
///
/// ```
/// use core::time::Duration;
/// use mainstay_core::detector::{Config, LocalHealth, LocalHealthConfig, Peer};
/// use mainstay_core::health::Verdict;
/// use mainstay_core::time::Instant;
///
/// let second = |n: u64| Instant::from_millis(n * 1_000);
/// let mut local = LocalHealth::new(&LocalHealthConfig::default(), second(0)).unwrap();
/// let mut peer = Peer::new(&Config::default(), &local, second(0)).unwrap();
/// for n in 1..=60 {
///     local.ticked(second(n));
///     peer.heartbeat(&mut local, second(n));
///     peer.check(&local, second(n));
/// }
/// assert_eq!(peer.verdict(), Verdict::Healthy);
///
/// // It falls silent. Four seconds are not enough, ten are.
/// let mut verdict_at = |n: u64| {
///     local.ticked(second(n));
///     peer.check(&local, second(n));
///     peer.verdict()
/// };
/// assert!((61..=63).all(|n| verdict_at(n) == Verdict::Healthy));
/// assert!((64..=70).any(|n| verdict_at(n) == Verdict::Unhealthy));
/// ```
#[derive(Clone, Debug)]
pub struct Peer {
    detector: Detector,
    health: Health,
    heard: bool,
}

impl Peer {
    /// A peer that nothing was heard of yet; its silence counts from `now` on.
    ///
    /// # Errors
    ///
    /// As [`Detector::new`].
    pub fn new(config: &Config, local: &LocalHealth, now: Instant) -> Result<Self, ConfigError> {
        Ok(Self {
            detector: Detector::new(config.method, local.awake(now))?,
            health: Health::new(config.hysteresis),
            heard: false,
        })
    }

    /// A heartbeat of the peer was read at `now`. Notices a stall of this process by itself, so
    /// that heartbeats may be read before the check that is overdue.
    pub fn heartbeat(&mut self, local: &mut LocalHealth, now: Instant) {
        local.woke(now);
        self.heard = true;
        let awake = local.awake(now);
        if local.is_catching_up(now) {
            self.detector.heartbeat_untimed(awake);
        } else {
            self.detector.heartbeat(awake);
        }
    }

    /// The suspicion at `now`.
    pub fn suspicion(&self, local: &LocalHealth, now: Instant) -> Suspicion {
        self.detector.suspicion(local.awake(now), local.stretch())
    }

    /// The regular check, after [`LocalHealth::ticked`]; the new verdict if it changed.
    pub fn check(&mut self, local: &LocalHealth, now: Instant) -> Option<Verdict> {
        let suspected = self.suspicion(local, now).is_reached();
        if !self.heard && !suspected {
            // Neither a sign of life nor a long silence: nothing is known.
            return None;
        }
        self.health.probed(!suspected)
    }

    /// The verdict so far.
    pub const fn verdict(&self) -> Verdict {
        self.health.verdict()
    }
}

#[cfg(test)]
mod tests;
