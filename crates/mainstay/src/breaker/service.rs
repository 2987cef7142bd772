//! A service behind a circuit breaker.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{Breaker, BreakerFuture};
use crate::classify::{Classify, ErrorsFail};
use crate::error::{Error, Flat};

/// A service whose calls an open circuit turns away. Made by [`Breaker::layer`].
///
/// It is ready when the inner service is; a call that is turned away answers so by itself. An
/// error from `poll_ready` would be the end of a `Buffer` around it.
#[derive(Clone, Debug)]
pub struct BreakerService<S, C = ErrorsFail> {
    inner: S,
    breaker: Breaker,
    classify: C,
}

impl<S, C> BreakerService<S, C> {
    pub(super) const fn new(inner: S, breaker: Breaker, classify: C) -> Self {
        Self {
            inner,
            breaker,
            classify,
        }
    }
}

impl<S, C, Request> Service<Request> for BreakerService<S, C>
where
    S: Service<Request>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = BreakerFuture<S::Future, C>;

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
