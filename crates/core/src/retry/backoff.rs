//! Exponential backoff with full jitter.
//!
//! Prevents retries in step: clients that failed together would come back together. Full jitter
//! (uniform from zero to the doubled wait) spreads them best for the least waiting in sum
//! (Brooker, "Exponential Backoff And Jitter", AWS 2015).

use core::time::Duration;

use crate::random::Random;

/// The wait before an attempt, as a function of the attempts made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait; doubles with each attempt.
    pub min: Duration,
    /// Cap of the upper bound.
    pub max: Duration,
}

impl Backoff {
    /// The longest wait after `attempts_used` attempts.
    pub fn bound(&self, attempts_used: u32) -> Duration {
        // From the 32nd doubling on, every cap that makes sense has been reached.
        let doublings = attempts_used.saturating_sub(1).min(31);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }

    /// The wait after `attempts_used` attempts: uniform up to the bound.
    pub fn after(&self, attempts_used: u32, random: &mut Random) -> Duration {
        random.up_to(self.bound(attempts_used))
    }
}
