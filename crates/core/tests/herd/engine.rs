//! The one place that calls the engines: their interfaces may change, the simulation does not.

use std::num::NonZeroU32;
use std::time::Duration;

use mainstay_core::breaker::{Breaker, Config, Permit};
use mainstay_core::bulkhead::{Arrival, Bulkhead, Left, Limits};
use mainstay_core::outcome::Outcome;
use mainstay_core::random::Random;
use mainstay_core::retry::{
    Backoff, BackoffConfig, Budget, BudgetConfig, Decision, Failed, Retry, Sent,
};
use mainstay_core::time::{Deadline, Instant};

/// The circuit breaker of one client.
pub(crate) struct Circuit(Breaker);

/// The right to make one call.
#[must_use]
pub(crate) struct Pass(Permit);

impl Circuit {
    pub(crate) fn new(config: &Config, seed: u64) -> Self {
        Self(Breaker::new(config, seed).expect("the configuration is valid"))
    }

    /// Or how long calls are rejected.
    pub(crate) fn acquire(&self, now: Instant) -> Result<Pass, Duration> {
        match self.0.acquire(now) {
            Ok(admitted) => Ok(Pass(admitted.permit)),
            Err(rejected) => Err(rejected.retry_after.expect("nobody forced it open")),
        }
    }

    pub(crate) fn record(&self, pass: Pass, outcome: Outcome, now: Instant) {
        let _transition = self.0.record(pass.0, outcome, now);
    }
}

/// Waits that double from `min` to `max`, with full jitter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Waits {
    fn backoff(self) -> Backoff {
        Backoff::new(&BackoffConfig {
            base: self.min,
            max: self.max,
            ..BackoffConfig::default()
        })
        .expect("the backoff is valid")
    }

    /// Full jitter does not look at the wait before.
    pub(crate) fn jittered(self, attempts_used: u32, random: &mut Random) -> Duration {
        self.backoff().after(attempts_used, Duration::ZERO, random)
    }

    pub(crate) fn bound(self, attempts_used: u32) -> Duration {
        self.backoff().bound(attempts_used, Duration::ZERO)
    }
}

/// Retries within a budget, of one client.
pub(crate) struct Retries {
    retry: Retry,
    budget: Budget,
}

impl Retries {
    pub(crate) fn new(attempts: NonZeroU32, waits: Waits, budget: &BudgetConfig) -> Self {
        Self {
            retry: Retry {
                attempts,
                backoff: waits.backoff(),
                retry_after_max: waits.max,
            },
            budget: Budget::new(budget).expect("the budget is valid"),
        }
    }

    pub(crate) fn begin(&self, now: Instant) {
        self.budget.deposit(now);
    }

    /// Whether to try again, and after how long.
    pub(crate) fn again(
        &self,
        attempts_used: u32,
        deadline: Deadline,
        now: Instant,
        random: &mut Random,
    ) -> Option<Duration> {
        let failed = Failed {
            attempts_used,
            sent: Sent::Maybe,
            idempotent: true,
            retry_after: None,
            waited: Duration::ZERO,
            deadline,
        };
        match self.retry.decide(&failed, &self.budget, now, random) {
            Decision::Retry { after, backoff: _ } => Some(after),
            Decision::GiveUp(_) => None,
        }
    }
}

/// The bulkhead at the service's door.
pub(crate) struct Door(Bulkhead);

impl Door {
    pub(crate) fn new(workers: NonZeroU32, queue: NonZeroU32) -> Self {
        Self(Bulkhead::new(Limits {
            in_flight: workers,
            queue: Some(queue),
        }))
    }

    /// One more request is at the door.
    pub(crate) fn offer(&self) -> Place {
        match self.0.arrive(QUEUE_WHOLE) {
            Ok(Arrival::Entered) => Place::Worker,
            Ok(Arrival::Queued) => Place::Queue,
            Err(_full) => Place::Nowhere,
        }
    }

    /// A worker is free; `true` when it takes the next one from the queue.
    pub(crate) fn next(&self) -> bool {
        match self.0.leave() {
            Left::Free => false,
            Left::Owed => self.0.pass_on(),
        }
    }
}

/// The part of the queue that is open to a request: all of it.
const QUEUE_WHOLE: u32 = u32::MAX;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Worker,
    Queue,
    Nowhere,
}
