//! The circuit breaker's engine: lock-free, without a clock, one atomic word at its heart.
//!
//! Prevents calls that pile up on an endpoint which only fails: after too many failures, or too
//! many slow calls, the circuit opens and calls are rejected at once; after a cooldown it is
//! half-open and lets a few probes through, whose results close it or open it again. (Nygard,
//! "Release It!", 2007.)
//!
//! Always holds:
//! - Exactly one caller makes each transition and gets it as a value.
//! - At most [`Config::probes`] probes of one generation are out at a time.
//! - A result whose permit is of an older generation changes nothing, but that a callee's wish to
//!   be left alone is heard while the circuit is open.
//! - No probe wedges the circuit: when all are out and the lease since the last of them ran out,
//!   the generation moves on and others are let through. A permit that is lost costs one lease.
//!
//! Half-open is decided by a rate as well: the circuit opens again as soon as bad probes, failed or
//! slow, reach [`Config::probe_rate`] of [`Config::probes`], and closes when all probes reported
//! and they did not. With [`Config::ramp`], calls then come back little by little.
//!
//! A callee that is only called by callers who leave before it answers is not healthy either, see
//! [`Abandoned::FailureIfAll`].

use core::sync::atomic::{AtomicBool, AtomicU32 as Tally};
use core::time::Duration;

use once_cell::race::OnceBox;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::lane::Lane;
use crate::outcome::Reason;
use crate::random::SharedRandom;
use crate::time::Instant;

mod config;
mod control;
mod half_open;
mod in_flight;
mod limits;
mod permit;
mod results;
mod streak;
mod trip;
mod window;
mod word;

pub use config::{
    Abandoned, CALLS_MIN_MAX, CONSECUTIVE_MAX, COOLDOWN_MIN, Config, ConfigError, DURATION_MAX,
    SLOW_MIN, Slow, Span, WINDOW_CALLS_MAX, WINDOW_MIN,
};
pub use control::Mode;
pub use half_open::RAMP_FLOOR;
pub use permit::Permit;
pub use trip::RETRY_AFTER_MAX;
pub use window::{CELLS, Counts, LANES_MAX, Window};
pub use word::PROBES_MAX;

use in_flight::InFlight;
use limits::Limits;
use permit::{Kind, SHADOW, UNTIMED};
use streak::Streak;
use word::{Phase, Word};

/// When a result comes in, and in which thread's [`Lane`].
///
/// An [`Instant`] alone is the first lane: right for one thread, and slower for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// When it comes in.
    pub now: Instant,
    /// The number of the thread that brings the result.
    pub lane: Lane,
}

impl From<Instant> for At {
    fn from(now: Instant) -> Self {
        Self {
            now,
            lane: Lane::FIRST,
        }
    }
}

/// A call may be made.
#[must_use = "it holds the permit, and a transition that somebody must hear of"]
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The right to make it.
    pub permit: Permit,
    /// What asking changed: the first call after a cooldown makes the circuit half-open, and the
    /// one that finds too many others in flight for too long opens it, as the last that passes.
    pub transition: Option<Transition>,
}

/// A call must not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When asking again may help: the cooldown's end, or at most the end of the probes' lease; in
    /// a ramp, a sixteenth of it. `None` for a circuit that was opened by hand.
    pub retry_after: Option<Duration>,
}

/// A change of state, given to exactly one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Closed, ramping or half-open to open; or opened by hand, from any state.
    Opened {
        /// Why the last call failed; [`Reason::Slow`] for slow calls, [`Reason::Forced`] by hand.
        reason: Reason,
        /// How long calls are rejected; `None`: until somebody says otherwise.
        retry_after: Option<Duration>,
        /// Cooldowns in a row, this one included, without a stable time in between (at most 15).
        cooldowns: u32,
    },
    /// Open to half-open: the cooldown is over.
    HalfOpened,
    /// Half-open to closed, or back from open by hand.
    Closed,
}

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are rejected.
    Open {
        /// What is left of the cooldown; zero when the next call will be a probe.
        retry_after: Duration,
    },
    /// Probes pass.
    HalfOpen,
    /// Closed again; calls come back little by little.
    Ramp {
        /// The share of calls that passes: from [`RAMP_FLOOR`] on, below 1.
        share: f64,
    },
    /// Calls are rejected until somebody says otherwise.
    ForcedOpen,
    /// Calls pass uncounted until somebody says otherwise.
    Disabled,
}

