//! A client throttle: calls that an overloaded callee would refuse are not even sent.
//!
//! Prevents an overloaded callee from spending what it has left on refusing. The rule is that of
//! Beyer and others, "Site Reliability Engineering", O'Reilly 2016, chapter 21, "Client-Side
//! Throttling": of the calls of the last while, `requests` were wanted and `accepts` were let in by
//! the callee; a call is turned away with the probability
//! `max(0, (requests - K * accepts) / (requests + 1))`. Calls that are turned away here count as
//! requests, so the rarer accepts are, the more is turned away, and a few calls always go through
//! to find out that the callee has recovered.
//!
//! Always holds: what is older than the window does not count, whether or not there were calls
//! since; below `calls_min` calls nothing is turned away; and at most `rejection_max` of the calls
//! are.

use core::array;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::random::SharedRandom;
use crate::time::{Instant, nanos};

/// Parts of the window: it is between 9 and 10 of them long.
const CELLS: usize = 10;

/// Shortest window, 1 s: a cell of it is a tenth of that.
pub const WINDOW_MIN: Duration = Duration::from_secs(1);

/// Longest window, an hour: beyond, an overload is remembered longer than it lasts.
pub const WINDOW_MAX: Duration = Duration::from_hours(1);

/// Highest multiplier: beyond, the callee refuses nearly all before anything is turned away here.
const MULTIPLIER_MAX: f64 = 100.0;

const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const TICK_BITS: u32 = 24;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

/// When calls are turned away.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ThrottleConfig {
    /// How many times as many calls are sent as the callee lets in, 1 to 100: the `K` of the rule.
    /// Higher finds out sooner that the callee has recovered; lower spares it more. Default: 2.
    pub multiplier: f64,
    /// How far back calls count. After an outage, the share that is sent grows about `multiplier`
    /// times per window: the two minutes of the source take several more to recover. [`WINDOW_MIN`]
    /// to [`WINDOW_MAX`]. Default: 30 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub window: Duration,
    /// Calls in the window before any is turned away. Default: 20.
    pub calls_min: NonZeroU32,
    /// Most calls that are turned away, as a share above 0 and below 1. The rest finds out that the
    /// callee has recovered. Default: 0.95.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub rejection_max: f64,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            multiplier: 2.0,
            window: Duration::from_secs(30),
            calls_min: const { NonZeroU32::MIN.saturating_add(19) },
            rejection_max: 0.95,
        }
    }
}

/// A value that no throttle can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ThrottleConfigError {
    /// `multiplier` is no number, below 1 or above 100.
    Multiplier(f64),
    /// `window` is below [`WINDOW_MIN`] or above [`WINDOW_MAX`].
    Window(Duration),
    /// `rejection_max` is no share: not a number, not above 0, or not below 1.
    RejectionMax(f64),
}

impl fmt::Display for ThrottleConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multiplier(multiplier) => write!(
                f,
                "multiplier is {multiplier}; set at least 1 and at most {MULTIPLIER_MAX}"
            ),
            Self::Window(window) => write!(
                f,
                "window is {window:?}; set at least {WINDOW_MIN:?} and at most {WINDOW_MAX:?}"
            ),
            Self::RejectionMax(share) => {
                write!(f, "rejection_max is {share}; set it above 0 and below 1")
            },
        }
    }
}

impl core::error::Error for ThrottleConfigError {}

/// The calls of the window. Beyond a million in a tenth of it both are halved: the share stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were wanted, those that were turned away here included.
    pub requests: u64,
    /// Calls that the callee let in.
    pub accepts: u64,
}

/// The call is turned away, because the callee would probably refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A client throttle. Shared by reference between threads.
///
/// ```
/// use mainstay_core::limit::throttle::{Throttle, ThrottleConfig};
/// use mainstay_core::random::SharedRandom;
/// use mainstay_core::time::Instant;
///
/// let throttle = Throttle::new(&ThrottleConfig::default()).unwrap();
/// let (now, random) = (Instant::from_millis(1), SharedRandom::seeded(7));
/// let mut sent = 0;
/// for _ in 0..1_000 {
///     if throttle.check(now, &random).is_ok() {
///         sent += 1;
///         throttle.record(false, now); // the callee refuses them all
///     }
/// }
/// assert!(sent < 150, "what it would have to refuse is not even sent");
/// ```
#[derive(Debug)]
pub struct Throttle {
    /// `tick:24 | requests:20 | accepts:20` each; a cell of another tick is empty.
    cells: [AtomicU64; CELLS],
    cell_nanos: u64,
    config: ThrottleConfig,
}

