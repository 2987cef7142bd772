//! The circuit breaker's engine: lock-free, without a clock, one atomic word at its heart.
//!
//! Prevents calls that pile up on an endpoint which only fails: after too many failures the
//! circuit opens and calls are rejected at once; after a cooldown it is half-open and lets a few
//! probes through, whose results close it or open it again.
//!
//! Always holds:
//! - Exactly one caller makes each transition and gets it as a value.
//! - At most [`Config::probes`] probes of one generation are out at a time.
//! - A result whose permit is of an older generation changes nothing.
//! - No probe wedges the circuit: when all are out and the lease since the last of them ran out,
//!   the generation moves on and others are let through. A permit that is lost costs one lease.
//!
//! Half-open is decided by the rate that also opens the circuit: it opens again as soon as
//! failures reach [`Config::error_rate`] of [`Config::probes`] (or [`Config::consecutive`]), and
//! closes when all probes reported and they did not.
//!
//! Calls abandoned by their callers count as nothing, unless all calls in the window were
//! abandoned: an endpoint that never answers before its callers leave is not healthy.

use core::time::Duration;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::outcome::{Outcome, Reason};
use crate::random::SharedRandom;
use crate::time::Instant;

mod config;
mod streak;
mod window;
mod word;

pub use config::{CALLS_MIN_MAX, COOLDOWN_MIN, Config, ConfigError, DURATION_MAX, WINDOW_MIN};
pub use window::{CELLS, Counts, Window};
pub use word::PROBES_MAX;

use streak::Streak;
use word::{Lease, Phase, Probes, Word};

/// The right to make one call. Give it back with its result, exactly once.
///
/// A permit that is lost instead counts as nothing in a closed circuit, and costs one lease in a
/// half-open one.
#[must_use = "a permit is given back with the call's result"]
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    generation: u32,
}

/// A call may be made.
#[must_use = "it holds the permit, and a transition that somebody must hear of"]
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The right to make it.
    pub permit: Permit,
    /// What asking changed: the first call after a cooldown makes the circuit half-open.
    pub transition: Option<Transition>,
}

/// A call must not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When asking again may help: the cooldown's end, or at most the end of the probes' lease.
    pub retry_after: Duration,
}

/// A change of state, given to exactly one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Closed or half-open to open.
    Opened {
        /// Why the last call failed.
        reason: Reason,
        /// How long calls are rejected.
        retry_after: Duration,
        /// Cooldowns in a row, this one included, without a stable time in between (at most 15).
        cooldowns: u32,
    },
    /// Open to half-open.
    HalfOpened,
    /// Half-open to closed.
    Closed,
}

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// The engine of one circuit. Shared by reference between threads.
#[derive(Debug)]
pub struct Breaker {
    word: AtomicU64,
    streak: Streak,
    /// The [`Reason`] of the last failure: a success that completes `calls_min` has none.
    reason: AtomicU32,
    limits: Limits,
    random: SharedRandom,
    calls: Window,
    abandoned: Window,
}

/// The configuration as the engine reads it.
#[derive(Debug)]
struct Limits {
    error_rate_ppm: u64,
    calls_min: u64,
    consecutive: Option<u32>,
    probes: u32,
    /// Failed probes that open the circuit again.
    probes_bad: u32,
    reopen: Duration,
    reopen_max: Duration,
    lease: Lease,
    stable_after: Duration,
}

impl Breaker {
    /// A closed circuit. Give each instance a `seed` of its own, or their cooldowns end in step.
    ///
    /// # Errors
    ///
    /// A value of `config` that cannot work.
    pub fn new(config: &Config, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            word: AtomicU64::new(Word::new().encode()),
            streak: Streak::new(),
            reason: AtomicU32::new(Reason::Error as u32),
            limits: Limits::new(config),
            random: SharedRandom::seeded(seed),
            calls: Window::new(config.window),
            abandoned: Window::new(config.window),
        })
    }

    /// Asks to make one call. In a closed circuit one load, no write.
    ///
    /// # Errors
    ///
    /// [`Rejected`] while the circuit is open, or half-open with all probes out.
    pub fn acquire(&self, now: Instant) -> Result<Admitted, Rejected> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::decode(seen);
            let (next, transition) = match word.phase {
                Phase::Closed { .. } => return Ok(Admitted::by(word, None)),
                Phase::Open { until } => self.half_open(word, until, now)?,
                Phase::HalfOpen(probes) => (self.admit_probe(word, probes, now)?, None),
            };
            match self.swap(seen, next) {
                Ok(()) => return Ok(Admitted::by(next, transition)),
                Err(current) => seen = current,
            }
        }
    }

    /// Closes the circuit: what stands behind it is another callee now. Results of calls to the old
    /// one are stale from then on, and its cooldowns are forgotten.
    pub fn reset(&self, now: Instant) -> Option<Transition> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::decode(seen);
            let closed = word.next(0, Phase::Closed { since: now });
            match self.swap(seen, closed) {
                Ok(()) if matches!(word.phase, Phase::Closed { .. }) => return None,
                Ok(()) => return Some(Transition::Closed),
                Err(current) => seen = current,
            }
        }
    }

    /// Whether [`acquire`](Self::acquire) would admit a call; changes nothing.
    pub fn would_admit(&self, now: Instant) -> bool {
        let word = Word::decode(self.word.load(Ordering::Acquire));
        match word.phase {
            Phase::Closed { .. } => true,
            Phase::Open { until } => now >= until,
            Phase::HalfOpen(probes) => self.admit_probe(word, probes, now).is_ok(),
        }
    }

    /// The state at `now`.
    pub fn state(&self, now: Instant) -> State {
        match Word::decode(self.word.load(Ordering::Acquire)).phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { until } => State::Open {
                retry_after: until.since(now),
            },
            Phase::HalfOpen(_) => State::HalfOpen,
        }
    }

    /// What the window of the present state holds.
    pub fn counts(&self, now: Instant) -> Counts {
        let word = Word::decode(self.word.load(Ordering::Acquire));
        self.calls.counts(word.generation, now)
    }
}

