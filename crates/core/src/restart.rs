//! When to start a process again that ended: backoff, and the word for a crash loop.
//!
//! Prevents two failures: a service that stays down because nobody restarts it, and a process
//! that dies at once and burns the machine with its restarts. The delay doubles from
//! [`Policy::delay_min`] to [`Policy::delay_max`], with jitter so that replicas do not start in
//! step, and is forgotten after [`Policy::healthy_after`] of good running (Erlang/OTP calls the
//! rate "restart intensity").

use core::time::Duration;

use crate::random::Random;
use crate::retry::{Backoff, BackoffConfig, Growth, Jitter};
use crate::time::Instant;

/// How restarts are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The first delay; zero is none, ever. Default: 10 ms.
    pub delay_min: Duration,
    /// The cap of the delay, before jitter. Default: 30 s.
    pub delay_max: Duration,
    /// Running this long forgets past exits. Default: 1 min.
    pub healthy_after: Duration,
    /// Exits in a row from which on the replica is said to be in a crash loop. 0 as 1: each exit is
    /// one. Default: 5.
    pub crash_loop_after: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_millis(10),
            delay_max: Duration::from_secs(30),
            healthy_after: Duration::from_mins(1),
            crash_loop_after: 5,
        }
    }
}

/// What to do about an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How long to wait before the next start: between half of the doubled delay and all of it.
    pub delay: Duration,
    /// Exits in a row, this one included.
    pub exits: u32,
    /// Whether this is a crash loop.
    pub crash_loop: bool,
}

/// The restart history of one replica.
///
/// ```
/// use mainstay_core::random::Random;
/// use mainstay_core::restart::{Policy, Restart};
/// use mainstay_core::time::{Duration, Instant};
///
/// let mut restart = Restart::new(Policy::default());
/// let (now, mut random) = (Instant::from_millis(1), Random::seeded(7));
/// // It dies as soon as it is started: each start comes later, and somebody is told.
/// let first = restart.exited(now, now, &mut random);
/// assert!(first.delay <= Duration::from_millis(10) && !first.crash_loop);
/// let fifth = (2..=5).map(|_| restart.exited(now, now, &mut random)).last().unwrap();
/// assert!(fifth.delay >= Duration::from_millis(80) && fifth.crash_loop);
///
/// // It ran well for a minute: what was before is forgotten.
/// let much_later = now + Duration::from_secs(60);
/// assert_eq!(restart.exited(now, much_later, &mut random).exits, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Restart {
    policy: Policy,
    exits: u32,
}

impl Restart {
    /// A replica that never exited.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, exits: 0 }
    }

    /// Exits in a row so far.
    pub const fn exits(&self) -> u32 {
        self.exits
    }

    /// The process that was started at `started` ended at `now`.
    pub fn exited(&mut self, started: Instant, now: Instant, random: &mut Random) -> Decision {
        if now.since(started) >= self.policy.healthy_after {
            self.exits = 0;
        }
        self.exits = self.exits.saturating_add(1);
        Decision {
            delay: self.delay(random),
            exits: self.exits,
            crash_loop: self.exits >= self.policy.crash_loop_after,
        }
    }

    /// Between half of the doubled delay and all of it: the wait must grow, so not full jitter.
    fn delay(&self, random: &mut Random) -> Duration {
        let backoff = Backoff::unchecked(BackoffConfig {
            growth: Growth::Exponential { factor: 2.0 },
            base: self.policy.delay_min,
            max: self.policy.delay_max,
            jitter: Jitter::Equal,
        });
        backoff.after(self.exits, Duration::ZERO, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays_of(exits: u32, policy: Policy) -> alloc::vec::Vec<Decision> {
        let mut restart = Restart::new(policy);
        let mut random = Random::seeded(3);
        let at = Instant::from_millis;
        (0..exits)
            .map(|_| restart.exited(at(0), at(1), &mut random))
            .collect()
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let policy = Policy::default();
        for (i, decision) in delays_of(40, policy).into_iter().enumerate() {
            let whole = policy
                .delay_min
                .saturating_mul(1 << i.min(31))
                .min(policy.delay_max);
            assert!(
                decision.delay >= whole / 2 && decision.delay <= whole,
                "exit {i}"
            );
        }
    }

    #[test]
    fn a_crash_loop_is_named_from_the_fifth_exit_on() {
        let named: alloc::vec::Vec<bool> = delays_of(6, Policy::default())
            .iter()
            .map(|d| d.crash_loop)
            .collect();
        assert_eq!(named, [false, false, false, false, true, true]);
    }

    #[test]
    fn a_healthy_minute_forgets_past_exits() {
        let mut restart = Restart::new(Policy::default());
        let mut random = Random::seeded(3);
        let at = Instant::from_millis;
        for _ in 0..9 {
            restart.exited(at(0), at(1), &mut random);
        }

        let decision = restart.exited(at(0), at(60_000), &mut random);

        assert_eq!((decision.exits, decision.crash_loop), (1, false));
        assert!(decision.delay <= Duration::from_millis(10));
    }
}
