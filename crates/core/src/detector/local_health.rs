//! Whether this process itself runs as it should: before a silent peer is accused, we ask whether
//! we were able to listen.
//!
//! Prevents a stalled node from accusing all others when it runs again (Dadgar, Phillips and Currey,
//! "Lifeguard: Local Health Awareness for More Accurate Failure Detection", DSN 2018). Two means:
//!
//! - **Awake time.** A regular check that comes late shows that the process stood still: stopped,
//!   starved, swapped out. That time is cut out of the clock that detectors see, so it counts as
//!   nobody's silence. Lifeguard does not do this; its multiplier alone forgives 8 s at most when
//!   the timeout is 1 s.
//! - **The local health multiplier** of Lifeguard: a score that grows by one with each interval
//!   that a check is late and each probe of ours that fails, and falls by one with each check in
//!   time and each probe that succeeds. Timeouts and acceptable pauses are multiplied by 1 + score,
//!   since a process that just stalled is likely to be late again.
//!
//! Always holds: awake time never runs backwards and never faster than the clock; the score is at
//! most [`LocalHealthConfig::score_max`], so detection is late by a known factor at worst.

use core::num::NonZeroU32;
use core::time::Duration;

use super::{ConfigError, check_duration};
use crate::time::{Instant, nanos};

/// Highest score that may be configured: all detection is then 65 times as slow at worst.
pub const SCORE_LIMIT: u32 = 64;

/// What is expected of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct LocalHealthConfig {
    /// How often peers are checked. A check that is late by more than this shows a stall.
    /// [`DURATION_MIN`](super::DURATION_MIN) to [`DURATION_MAX`](super::DURATION_MAX).
    /// Default: 1 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub interval: Duration,
    /// Highest score, at most [`SCORE_LIMIT`]; Lifeguard's S, 8 there. `None` switches the
    /// multiplier off. Default: 8.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::or_off")
    )]
    pub score_max: Option<NonZeroU32>,
}

impl Default for LocalHealthConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            score_max: Some(const { NonZeroU32::MIN.saturating_add(7) }),
        }
    }
}

/// The health of this process, as its own timers and probes show it.
///
/// ```
/// use mainstay_core::detector::{LocalHealth, LocalHealthConfig};
/// use mainstay_core::time::{Duration, Instant};
///
/// let second = |n: u64| Instant::from_millis(n * 1_000);
/// let mut local = LocalHealth::new(&LocalHealthConfig::default(), second(0)).unwrap();
/// local.ticked(second(1));
/// // Stopped for ten seconds: what was not heard meanwhile is nobody's silence but our own.
/// local.ticked(second(11));
/// assert_eq!(local.stalled(), Duration::from_secs(8));
/// assert_eq!(local.awake(second(11)), second(3));
/// assert_eq!(local.stretch(), 9, "and everybody is given more time for a while");
/// ```
#[derive(Clone, Debug)]
pub struct LocalHealth {
    interval: Duration,
    score_max: u32,
    score: u32,
    /// When the next check is due.
    due: Instant,
    /// Time in which this process did not run, in sum.
    stalled: Duration,
    /// Until then, what waited in buffers during a stall is being read.
    catching_up: Instant,
}

impl LocalHealth {
    /// A process that runs, and checks its peers for the first time within an interval of `now`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] for an `interval` that is too short or too long,
    /// [`ConfigError::ScoreMax`] for a score above [`SCORE_LIMIT`].
    pub fn new(config: &LocalHealthConfig, now: Instant) -> Result<Self, ConfigError> {
        check_duration("interval", config.interval)?;
        let score_max = config.score_max.map_or(0, NonZeroU32::get);
        if score_max > SCORE_LIMIT {
            return Err(ConfigError::ScoreMax(score_max));
        }
        Ok(Self {
            interval: config.interval,
            score_max,
            score: 0,
            due: now + config.interval,
            stalled: Duration::ZERO,
            catching_up: Instant::ORIGIN,
        })
    }

    /// The process does something at `now`: notices if the check before it is overdue.
    pub fn woke(&mut self, now: Instant) {
        let stood_still = now.since(self.awake_until());
        if stood_still.is_zero() {
            return;
        }
        self.stalled = self.stalled.saturating_add(stood_still);
        let missed = nanos(stood_still).div_ceil(nanos(self.interval));
        self.worsen(u32::try_from(missed).unwrap_or(u32::MAX));
        // The overdue check is taken to be due now; buffers are read within one interval.
        self.due = now;
        self.catching_up = now + self.interval;
    }

    /// The regular check runs at `now`; the next is due an interval later.
    pub fn ticked(&mut self, now: Instant) {
        self.woke(now);
        if now >= self.catching_up {
            self.score = self.score.saturating_sub(1);
        }
        self.due = now + self.interval;
    }

    /// A probe of ours had this result. One alone says little; many that fail say that the fault
    /// is on this side.
    pub fn probed(&mut self, ok: bool) {
        if ok {
            self.score = self.score.saturating_sub(1);
        } else {
            self.worsen(1);
        }
    }

    /// How late and lossy this process is: 0 when all is well, at most
    /// [`LocalHealthConfig::score_max`].
    pub const fn score(&self) -> u32 {
        self.score
    }

    /// What timeouts are multiplied by: 1 when all is well.
    pub const fn stretch(&self) -> u32 {
        self.score + 1
    }

    /// Time in which this process did not run, in sum.
    pub const fn stalled(&self) -> Duration {
        self.stalled
    }

    /// `now` without the time in which this process did not run. Stands still while the regular
    /// check is overdue by more than an interval, whether or not that was noticed yet.
    pub fn awake(&self, now: Instant) -> Instant {
        let awake = now.min(self.awake_until());
        Instant::from_nanos(awake.as_nanos().saturating_sub(nanos(self.stalled)))
    }

    /// Whether what is read at `now` may have waited while this process did not run.
    pub fn is_catching_up(&self, now: Instant) -> bool {
        now < self.catching_up
    }

    /// A process that has not checked its peers by then stands still.
    fn awake_until(&self) -> Instant {
        self.due + self.interval
    }

    fn worsen(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.score_max);
    }
}
