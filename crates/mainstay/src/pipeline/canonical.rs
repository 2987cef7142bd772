//! The order of stages that [`Pipeline::builder`](super::Pipeline::builder) builds.
//!
//! Written as one function per loop, not as a [`Chain`](super::Chain) of the same stages: each
//! future inside of another costs some twenty nanoseconds, even when it is ready at once.

use std::time::Duration;

use super::context::{Context, Ended, Repeat};
use super::grain::Grain;
use super::stage::{Next, Stage};
use crate::breaker::Breaker;
use crate::bulkhead::Bulkhead;
use crate::concurrency_limit::ConcurrencyLimit;
use crate::error::Scope;
use crate::fault::Faults;
use crate::hedge::Hedge;
use crate::rate_limit::RateLimiter;
use crate::retry::Retry;
use crate::throttle::Throttle;

/// All stages in the order that [`pipeline`](super) gives reasons for; those that are `None` let
/// everything through.
#[derive(Clone, Debug, Default)]
pub struct Canonical {
    pub(super) deadline: Option<Duration>,
    pub(super) rate_limit: Option<RateLimiter>,
    pub(super) retry: Option<Retry>,
    pub(super) hedge: Option<Hedge>,
    pub(super) breaker: Option<Breaker>,
    pub(super) throttle: Option<Throttle>,
    pub(super) concurrency_limit: Option<ConcurrencyLimit>,
    pub(super) bulkhead: Option<Bulkhead>,
    pub(super) timeout: Option<Duration>,
    pub(super) faults: Option<Faults>,
}

/// One attempt at a call, as the stages for whole calls see it.
#[derive(Clone, Copy, Debug)]
struct Attempt<'a, N> {
    stages: &'a Canonical,
    next: N,
}

/// One copy of an attempt, as the hedge sees it.
#[derive(Clone, Copy, Debug)]
struct Copied<'a, N> {
    stages: &'a Canonical,
    next: N,
}

impl Canonical {
    /// How exactly the time must be read.
    pub(super) fn grain(&self) -> Grain {
        let retry = self.retry.as_ref().and_then(Retry::total);
        Grain::of([self.deadline, retry, self.timeout])
    }
}

/// Whole calls: deadline, rate limit, retry.
impl Stage for Canonical {
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
impl<N: Next<T, E>, T, E> Next<T, E> for Attempt<'_, N> {
    fn run(self, cx: Context<'_>) -> impl Future<Output = Ended<T, E>> {
        let Self { stages, next } = self;
        stages.hedge.run(cx, Copied { stages, next })
    }
}

/// Copies of an attempt: breaker, throttle, concurrency limit, bulkhead, time limit, faults.
impl<N: Next<T, E>, T, E> Next<T, E> for Copied<'_, N> {
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
            // What is turned away in here leaves the breaker by its outcome. Dropped, its permit
            // would say that the caller had abandoned the call.
            let ended = 'inside: {
                let sent = match stages
                    .throttle
                    .as_ref()
                    .map(Throttle::try_acquire)
                    .transpose()
                {
                    Ok(sent) => sent,
                    Err(rejection) => break 'inside cx.rejected(rejection),
                };
                let slot = match &stages.concurrency_limit {
                    None => Ok(None),
                    Some(limit) => match limit.try_enter() {
                        Some(slot) => Ok(Some(slot)),
                        None => limit.queue(&mut cx).await.map(Some),
                    },
                };
                let slot = match slot {
                    Ok(slot) => slot,
                    Err(rejection) => break 'inside cx.rejected(rejection),
                };
                let place = match &stages.bulkhead {
                    None => Ok(None),
                    Some(bulkhead) => match bulkhead.try_enter() {
                        Some(place) => Ok(Some(place)),
                        None => bulkhead.queue(&mut cx).await.map(Some),
                    },
                };
                let place = match place {
                    Ok(place) => place,
                    Err(rejection) => break 'inside cx.rejected(rejection),
                };
                if let Some(after) = stages.timeout {
                    cx.limit(Scope::Attempt, after);
                }
                let fault = stages
                    .faults
                    .as_ref()
                    .and_then(|faults| faults.decide(None));
                let broken = match (&stages.faults, fault) {
                    (Some(faults), Some(fault)) => faults.meet(fault, &mut cx).await,
                    (Some(_) | None, _) => None,
                };
                let ended = match broken {
                    Some(broken) => broken,
                    None => next.run(cx).await,
                };
                drop(place);
                if let Some(slot) = slot {
                    slot.record(ended.outcome);
                }
                if let Some(sent) = sent {
                    sent.record(ended.outcome);
                }
                ended
            };
            if let Some(permit) = permit {
                permit.leave(&cx, &ended);
            }
            ended
        }
    }
}
