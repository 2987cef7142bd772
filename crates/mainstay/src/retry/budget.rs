//! The retry budget as a handle that a service's callers share, and that tells when it ran dry.

use std::fmt;
use std::sync::Arc;

use derive_where::derive_where;
use mainstay_core::event::{Event, Observe};
use mainstay_core::outcome::Outcome;
use mainstay_core::retry::{Allowance, Budget, Charge, Tokens};
use mainstay_core::time::Instant;

use crate::builder;
use crate::clock::Clock;
use crate::lane;
use crate::name::Name;
use crate::told::Told;

pub use mainstay_core::retry::{BudgetConfig, BudgetConfigError, TokensConfig};

/// A retry budget, for the retries and the hedges of a service together. Cheap to clone; all
/// clones share one budget.
///
/// It is a share of the requests ([`BudgetConfig`], the default) or tokens that failures cost
/// ([`tokens`](Builder::tokens)).
///
/// ```
/// use mainstay::RetryBudget;
///
/// let budget = RetryBudget::builder("payment").build().unwrap();
/// // All requests fail, and all callers would try twice more.
/// let mut retries = 0;
/// for _ in 0..1_000 {
///     budget.deposit();
///     retries += (0..2).filter(|_| budget.withdraw()).count();
/// }
/// // A fifth of the requests, and what ten per second allow in ten seconds.
/// assert!(retries <= 200 + 100, "no storm");
/// assert!(budget.level() < 0.01);
/// ```
#[derive_where(Clone)]
pub struct RetryBudget<O = ()>(Arc<Purse<O>>);

struct Purse<O> {
    allowance: Allowance,
    told: Told<O>,
}

/// Makes a [`RetryBudget`]: with its configuration, a share of the requests, and some per second.
///
/// Its observer hears that the budget ran dry, and that it is restored: one pair per storm, not one
/// per retry.
pub type Builder<O = ()> = builder::Builder<BudgetConfig, Option<TokensConfig>, O>;

impl RetryBudget {
    /// The budget of the service called `service`.
    pub fn builder(service: impl Into<Name>) -> Builder {
        Builder::new(service.into(), None)
    }
}

impl<O: Observe> RetryBudget<O> {
    /// Counts one request: its first attempt, not its retries.
    pub fn deposit(&self) {
        self.deposit_at(self.0.told.clock.coarse());
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
        self.withdraw_at(self.0.told.clock.coarse())
    }

    /// [`withdraw`](Self::withdraw) for a caller that has just read the clock.
    #[must_use = "without a budget there must be no retry"]
    pub fn withdraw_at(&self, now: Instant) -> bool {
        let granted = self.0.allowance.withdraw(now);
        if !granted {
            self.exhausted();
        }
        granted
    }

    /// How much is left: 1 when nothing is charged, 0 when no retry is possible.
    pub fn level(&self) -> f64 {
        self.0.allowance.level(self.0.told.clock.coarse())
    }

    /// The service whose budget it is.
    pub fn name(&self) -> &Name {
        &self.0.told.name
    }

    pub(crate) fn clock(&self) -> Clock {
        self.0.told.clock
    }

    /// Tells it from all other budgets as long as it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn exhausted(&self) {
        self.0
            .told
            .refused(|service| Event::RetryBudgetExhausted { service });
    }

    fn restored(&self, now: Instant) {
        if self.0.told.is_refusing() && self.0.allowance.allows(now) {
            self.0
                .told
                .passed(|service, denied| Event::RetryBudgetRestored { service, denied });
        }
    }
}

/// A charge on the budget's own clock, whatever the caller's is.
impl<O: Observe> Charge for RetryBudget<O> {
    fn withdraw(&self, _now: Instant) -> bool {
        Self::withdraw(self)
    }
}

impl<O> Builder<O> {
    /// Instead of a share: tokens that failures cost and successes give (gRPC's retry throttling,
    /// gRFC A6). No retries while most calls fail.
    pub fn tokens(mut self, config: TokensConfig) -> Self {
        self.extra = Some(config);
        self
    }

    /// The budget.
    ///
    /// # Errors
    ///
    /// The first of [`BudgetConfigError`] that applies to the share, or to the tokens in place of
    /// it.
    pub fn build(self) -> Result<RetryBudget<O>, BudgetConfigError> {
        let (share, tokens, told) = self.into_parts();
        let allowance = match tokens {
            None => Allowance::Share(Budget::new(&share)?),
            Some(tokens) => Allowance::Tokens(Tokens::new(&tokens)?),
        };
        Ok(RetryBudget(Arc::new(Purse { allowance, told })))
    }
}

impl<O: Observe> fmt::Debug for RetryBudget<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("service", &self.0.told.name)
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}
