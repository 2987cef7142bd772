//! The hands on the breaker: open it, switch it off, watch it without obeying, give it other
//! limits.
//!
//! Prevents an operator who has to restart a service to stop a circuit that is wrong, and a first
//! day in production that is also the first try of the limits.

use super::config::{Config, ConfigError};
use super::word::{Phase, Word};
use super::{Breaker, Transition};
use crate::atomic::Ordering;
use crate::outcome::Reason;
use crate::time::Instant;

/// Who decides whether calls pass. The default is the circuit itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The circuit itself.
    #[default]
    Auto,
    /// Nobody: the circuit counts and changes its state, and rejects nothing. To try limits on live
    /// traffic (Resilience4j's `METRICS_ONLY`).
    Shadow,
    /// It is open, whatever time it is.
    ForcedOpen,
    /// All calls pass, and nothing is counted.
    Disabled,
}

impl Breaker {
    /// Who decides.
    pub fn mode(&self) -> Mode {
        match self.word().phase {
            Phase::Forced => Mode::ForcedOpen,
            Phase::Disabled => Mode::Disabled,
            Phase::Closed { .. } | Phase::Ramp { .. } | Phase::Open { .. } | Phase::HalfOpen(_) => {
                if self.shadow.load(Ordering::Relaxed) {
                    Mode::Shadow
                } else {
                    Mode::Auto
                }
            },
        }
    }

    /// Calls that the circuit would have rejected in [`Mode::Shadow`], modulo 2^32.
    pub fn shadowed_total(&self) -> u32 {
        self.shadowed.load(Ordering::Relaxed)
    }

    /// Rejects all calls until [`auto`](Self::auto), [`shadow`](Self::shadow) or
    /// [`disable`](Self::disable). No timer ends it. The transition is for the observer; `None`
    /// when it was forced open already.
    pub fn force_open(&self) -> Option<Transition> {
        self.shadow.store(false, Ordering::Relaxed);
        let was = self.become_phase(|word| match word.phase {
            Phase::Forced => None,
            Phase::Closed { .. }
            | Phase::Ramp { .. }
            | Phase::Open { .. }
            | Phase::HalfOpen(_)
            | Phase::Disabled => Some(word.next(word.cooldowns, Phase::Forced)),
        })?;
        Some(Transition::Opened {
            reason: Reason::Forced,
            retry_after: None,
            cooldowns: was.cooldowns,
        })
    }

    /// Lets all calls pass and counts nothing, until [`auto`](Self::auto), [`shadow`](Self::shadow)
    /// or [`force_open`](Self::force_open). The transition, if calls were rejected before, is for
    /// the observer.
    pub fn disable(&self) -> Option<Transition> {
        self.shadow.store(false, Ordering::Relaxed);
        let was = self.become_phase(|word| match word.phase {
            Phase::Disabled => None,
            Phase::Closed { .. }
            | Phase::Ramp { .. }
            | Phase::Open { .. }
            | Phase::HalfOpen(_)
            | Phase::Forced => Some(word.next(word.cooldowns, Phase::Disabled)),
        })?;
        closes(was)
    }

    /// The circuit decides and nobody obeys: calls that it would reject pass, uncounted but for
    /// [`shadowed_total`](Self::shadowed_total). From forced open or disabled it begins closed. The
    /// transition, if that closes it, is for the observer.
    pub fn shadow(&self, now: Instant) -> Option<Transition> {
        self.shadow.store(true, Ordering::Relaxed);
        self.let_go(now)
    }

    /// The circuit decides. From forced open or disabled it begins closed, with an empty window;
    /// from the shadow it goes on as it is. The transition, if that closes it, is for the observer.
    pub fn auto(&self, now: Instant) -> Option<Transition> {
        self.shadow.store(false, Ordering::Relaxed);
        self.let_go(now)
    }

    /// Closes the circuit: what stands behind it is another callee now. Results of calls to the old
    /// one are stale from then on, and its cooldowns and its window are forgotten. The mode stays.
    /// The transition, if it was open or half-open, is for the observer.
    pub fn reset(&self, now: Instant) -> Option<Transition> {
        let was = self.become_phase(|word| {
            let phase = match word.phase {
                Phase::Forced | Phase::Disabled => word.phase,
                Phase::Closed { .. }
                | Phase::Ramp { .. }
                | Phase::Open { .. }
                | Phase::HalfOpen(_) => Phase::Closed { since: now },
            };
            Some(word.next(0, phase))
        })?;
        match was.phase {
            Phase::Open { .. } | Phase::HalfOpen(_) => Some(Transition::Closed),
            Phase::Closed { .. } | Phase::Ramp { .. } | Phase::Forced | Phase::Disabled => None,
        }
    }

    /// Takes other limits. State, generation, cooldowns and counts stay; a cooldown that began
    /// keeps its end.
    ///
    /// Only a window of another kind or length, and another limit of slow calls while those in
    /// flight are watched, begin a closed circuit's counts anew: what was counted in other units
    /// cannot be counted on, and results of the calls on their way are stale. A decision that is
    /// made just now may mix old and new limits.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to `config`; nothing changed then.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        config.validate()?;
        let reshaped = !self.calls.spans(config.window);
        let slow_after = config.slow.map(|slow| slow.after);
        let watched = self.in_flight.get().is_some() && self.limits.slow_after() != slow_after;
        self.limits.set(config);
        // Failures were spared by the limits of before.
        self.calls.spare_none();
        if let (Some(in_flight), Some(after)) = (self.in_flight.get(), slow_after) {
            in_flight.set(after);
        }
        if reshaped || watched {
            self.become_phase(|word| {
                word.phase
                    .counts_calls()
                    .then(|| word.next(word.cooldowns, word.phase))
            });
        }
        if reshaped {
            self.calls.reshape(config.window);
            if let Some(slow) = self.slow.get() {
                slow.reshape(config.window);
            }
        }
        Ok(())
    }

    /// Back from forced open and disabled.
    fn let_go(&self, now: Instant) -> Option<Transition> {
        let was = self.become_phase(|word| match word.phase {
            Phase::Forced | Phase::Disabled => {
                Some(word.next(word.cooldowns, Phase::Closed { since: now }))
            },
            Phase::Closed { .. } | Phase::Ramp { .. } | Phase::Open { .. } | Phase::HalfOpen(_) => {
                None
            },
        })?;
        closes(was)
    }

    /// Moves on to the word that `next` gives; returns the one before, or `None` when it gives
    /// none.
    fn become_phase(&self, next: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::decode(seen);
            match self.swap(seen, next(word)?) {
                Ok(()) => return Some(word),
                Err(current) => seen = current,
            }
        }
    }
}

/// What observers hear when calls pass from now on.
fn closes(was: Word) -> Option<Transition> {
    match was.phase {
        Phase::Open { .. } | Phase::HalfOpen(_) | Phase::Forced => Some(Transition::Closed),
        Phase::Closed { .. } | Phase::Ramp { .. } | Phase::Disabled => None,
    }
}
