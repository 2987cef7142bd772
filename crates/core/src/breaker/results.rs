//! What results change: counts, and through them the state.
//!
//! Prevents a call that is counted twice, or by a state that did not let it through: a result takes
//! its permit, and one of another generation changes nothing.

use super::permit::{Kind, UNTIMED};
use super::window::{Counted, Counts, Tag};
use super::word::Word;
use super::{Abandoned, At, Breaker, DURATION_MAX, InFlight, Permit, Transition};
use crate::atomic::Ordering;
use crate::outcome::{Outcome, Reason};
use crate::time::{Duration, Instant};

/// Results. A permit is used up by its result, so that no call is counted twice.
#[expect(
    clippy::needless_pass_by_value,
    reason = "taking the permit is what makes a second result impossible"
)]
impl Breaker {
    /// Gives the permit back with the call's outcome. As from all of these methods, the transition
    /// that the result makes is for the observer; most make none.
    pub fn record(
        &self,
        permit: Permit,
        outcome: Outcome,
        at: impl Into<At>,
    ) -> Option<Transition> {
        match outcome {
            Outcome::Success | Outcome::Permanent => self.success(permit, at),
            Outcome::Failure(reason) => self.failure(permit, reason, at),
            Outcome::Throttled { retry_after } => self.throttled(permit, retry_after, at),
            Outcome::Ignored => {
                self.ignore(permit);
                None
            },
        }
    }

    /// The call succeeded. It may still have been slow, and open the circuit by that.
    #[expect(
        clippy::inline_always,
        reason = "a tenth of a call would go into calling it"
    )]
    #[inline(always)]
    pub fn success(&self, permit: Permit, at: impl Into<At>) -> Option<Transition> {
        let at = at.into();
        match self.count_plainly(&permit, at) {
            Some(tag) => self.judge_success_in_time(permit.generation(), tag, at.now),
            None => self.success_in_full(permit, at),
        }
    }

    /// The call succeeded, at a time that nobody needs to know: the circuit is closed and counts
    /// nothing but failures in a row.
    ///
    /// # Errors
    ///
    /// The permit, when more is counted, or the time is needed after all.
    #[inline]
    pub fn success_uncounted(&self, permit: Permit) -> Result<(), Permit> {
        let seen = self.word.load(Ordering::Acquire);
        let closed = Word::closed_generation(seen) == Some(permit.generation());
        if !closed || self.limits.flags().counted() || permit.kind() != Kind::Plain {
            return Err(permit);
        }
        self.streak.succeeded(permit.generation());
        Ok(())
    }

    /// The call succeeded, at a time that nobody needs to know: the circuit is closed, and has a
    /// window of calls.
    ///
    /// # Errors
    ///
    /// The permit, when the time is needed after all: hand it to [`success`](Self::success).
    #[inline]
    pub fn success_untimed(&self, permit: Permit) -> Result<(), Permit> {
        if !self.calls.is_ring() {
            return Err(permit);
        }
        let flags = self.limits.flags();
        let seen = self.word.load(Ordering::Acquire);
        let closed = Word::closed_generation(seen) == Some(permit.generation());
        if !closed || !flags.counted() || flags.slow() || permit.kind() != Kind::Plain {
            return Err(permit);
        }
        let generation = permit.generation();
        let Some(counted) = self.calls.count_in_ring(generation, false) else {
            return Err(permit);
        };
        self.streak.succeeded(generation);
        if counted.completes(self.limits.calls_min()) {
            return Err(Permit::new(generation, UNTIMED, Kind::Counted));
        }
        Ok(())
    }

    /// The call failed, for this reason.
    #[inline]
    pub fn failure(&self, permit: Permit, reason: Reason, at: impl Into<At>) -> Option<Transition> {
        let at = at.into();
        let seen = self.word.load(Ordering::Acquire);
        let closed = Word::closed_generation(seen) == Some(permit.generation());
        if closed && permit.kind() == Kind::Plain {
            return self.failed(permit, reason, at);
        }
        self.failure_in_full(permit, reason, at)
    }

    /// The callee had too much to do, and may have said how long it wants to be left alone
    /// (`Retry-After`, RFC 9110, section 10.2.3): a failure, and a circuit that opens in this
    /// generation stays open until then. One that is open by now stays open for longer. The wish
    /// counts up to [`RETRY_AFTER_MAX`](super::RETRY_AFTER_MAX); jitter is added to it, never taken
    /// away.
    pub fn throttled(
        &self,
        permit: Permit,
        retry_after: Option<Duration>,
        at: impl Into<At>,
    ) -> Option<Transition> {
        let at = at.into();
        if let Some(retry_after) = retry_after
            && permit.kind() != Kind::Shadow
        {
            self.hear(&permit, retry_after, at.now);
        }
        self.failure(permit, Reason::Throttled, at)
    }

    /// The call was dropped before its end. See [`Abandoned`]; a probe's slot is free again.
    pub fn abandon(&self, permit: Permit, at: impl Into<At>) -> Option<Transition> {
        let at = at.into();
        match self.limits.abandoned() {
            Abandoned::Failure => return self.failure(permit, Reason::Abandoned, at),
            Abandoned::Ignore => {
                self.ignore(permit);
                return None;
            },
            Abandoned::FailureIfAll => {},
        }
        let word = self.settle(&permit)?;
        if !word.phase.counts_calls() {
            self.release(&permit);
            return None;
        }
        let abandoned = self.streak.abandoned(word.generation);
        if abandoned < self.limits.calls_min() || self.was_answered(word.generation, at.now) {
            return None;
        }
        self.trip(word.generation, Reason::Abandoned, at.now)
    }

    /// The call says nothing about the callee. A probe's slot is free again.
    pub fn ignore(&self, permit: Permit) {
        if self.settle(&permit).is_some() {
            self.release(&permit);
        }
    }
}