/// Results. A permit is used up by its result, so that no call is counted twice.
#[expect(
    clippy::needless_pass_by_value,
    reason = "taking the permit is what makes a second result impossible"
)]
impl Breaker {
    /// Gives the permit back with the call's outcome.
    pub fn record(&self, permit: Permit, outcome: Outcome, now: Instant) -> Option<Transition> {
        match outcome {
            Outcome::Success | Outcome::Permanent => self.success(permit, now),
            Outcome::Failure(reason) => self.failure(permit, reason, now),
            Outcome::Throttled { .. } => self.failure(permit, Reason::Throttled, now),
            Outcome::Ignored => {
                self.ignore(permit);
                None
            },
        }
    }

    /// The call succeeded.
    pub fn success(&self, permit: Permit, now: Instant) -> Option<Transition> {
        let (seen, word) = self.current(&permit)?;
        let Phase::Closed { .. } = word.phase else {
            return self.probed(&permit, None, now);
        };
        self.streak.succeeded(word.generation);
        self.calls.record(word.generation, now, false);
        // A success can only complete `calls_min`, so it matters only beside failures.
        if !self.calls.may_hold_failures(word.generation, now)
            || !self.rate_reached(word.generation, now)
        {
            return None;
        }
        self.trip(seen, word, self.last_reason(), now)
    }

    /// The call failed.
    pub fn failure(&self, permit: Permit, reason: Reason, now: Instant) -> Option<Transition> {
        let (seen, word) = self.current(&permit)?;
        let Phase::Closed { .. } = word.phase else {
            return self.probed(&permit, Some(reason), now);
        };
        self.reason.store(reason as u32, Ordering::Relaxed);
        let streak = self.streak.failed(word.generation);
        self.calls.record(word.generation, now, true);
        let in_a_row = self.limits.consecutive.is_some_and(|limit| streak >= limit);
        if !in_a_row && !self.rate_reached(word.generation, now) {
            return None;
        }
        self.trip(seen, word, reason, now)
    }

    /// The call was dropped before its end. A probe's slot is free again.
    pub fn abandon(&self, permit: Permit, now: Instant) -> Option<Transition> {
        let (seen, word) = self.current(&permit)?;
        let Phase::Closed { .. } = word.phase else {
            self.release(&permit);
            return None;
        };
        self.abandoned.record(word.generation, now, true);
        let abandoned = self.abandoned.counts(word.generation, now).total;
        let answered = self.calls.counts(word.generation, now).total;
        if answered > 0 || abandoned < self.limits.calls_min {
            return None;
        }
        self.trip(seen, word, Reason::Abandoned, now)
    }

    /// The call says nothing about the callee. A probe's slot is free again.
    pub fn ignore(&self, permit: Permit) {
        self.release(&permit);
    }
}

/// The steps of the protocol.
impl Breaker {
    /// The word, if `permit` is of its generation.
    fn current(&self, permit: &Permit) -> Option<(u64, Word)> {
        let seen = self.word.load(Ordering::Acquire);
        let word = Word::decode(seen);
        (word.generation == permit.generation).then_some((seen, word))
    }

    fn half_open(
        &self,
        word: Word,
        until: Instant,
        now: Instant,
    ) -> Result<(Word, Option<Transition>), Rejected> {
        if now < until {
            return Err(Rejected {
                retry_after: until.since(now),
            });
        }
        let probes = Probes::first(self.limits.lease.stamp(now));
        let next = word.next(word.cooldowns, Phase::HalfOpen(probes));
        Ok((next, Some(Transition::HalfOpened)))
    }

    /// The word after one more probe. When all are out and their lease ran out, all are given up:
    /// their results are stale from then on, and this is the first of the next generation.
    fn admit_probe(&self, word: Word, probes: Probes, now: Instant) -> Result<Word, Rejected> {
        let stamp = self.limits.lease.stamp(now);
        if probes.admitted < self.limits.probes {
            let admitted = probes.admitted + 1;
            return Ok(word.with(Probes {
                admitted,
                stamp,
                ..probes
            }));
        }
        match self.limits.lease.remaining(probes.stamp, now) {
            Some(retry_after) => Err(Rejected { retry_after }),
            None => Ok(word.next(word.cooldowns, Phase::HalfOpen(Probes::first(stamp)))),
        }
    }

