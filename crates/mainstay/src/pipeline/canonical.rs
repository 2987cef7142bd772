//! The order of stages that [`Pipeline::builder`](super::Pipeline::builder) builds.
//!
//! Written as one function per loop, not as a [`Chain`](super::Chain) of the same stages: each
//! future inside of another costs some twenty nanoseconds, even when it is ready at once.

use std::time::Duration;

use super::context::{Context, Ended};
use super::stage::{Next, Stage};
use crate::breaker::{Breaker, Permit};
use crate::bulkhead::Bulkhead;
use crate::error::{Rejection, Scope};
use crate::retry::Retry;

/// All stages in the order that [`pipeline`](super) gives reasons for; those that are `None` let
/// everything through.
#[derive(Clone, Debug, Default)]
pub struct Canonical {
    pub(super) deadline: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) breaker: Option<Breaker>,
    pub(super) bulkhead: Option<Bulkhead>,
    pub(super) timeout: Option<Duration>,
}

/// One attempt at a call, as the stages for whole calls see it.
#[derive(Clone, Copy, Debug)]
struct Attempt<'a, N> {
    stages: &'a Canonical,
    next: N,
}

/// Whole calls: deadline, rate limit, retry.
impl Stage for Canonical {
    fn run<T, E, N: Next<T, E>>(
        &self,
        mut cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        if let Some(total) = self.deadline {
            cx.limit(Scope::Total, total);
        }
        self.retry.run(cx, Attempt { stages: self, next })
    }
}

/// Single attempts: breaker, bulkhead, time limit.
impl<N: Next<T, E>, T, E> Next<T, E> for Attempt<'_, N> {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and its caller moves them all"
    )]
    fn run(self, mut cx: Context<'_>) -> impl Future<Output = Ended<T, E>> {
        async move {
            let Self { stages, next } = self;
            let permit = match enter(stages.breaker.as_ref()) {
                Ok(permit) => permit,
                Err(rejection) => return cx.rejected(rejection),
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
                Err(rejection) => {
                    // Not dropped: its caller did not abandon the call, it was turned away.
                    let ended = cx.rejected(rejection);
                    leave(permit, &cx, &ended);
                    return ended;
                },
            };
            if let Some(after) = stages.timeout {
                cx.limit(Scope::Attempt, after);
            }
            let ended = next.run(cx).await;
            drop(place);
            leave(permit, &cx, &ended);
            ended
        }
    }
}

fn enter(breaker: Option<&Breaker>) -> Result<Option<Permit<'_>>, Rejection> {
    breaker.map(Breaker::enter).transpose()
}

fn leave<T, E>(permit: Option<Permit<'_>>, cx: &Context<'_>, ended: &Ended<T, E>) {
    if let Some(permit) = permit {
        permit.leave(cx, ended);
    }
}