/// The engine of one circuit. Shared by reference between threads.
///
/// What is hardly touched comes first, between the counts of an `Arc` and what every call reads;
/// what every call may write comes last: a writer does not take a reader's line away.
///
/// ```
/// use mainstay_core::breaker::{Breaker, Config, State, Transition};
/// use mainstay_core::outcome::Reason;
/// use mainstay_core::time::Instant;
///
/// let breaker = Breaker::new(&Config::default(), 7).unwrap();
/// let now = Instant::from_millis(1);
/// for _ in 0..4 {
///     let permit = breaker.acquire(now).unwrap().permit;
///     assert_eq!(breaker.failure(permit, Reason::Connect, now), None);
/// }
/// // The fifth failure in a row opens the circuit: the next call is not even made.
/// let permit = breaker.acquire(now).unwrap().permit;
/// let opened = breaker.failure(permit, Reason::Connect, now);
/// let Some(Transition::Opened { retry_after: Some(cooldown), .. }) = opened else { panic!() };
/// assert_eq!(breaker.acquire(now).unwrap_err().retry_after, Some(cooldown));
///
/// // After the cooldown, probes that succeed close it.
/// let later = now + cooldown;
/// for _ in 0..3 {
///     let probe = breaker.acquire(later).unwrap().permit;
///     breaker.success(probe, later);
/// }
/// assert_eq!(breaker.state(later), State::Closed);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Breaker {
    random: SharedRandom,
    /// Until when the callee asked to be left alone, see [`trip`].
    wish: AtomicU64,
    /// The [`Reason`] of the last failure: a success that completes `calls_min` has none.
    reason: AtomicU32,
    /// Results of another generation.
    stale: Tally,
    /// Calls that passed in the shadow only.
    shadowed: Tally,
    shadow: AtomicBool,
    in_flight: OnceBox<InFlight>,
    /// Made with the first slow call.
    slow: OnceBox<Window>,
    word: AtomicU64,
    streak: Streak,
    limits: Limits,
    calls: Window,
}

