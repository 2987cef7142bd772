//! The right to make one call, held while it runs.
//!
//! Prevents a call whose end nobody hears of: whatever becomes of it, the permit is given back.

use std::borrow::Borrow;
use std::fmt;

use mainstay_core::breaker::{self, At};
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::Instant;

use super::Breaker;
use crate::clock::Clock;
use crate::lane;

/// The right to make one call through a [`Breaker`]; used up by the call's result.
///
/// Where calls may be slow, it knows when its call began. Dropped without a result, it counts as
/// abandoned: a probe's slot is free again. Dropped by a panic, it counts as a failure.
#[must_use = "a permit that is dropped at once says that the call was abandoned"]
pub struct Held<B: Borrow<Breaker>> {
    breaker: B,
    /// Taken by the first result.
    permit: Option<breaker::Permit>,
}

/// A permit that borrows its breaker.
pub type Permit<'a> = Held<&'a Breaker>;

/// A permit that may move into another task, a response body or a blocking thread.
pub type OwnedPermit = Held<Breaker>;

impl<B: Borrow<Breaker>> Held<B> {
    pub(super) const fn new(breaker: B, permit: breaker::Permit) -> Self {
        Self {
            breaker,
            permit: Some(permit),
        }
    }

    /// The clock that [`record_at`](Self::record_at) is told by.
    pub(super) fn clock(&self) -> &Clock {
        self.breaker.borrow().0.family.clock()
    }

    /// The call succeeded.
    #[inline]
    pub fn success(mut self) {
        if let Some(permit) = self.permit.take() {
            let breaker = self.breaker.borrow();
            if let Err(permit) = breaker.0.engine.success_untimed(permit) {
                breaker.succeed(permit);
            }
        }
    }

    /// The call failed.
    pub fn failure(self, reason: Reason) {
        self.record(Outcome::Failure(reason));
    }

    /// The call says nothing about the callee; a probe's slot is free again.
    pub fn ignore(self) {
        self.record(Outcome::Ignored);
    }

    /// The call ended so.
    #[inline]
    pub fn record(self, outcome: Outcome) {
        match outcome {
            Outcome::Success | Outcome::Permanent => self.success(),
            Outcome::Failure(_) | Outcome::Throttled { .. } | Outcome::Ignored => {
                let now = self.breaker.borrow().result_time();
                self.record_at(outcome, now);
            },
        }
    }

    /// [`record`](Self::record) for a caller that has just read the clock.
    pub fn record_at(mut self, outcome: Outcome, now: Instant) {
        let breaker = self.breaker.borrow();
        if let Some(permit) = self.permit.take() {
            breaker.tell(breaker.0.engine.record(permit, outcome, here(now)));
        }
    }
}

impl Breaker {
    /// Not part of its callers: the permit reaches it in registers.
    #[inline(never)]
    fn succeed(&self, permit: breaker::Permit) {
        let at = here(self.call_time());
        self.tell(self.0.engine.success(permit, at));
    }
}

#[inline]
fn here(now: Instant) -> At {
    At {
        now,
        lane: lane::current(),
    }
}

impl<B: Borrow<Breaker>> Drop for Held<B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            give_back(self.breaker.borrow(), permit);
        }
    }
}

#[cold]
fn give_back(breaker: &Breaker, permit: breaker::Permit) {
    let at = here(breaker.now());
    let engine = &breaker.0.engine;
    breaker.tell(if std::thread::panicking() {
        engine.failure(permit, Reason::Panic, at)
    } else {
        engine.abandon(permit, at)
    });
}

impl<B: Borrow<Breaker>> fmt::Debug for Held<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}
