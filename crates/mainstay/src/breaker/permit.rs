//! The right to make one call, held while it runs.
//!
//! Prevents a call whose end nobody hears of: whatever becomes of it, the permit is given back.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use mainstay_core::breaker;
use mainstay_core::event::Observe;
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::Instant;

use super::Breaker;
use super::timed::here;
use crate::clock::Clock;

/// The right to make one call through a [`Breaker`]; used up by the call's result.
///
/// Where calls may be slow, it knows when its call began. Dropped without a result, it counts as
/// abandoned: a probe's slot is free again. Dropped by a panic, it counts as a failure.
#[must_use = "a permit that is dropped at once says that the call was abandoned"]
pub struct Held<B: Borrow<Breaker<O>>, O: Observe = ()> {
    breaker: B,
    observer: PhantomData<O>,
    /// Taken by the first result.
    permit: Option<breaker::Permit>,
}

/// A permit that borrows its breaker.
pub type Permit<'a, O = ()> = Held<&'a Breaker<O>, O>;

/// A permit that may move into another task, a response body or a blocking thread.
pub type OwnedPermit<O = ()> = Held<Breaker<O>, O>;

impl<B: Borrow<Breaker<O>>, O: Observe> Held<B, O> {
    pub(super) const fn new(breaker: B, permit: breaker::Permit) -> Self {
        Self {
            breaker,
            observer: PhantomData,
            permit: Some(permit),
        }
    }

    /// The clock that [`record_at`](Self::record_at) is told by.
    pub(super) fn clock(&self) -> &Clock {
        self.breaker.borrow().0.family.clock()
    }

    /// The call succeeded.
    #[expect(clippy::inline_always, reason = "see `Breaker::try_acquire`")]
    #[inline(always)]
    pub fn success(mut self) {
        self.succeed();
    }

    /// The call failed, for this reason.
    pub fn failure(self, reason: Reason) {
        self.record(Outcome::Failure(reason));
    }

    /// The call says nothing about the callee; a probe's slot is free again.
    pub fn ignore(self) {
        self.record(Outcome::Ignored);
    }

    /// The call ended so: what [`Classify`](crate::Classify) says of its result.
    #[inline]
    pub fn record(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    /// [`record`](Self::record) in place.
    #[inline]
    pub(super) fn settle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Success | Outcome::Permanent => self.succeed(),
            Outcome::Failure(_) | Outcome::Throttled { .. } | Outcome::Ignored => {
                if let Some(permit) = self.take() {
                    let breaker = self.breaker.borrow();
                    breaker.tell(breaker.timed().record(permit, outcome));
                }
            },
        }
    }

    #[inline]
    fn succeed(&mut self) {
        if let Some(permit) = self.take() {
            let breaker = self.breaker.borrow();
            if let Err(permit) = breaker.0.engine.success_uncounted(permit) {
                breaker.tell(breaker.timed().success(permit));
            }
        }
    }

    /// Takes the permit out: nothing is given back any more.
    #[inline]
    pub(super) const fn take(&mut self) -> Option<breaker::Permit> {
        self.permit.take()
    }

    /// [`record`](Self::record) for a caller that has just read the clock.
    pub fn record_at(mut self, outcome: Outcome, now: Instant) {
        let breaker = self.breaker.borrow();
        if let Some(permit) = self.permit.take() {
            breaker.tell(breaker.0.engine.record(permit, outcome, here(now)));
        }
    }
}

impl<B: Borrow<Breaker<O>>, O: Observe> Drop for Held<B, O> {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let breaker = self.breaker.borrow();
            breaker.tell(breaker.timed().give_back(permit));
        }
    }
}

impl<B: Borrow<Breaker<O>>, O: Observe> fmt::Debug for Held<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}
