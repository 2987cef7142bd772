//! Time of one drill: everything is measured from the moment the load starts.
//!
//! Prevents arms that drift apart: load, faults and observations of both arms read this one
//! monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// The clock of one drill; starts at zero with the load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock that is at zero `delay` from now.
    pub(crate) fn starting_in(delay: Duration) -> Self {
        Self(Instant::now() + delay)
    }

    /// Microseconds since the start; zero before it.
    pub(crate) fn now_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the start; zero before it.
    pub(crate) fn now_ms(self) -> u64 {
        self.now_us() / 1_000
    }

    /// The point `us` microseconds after the start.
    pub(crate) fn at_us(self, us: u64) -> Instant {
        self.0 + Duration::from_micros(us)
    }

    /// Waits until `ms` milliseconds after the start.
    pub(crate) async fn until_ms(self, ms: u64) {
        tokio::time::sleep_until(self.at_us(ms * 1_000)).await;
    }
}
