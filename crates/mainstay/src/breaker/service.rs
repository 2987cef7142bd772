//! A service behind a circuit breaker.

use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_service::Service;

use super::{Breaker, BreakerFuture};
use crate::classify::{Classify, ErrorsFail};
use crate::error::{Error, Flat};

/// A service whose calls an open circuit turns away. Made by [`Breaker::layer`].
///
/// It is ready when the inner service is; a call that is turned away answers so by itself. An
/// error from `poll_ready` would be the end of a `Buffer` around it.
#[derive_where(Clone, Debug; S, C)]
pub struct BreakerService<S, C = ErrorsFail, O: Observe = ()> {
    inner: S,
    breaker: Breaker<O>,
    classify: C,
}

impl<S, C, O: Observe> BreakerService<S, C, O> {
    pub(super) const fn new(inner: S, breaker: Breaker<O>, classify: C) -> Self {
        Self {
            inner,
            breaker,
            classify,
        }
    }
}

impl<S, C, O, Request> Service<Request> for BreakerService<S, C, O>
where
    O: Observe,
    S: Service<Request>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = BreakerFuture<S::Future, C, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.breaker.try_acquire_owned() {
            Ok(permit) => {
                BreakerFuture::running(self.inner.call(request), permit, self.classify.clone())
            },
            Err(rejected) => BreakerFuture::rejected(self.breaker.rejection(rejected)),
        }
    }
}
