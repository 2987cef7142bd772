//! A service whose calls are tried again.

use std::mem;
use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_service::Service;

use super::{Repeat, Retry, RetryFuture};
use crate::classify::Classify;
use crate::error::{Error, Flat};

/// A service whose calls are tried again. Made by [`Retry::layer`].
#[derive_where(Clone, Debug; S, C, R)]
pub struct RetryService<S, C, R, O: Observe = ()> {
    inner: S,
    retry: Retry<O>,
    classify: C,
    repeat: R,
}

impl<S, C, R, O: Observe> RetryService<S, C, R, O> {
    pub(super) const fn new(inner: S, retry: Retry<O>, classify: C, repeat: R) -> Self {
        Self {
            inner,
            retry,
            classify,
            repeat,
        }
    }
}

impl<S, C, R, O, Request> Service<Request> for RetryService<S, C, R, O>
where
    O: Observe,
    S: Service<Request> + Clone,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
    R: Repeat<Request> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = RetryFuture<S, Request, C, R, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that is ready goes with the call, and each further attempt makes it ready again.
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        let keep = (self.classify.clone(), self.repeat.clone());
        RetryFuture::new(service, &self.retry, keep, request)
    }
}
