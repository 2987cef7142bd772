//! The rate limit: so many calls per period, a burst on top, and a bounded queue of calls that wait
//! for their turn.
//!
//! Prevents one caller from taking what all share. The decisions are those of
//! [`mainstay_core::limit::rate`] (the generic cell rate algorithm, ITU-T I.371). Waiting calls go
//! first come, first served, and nobody passes them. A call that could not have its turn in time is
//! turned away when it comes, not after it has waited.
//!
//! Always holds: a call that waits has taken nothing yet, so one that goes away while it waits uses
//! nothing up. A call that need not wait takes no lock.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::event::{Event, Observe};
use mainstay_core::limit::rate::{Bucket, Exceeded, Quota, RateConfig, RateConfigError};
use mainstay_core::time::Deadline;

use crate::builder;
use crate::error::{Cause, Error, Policy, Rejection};
pub use crate::gate::NoQueueWait;
use crate::name::Name;
use crate::told::Told;
use crate::waiters::Waiters;

mod future;
mod keyed;
mod layer;
mod service;
mod stage;
mod turn;

pub use future::RateLimitFuture;
pub use keyed::KeyedRateLimiter;
pub use layer::RateLimitLayer;

pub use service::RateLimitService;
use turn::Turn;

/// How far the coarse clock may be behind: two ticks of the slowest kernel.
const COARSE_LAG_MAX: Duration = Duration::from_millis(20);

/// How many calls in which time, and how many may wait how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Calls per `period`. Default: that of [`RateConfig`].
    pub per_period: NonZeroU32,
    /// The period, at most a year; at most one call per nanosecond fits in it. Default: that of
    /// [`RateConfig`].
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    pub period: Duration,
    /// Calls at once after a quiet time; one that takes longer than a year to earn is refused.
    /// Default: that of [`RateConfig`].
    pub burst: NonZeroU32,
    /// Calls that may wait for their turn; none when `None`. Timers count milliseconds: calls that
    /// wait get a higher rate than a thousand per second only with a burst. Default: 256.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub queue: Option<NonZeroU32>,
    /// How long one may wait; more than zero where there is a queue. Default: 1 s.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::duration")
    )]
    pub queue_wait: Duration,
}

/// A configured value that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is in the rate or the burst.
    #[error(transparent)]
    Rate(#[from] RateConfigError),
    /// Calls may wait, and have no time for it.
    #[error(transparent)]
    QueueWait(#[from] NoQueueWait),
}

impl Default for Config {
    fn default() -> Self {
        let RateConfig {
            per_period,
            period,
            burst,
        } = RateConfig::default();
        Self {
            per_period,
            period,
            burst,
            queue: Some(const { NonZeroU32::MIN.saturating_add(255) }),
            queue_wait: Duration::from_secs(1),
        }
    }
}

/// A rate limit. Cheap to clone; all clones share one bucket.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use mainstay::rate_limit::{Config, RateLimiter};
///
/// let limiter = RateLimiter::builder("mail")
///     .config(Config {
///         per_period: NonZeroU32::MIN,
///         period: Duration::from_secs(60),
///         burst: NonZeroU32::new(2).unwrap(),
///         ..Config::default()
///     })
///     .build()
///     .unwrap();
/// assert!(limiter.try_acquire().is_ok());
/// assert!(limiter.try_acquire().is_ok());
/// let rejection = limiter.try_acquire().unwrap_err();
/// assert!(rejection.retry_after.unwrap() < Duration::from_secs(61), "a minute for one call");
/// ```
#[derive_where(Clone)]
pub struct RateLimiter<O = ()>(Arc<Limiter<O>>);

struct Limiter<O> {
    quota: Quota,
    bucket: Bucket,
    /// How many wait; the length of `line`, written under its lock.
    waiting: AtomicU32,
    line: Mutex<Waiters>,
    queue: u32,
    queue_wait: Duration,
    told: Told<O>,
}

/// Makes a [`RateLimiter`] or a [`KeyedRateLimiter`]. Its observer hears that the limit is reached,
/// and that calls are within it again: one pair per overload, not one per call.
pub type Builder<O = ()> = builder::Builder<Config, (), O>;

impl RateLimiter {
    /// A limiter called `name`: what it guards.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into(), ())
    }
}

impl<O: Observe> RateLimiter<O> {
    /// Takes one call out, if it is time and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`Rejection`] with [`Cause::RateReached`], which says when to come back: a few milliseconds
    /// late at most, never early.
    pub fn try_acquire(&self) -> Result<(), Rejection> {
        let limiter = &*self.0;
        if limiter.somebody_waits() {
            return Err(limiter.refuse_behind());
        }
        limiter
            .check()
            .map_err(|exceeded| refuse_exceeded(&limiter.told, exceeded))?;
        passed(&limiter.told);
        Ok(())
    }

    /// Takes `calls` out at once, or none of them.
    ///
    /// # Errors
    ///
    /// [`Rejection`] with [`Cause::RateReached`], which says when to come back, and does not when
    /// `calls` is more than the burst: that can never pass.
    pub fn try_acquire_n(&self, calls: NonZeroU32) -> Result<(), Rejection> {
        let limiter = &*self.0;
        if limiter.somebody_waits() {
            return Err(limiter.refuse_behind());
        }
        let now = limiter.told.clock.now();
        limiter
            .bucket
            .check_n(&limiter.quota, calls, now)
            .map_err(|exceeded| refuse_exceeded(&limiter.told, exceeded))?;
        passed(&limiter.told);
        Ok(())
    }

