//! The timeout detector: silent for longer than a limit.
//!
//! Prevents a peer that stopped from being believed alive for longer than the limit. Simple, and
//! wrong twice: too slow for a peer that beats every 10 ms, too fast for one behind a bad line;
//! [`Phi`](super::Phi) learns which is which.

use core::time::Duration;

use super::{ConfigError, Suspicion, check_duration};
use crate::time::{Instant, nanos};

/// A fixed time of silence.
#[derive(Clone, Debug)]
pub struct Timeout {
    limit: Duration,
    last: Instant,
}

impl Timeout {
    /// A detector whose silence begins at `now`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] for a `limit` below [`DURATION_MIN`](super::DURATION_MIN) or above
    /// [`DURATION_MAX`](super::DURATION_MAX).
    pub fn new(limit: Duration, now: Instant) -> Result<Self, ConfigError> {
        check_duration("timeout", limit)?;
        Ok(Self { limit, last: now })
    }

    /// A heartbeat arrived at `now`. One that is older than the last changes nothing.
    pub fn heartbeat(&mut self, now: Instant) {
        self.last = self.last.max(now);
    }

    /// The share of the limit that has passed at `now`: 1 at the limit times `stretch`, of which 0
    /// counts as 1.
    pub fn suspicion(&self, now: Instant, stretch: u32) -> Suspicion {
        let limit = self.limit.saturating_mul(stretch.max(1));
        Suspicion {
            level: nanos(now.since(self.last)) as f64 / nanos(limit) as f64,
            threshold: 1.0,
        }
    }
}
