//! The one clock of a supervisor.
//!
//! Prevents two origins in one state machine: every instant that a replica sees is counted from
//! the moment the supervisor was made.

use mainstay_core::time::{Instant, nanos};
use tokio::time;

/// Reads monotonic time as the state machines want it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub(crate) fn start() -> Self {
        Self {
            origin: time::Instant::now(),
        }
    }

    /// The time that passed since the origin.
    pub(crate) fn now(self) -> Instant {
        Instant::from_nanos(nanos(self.origin.elapsed()))
    }

    /// Waits until `instant`; for ever when there is none.
    pub(crate) async fn reaches(self, instant: Option<Instant>) {
        match instant {
            Some(instant) => {
                time::sleep_until(self.origin + instant.since(Instant::ORIGIN)).await;
            },
            None => std::future::pending().await,
        }
    }
}
