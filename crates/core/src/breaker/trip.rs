//! When a closed circuit opens, and for how long.
//!
//! Prevents clients that try a broken callee in step: cooldowns grow, and part of each is chance.

use core::time::Duration;

use super::window::{Counted, Tag};
use super::word::{self, GENERATION_MASK, Phase, Word};
use super::{Breaker, Counts, Permit, Transition};
use crate::atomic::{Ordering, fence};
use crate::outcome::Reason;
use crate::time::Instant;

/// The longest wish of a callee that is honoured, an hour: a date in the far future, sent by
/// mistake, must not take an endpoint out for ever.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Layout of a wish: `generation:19 | until:45`, in milliseconds.
const UNTIL_BITS: u32 = 45;
const UNTIL_MASK: u64 = (1 << UNTIL_BITS) - 1;

impl Breaker {
    /// Whether a success changes what the window says: it can complete `calls_min` beside failures,
    /// and with time failures weigh more as older successes expire.
    #[inline]
    pub(super) fn judge_success(
        &self,
        generation: u32,
        counted: Counted,
        now: Instant,
    ) -> Option<Transition> {
        if let Counted::InTime { tag, nth: _ } = counted {
            return self.judge_success_in_time(generation, tag, now);
        }
        if counted.completes(self.limits.calls_min()) {
            return self.judge(generation, self.last_reason(), now);
        }
        None
    }

    /// [`judge_success`](Self::judge_success) in a window of time.
    #[inline]
    pub(super) fn judge_success_in_time(
        &self,
        generation: u32,
        tag: Tag,
        now: Instant,
    ) -> Option<Transition> {
        if self.holds_mark(tag) && !self.calls.was_judged(tag) {
            return self.judge_tick(generation, tag, now);
        }
        None
    }

    /// Whether a failure changes what the window says. In a window of time most need no sum.
    #[inline]
    pub(super) fn judge_failure(
        &self,
        generation: u32,
        reason: Reason,
        counted: Counted,
        now: Instant,
    ) -> Option<Transition> {
        let Err(unspared) = self.calls.spares(counted) else {
            return None;
        };
        if self.limits.flags().slow() {
            // A slow call is more than a failure: none is spared.
            return self.judge(generation, reason, now);
        }
        let counts = self.calls.counts(generation, now);
        if let Some(reason) = self.reached(counts, 0, reason) {
            return self.trip(generation, reason, now);
        }
        if let Some(unspared) = unspared {
            let more = self.limits.failures_left(counts);
            self.calls.spare(&unspared, more);
        }
        None
    }

    /// Whether the window holds a failure, or a slow call where that matters.
    #[inline]
    fn holds_mark(&self, tag: Tag) -> bool {
        let slow = || self.slow.get().is_some_and(|slow| slow.holds_mark(tag));
        self.calls.holds_mark(tag) || self.limits.flags().slow() && slow()
    }

    /// Judges for a success, once per tick as soon as there are enough calls: further ones only
    /// make the rates smaller, and what makes them greater judges by itself.
    #[cold]
    fn judge_tick(&self, generation: u32, tag: Tag, now: Instant) -> Option<Transition> {
        let counts = self.counts_of(generation, now);
        if counts.total >= u64::from(self.limits.calls_min()) {
            self.calls.judged(tag);
        }
        let reason = self.reached(counts, 0, self.last_reason())?;
        self.trip(generation, reason, now)
    }

    /// Opens the circuit if its window says so, because of `reason` or of slow calls.
    #[cold]
    pub(super) fn judge(
        &self,
        generation: u32,
        reason: Reason,
        now: Instant,
    ) -> Option<Transition> {
        let flags = self.limits.flags();
        if !flags.counted() {
            return None;
        }
        let overdue = if flags.in_flight() {
            self.in_flight().overdue(generation, now)
        } else {
            0
        };
        let counts = self.counts_of(generation, now);
        let reason = self.reached(counts, overdue, reason)?;
        self.trip(generation, reason, now)
    }

    /// Which rate is reached: of failures for `reason`, or of slow calls, of which those count that
    /// are still out.
    fn reached(&self, counts: Counts, overdue: u64, reason: Reason) -> Option<Reason> {
        let calls_min = u64::from(self.limits.calls_min());
        let reached = |bad: u64, total: u64, ppm: Option<u32>| {
            let ppm = ppm.map(u64::from);
            total >= calls_min
                && bad > 0
                && ppm.is_some_and(|ppm| bad.saturating_mul(1_000_000) >= total * ppm)
        };
        let Counts {
            failed,
            slow,
            total,
        } = counts;
        if reached(failed, total, self.limits.error_rate_ppm()) {
            return Some(if reason == Reason::Slow {
                self.last_reason()
            } else {
                reason
            });
        }
        let slow_rate = self.limits.slow_rate_ppm();
        reached(slow + overdue, total + overdue, slow_rate).then_some(Reason::Slow)
    }

