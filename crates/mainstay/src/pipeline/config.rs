//! A whole pipeline in one table, with the keys of the service's table in the configuration file.
//!
//! Prevents a library and a program that are configured with different words. What is left out has
//! a default that protects; what is not wanted is `"off"`.

use std::num::NonZeroU32;
use std::time::Duration;

use mainstay_core::event::Observe;

use super::{Builder, Canonical, ConfigError, Pipeline};
use crate::breaker::{self, Breaker};
use crate::bulkhead::{self, Bulkhead};
use crate::classify::ErrorsFail;
use crate::clock::Clock;
use crate::concurrency_limit::{self, ConcurrencyLimit};
use crate::hedge::{self, Hedge};
use crate::name::Name;
use crate::rate_limit::{self, RateLimiter};
use crate::retry::{Backoff, BackoffConfig, BudgetConfig, Retry, RetryBudget};

/// All policies of one pipeline.
///
/// Each default is the library's. The program's file has its own, which differ in the cooldowns
/// and probes of breakers and in the places of bulkheads.
///
/// With the feature `serde`, from any format; in TOML:
///
/// ```
/// # #[cfg(feature = "serde")] {
/// let config: mainstay::Config = toml::from_str(r#"
///     breaker   = { error_rate = "50%", reopen = "5s" }
///     retry     = { attempts = 3 }
///     timeout   = { total = "3s", attempt = "1s" }
///     bulkhead  = { in_flight = 256, queue = 64, queue_wait = "200ms" }
/// "#).unwrap();
/// let pipeline = config.build("payment").unwrap();
/// # assert_eq!(&**pipeline.name(), "payment");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Time limits. Default: that of [`TimeoutConfig`].
    pub timeout: TimeoutConfig,
    /// Attempts, backoff and budget; `None` tries nothing again. Default: that of [`RetryConfig`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub retry: Option<RetryConfig>,
    /// When the circuit opens, and how it closes again. Its lease is at least twice the time of an
    /// attempt, so that a probe is not given up before it can have ended. `None` is no breaker.
    /// Default: that of [`breaker::Config`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub breaker: Option<breaker::Config>,
    /// How many calls at a time; `None` is no limit. Default: that of [`bulkhead::Config`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub bulkhead: Option<bulkhead::Config>,
    /// How many calls per period; `None` is no limit. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub rate_limit: Option<rate_limit::Config>,
    /// As many calls at a time as are answered in time; `None` is no limit. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub concurrency_limit: Option<concurrency_limit::Config>,
    /// Copies of slow attempts, from the budget of `retry`, or from one as large without it; `None`
    /// sends none. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub hedge: Option<hedge::Config>,
}

/// Time limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct TimeoutConfig {
    /// The whole call, with its queues, backoffs and attempts: above zero, at most
    /// [`LIMIT_MAX`](crate::timeout::LIMIT_MAX); `None` is no limit. Default: 3 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration_or_off")
    )]
    pub total: Option<Duration>,
    /// One attempt: above zero, at most [`LIMIT_MAX`](crate::timeout::LIMIT_MAX); `None` is no
    /// limit. Default: 1 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration_or_off")
    )]
    pub attempt: Option<Duration>,
}

/// How failed calls are tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RetryConfig {
    /// Attempts in all, the first included; 1 tries nothing again. Default: 3.
    pub attempts: NonZeroU32,
    /// First wait; doubles, with full jitter. Above zero. Default: 10 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    pub backoff: Duration,
    /// The longest wait, before jitter: from `backoff` to a year. Default: 250 ms.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    pub backoff_max: Duration,
    /// Retries allowed per request, on the average of ten seconds: 0.2 is 20 %. 0 to 10, and not 0
    /// where `budget_floor` is. Default: that of [`BudgetConfig::ratio`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::share")
    )]
    pub budget: f64,
    /// Retries per second that are always allowed; 0 for none. Default: that of
    /// [`BudgetConfig::floor`].
    pub budget_floor: u32,
}

impl Default for Config {
    /// Three attempts within three seconds, a breaker, 256 calls at a time. Off is what only its
    /// user can decide: a rate, a second copy of a call, a limit that moves.
    fn default() -> Self {
        Self {
            timeout: TimeoutConfig::default(),
            retry: Some(RetryConfig::default()),
            breaker: Some(breaker::Config::default()),
            bulkhead: Some(bulkhead::Config::default()),
            rate_limit: None,
            concurrency_limit: None,
            hedge: None,
        }
    }
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            total: Some(Duration::from_secs(3)),
            attempt: Some(Duration::from_secs(1)),
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        let budget = BudgetConfig::default();
        Self {
            attempts: const { NonZeroU32::MIN.saturating_add(2) },
            backoff: Duration::from_millis(10),
            backoff_max: Duration::from_millis(250),
            budget: budget.ratio,
            budget_floor: budget.floor,
        }
    }
}

