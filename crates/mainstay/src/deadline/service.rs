//! A service whose calls end when their callers stop waiting.

use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::{Ambient, DeadlineFuture};
use crate::error::{Cause, Error, Flat, Policy, Rejection};
use crate::name::Name;
use crate::timeout::{Limited, Timeout};

/// A service that keeps to its requests' deadlines. Made by
/// [`DeadlineLayer`](super::DeadlineLayer).
#[derive(Clone, Debug)]
pub struct DeadlineService<S, R> {
    inner: S,
    name: Name,
    read: R,
}

impl<S, R> DeadlineService<S, R> {
    pub(super) const fn new(inner: S, name: Name, read: R) -> Self {
        Self { inner, name, read }
    }
}

impl<S, R, Request> Service<Request> for DeadlineService<S, R>
where
    S: Service<Request>,
    S::Error: Flat,
    R: Fn(&Request) -> Option<Duration>,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let left = (self.read)(&request);
        if left.or_else(super::remaining) == Some(Duration::ZERO) {
            return DeadlineFuture::rejected(no_time(&self.name));
        }
        let limit = left.map(Timeout::total);
        let own = limit.map_or(Ambient::NONE, Timeout::ambient);
        let inner = own.enter(|| self.inner.call(request));
        DeadlineFuture::running(Limited::new(own, limit, inner))
    }
}

/// The call is over before it began.
pub(crate) fn no_time(name: &Name) -> Rejection {
    Rejection {
        policy: Policy::Deadline,
        name: name.clone(),
        cause: Cause::NoTime,
        retry_after: None,
    }
}
