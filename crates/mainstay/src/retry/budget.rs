//! The retry budget as a handle that a service's callers share, and that tells when it ran dry.

use std::fmt;
use std::sync::Arc;

use mainstay_core::edge::Edge;
use mainstay_core::event::{Event, Observe};
use mainstay_core::random::Random;
use mainstay_core::retry::{self, Decision, Failed, GiveUpReason};
use mainstay_core::time::Instant;

use crate::clock::Clock;

pub use mainstay_core::retry::{BudgetConfig, BudgetConfigError};

/// A retry budget. Cheap to clone; all clones share one budget.
///
/// ```
/// use mainstay::RetryBudget;
///
/// let budget = RetryBudget::builder("payment").build().unwrap();
/// budget.deposit(); // one for each request
/// assert!(budget.withdraw(), "10 retries per second are always allowed");
/// assert!(budget.level() < 1.0);
/// ```
#[derive(Clone)]
pub struct RetryBudget(Arc<Purse>);

struct Purse {
    budget: retry::Budget,
    edge: Edge,
    service: Arc<str>,
    clock: Clock,
    observer: Arc<dyn Observe>,
}

/// Makes a [`RetryBudget`].
#[must_use = "ends with build()"]
pub struct Builder {
    service: Arc<str>,
    config: BudgetConfig,
    clock: Option<Clock>,
    observer: Arc<dyn Observe>,
}

impl RetryBudget {
    /// The budget of the service called `service`.
    pub fn builder(service: impl Into<Arc<str>>) -> Builder {
        Builder {
            service: service.into(),
            config: BudgetConfig::default(),
            clock: None,
            observer: Arc::new(()),
        }
    }

    /// Counts one request: its first attempt, not its retries.
    pub fn deposit(&self) {
        self.deposit_at(self.0.clock.now());
    }

    /// [`deposit`](Self::deposit) for a caller that has just read the clock.
    pub fn deposit_at(&self, now: Instant) {
        self.0.budget.deposit(now);
        self.restored(now);
    }

    /// Charges one retry; `false` when there must be none.
    #[must_use = "without a budget there must be no retry"]
    pub fn withdraw(&self) -> bool {
        self.withdraw_at(self.0.clock.now())
    }

    /// [`withdraw`](Self::withdraw) for a caller that has just read the clock.
    #[must_use = "without a budget there must be no retry"]
    pub fn withdraw_at(&self, now: Instant) -> bool {
        let granted = self.0.budget.withdraw(now);
        if !granted {
            self.exhausted(now);
        }
        granted
    }

    /// Decides about a failed attempt, charging this budget for a retry.
    pub fn decide(
        &self,
        retry: &retry::Retry,
        failed: &Failed,
        now: Instant,
        random: &mut Random,
    ) -> Decision {
        let decision = retry.decide(failed, &self.0.budget, now, random);
        if decision == Decision::GiveUp(GiveUpReason::Budget) {
            self.exhausted(now);
        }
        decision
    }

    /// What is left, 0 to 1.
    pub fn level(&self) -> f64 {
        self.0.budget.level(self.0.clock.now())
    }

    fn exhausted(&self, now: Instant) {
        if self.0.edge.refused(now) {
            self.0.observer.observe(Event::RetryBudgetExhausted {
                service: Arc::clone(&self.0.service),
            });
        }
    }

    fn restored(&self, now: Instant) {
        if !self.0.edge.is_active() || self.0.budget.tokens(now) == 0 {
            return;
        }
        if let Some(denied) = self.0.edge.passed(now) {
            self.0.observer.observe(Event::RetryBudgetRestored {
                service: Arc::clone(&self.0.service),
                denied,
            });
        }
    }
}

impl Builder {
    /// How many retries.
    pub fn config(mut self, config: BudgetConfig) -> Self {
        self.config = config;
        self
    }

    /// Who hears that the budget ran dry and that it is restored: one pair per storm, not one per
    /// retry.
    pub fn observer(mut self, observer: Arc<dyn Observe>) -> Self {
        self.observer = observer;
        self
    }

    /// The clock to read. Callers that pass `now` must read the same one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The budget.
    ///
    /// # Errors
    ///
    /// A configured value that cannot work.
    pub fn build(self) -> Result<RetryBudget, BudgetConfigError> {
        Ok(RetryBudget(Arc::new(Purse {
            budget: retry::Budget::new(&self.config)?,
            edge: Edge::new(),
            service: self.service,
            clock: self.clock.unwrap_or_default(),
            observer: self.observer,
        })))
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("service", &self.0.service)
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("service", &self.service)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