impl Config {
    /// The pipeline called `name`, the service that it guards, on a clock of its own and without
    /// an observer.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies, with its key.
    pub fn build(&self, name: impl Into<Name>) -> Result<Pipeline, ConfigError> {
        self.build_on(name, Clock::new(), ())
    }

    /// [`build`](Self::build) with the `clock` to read, and the `observer` that hears of
    /// everything that the policies tell: each has a clone of it.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_on<O: Observe + Clone>(
        &self,
        name: impl Into<Name>,
        clock: Clock,
        observer: O,
    ) -> Result<Pipeline<Canonical<O>>, ConfigError> {
        let name = name.into();
        let TimeoutConfig { total, attempt } = self.timeout;
        let mut builder = Pipeline::builder(&name).clock(clock);
        if let Some(total) = total {
            builder = builder.deadline(total);
        }
        if let Some(attempt) = attempt {
            builder = builder.timeout(attempt);
        }
        if let Some(breaker) = &self.breaker {
            let mut config = breaker.clone();
            let attempt = attempt.unwrap_or_default();
            config.lease = config.lease.max(attempt.saturating_mul(2));
            let breaker = Breaker::builder(&name)
                .config(config)
                .clock(clock)
                .observer(observer.clone());
            builder = builder.breaker(breaker.build()?);
        }
        if let Some(bulkhead) = self.bulkhead {
            let bulkhead = Bulkhead::builder(&name)
                .config(bulkhead)
                .clock(clock)
                .observer(observer.clone());
            builder = builder.bulkhead(bulkhead.build()?);
        }
        builder = self.repeating(builder, clock, &observer)?;
        builder = self.limiting(builder, clock, observer)?;
        builder.build()
    }

    /// What makes a call more than once, from one budget.
    fn repeating<O: Observe + Clone>(
        &self,
        mut builder: Builder<ErrorsFail, O>,
        clock: Clock,
        observer: &O,
    ) -> Result<Builder<ErrorsFail, O>, ConfigError> {
        if self.retry.is_none() && self.hedge.is_none() {
            return Ok(builder);
        }
        let retry = self.retry.unwrap_or_default();
        let budget = retry.budget(builder.name(), clock, observer)?;
        if let Some(hedge) = self.hedge {
            let hedge = Hedge::builder(budget.clone()).config(hedge).clock(clock);
            builder = builder.hedge(hedge.build()?);
        }
        if let Some(retry) = &self.retry {
            builder = builder.retry(retry.build(budget, clock)?);
        }
        Ok(builder)
    }

    /// What counts calls per period or at a time.
    fn limiting<O: Observe + Clone>(
        &self,
        mut builder: Builder<ErrorsFail, O>,
        clock: Clock,
        observer: O,
    ) -> Result<Builder<ErrorsFail, O>, ConfigError> {
        if let Some(config) = self.rate_limit {
            let limiter = RateLimiter::builder(builder.name())
                .config(config)
                .clock(clock)
                .observer(observer.clone());
            builder = builder.rate_limit(limiter.build()?);
        }
        if let Some(config) = self.concurrency_limit {
            let limit = ConcurrencyLimit::builder(builder.name())
                .config(config)
                .clock(clock)
                .observer(observer);
            builder = builder.concurrency_limit(limit.build()?);
        }
        Ok(builder)
    }
}

impl RetryConfig {
    fn budget<O: Observe + Clone>(
        &self,
        name: &Name,
        clock: Clock,
        observer: &O,
    ) -> Result<RetryBudget<O>, ConfigError> {
        let budget = RetryBudget::builder(name)
            .config(BudgetConfig {
                ratio: self.budget,
                floor: self.budget_floor,
                ..BudgetConfig::default()
            })
            .clock(clock)
            .observer(observer.clone());
        Ok(budget.build()?)
    }

    fn build<O: Observe>(
        &self,
        budget: RetryBudget<O>,
        clock: Clock,
    ) -> Result<Retry<O>, ConfigError> {
        if self.backoff_max < self.backoff {
            return Err(ConfigError::BackoffMax {
                backoff: self.backoff,
                backoff_max: self.backoff_max,
            });
        }
        let backoff = Backoff::new(&BackoffConfig {
            base: self.backoff,
            max: self.backoff_max,
            ..BackoffConfig::default()
        })?;
        Ok(Retry::builder(budget)
            .attempts(self.attempts)
            .backoff(backoff)
            .clock(clock)
            .build()?)
    }
}

#[cfg(test)]
mod tests;
