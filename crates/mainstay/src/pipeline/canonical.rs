//! The order of stages that [`Pipeline::builder`](super::Pipeline::builder) builds.
//!
//! Written as one function per loop, not as a [`Chain`](super::Chain) of the same stages: each
//! future inside of another costs several nanoseconds, even when it is ready at once.

use std::time::Duration;

use super::context::{Context, Ended};
use super::stage::{Next, Stage};
use crate::breaker::{Breaker, Permit};
use crate::bulkhead::Bulkhead;
use crate::error::Scope;
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
    async fn run<T, E, N: Next<T, E>>(&self, cx: &Context<'_>, next: N) -> Ended<T, E> {
        let mut cx = *cx;
        if let Some(total) = self.deadline {
            cx.limit(Scope::Total, total);
        }
        let attempt = Attempt { stages: self, next };
        match &self.retry {
            Some(retry) => retry.run(&cx, attempt).await,
            None => attempt.run(&cx).await,
        }
    }
}

/// Single attempts: breaker, bulkhead, time limit.
impl<N: Next<T, E>, T, E> Next<T, E> for Attempt<'_, N> {
    async fn run(self, cx: &Context<'_>) -> Ended<T, E> {
        let Canonical {
            deadline: _,
            retry: _,
            breaker,
            bulkhead,
            timeout,
        } = self.stages;
        let mut cx = *cx;
        let entered = match breaker {
            None => Ok(None),
            Some(breaker) => breaker.enter(&cx).map(Some),
        };
        let permit = match entered {
            Ok(permit) => permit,
            Err(rejection) => return cx.rejected(rejection),
        };
        let entered = match bulkhead {
            None => Ok(None),
            Some(bulkhead) => bulkhead.enter(&mut cx).await.map(Some),
        };
        let place = match entered {
            Ok(place) => place,
            Err(rejection) => {
                // Not dropped: its caller did not abandon the call, it was turned away.
                let ended = cx.rejected(rejection);
                leave(permit, &cx, &ended);
                return ended;
            },
        };
        if let Some(after) = *timeout {
            cx.limit(Scope::Attempt, after);
        }
        let ended = self.next.run(&cx).await;
        drop(place);
        leave(permit, &cx, &ended);
        ended
    }
}

fn leave<T, E>(permit: Option<Permit<'_>>, cx: &Context<'_>, ended: &Ended<T, E>) {
    if let Some(permit) = permit {
        permit.leave(cx, ended);
    }
}
