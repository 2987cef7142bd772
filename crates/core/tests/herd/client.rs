//! The clients: naive ones as people write them, and protected ones with the engines that ship.

use std::num::NonZeroU32;
use std::time::Duration;

use mainstay_core::breaker::Config;
use mainstay_core::outcome::Outcome;
use mainstay_core::random::Random;
use mainstay_core::retry::BudgetConfig;
use mainstay_core::time::{Deadline, Instant};

use crate::engine::{Circuit, Pass, Retries, Waits};

/// What clients do about failures.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// Of one request.
    pub(crate) attempts: NonZeroU32,
    pub(crate) again: Again,
    pub(crate) breaker: Option<Config>,
}

/// When there is another attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Again {
    /// Always after this long.
    Always(Duration),
    /// With jitter, as long as the budget has room.
    Budgeted(Waits, BudgetConfig),
}

/// One attempt may be made; what stands for it at its client.
pub(crate) struct Admitted(Option<Pass>);

pub(crate) struct Client {
    policy: Policy,
    retries: Option<Retries>,
    circuit: Option<Circuit>,
    random: Random,
}

impl Client {
    pub(crate) fn new(policy: &Policy, mut random: Random) -> Self {
        let retries = match &policy.again {
            Again::Always(_) => None,
            Again::Budgeted(waits, budget) => Some(Retries::new(policy.attempts, *waits, budget)),
        };
        let seed = random.bits();
        let circuit = policy.breaker.as_ref();
        Self {
            retries,
            circuit: circuit.map(|config| Circuit::new(config, seed)),
            policy: policy.clone(),
            random,
        }
    }

    /// How long until the next user comes, at this rate per second.
    pub(crate) fn next_user(&mut self, rate: f64) -> u64 {
        let wait = -(1.0 - self.random.unit()).ln() / rate;
        u64::try_from(Duration::from_secs_f64(wait).as_nanos()).expect("seconds")
    }

    pub(crate) fn begin(&self, now: Instant) {
        if let Some(retries) = &self.retries {
            retries.begin(now);
        }
    }

    /// Asks to send one attempt.
    pub(crate) fn admit(&self, now: Instant) -> Option<Admitted> {
        match &self.circuit {
            Some(circuit) => Some(Admitted(Some(circuit.acquire(now).ok()?))),
            None => Some(Admitted(None)),
        }
    }

    pub(crate) fn ended(&self, admitted: Admitted, outcome: Outcome, now: Instant) {
        if let (Some(circuit), Some(pass)) = (&self.circuit, admitted.0) {
            circuit.record(pass, outcome, now);
        }
    }

    /// Whether to try again, and after how long.
    pub(crate) fn again(
        &mut self,
        attempts_used: u32,
        deadline: Deadline,
        now: Instant,
    ) -> Option<Duration> {
        match (&self.policy.again, &self.retries) {
            (Again::Always(wait), _) => {
                (attempts_used < self.policy.attempts.get()).then_some(*wait)
            },
            (Again::Budgeted(..), retries) => {
                let retries = retries.as_ref()?;
                retries.again(attempts_used, deadline, now, &mut self.random)
            },
        }
    }
}
