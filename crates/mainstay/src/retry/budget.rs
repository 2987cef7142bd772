//! The retry budget as a handle that a service's callers share, and that tells when it ran dry.

use std::fmt;
use std::sync::Arc;

use mainstay_core::edge::Edge;
use mainstay_core::event::{Event, Observe};
use mainstay_core::outcome::Outcome;
use mainstay_core::retry::{Allowance, Budget, Charge, Tokens};
use mainstay_core::time::Instant;

use crate::clock::Clock;
use crate::lane;

pub use mainstay_core::retry::{BudgetConfig, BudgetConfigError, TokensConfig};

/// A retry budget, for the retries and the hedges of a service together. Cheap to clone; all
/// clones share one budget.
///
/// It is a share of the requests ([`config`](Builder::config), the default) or tokens that
/// failures cost ([`tokens`](Builder::tokens)).
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
    allowance: Allowance,
    edge: Edge,
    service: Arc<str>,
    clock: Clock,
    observer: Arc<dyn Observe>,
}

/// Makes a [`RetryBudget`].
#[must_use = "ends with build()"]
pub struct Builder {
    service: Arc<str>,
    kind: Kind,
    clock: Option<Clock>,
    observer: Arc<dyn Observe>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Share(BudgetConfig),
    Tokens(TokensConfig),
}

impl RetryBudget {
    /// The budget of the service called `service`.
    pub fn builder(service: impl Into<Arc<str>>) -> Builder {
        Builder {
            service: service.into(),
            kind: Kind::Share(BudgetConfig::default()),
            clock: None,
            observer: Arc::new(()),
        }
    }

    /// Counts one request: its first attempt, not its retries.
    pub fn deposit(&self) {
        self.deposit_at(self.0.clock.coarse());
    }

    /// [`deposit`](Self::deposit) for a caller that has just read the clock.
    pub fn deposit_at(&self, now: Instant) {
        self.0.allowance.deposit(lane::current(), now);
        self.restored(now);
    }

    /// Counts the end of one attempt, which matters for tokens.
    pub fn ended(&self, outcome: Outcome) {
        self.0.allowance.ended(outcome);
    }

    /// Charges one retry; `false` when there must be none.
    #[must_use = "without a budget there must be no retry"]
    pub fn withdraw(&self) -> bool {
        self.withdraw_at(self.0.clock.coarse())
    }

    /// [`withdraw`](Self::withdraw) for a caller that has just read the clock.
    #[must_use = "without a budget there must be no retry"]
    pub fn withdraw_at(&self, now: Instant) -> bool {
        let granted = self.0.allowance.withdraw(now);
        if !granted {
            self.exhausted(now);
        }
        granted
    }

    /// What is left, 0 to 1.
    pub fn level(&self) -> f64 {
        self.0.allowance.level(self.0.clock.coarse())
    }

    /// The service whose budget it is.
    pub fn name(&self) -> &Arc<str> {
        &self.0.service
    }

    pub(crate) fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Tells it from all other budgets as long as it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn exhausted(&self, now: Instant) {
        if self.0.edge.refused(now) {
            self.0.observer.observe(Event::RetryBudgetExhausted {
                service: Arc::clone(&self.0.service),
            });
        }
    }

    fn restored(&self, now: Instant) {
        if !self.0.edge.is_active() || !self.0.allowance.allows(now) {
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

/// A charge on the budget's own clock, whatever the caller's is.
impl Charge for RetryBudget {
    fn withdraw(&self, _now: Instant) -> bool {
        Self::withdraw(self)
    }
}

impl Builder {
    /// A share of the requests, and some per second.
    pub fn config(mut self, config: BudgetConfig) -> Self {
        self.kind = Kind::Share(config);
        self
    }

    /// Tokens that failures cost and successes give: no retries while most calls fail.
    pub fn tokens(mut self, config: TokensConfig) -> Self {
        self.kind = Kind::Tokens(config);
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
        let allowance = match self.kind {
            Kind::Share(config) => Allowance::Share(Budget::new(&config)?),
            Kind::Tokens(config) => Allowance::Tokens(Tokens::new(&config)?),
        };
        Ok(RetryBudget(Arc::new(Purse {
            allowance,
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
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
