//! One attempt at one endpoint, from the permit to its outcome.
//!
//! Prevents attempts that nobody accounts for: every attempt is settled exactly once, with the
//! breaker, the load and the counts in one place. One that is dropped (the client went away) gives
//! its permit, and with it a probe's slot, back; an endpoint that no client ever waits long enough
//! for is found out by the breaker, which counts calls abandoned before an answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_core::breaker::{Permit, Rejected};
use mainstay_core::outcome::Outcome;
use mainstay_core::time::{Duration, Instant};

use super::endpoint::Endpoint;

/// An attempt in flight.
#[derive(Debug)]
#[must_use = "an attempt is settled with its outcome"]
pub(crate) struct Attempt {
    endpoint: Arc<Endpoint>,
    /// `None` without a breaker, and once settled.
    permit: Option<Permit>,
    settled: bool,
    started: Instant,
    /// How long the answer's head took, once it is there.
    rtt: Option<Duration>,
}

impl Attempt {
    /// Begins an attempt, `number` 1 for the request's first, if the circuit lets it through.
    pub(crate) fn begin(
        endpoint: &Arc<Endpoint>,
        number: u32,
        now: Instant,
    ) -> Result<Self, Rejected> {
        let permit = endpoint.acquire(now)?;
        endpoint.begin(now);
        if number > 1 {
            endpoint.retries.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Self {
            endpoint: Arc::clone(endpoint),
            permit,
            settled: false,
            started: now,
            rtt: None,
        })
    }

    /// The answer's head is there; the outcome is settled with the body's end.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.rtt = Some(now.since(self.started));
    }

    /// Settles the attempt; a second time changes nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome, now: Instant) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let rtt = self.rtt.unwrap_or_else(|| now.since(self.started));
        self.endpoint.load.end(outcome, rtt, now);
        if outcome.callee_worked() == Some(false) {
            self.endpoint.failures.fetch_add(1, Ordering::Relaxed);
        }
        if let (Some(permit), Some(breaker)) = (self.permit.take(), &self.endpoint.breaker) {
            let transition = breaker.record(permit, outcome, now);
            self.endpoint.transition(transition, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let endpoint = &self.endpoint;
        endpoint
            .load
            .end(Outcome::Ignored, Duration::ZERO, self.started);
        let (Some(permit), Some(breaker)) = (self.permit.take(), &endpoint.breaker) else {
            return;
        };
        if self.rtt.is_some() {
            // The endpoint did its part; the client left during the body.
            breaker.ignore(permit);
            return;
        }
        let now = endpoint.clock.now();
        endpoint.transition(breaker.abandon(permit, now), now);
    }
}