impl Throttle {
    /// A throttle that has seen nothing.
    ///
    /// # Errors
    ///
    /// [`ThrottleConfigError::Multiplier`], [`ThrottleConfigError::Window`] or
    /// [`ThrottleConfigError::RejectionMax`] for the first value outside its bounds.
    pub fn new(config: &ThrottleConfig) -> Result<Self, ThrottleConfigError> {
        let ThrottleConfig {
            multiplier,
            window,
            calls_min: _,
            rejection_max,
        } = *config;
        // Written so that NaN fails.
        if !(1.0..=MULTIPLIER_MAX).contains(&multiplier) {
            return Err(ThrottleConfigError::Multiplier(multiplier));
        }
        if window < WINDOW_MIN || window > WINDOW_MAX {
            return Err(ThrottleConfigError::Window(window));
        }
        if !(rejection_max > 0.0 && rejection_max < 1.0) {
            return Err(ThrottleConfigError::RejectionMax(rejection_max));
        }
        let cell_nanos = nanos(window) / CELLS as u64;
        Ok(Self {
            // Each cell begins as that of the tick before the first, so that it is nobody's.
            cells: array::from_fn(|_| AtomicU64::new(TICK_MASK << (2 * COUNT_BITS))),
            cell_nanos,
            config: *config,
        })
    }

    /// Asks to send a call; a chance is drawn only when the callee refuses more than it may.
    ///
    /// # Errors
    ///
    /// [`Refused`]: the callee would probably refuse it. Counted as a request already.
    pub fn check(&self, now: Instant, random: &SharedRandom) -> Result<(), Refused> {
        let probability = self.probability(now);
        if probability <= 0.0 || random.draw().unit() >= probability {
            return Ok(());
        }
        self.record(false, now);
        Err(Refused)
    }

    /// A call that was sent ended; `accepted` says whether the callee let it in.
    pub fn record(&self, accepted: bool, now: Instant) {
        let tick = self.tick(now);
        let cell = &self.cells[index(tick)];
        let mut seen = cell.load(Ordering::Relaxed);
        loop {
            let age = ticks_since(seen, tick);
            // Another thread was here first with a later tick: this call is as good as over.
            if age > TICK_MASK / 2 {
                return;
            }
            let counts = if age == 0 {
                decode(seen)
            } else {
                Counts::default()
            };
            let next = encode(tick, counts.and(accepted));
            match cell.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// With which probability a call would be turned away now: 0 to
    /// [`ThrottleConfig::rejection_max`].
    pub fn probability(&self, now: Instant) -> f64 {
        let Counts { requests, accepts } = self.counts(now);
        if requests < u64::from(self.config.calls_min.get()) {
            return 0.0;
        }
        let (requests, accepts) = (requests as f64, accepts as f64);
        let refused = (requests - self.config.multiplier * accepts) / (requests + 1.0);
        refused.clamp(0.0, self.config.rejection_max)
    }

    /// The calls of the window.
    pub fn counts(&self, now: Instant) -> Counts {
        let tick = self.tick(now);
        self.cells.iter().fold(Counts::default(), |sum, cell| {
            let cell = cell.load(Ordering::Relaxed);
            if ticks_since(cell, tick) >= CELLS as u64 {
                return sum;
            }
            let counts = decode(cell);
            Counts {
                requests: sum.requests + counts.requests,
                accepts: sum.accepts + counts.accepts,
            }
        })
    }

    const fn tick(&self, now: Instant) -> u64 {
        now.as_nanos() / self.cell_nanos
    }
}

impl Counts {
    /// With one call more. Beyond what a cell can count, both are halved: the share stays.
    const fn and(self, accepted: bool) -> Self {
        let Self {
            mut requests,
            mut accepts,
        } = self;
        if requests == COUNT_MAX {
            requests /= 2;
            accepts /= 2;
        }
        Self {
            requests: requests + 1,
            accepts: accepts + accepted as u64,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below `CELLS`")]
const fn index(tick: u64) -> usize {
    (tick % CELLS as u64) as usize
}

/// How many ticks the cell is older than `tick`; huge when it is younger.
const fn ticks_since(cell: u64, tick: u64) -> u64 {
    tick.wrapping_sub(cell >> (2 * COUNT_BITS)) & TICK_MASK
}

const fn decode(cell: u64) -> Counts {
    Counts {
        requests: cell >> COUNT_BITS & COUNT_MAX,
        accepts: cell & COUNT_MAX,
    }
}

const fn encode(tick: u64, counts: Counts) -> u64 {
    (tick & TICK_MASK) << (2 * COUNT_BITS) | counts.requests << COUNT_BITS | counts.accepts
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