/// What results change.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a permit is two registers; a reference to it would be a place in memory, written first"
)]
impl Breaker {
    /// Takes back what the permit holds; the state, if it is of the same generation.
    fn settle(&self, permit: &Permit) -> Option<Word> {
        let word = self.word();
        match permit.kind() {
            Kind::Shadow => return None,
            Kind::Tracked | Kind::Plain | Kind::Counted
                if word.generation != permit.generation() =>
            {
                self.stale.fetch_add(1, Ordering::Relaxed);
                return None;
            },
            Kind::Tracked => self.in_flight().end(permit.generation(), permit.started()),
            Kind::Plain | Kind::Counted => {},
        }
        Some(word)
    }

    /// Counts a good call through a closed circuit where nothing else has to be done: the way of
    /// nearly every call, and short. `None` where nothing was counted.
    #[expect(
        clippy::inline_always,
        reason = "a tenth of a call would go into calling it"
    )]
    #[inline(always)]
    fn count_plainly(&self, permit: &Permit, at: At) -> Option<Tag> {
        let flags = self.limits.flags();
        let seen = self.word.load(Ordering::Acquire);
        let closed = Word::closed_generation(seen) == Some(permit.generation());
        let fast = || permit.kind() == Kind::Plain && !self.took_too_long(permit, at.now);
        if !closed || !flags.counted() || flags.slow() && !fast() {
            return None;
        }
        let tag = self.calls.count_plainly(permit.generation(), at)?;
        self.streak.succeeded(permit.generation());
        Some(tag)
    }

    fn took_too_long(&self, permit: &Permit, now: Instant) -> bool {
        self.limits.is_slow(now.since(permit.started()))
    }

    /// A success, whatever has to be done.
    #[inline(never)]
    fn success_in_full(&self, permit: Permit, at: At) -> Option<Transition> {
        let word = self.settle(&permit)?;
        if permit.kind() == Kind::Counted {
            return self.judge(word.generation, self.last_reason(), at.now);
        }
        let flags = self.limits.flags();
        let slow = flags.slow() && self.took_too_long(&permit, at.now);
        if !word.phase.counts_calls() {
            return self.probed(&permit, slow.then_some(Reason::Slow), at.now);
        }
        self.streak.succeeded(word.generation);
        if !flags.counted() {
            return None;
        }
        let counted = self.calls.count(word.generation, at, false);
        if flags.slow() {
            self.count_slow(counted, slow, at);
        }
        let due = permit.kind() == Kind::Tracked && self.in_flight().is_due(at.now);
        if slow || due {
            return self.judge(word.generation, Reason::Slow, at.now);
        }
        self.judge_success(word.generation, counted, at.now)
    }

    /// A failure, whatever has to be done.
    #[cold]
    fn failure_in_full(&self, permit: Permit, reason: Reason, at: At) -> Option<Transition> {
        let word = self.settle(&permit)?;
        if !word.phase.counts_calls() {
            return self.probed(&permit, Some(reason), at.now);
        }
        self.failed(permit, reason, at)
    }

    /// A failure of a circuit that counts its calls.
    fn failed(&self, permit: Permit, reason: Reason, at: At) -> Option<Transition> {
        let generation = permit.generation();
        self.reason.store(reason as u32, Ordering::Relaxed);
        let streak = self.streak.failed(generation);
        if self
            .limits
            .consecutive()
            .is_some_and(|limit| streak >= limit)
        {
            return self.trip(generation, reason, at.now);
        }
        let flags = self.limits.flags();
        if !flags.counted() {
            return None;
        }
        let counted = self.calls.count(generation, at, true);
        if flags.slow() {
            let slow = self.took_too_long(&permit, at.now);
            self.count_slow(counted, slow, at);
        }
        self.judge_failure(generation, reason, counted, at.now)
    }

    /// Counts beside the calls whether this one was slow.
    fn count_slow(&self, counted: Counted, slow: bool, at: At) {
        // In a ring, a call that was not slow takes the place of one that may have been.
        let window = if slow {
            Some(self.slow.get_or_init(|| self.calls.another().into()))
        } else {
            self.slow.get()
        };
        if let Some(window) = window {
            window.count_beside(&self.calls, counted, at, slow);
        }
    }

    /// Whether the window holds a call that was answered.
    fn was_answered(&self, generation: u32, now: Instant) -> bool {
        // A window of calls always holds the last answer; that the calls since then were all
        // abandoned is what their row says.
        !self.calls.is_ring() && self.calls.counts(generation, now).total > 0
    }

    pub(super) fn counts_of(&self, generation: u32, now: Instant) -> Counts {
        let slow = self
            .slow
            .get()
            .map_or(0, |slow| slow.bad_beside(&self.calls, generation, now));
        Counts {
            slow,
            ..self.calls.counts(generation, now)
        }
    }

    pub(super) fn in_flight(&self) -> &InFlight {
        self.in_flight.get_or_init(|| {
            let after = self.limits.slow_after().unwrap_or(DURATION_MAX);
            InFlight::new(after).into()
        })
    }
}
