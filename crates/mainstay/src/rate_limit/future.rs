//! The answer of a service behind a rate limit.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::event::Observe;
use mainstay_core::time::Deadline;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::RateLimiter;
use super::turn::{Turn, Wait};
use crate::admission::{Admission, Settle};
use crate::error::{Error, Flat, Rejection};

pin_project! {
    /// The answer of a [`RateLimitService`](super::RateLimitService). Dropped, it leaves the queue.
    pub struct RateLimitFuture<S, R, O = ()>
    where
        S: Service<R>,
        O: Observe,
    {
        #[pin]
        admission: Admission<Waiting<O>, Passed, S, R>,
    }
}

pin_project! {
    /// The wait for the turn.
    struct Waiting<O>
    where
        O: Observe,
    {
        #[pin]
        wait: Wait<RateLimiter<O>, O>,
    }
}

/// There is nothing to give back.
struct Passed;

impl<S: Service<R>, R, O: Observe> RateLimitFuture<S, R, O> {
    /// `take` takes the ready service along, for a call that has to wait.
    pub(super) fn new(
        limiter: &RateLimiter<O>,
        service: &mut S,
        request: R,
        take: impl FnOnce(&mut S) -> S,
    ) -> Self {
        let turn = if limiter.0.pass() {
            Ok(None)
        } else {
            Turn::arrive(limiter.clone(), Deadline::NEVER)
        };
        let admission = match turn {
            Ok(None) => Admission::Running {
                inner: service.call(request),
                permit: None,
            },
            Ok(Some(turn)) => Admission::Waiting {
                wait: Waiting { wait: turn.wait() },
                call: Some((take(service), request)),
            },
            Err(rejection) => Admission::Rejected {
                rejection: Some(rejection),
            },
        };
        Self { admission }
    }
}

impl<O: Observe> Future for Waiting<O> {
    type Output = Result<Passed, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(self.project().wait.poll(cx));
        Poll::Ready(ended.map(|()| Passed))
    }
}

impl<T, E> Settle<T, E> for Passed {
    fn settle(self, _: Result<&T, &E>) {}
}

impl<S, R, O> Future for RateLimitFuture<S, R, O>
where
    O: Observe,
    S: Service<R>,
    S::Error: Flat,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().admission.poll(cx)
    }
}

impl<S: Service<R>, R, O: Observe> fmt::Debug for RateLimitFuture<S, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateLimitFuture")
            .field(&self.admission)
            .finish()
    }
}
