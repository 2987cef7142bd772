//! The order of stages that [`Pipeline::builder`](super::Pipeline::builder) builds.
//!
//! Written as one function per loop, not as a [`Chain`](super::Chain) of the same stages: each
//! future inside of another costs some twenty nanoseconds, even when it is ready at once.

use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::event::Observe;
use mainstay_core::fault::Fault;
use mainstay_core::outcome::Outcome;

use super::context::{Context, Ended, Repeat};
use super::grain::Grain;
use super::stage::{Next, Stage};
use crate::breaker::Breaker;
use crate::bulkhead::{self, Bulkhead};
use crate::concurrency_limit::{self, ConcurrencyLimit};
use crate::error::{Rejection, Scope};
use crate::fault::Faults;
use crate::hedge::Hedge;
use crate::rate_limit::RateLimiter;
use crate::retry::Retry;
use crate::throttle::{self, Throttle};

/// All stages in the order that [`pipeline`](super) gives reasons for; those that are `None` let
/// everything through. All of them tell the same kind of observer.
#[derive_where(Clone, Debug, Default)]
pub struct Canonical<O: Observe = ()> {
    pub(super) deadline: Option<Duration>,
    pub(super) rate_limit: Option<RateLimiter<O>>,
    pub(super) retry: Option<Retry<O>>,
    pub(super) hedge: Option<Hedge<O>>,
    pub(super) breaker: Option<Breaker<O>>,
    pub(super) throttle: Option<Throttle>,
    pub(super) concurrency_limit: Option<ConcurrencyLimit<O>>,
    pub(super) bulkhead: Option<Bulkhead<O>>,
    pub(super) timeout: Option<Duration>,
    pub(super) faults: Option<Faults>,
}

/// One attempt at a call, as the stages for whole calls see it.
#[derive_where(Clone, Copy, Debug; N)]
struct Attempt<'a, N, O: Observe> {
    stages: &'a Canonical<O>,
    next: N,
}

/// One copy of an attempt, as the hedge sees it.
#[derive_where(Clone, Copy, Debug; N)]
struct Copied<'a, N, O: Observe> {
    stages: &'a Canonical<O>,
    next: N,
}

impl<O: Observe> Canonical<O> {
    /// How exactly the time must be read.
    pub(super) fn grain(&self) -> Grain {
        let retry = self.retry.as_ref().and_then(Retry::total);
        Grain::of([self.deadline, retry, self.timeout])
    }
}

/// Whole calls: deadline, rate limit, retry.
impl<O: Observe> Stage for Canonical<O> {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and its caller moves them all"
    )]
    fn run<T, E, N: Next<T, E>>(
        &self,
        mut cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        async move {
            if let Some(total) = self.deadline {
                cx.limit(Scope::Total, total);
            }
            if let Some(limit) = &self.rate_limit
                && !limit.pass()
                && let Err(rejection) = limit.queue(&mut cx).await
            {
                return cx.rejected(rejection);
            }
            let repeat = match &self.retry {
                Some(retry) => retry.begin(&mut cx),
                None => Repeat::Outside,
            };
            let attempt = Attempt { stages: self, next };
            let ended = attempt.run(cx).await;
            match &self.retry {
                Some(retry) if !retry.is_settled(repeat, &ended) => {
                    retry.mend(ended, repeat, cx, attempt).await
                },
                Some(_) | None => ended,
            }
        }
    }
}

/// Attempts: hedge.
impl<N: Next<T, E>, O: Observe, T, E> Next<T, E> for Attempt<'_, N, O> {
    fn run(self, cx: Context<'_>) -> impl Future<Output = Ended<T, E>> {
        let Self { stages, next } = self;
        stages.hedge.run(cx, Copied { stages, next })
    }
}

/// What a copy holds while it runs. Dropped without a result, it says nothing of the callee.
#[derive_where(Debug)]
struct Places<'a, O: Observe> {
    bulkhead: Option<bulkhead::Permit<'a, O>>,
    concurrency_limit: Option<concurrency_limit::Permit<'a, O>>,
    throttle: Option<throttle::Permit<'a>>,
}

impl<O: Observe> Canonical<O> {
    /// Takes all places, waiting for them if it must; then the attempt's time begins.
    async fn enter(&self, cx: &mut Context<'_>) -> Result<Places<'_, O>, Rejection> {
        let throttle = match &self.throttle {
            None => None,
            Some(throttle) => Some(throttle.try_acquire()?),
        };
        let concurrency_limit = match &self.concurrency_limit {
            None => None,
            Some(limit) => match limit.try_enter() {
                Some(place) => Some(place),
                None => Some(limit.queue(cx).await?),
            },
        };
        let bulkhead = match &self.bulkhead {
            None => None,
            Some(bulkhead) => match bulkhead.try_enter() {
                Some(place) => Some(place),
                None => Some(bulkhead.queue(cx).await?),
            },
        };
        if let Some(after) = self.timeout {
            cx.limit(Scope::Attempt, after);
        }
        Ok(Places {
            bulkhead,
            concurrency_limit,
            throttle,
        })
    }

    /// What is to be broken, by whom and how.
    fn fault(&self) -> Option<(&Faults, Fault)> {
        let faults = self.faults.as_ref()?;
        Some((faults, faults.decide(None)?))
    }
}

impl<O: Observe> Places<'_, O> {
    /// The copy ended so.
    fn leave(self, outcome: Outcome) {
        drop(self.bulkhead);
        if let Some(place) = self.concurrency_limit {
            place.record(outcome);
        }
        if let Some(permit) = self.throttle {
            permit.record(outcome);
        }
    }
}

/// Copies of an attempt: breaker, throttle, concurrency limit, bulkhead, time limit, faults.
impl<N: Next<T, E>, O: Observe, T, E> Next<T, E> for Copied<'_, N, O> {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and its caller moves them all"
    )]
    fn run(self, mut cx: Context<'_>) -> impl Future<Output = Ended<T, E>> {
        async move {
            let Self { stages, next } = self;
            let permit = match stages.breaker.as_ref().map(Breaker::enter).transpose() {
                Ok(permit) => permit,
                Err(rejection) => return cx.rejected(rejection),
            };
            let ended = match stages.enter(&mut cx).await {
                Ok(places) => {
                    let broken = match stages.fault() {
                        Some((faults, fault)) => faults.meet(fault, &mut cx).await,
                        None => None,
                    };
                    let ended = match broken {
                        Some(broken) => broken,
                        None => next.run(cx).await,
                    };
                    places.leave(ended.outcome);
                    ended
                },
                // Leaves the breaker by its outcome: a permit that is dropped would say that the
                // caller had abandoned the call.
                Err(rejection) => cx.rejected(rejection),
            };
            if let Some(permit) = permit {
                permit.leave(&cx, &ended);
            }
            ended
        }
    }
}
