//! The engine with its clock: which of the two clocks is read, and when.
//!
//! Prevents two costs: a precise look at the time that nobody needs, and a copy of this code for
//! each kind of observer. The observer hears of what is returned.

use std::time::Duration;

use mainstay_core::breaker::{self, Admitted, At, State, Transition};
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::Instant;

use super::Rejected;
use crate::clock::Clock;
use crate::lane;

/// The coarse clock steps every 1 to 10 ms, as the kernel was built. A call that is slow sooner
/// than after five such steps is timed with the precise one.
const COARSE_STEP: Duration = Duration::from_millis(10);
const PRECISE_BELOW: Duration = Duration::from_millis(50);

/// Cooldowns from here on are counted by the coarse clock: they have jitter of half their length.
const COARSE_COOLDOWN: Duration = Duration::from_millis(500);

/// An engine, and the clock that it is told the time by.
#[derive(Clone, Copy)]
pub(super) struct Timed<'a> {
    pub(super) engine: &'a breaker::Breaker,
    pub(super) clock: &'a Clock,
}

impl Timed<'_> {
    /// Rejects a call while the end of an open circuit is far: all that most rejections need, and
    /// in registers. `None` says nothing: ask.
    #[inline]
    pub(super) fn reject(self) -> Option<Duration> {
        let until = self.engine.open_until()?;
        let left = until.since(self.clock.coarse());
        (left > COARSE_STEP).then_some(left)
    }

    /// Asks to make a call, where the time matters.
    #[inline(never)]
    pub(super) fn acquire(self) -> Result<Admitted, Rejected> {
        let rejected = match self.engine.acquire(self.call_time()) {
            Ok(admitted) => return Ok(admitted),
            Err(rejected) => rejected,
        };
        let is_near = rejected
            .retry_after
            .is_some_and(|after| after <= COARSE_STEP);
        // Only an open circuit knows its end so well; in a ramp a second try is a second chance.
        if is_near && matches!(self.engine.state(self.now()), State::Open { .. }) {
            return self.engine.acquire(self.now());
        }
        Err(rejected)
    }

    /// Not part of its callers: the permit reaches it in registers.
    #[inline(never)]
    pub(super) fn success(self, permit: breaker::Permit) -> Option<Transition> {
        match self.engine.success_untimed(permit) {
            Ok(()) => None,
            Err(permit) => self.engine.success(permit, here(self.call_time())),
        }
    }

    /// The call ended so, and not by a success.
    #[inline(never)]
    pub(super) fn record(self, permit: breaker::Permit, outcome: Outcome) -> Option<Transition> {
        self.engine
            .record(permit, outcome, here(self.result_time()))
    }

    /// A permit was dropped.
    #[cold]
    pub(super) fn give_back(self, permit: breaker::Permit) -> Option<Transition> {
        let at = here(self.now());
        if std::thread::panicking() {
            self.engine.failure(permit, Reason::Panic, at)
        } else {
            self.engine.abandon(permit, at)
        }
    }

    /// The precise time. Apart, so that those who need the coarse one alone save no registers for it.
    #[inline(never)]
    pub(super) fn now(self) -> Instant {
        self.clock.now()
    }

    /// The time as calls need it.
    #[inline]
    fn call_time(self) -> Instant {
        match self.engine.slow_after() {
            Some(after) if after < PRECISE_BELOW => self.now(),
            Some(_) | None => self.clock.coarse(),
        }
    }

    /// The time as results need it that may open the circuit: a cooldown of seconds may end a step
    /// of the coarse clock early.
    fn result_time(self) -> Instant {
        if self.engine.reopen() >= COARSE_COOLDOWN {
            self.call_time()
        } else {
            self.now()
        }
    }
}

/// This moment, in this thread.
#[inline]
pub(super) fn here(now: Instant) -> At {
    At {
        now,
        lane: lane::current(),
    }
}