    /// Takes one call out, waiting for its turn if it must, at most for the configured wait and
    /// until `deadline`.
    ///
    /// Dropping the returned future leaves the queue, and uses nothing up.
    ///
    /// # Errors
    ///
    /// [`Rejection`], at once, with [`Cause::RateReached`] when the turn would come too late, and
    /// with [`Cause::QueueFull`] when too many wait; both say when to come back. With
    /// [`Cause::QueueWait`] when the turn has not come by the end of the wait all the same.
    pub async fn acquire(&self, deadline: Deadline) -> Result<(), Rejection> {
        match Turn::arrive(self, deadline)? {
            None => Ok(()),
            Some(turn) => turn.wait().await,
        }
    }

    /// Takes one call out as [`acquire`](Self::acquire) does, stopping this thread until then. For
    /// blocking code only: a runtime's thread must not be stopped.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_blocking(&self, deadline: Deadline) -> Result<(), Rejection> {
        match Turn::arrive(self, deadline)? {
            None => Ok(()),
            Some(turn) => turn.block(),
        }
    }

    /// Runs `future` when it is its turn; nothing of it starts before.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] as [`acquire`](Self::acquire), [`Error::Inner`] when the call failed.
    pub async fn call<T, E>(
        &self,
        deadline: Deadline,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        self.acquire(deadline).await.map_err(Error::Rejected)?;
        future.await.map_err(Error::Inner)
    }

    /// Runs `work` when it is its turn, on this thread, which is stopped until then.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E>(
        &self,
        deadline: Deadline,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        self.acquire_blocking(deadline).map_err(Error::Rejected)?;
        work().map_err(Error::Inner)
    }

    /// Calls that wait for their turn.
    pub fn queued(&self) -> u32 {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

impl<O: Observe> Limiter<O> {
    /// Whether a call that has just come would pass others.
    fn somebody_waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Takes one call out, if it is time.
    fn check(&self) -> Result<(), Exceeded> {
        // The coarse clock is many times as fast, and often good enough for the exact answer.
        let from = self.told.clock.coarse();
        let to = from + COARSE_LAG_MAX;
        match self.bucket.check_within(&self.quota, from, to) {
            Some(true) => Ok(()),
            // Counted from a clock that is behind: who comes back then is not early.
            Some(false) => Err(Exceeded::Now {
                retry_after: self.bucket.wait(&self.quota, 0, from),
            }),
            None => self.bucket.check(&self.quota, self.told.clock.now()),
        }
    }

    /// Takes one call out if it is time and nobody waits for it.
    fn pass(&self) -> bool {
        let passes = !self.somebody_waits() && self.check().is_ok();
        if passes {
            passed(&self.told);
        }
        passes
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // No user's code runs under the lock, so a poisoned one is whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that will not wait came behind some that do.
    #[cold]
    fn refuse_behind(&self) -> Rejection {
        let before = self.waiting.load(Ordering::Relaxed);
        let now = self.told.clock.now();
        let retry_after = self.bucket.wait(&self.quota, before, now);
        refuse(&self.told, Cause::RateReached, Some(retry_after))
    }
}

fn passed<O: Observe>(told: &Told<O>) {
    told.passed(|service, rejected| Event::RateLimitRecovered { service, rejected });
}

fn refuse_exceeded<O: Observe>(told: &Told<O>, exceeded: Exceeded) -> Rejection {
    let retry_after = match exceeded {
        Exceeded::Now { retry_after } => Some(retry_after),
        Exceeded::Never { burst: _ } => None,
    };
    refuse(told, Cause::RateReached, retry_after)
}

fn refuse<O: Observe>(told: &Told<O>, cause: Cause, retry_after: Option<Duration>) -> Rejection {
    told.refused(|service| Event::RateLimitReached { service });
    told.rejection(Policy::RateLimit, cause, retry_after)
}

impl<O> Builder<O> {
    /// The limiter, with a full bucket.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Rate`] for a rate or a burst that cannot work, [`ConfigError::QueueWait`] for
    /// a queue without time to wait in it.
    pub fn build(self) -> Result<RateLimiter<O>, ConfigError> {
        let (config, (), told) = self.into_parts();
        NoQueueWait::check(config.queue, config.queue_wait)?;
        Ok(RateLimiter(Arc::new(Limiter {
            quota: config.quota()?,
            bucket: Bucket::new(),
            waiting: AtomicU32::new(0),
            line: Mutex::default(),
            queue: config.queue.map_or(0, NonZeroU32::get),
            queue_wait: config.queue_wait,
            told,
        })))
    }

    /// A limiter with a bucket for each of at most `keys` keys. Calls with a key never wait.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Rate`] for a rate or a burst that cannot work.
    pub fn build_keyed<K>(self, keys: NonZeroUsize) -> Result<KeyedRateLimiter<K, O>, ConfigError> {
        let (config, (), told) = self.into_parts();
        Ok(KeyedRateLimiter::new(config.quota()?, keys, told))
    }
}

impl Config {
    fn quota(&self) -> Result<Quota, RateConfigError> {
        Quota::new(&RateConfig {
            per_period: self.per_period,
            period: self.period,
            burst: self.burst,
        })
    }
}

impl<O> fmt::Debug for RateLimiter<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("name", &self.0.told.name)
            .field("quota", &self.0.quota)
            .field("bucket", &self.0.bucket)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
