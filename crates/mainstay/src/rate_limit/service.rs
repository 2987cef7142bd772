//! A service behind a rate limit.

use std::mem::replace;
use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_service::Service;

use super::{RateLimitFuture, RateLimiter};
use crate::error::{Error, Flat};

/// A service whose calls wait for their turn at a [`RateLimiter`]. Made by [`RateLimiter::layer`].
///
/// A call waits in its own future. The service is cloned only for a call that has to wait: it takes
/// the one along that is ready.
#[derive_where(Clone, Debug; S)]
pub struct RateLimitService<S, O = ()> {
    inner: S,
    limiter: RateLimiter<O>,
}

impl<S, O> RateLimitService<S, O> {
    pub(super) const fn new(inner: S, limiter: RateLimiter<O>) -> Self {
        Self { inner, limiter }
    }
}

impl<S, O, Request> Service<Request> for RateLimitService<S, O>
where
    O: Observe,
    S: Service<Request> + Clone,
    S::Error: Flat,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = RateLimitFuture<S, Request, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        RateLimitFuture::new(&self.limiter, &mut self.inner, request, |inner| {
            let clone = inner.clone();
            replace(inner, clone)
        })
    }
}
