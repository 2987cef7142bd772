//! The one place that calls the breaker: its interface may change, the simulation does not.

use mainstay_core::breaker::{Breaker, Config, Permit};
use mainstay_core::outcome::Outcome;
use mainstay_core::time::Instant;

pub(crate) struct Circuit(Breaker);

/// The right to make one call.
#[must_use]
pub(crate) struct Pass(Permit);

impl Circuit {
    pub(crate) fn new(config: &Config, seed: u64) -> Self {
        Self(Breaker::new(config, seed).expect("the configuration is valid"))
    }

    pub(crate) fn acquire(&self, now: Instant) -> Option<Pass> {
        let admitted = self.0.acquire(now).ok()?;
        Some(Pass(admitted.permit))
    }

    pub(crate) fn record(&self, pass: Pass, outcome: Outcome, now: Instant) {
        let _transition = self.0.record(pass.0, outcome, now);
    }
}