    /// Opens the circuit, if it is still closed and of this generation.
    #[cold]
    pub(super) fn trip(&self, generation: u32, reason: Reason, now: Instant) -> Option<Transition> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::decode(seen);
            if word.generation != generation || !word.phase.counts_calls() {
                return None;
            }
            let (open, transition) = self.opened(word, reason, now);
            match self.swap(seen, open) {
                Ok(()) => {
                    self.heed(generation, open);
                    return Some(transition);
                },
                // A ramp that ends is no transition.
                Err(current) => seen = current,
            }
        }
    }

    /// The word after a result that opens the circuit.
    pub(super) fn opened(&self, word: Word, reason: Reason, now: Instant) -> (Word, Transition) {
        let past = match word.phase {
            Phase::Closed { since } if now.since(since) >= self.limits.stable_after() => 0,
            Phase::Closed { .. }
            | Phase::Ramp { .. }
            | Phase::HalfOpen(_)
            | Phase::Open { .. }
            | Phase::Forced
            | Phase::Disabled => word.cooldowns,
        };
        let own = now + self.cooldown(past);
        let until = word::ceil_milli(own.max(self.wished(word.generation)));
        let open = word.next(past + 1, Phase::Open { until });
        let transition = Transition::Opened {
            reason,
            retry_after: Some(until.since(now)),
            cooldowns: open.cooldowns,
        };
        (open, transition)
    }

    /// Why the last failed call failed.
    pub(super) fn last_reason(&self) -> Reason {
        let index = self.reason.load(Ordering::Relaxed) as usize;
        Reason::ALL.get(index).copied().unwrap_or(Reason::Error)
    }

    /// Between half of the doubled cooldown and all of it: instances must not probe in step, and
    /// an endpoint that keeps failing must be asked less often.
    fn cooldown(&self, past: u32) -> Duration {
        let whole = self
            .limits
            .reopen()
            .saturating_mul(1 << past.min(31))
            .min(self.limits.reopen_max());
        let half = whole / 2;
        half + self.random.draw().up_to(whole.saturating_sub(half))
    }

    /// The callee of this permit asked to be left alone for so long.
    pub(super) fn hear(&self, permit: &Permit, retry_after: Duration, now: Instant) {
        let jitter = self.random.draw().up_to(self.limits.reopen() / 2);
        let until = now + retry_after.min(RETRY_AFTER_MAX) + jitter;
        let word = self.word();
        if word.generation == permit.generation() {
            self.wish(permit.generation(), until);
        }
        // Either this thread sees a circuit that opened meanwhile, or the one that opened it sees
        // the wish.
        fence(Ordering::SeqCst);
        let word = self.word();
        if permit.precedes(word) {
            self.extend(word.generation, until);
        }
    }

    /// Honours a wish of `generation` that came while the circuit became `open`.
    pub(super) fn heed(&self, generation: u32, open: Word) {
        fence(Ordering::SeqCst);
        self.extend(open.generation, self.wished(generation));
    }

    /// Remembers the latest wish of a generation, for when the circuit opens.
    fn wish(&self, generation: u32, until: Instant) {
        let millis = until.as_nanos().div_ceil(1_000_000).min(UNTIL_MASK);
        let wish = u64::from(generation) << UNTIL_BITS | millis;
        let mut seen = self.wish.load(Ordering::Relaxed);
        while seen >> UNTIL_BITS != u64::from(generation) || seen < wish {
            match self
                .wish
                .compare_exchange_weak(seen, wish, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// Until when the callee wanted to be left alone in this generation; the origin of time for no
    /// wish.
    fn wished(&self, generation: u32) -> Instant {
        let wish = self.wish.load(Ordering::Relaxed);
        if wish >> UNTIL_BITS == u64::from(generation) {
            Instant::from_millis(wish & UNTIL_MASK)
        } else {
            Instant::ORIGIN
        }
    }

    /// Keeps the open circuit of this generation open until then at least.
    fn extend(&self, generation: u32, until: Instant) {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::decode(seen);
            let longer = Phase::Open { until };
            match word.phase {
                Phase::Open { until: end } if word.generation == generation && end < until => {},
                Phase::Open { .. }
                | Phase::Closed { .. }
                | Phase::Ramp { .. }
                | Phase::HalfOpen(_)
                | Phase::Forced
                | Phase::Disabled => return,
            }
            match self.swap(seen, word.with(longer)) {
                Ok(()) => return,
                Err(current) => seen = current,
            }
        }
    }
}

impl Permit {
    /// Whether it is of the generation that ended when the circuit became `word`.
    const fn precedes(&self, word: Word) -> bool {
        (self.generation() as u64 + 1) & GENERATION_MASK == word.generation as u64
    }
}
