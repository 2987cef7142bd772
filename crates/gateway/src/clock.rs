//! One reading of the clock, as timers see it and as decisions see it.
//!
//! Prevents two readings where one is enough, and instants of two clocks in one decision: every
//! [`mainstay_core::time::Instant`] in the gateway counts from the same origin.

use mainstay_core::time::{self, Duration, nanos};
use tokio::time::Instant;

/// The origin of the gateway's time. It lies a little before the start, so that no instant in
/// use is 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

const BEFORE_START: Duration = Duration::from_secs(1);

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// `instant` as decisions see it.
    pub(crate) fn at(self, instant: Instant) -> time::Instant {
        let since = instant.saturating_duration_since(self.origin);
        time::Instant::from_nanos(nanos(since)) + BEFORE_START
    }

    /// Now as decisions see it.
    pub(crate) fn now(self) -> time::Instant {
        self.at(Instant::now())
    }
}
