//! A service with a time limit on each call.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{Timeout, TimeoutFuture};
use crate::error::{Error, Flat};

/// A service whose calls end in time. Made by [`Timeout::layer`].
#[derive(Clone, Copy, Debug)]
pub struct TimeoutService<S> {
    inner: S,
    timeout: Timeout,
}

impl<S> TimeoutService<S> {
    pub(super) const fn new(inner: S, timeout: Timeout) -> Self {
        Self { inner, timeout }
    }
}

impl<S, Request> Service<Request> for TimeoutService<S>
where
    S: Service<Request>,
    S::Error: Flat,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let own = self.timeout.ambient();
        let inner = own.enter(|| self.inner.call(request));
        TimeoutFuture::new(own, self.timeout, inner)
    }
}
