//! Half-open, and the ramp after it: how calls come back.
//!
//! Prevents two ways to break a callee that just recovered: a herd of callers that all try it at
//! once, and the whole load at once after the first good answers.

use core::time::Duration;

use super::word::{Phase, Probes, Word};
use super::{Breaker, Permit, Rejected, Transition};
use crate::atomic::Ordering;
use crate::outcome::Reason;
use crate::time::{Instant, nanos};

/// The share of calls at the beginning of a ramp, 10 %: enough to warm caches.
pub const RAMP_FLOOR: f64 = 0.1;

const RAMP_FLOOR_PPM: u64 = 100_000;
const PPM: u64 = 1_000_000;

/// A call that must wait in the ramp may ask again when the share has grown by this part of it.
const RAMP_STEPS: u32 = 16;

impl Breaker {
    pub(super) fn half_open(
        &self,
        word: Word,
        until: Instant,
        now: Instant,
    ) -> Result<(Word, Option<Transition>), Rejected> {
        if now < until {
            return Err(Rejected {
                retry_after: Some(until.since(now)),
            });
        }
        let probes = Probes::first(self.limits.lease().stamp(now));
        let next = word.next(word.cooldowns, Phase::HalfOpen(probes));
        Ok((next, Some(Transition::HalfOpened)))
    }

    /// The word after one more probe. When all are out and their lease ran out, all are given up:
    /// their results are stale from then on, and this is the first of the next generation.
    pub(super) fn admit_probe(
        &self,
        word: Word,
        probes: Probes,
        now: Instant,
    ) -> Result<Word, Rejected> {
        let lease = self.limits.lease();
        let stamp = lease.stamp(now);
        if probes.admitted < self.limits.probes() {
            let admitted = probes.admitted + 1;
            return Ok(word.with(Phase::HalfOpen(Probes {
                admitted,
                stamp,
                ..probes
            })));
        }
        match lease.remaining(probes.stamp, now) {
            Some(left) => Err(Rejected {
                retry_after: Some(left),
            }),
            None => Ok(word.next(word.cooldowns, Phase::HalfOpen(Probes::first(stamp)))),
        }
    }

    /// Takes a probe's result, `bad` saying why it was.
    #[cold]
    pub(super) fn probed(
        &self,
        permit: &Permit,
        bad: Option<Reason>,
        now: Instant,
    ) -> Option<Transition> {
        loop {
            let (seen, word, probes) = self.probing(permit)?;
            let ok = probes.ok + 1;
            let (next, transition) = match bad {
                Some(reason) => self.probe_failed(word, probes, reason, now),
                None => self.probe_counted(word, Probes { ok, ..probes }, now),
            };
            if self.swap(seen, next).is_ok() {
                self.heed(permit.generation(), next);
                return transition;
            }
        }
    }

    /// Gives a probe's slot back.
    pub(super) fn release(&self, permit: &Permit) {
        while let Some((seen, word, probes)) = self.probing(permit) {
            let admitted = probes.admitted.saturating_sub(1);
            let next = word.with(Phase::HalfOpen(Probes { admitted, ..probes }));
            if self.swap(seen, next).is_ok() {
                return;
            }
        }
    }

    /// The probes, if `permit` is one of them.
    fn probing(&self, permit: &Permit) -> Option<(u64, Word, Probes)> {
        let seen = self.word.load(Ordering::Acquire);
        let word = Word::decode(seen);
        match word.phase {
            Phase::HalfOpen(probes) if word.generation == permit.generation() => {
                Some((seen, word, probes))
            },
            Phase::HalfOpen(_)
            | Phase::Closed { .. }
            | Phase::Ramp { .. }
            | Phase::Open { .. }
            | Phase::Forced
            | Phase::Disabled => None,
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
        if bad < self.limits.probes_bad() {
            return self.probe_counted(word, Probes { bad, ..probes }, now);
        }
        let (open, transition) = self.opened(word, reason, now);
        (open, Some(transition))
    }

    /// The word after a result that does not open the circuit.
    fn probe_counted(
        &self,
        word: Word,
        probes: Probes,
        now: Instant,
    ) -> (Word, Option<Transition>) {
        if probes.ok + probes.bad < self.limits.probes() {
            return (word.with(Phase::HalfOpen(probes)), None);
        }
        let phase = match self.limits.ramp() {
            Some(_) => Phase::Ramp { since: now },
            None => Phase::Closed { since: now },
        };
        (word.next(word.cooldowns, phase), Some(Transition::Closed))
    }

    /// Asks to pass in the ramp: `None` admits, a word says that the ramp is over. It stays the
    /// same generation: results of the ramp count on.
    pub(super) fn ramp(
        &self,
        word: Word,
        since: Instant,
        now: Instant,
    ) -> Result<Option<Word>, Rejected> {
        let Some(share) = self.ramp_share(since, now) else {
            // Calm is counted from the ramp's end: all calls must have passed for so long.
            let ended = since + self.limits.ramp().unwrap_or_default();
            return Ok(Some(word.with(Phase::Closed { since: ended })));
        };
        if self.random.draw().below(PPM) < u64::from(share) {
            return Ok(None);
        }
        let step = self.limits.ramp().unwrap_or_default() / RAMP_STEPS;
        Err(Rejected {
            retry_after: Some(step.max(Duration::from_millis(1))),
        })
    }

    /// The share of calls that the ramp lets through, in parts per million; `None` once it is over.
    pub(super) fn ramp_share(&self, since: Instant, now: Instant) -> Option<u32> {
        let ramp = nanos(self.limits.ramp()?);
        let elapsed = nanos(now.since(since));
        if elapsed >= ramp {
            return None;
        }
        // In microseconds, so that no product of a month overflows.
        let grown = (PPM - RAMP_FLOOR_PPM) * (elapsed / 1_000) / (ramp / 1_000).max(1);
        u32::try_from((RAMP_FLOOR_PPM + grown).min(PPM)).ok()
    }
}
