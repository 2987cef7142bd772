//! A service behind a client throttle.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{Throttle, ThrottleFuture};
use crate::classify::{Classify, ErrorsFail};
use crate::error::{Error, Flat};

/// A service whose calls are spared when the callee would refuse them. Made by
/// [`Throttle::layer`].
#[derive(Clone, Debug)]
pub struct ThrottleService<S, C = ErrorsFail> {
    inner: S,
    throttle: Throttle,
    classify: C,
}

impl<S, C> ThrottleService<S, C> {
    pub(super) const fn new(inner: S, throttle: Throttle, classify: C) -> Self {
        Self {
            inner,
            throttle,
            classify,
        }
    }
}

impl<S, C, Request> Service<Request> for ThrottleService<S, C>
where
    S: Service<Request>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = ThrottleFuture<S, Request, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.throttle.try_acquire_owned() {
            Ok(permit) => {
                let inner = self.inner.call(request);
                ThrottleFuture::running(inner, permit, self.classify.clone())
            },
            Err(rejection) => ThrottleFuture::rejected(rejection),
        }
    }
}
