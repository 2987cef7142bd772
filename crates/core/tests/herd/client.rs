//! The clients: naive ones as people write them, and protected ones with the engines that ship.

use std::num::NonZeroU32;
use std::time::Duration;

use mainstay_core::breaker::Config;
use mainstay_core::outcome::Outcome;
use mainstay_core::random::Random;
use mainstay_core::retry::{Backoff, Budget, BudgetConfig, Decision, Failed, Retry, Sent};
use mainstay_core::time::{Deadline, Instant};

use crate::circuit::{Circuit, Pass};

/// What clients do about failures.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) attempts: NonZeroU32,
    pub(crate) wait: Wait,
    pub(crate) budget: Option<BudgetConfig>,
    pub(crate) breaker: Option<Config>,
}

/// The time between two attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Always the same.
    Fixed(Duration),
    /// Full jitter.
    Jittered(Backoff),
}

/// One attempt may be made; what stands for it at its client.
pub(crate) struct Admitted(Option<Pass>);

pub(crate) struct Client {
    policy: Policy,
    budget: Option<Budget>,
    circuit: Option<Circuit>,
    random: Random,
}

impl Client {
    pub(crate) fn new(policy: &Policy, mut random: Random) -> Self {
        let budget = |config| Budget::new(&config).expect("the budget is valid");
        let seed = random.bits();
        Self {
            budget: policy.budget.map(budget),
            circuit: (policy.breaker.as_ref()).map(|config| Circuit::new(config, seed)),
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
        if let Some(budget) = &self.budget {
            budget.deposit(now);
        }
    }

    /// Asks to send one attempt.
    pub(crate) fn admit(&self, now: Instant) -> Option<Admitted> {
        match &self.circuit {
            Some(circuit) => circuit.acquire(now).map(|pass| Admitted(Some(pass))),
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
        let backoff = match (self.policy.wait, &self.budget) {
            (Wait::Jittered(backoff), _) => backoff,
            (Wait::Fixed(wait), None) => {
                return (attempts_used < self.policy.attempts.get()).then_some(wait);
            },
            (Wait::Fixed(wait), Some(_)) => Backoff {
                min: wait,
                max: wait,
            },
        };
        let plenty = BudgetConfig {
            floor: u32::MAX,
            ..BudgetConfig::default()
        };
        let retry = Retry {
            attempts: self.policy.attempts,
            backoff,
        };
        let failed = Failed {
            attempts_used,
            sent: Sent::Maybe,
            idempotent: true,
            retry_after: None,
            deadline,
        };
        let budget = self
            .budget
            .get_or_insert_with(|| Budget::new(&plenty).expect("valid"));
        match retry.decide(&failed, budget, now, &mut self.random) {
            Decision::Retry { after } => Some(after),
            Decision::GiveUp(_) => None,
        }
    }
}
