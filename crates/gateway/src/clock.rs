//! One reading of the clock, as timers see it and as decisions see it.
//!
//! Prevents two readings where one is enough, and instants of two clocks in one decision: every
//! [`mainstay_core::time::Instant`] in the gateway counts from the same origin.

use mainstay_core::time::{self, Deadline};
use tokio::time::Instant;

/// The gateway's clock: that of the policies, which can also be told a reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    policies: mainstay::Clock,
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        let policies = mainstay::Clock::new();
        Self {
            policies,
            origin: policies.timer(time::Instant::ORIGIN),
        }
    }

    /// `instant` as decisions see it.
    pub(crate) fn at(self, instant: Instant) -> time::Instant {
        time::Instant::ORIGIN + instant.saturating_duration_since(self.origin)
    }

    /// `instant` as the end of a call.
    pub(crate) fn deadline(self, instant: Instant) -> Deadline {
        Deadline::at(self.at(instant))
    }

    /// Now as decisions see it.
    pub(crate) fn now(self) -> time::Instant {
        self.policies.now()
    }

    /// The same clock for policies that read it themselves.
    pub(crate) const fn policies(self) -> mainstay::Clock {
        self.policies
    }
}