impl Breaker {
    /// A closed circuit. Give each instance a `seed` of its own, or their cooldowns end in step.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to `config`.
    pub fn new(config: &Config, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            word: AtomicU64::new(Word::new().encode()),
            streak: Streak::new(),
            limits: Limits::new(config),
            random: SharedRandom::seeded(seed),
            wish: AtomicU64::new(0),
            reason: AtomicU32::new(Reason::Error as u32),
            stale: Tally::new(0),
            shadowed: Tally::new(0),
            shadow: AtomicBool::new(false),
            in_flight: OnceBox::new(),
            slow: OnceBox::new(),
            calls: Window::new(config.window),
        })
    }

    /// Lets the window spread over so many lanes once threads get in each other's way; rounded up
    /// to a power of two, at most [`LANES_MAX`]. Unless set, it is one: the window never spreads.
    #[must_use]
    pub fn lanes(mut self, lanes: core::num::NonZeroU32) -> Self {
        self.calls = self.calls.lanes(lanes);
        self
    }

    /// Asks to make one call. In a closed circuit one load, no write.
    ///
    /// # Errors
    ///
    /// [`Rejected`] while the circuit is open, half-open with all probes out, or in its ramp for
    /// the share of calls that must wait.
    pub fn acquire(&self, now: Instant) -> Result<Admitted, Rejected> {
        match self.ask(now) {
            // What was opened by hand is not in the shadow, whoever was faster.
            Err(Rejected {
                retry_after: Some(_),
            }) if self.shadow.load(Ordering::Relaxed) => Ok(self.shadowed(now)),
            asked => asked,
        }
    }

    /// Asks to make one call without knowing the time: admits in a closed circuit that has no use
    /// for it. `None` says nothing: ask again with the time.
    #[inline]
    pub fn acquire_untimed(&self) -> Option<Permit> {
        let generation = Word::closed_generation(self.word.load(Ordering::Acquire))?;
        if self.limits.flags().slow() {
            return None;
        }
        Some(Permit::new(generation, UNTIMED, Kind::Plain))
    }

    /// Until when an open circuit rejects every call, without the way that other states take.
    /// `None` says nothing: ask. An open circuit whose cooldown is over is still open until the
    /// next call asks.
    #[inline]
    pub fn open_until(&self) -> Option<Instant> {
        let until = Word::open_until(self.word.load(Ordering::Acquire))?;
        // In the shadow calls pass.
        (!self.shadow.load(Ordering::Relaxed)).then_some(until)
    }

    /// Whether [`acquire`](Self::acquire) would admit a call; changes nothing. In its ramp a
    /// circuit that admits some calls says yes.
    pub fn would_admit(&self, now: Instant) -> bool {
        let word = self.word();
        let admits = match word.phase {
            Phase::Closed { .. } | Phase::Ramp { .. } | Phase::Disabled => true,
            Phase::Open { until } => now >= until,
            Phase::HalfOpen(probes) => self.admit_probe(word, probes, now).is_ok(),
            Phase::Forced => return false,
        };
        admits || self.shadow.load(Ordering::Relaxed)
    }

    /// The state at `now`.
    pub fn state(&self, now: Instant) -> State {
        match self.word().phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Ramp { since } => match self.ramp_share(since, now) {
                Some(ppm) => State::Ramp {
                    share: f64::from(ppm) / 1_000_000.0,
                },
                None => State::Closed,
            },
            Phase::Open { until } => State::Open {
                retry_after: until.since(now),
            },
            Phase::HalfOpen(_) => State::HalfOpen,
            Phase::Forced => State::ForcedOpen,
            Phase::Disabled => State::Disabled,
        }
    }

    /// What the window of the present state holds: nothing in an open or half-open circuit, whose
    /// probes are counted apart.
    pub fn counts(&self, now: Instant) -> Counts {
        self.counts_of(self.word().generation, now)
    }

    /// [`Slow::after`]; `None` where no call is slow. Tells the caller how finely to read the
    /// clock.
    pub fn slow_after(&self) -> Option<Duration> {
        self.limits.slow_after()
    }

    /// The first cooldown: tells the caller how finely to read the clock.
    pub fn reopen(&self) -> Duration {
        self.limits.reopen()
    }

    /// Results that came in another generation than that of their permit and changed nothing,
    /// modulo 2^32.
    pub fn stale_total(&self) -> u32 {
        self.stale.load(Ordering::Relaxed)
    }

    /// Whether it knows nothing that a new circuit would not: closed, without a cooldown that the
    /// next one would grow from, with nothing in the window, and left to itself.
    pub fn is_forgettable(&self, now: Instant) -> bool {
        let word = self.word();
        let Phase::Closed { since } = word.phase else {
            return false;
        };
        let calm = word.cooldowns == 0 || now.since(since) >= self.limits.stable_after();
        // A window of calls never becomes empty; good calls in it say nothing of this callee.
        let counts = self.counts_of(word.generation, now);
        let empty = if self.calls.is_ring() {
            counts.failed + counts.slow == 0
        } else {
            counts.total == 0
        };
        calm && empty && self.mode() == Mode::Auto && self.streak.is_empty(word.generation)
    }

    fn word(&self) -> Word {
        Word::decode(self.word.load(Ordering::Acquire))
    }

    fn ask(&self, now: Instant) -> Result<Admitted, Rejected> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::decode(seen);
            let (next, transition) = match word.phase {
                Phase::Closed { .. } => return Ok(self.admit(word, now)),
                Phase::Disabled => return Ok(Admitted::by(word, now, None)),
                Phase::Ramp { since } => match self.ramp(word, since, now)? {
                    Some(closed) => (closed, None),
                    None => return Ok(self.admit(word, now)),
                },
                Phase::Open { until } => self.half_open(word, until, now)?,
                Phase::HalfOpen(probes) => (self.admit_probe(word, probes, now)?, None),
                Phase::Forced => return Err(Rejected { retry_after: None }),
            };
            match self.swap(seen, next) {
                Ok(()) => return Ok(Admitted::by(next, now, transition)),
                Err(current) => seen = current,
            }
        }
    }

    /// Admits a call to a closed circuit.
    fn admit(&self, word: Word, now: Instant) -> Admitted {
        if !self.limits.flags().in_flight() {
            return Admitted::by(word, now, None);
        }
        let in_flight = self.in_flight();
        let due = in_flight.is_due(now);
        let transition = if due {
            self.judge(word.generation, Reason::Slow, now)
        } else {
            None
        };
        let started = in_flight.begin(word.generation, now);
        let permit = Permit::new(word.generation, started, Kind::Tracked);
        Admitted { permit, transition }
    }

    fn shadowed(&self, now: Instant) -> Admitted {
        self.shadowed.fetch_add(1, Ordering::Relaxed);
        let permit = Permit::new(SHADOW, now, Kind::Shadow);
        Admitted {
            permit,
            transition: None,
        }
    }

    fn swap(&self, seen: u64, next: Word) -> Result<(), u64> {
        self.word
            .compare_exchange(seen, next.encode(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}

impl Admitted {
    const fn by(word: Word, now: Instant, transition: Option<Transition>) -> Self {
        Self {
            permit: Permit::new(word.generation, now, Kind::Plain),
            transition,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
