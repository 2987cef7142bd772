//! Which endpoint gets the next call.
//!
//! Prevents a slow endpoint from getting its full share, and the herd that follows the one that
//! just looked best. [`Load`] weighs an endpoint by its latency and what it has in flight;
//! [`pick`] takes the better one of two drawn at random (Mitzenmacher, "The Power of Two Choices in
//! Randomized Load Balancing", IEEE TPDS 2001): nearly as good as the best of all, without
//! everybody running to the same one.
//!
//! ```
//! use mainstay_core::balance::{Load, pick};
//! use mainstay_core::outcome::Outcome;
//! use mainstay_core::random::Random;
//! use mainstay_core::time::{Duration, Instant};
//!
//! let endpoints = [Load::new(), Load::new()];
//! let now = Instant::from_millis(1);
//! for (endpoint, rtt_ms) in endpoints.iter().zip([100, 1]) {
//!     endpoint.begin();
//!     endpoint.end(Outcome::Success, Duration::from_millis(rtt_ms), now);
//! }
//! // Of two, the slow one gets nothing as long as the fast one has little in flight.
//! let cost = |endpoint: usize| endpoints[endpoint].cost(now);
//! assert_eq!(pick(2, &mut Random::seeded(7), |_| true, cost), Some(1));
//! ```

use core::time::Duration;

use crate::atomic::{AtomicU32, Ordering};
use crate::outcome::Outcome;
use crate::time::Instant;

mod ewma;
mod p2c;

pub use ewma::{DECAY, Ewma, FAILURE_FACTOR, FAILURE_RTT_MAX, RTT_UNKNOWN};
pub use p2c::pick;

/// What one endpoint has to carry, as its callers see it.
#[derive(Debug, Default)]
pub struct Load {
    ewma: Ewma,
    in_flight: AtomicU32,
}

impl Load {
    /// An endpoint that nobody called yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A call begins. Every call that begins must [`end`](Self::end). One that does not counts as
    /// in flight for ever.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call that took `rtt` ends at `now`. One that was ignored says nothing of the latency. A
    /// failure counts by [`FAILURE_FACTOR`].
    pub fn end(&self, outcome: Outcome, rtt: Duration, now: Instant) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        match outcome.callee_worked() {
            Some(true) => self.ewma.succeeded(rtt, now),
            Some(false) => self.ewma.failed(rtt, now),
            None => {},
        }
    }

    /// Forgets the latency: the endpoint was away and has come back, and what its failures said of
    /// it no longer holds. Calls in flight still count.
    pub fn forget(&self) {
        self.ewma.forget();
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The peak EWMA of the latency: [`RTT_UNKNOWN`] where nothing is known.
    pub fn rtt(&self, now: Instant) -> Duration {
        self.ewma.rtt(now)
    }

    /// Latency in nanoseconds times calls in flight, the next one included: how long that one would
    /// take. Above 0, so that an idle endpoint does not draw everybody.
    pub fn cost(&self, now: Instant) -> f64 {
        self.ewma.nanos(now) * (f64::from(self.in_flight()) + 1.0)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
