//! One attempt at one endpoint, from the permit to its outcome.
//!
//! Prevents attempts that nobody accounts for: every attempt is settled exactly once, with the
//! breaker, the load and the counts in one place. One that is dropped (the client went away) gives
//! its permit, and with it a probe's slot, back; an endpoint that no client ever waits long enough
//! for is found out by the breaker, which counts calls abandoned before an answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_core::breaker::{At, Breaker, Permit, Rejected};
use mainstay_core::lane::Lane;
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
    /// The worker's.
    lane: Lane,
    /// How long the answer's head took, once it is there.
    rtt: Option<Duration>,
}

impl Attempt {
    /// Begins an attempt, `number` 1 for the request's first, if the circuit lets it through.
    pub(crate) fn begin(
        endpoint: &Arc<Endpoint>,
        number: u32,
        At { now, lane }: At,
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
            lane,
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
            let at = At {
                now: self.judged_at(breaker, outcome, now),
                lane: self.lane,
            };
            let transition = breaker.record(permit, outcome, at);
            self.endpoint.transition(transition, now);
        }
    }

    /// When the breaker takes a call to have ended that ends at `now`. Where it looks at how long
    /// calls take, a good one ended with the answer's head: how long the body takes is the
    /// client's doing as well, and slow clients must not open a circuit.
    fn judged_at(&self, breaker: &Breaker, outcome: Outcome, now: Instant) -> Instant {
        match (outcome, self.rtt) {
            (Outcome::Success, Some(rtt)) if breaker.slow_after().is_some() => self.started + rtt,
            _ => now,
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
        let at = At {
            now,
            lane: self.lane,
        };
        endpoint.transition(breaker.abandon(permit, at), now);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::num::NonZeroU32;

    use mainstay_core::breaker::{Config, Slow, State};
    use mainstay_core::outcome::Reason;
    use mainstay_observe::Observer;

    use super::*;
    use crate::clock::Clock;
    use crate::config;

    const SLOW_AFTER: Duration = Duration::from_millis(100);

    fn endpoint(limits: &Config) -> Arc<Endpoint> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let service = config::Service {
            name: "pay".into(),
            listen: address,
            endpoints: Vec::new(),
            supervised: false,
            probe: None,
            breaker: None,
            retry: None,
            timeout: config::Timeout {
                total: Duration::from_secs(3),
                attempt: Duration::from_secs(3),
                connect: Duration::from_secs(3),
                endpoint: Duration::from_secs(3),
            },
            bulkhead: None,
            fallback: Vec::new(),
        };
        let named = config::Endpoint {
            name: "pay-1".into(),
            address,
        };
        let breaker = Breaker::new(limits, 1).expect("the limits are valid");
        let observer = Observer::new("test");
        let clock = Clock::start();
        Arc::new(Endpoint::new(
            &service,
            &named,
            Some(breaker),
            clock,
            &observer,
        ))
    }

    /// Whether the circuit lets calls through after one whose head and body took so long.
    fn admits_after(head: Duration, body: Duration) -> bool {
        let endpoint = endpoint(&Config {
            calls_min: NonZeroU32::MIN,
            slow: Some(Slow {
                after: SLOW_AFTER,
                rate: 1.0,
                in_flight: false,
            }),
            ..Config::default()
        });
        let start = Instant::from_millis(1_000);
        let lane = Lane(3);
        let begun = Attempt::begin(&endpoint, 1, At { now: start, lane });
        let mut attempt = begun.expect("the circuit is closed");
        attempt.answered(start + head);
        let end = start + head + body;
        attempt.settle(Outcome::Success, end);
        endpoint.would_admit(end)
    }

    #[test]
    fn a_slow_answer_opens_the_circuit_and_a_slow_reader_does_not() {
        assert!(!admits_after(SLOW_AFTER * 2, Duration::ZERO));
        assert!(admits_after(SLOW_AFTER / 2, SLOW_AFTER * 50));
    }

    #[test]
    fn a_circuit_in_its_ramp_is_no_magnet_for_calls() {
        let endpoint = endpoint(&Config {
            consecutive: Some(NonZeroU32::MIN),
            probes: NonZeroU32::MIN,
            reopen: Duration::from_secs(1),
            ramp: Some(Duration::from_hours(1)),
            ..Config::default()
        });
        let call = |outcome, now| {
            let at = At {
                now,
                lane: Lane::FIRST,
            };
            let begun = Attempt::begin(&endpoint, 1, at);
            begun.expect("it admits").settle(outcome, now);
        };
        let (start, later) = (Instant::from_millis(1_000), Instant::from_millis(60_000));
        call(Outcome::Failure(Reason::Error), start);
        assert!(endpoint.is_on_probation(start));
        call(Outcome::Success, later);
        let state = endpoint
            .breaker
            .as_ref()
            .map(|breaker| breaker.state(later));
        assert!(matches!(state, Some(State::Ramp { .. })), "{state:?}");
        assert!(endpoint.would_admit(later) && !endpoint.is_on_probation(later));
    }
}