    /// Takes a probe's result, `failed` saying why it was bad.
    fn probed(&self, permit: &Permit, failed: Option<Reason>, now: Instant) -> Option<Transition> {
        loop {
            let (seen, word) = self.current(permit)?;
            let Phase::HalfOpen(probes) = word.phase else {
                return None;
            };
            let ok = probes.ok + 1;
            let (next, transition) = match failed {
                Some(reason) => self.probe_failed(word, probes, reason, now),
                None => self.counted(word, Probes { ok, ..probes }, now),
            };
            if self.swap(seen, next).is_ok() {
                return transition;
            }
        }
    }

    /// Gives a probe's slot back.
    fn release(&self, permit: &Permit) {
        while let Some((seen, word)) = self.current(permit) {
            let Phase::HalfOpen(probes) = word.phase else {
                return;
            };
            let admitted = probes.admitted.saturating_sub(1);
            if self
                .swap(seen, word.with(Probes { admitted, ..probes }))
                .is_ok()
            {
                return;
            }
        }
    }

    fn probe_failed(
        &self,
        word: Word,
        probes: Probes,
        reason: Reason,
        now: Instant,
    ) -> (Word, Option<Transition>) {
        let bad = probes.bad + 1;
        if bad < self.limits.probes_bad {
            return self.counted(word, Probes { bad, ..probes }, now);
        }
        let (open, transition) = self.opened(word, reason, now);
        (open, Some(transition))
    }

    /// The word after a result that does not open the circuit.
    fn counted(&self, word: Word, probes: Probes, now: Instant) -> (Word, Option<Transition>) {
        if probes.ok + probes.bad < self.limits.probes {
            return (word.with(probes), None);
        }
        let closed = word.next(word.cooldowns, Phase::Closed { since: now });
        (closed, Some(Transition::Closed))
    }

    /// Why the last failed call failed.
    fn last_reason(&self) -> Reason {
        let index = self.reason.load(Ordering::Relaxed) as usize;
        Reason::ALL.get(index).copied().unwrap_or(Reason::Error)
    }

    fn rate_reached(&self, generation: u32, now: Instant) -> bool {
        let Counts { failed, total } = self.calls.counts(generation, now);
        total >= self.limits.calls_min && failed * 1_000_000 >= total * self.limits.error_rate_ppm
    }

    /// Opens the closed circuit, unless another thread did since the word was `seen`: a closed
    /// word changes in no other way.
    fn trip(&self, seen: u64, word: Word, reason: Reason, now: Instant) -> Option<Transition> {
        let (open, transition) = self.opened(word, reason, now);
        self.swap(seen, open).ok()?;
        Some(transition)
    }

    /// The word after a result that opens the circuit.
    fn opened(&self, word: Word, reason: Reason, now: Instant) -> (Word, Transition) {
        let past = match word.phase {
            Phase::Closed { since } if now.since(since) >= self.limits.stable_after => 0,
            Phase::Closed { .. } | Phase::HalfOpen(_) | Phase::Open { .. } => word.cooldowns,
        };
        let until = word::ceil_milli(now + self.cooldown(past));
        let open = word.next(past + 1, Phase::Open { until });
        let transition = Transition::Opened {
            reason,
            retry_after: until.since(now),
            cooldowns: open.cooldowns,
        };
        (open, transition)
    }

    /// Between half of the doubled cooldown and all of it: instances must not probe in step, and
    /// an endpoint that keeps failing must be asked less often.
    fn cooldown(&self, past: u32) -> Duration {
        let whole = self
            .limits
            .reopen
            .saturating_mul(1 << past.min(31))
            .min(self.limits.reopen_max);
        let half = whole / 2;
        half + self.random.draw().up_to(whole.saturating_sub(half))
    }

    fn swap(&self, seen: u64, next: Word) -> Result<(), u64> {
        self.word
            .compare_exchange(seen, next.encode(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}

impl Admitted {
    const fn by(word: Word, transition: Option<Transition>) -> Self {
        Self {
            permit: Permit {
                generation: word.generation,
            },
            transition,
        }
    }
}

impl Limits {
    fn new(config: &Config) -> Self {
        let error_rate_ppm = config.error_rate_ppm();
        let probes = config.probes.get();
        let consecutive = config.consecutive.map(core::num::NonZeroU32::get);
        let by_rate = (u64::from(probes) * error_rate_ppm).div_ceil(1_000_000);
        let probes_bad = u32::try_from(by_rate).unwrap_or(probes).max(1);
        Self {
            error_rate_ppm,
            calls_min: u64::from(config.calls_min.get()),
            consecutive,
            probes,
            probes_bad: consecutive.map_or(probes_bad, |limit| limit.min(probes_bad)),
            reopen: config.reopen,
            reopen_max: config.reopen_max,
            lease: Lease::new(config.lease),
            stable_after: config.stable_after,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
