//! A service behind a concurrency limit.

use std::mem::replace;
use std::task::{Context, Poll};

use tower_service::Service;

use super::{ConcurrencyLimit, ConcurrencyLimitFuture, Priority};
use crate::classify::{Classify, ErrorsFail};
use crate::error::{Error, Flat};

/// A service whose calls need a place under a [`ConcurrencyLimit`]. Made by
/// [`ConcurrencyLimit::layer`].
///
/// A call waits for its place in its own future. The service is cloned only for a call that has to
/// wait: it takes the one along that is ready.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitService<S, C = ErrorsFail> {
    inner: S,
    limit: ConcurrencyLimit,
    priority: Priority,
    classify: C,
}

impl<S, C> ConcurrencyLimitService<S, C> {
    pub(super) const fn new(
        inner: S,
        limit: ConcurrencyLimit,
        priority: Priority,
        classify: C,
    ) -> Self {
        Self {
            inner,
            limit,
            priority,
            classify,
        }
    }
}

impl<S, C, Request> Service<Request> for ConcurrencyLimitService<S, C>
where
    S: Service<Request> + Clone,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = ConcurrencyLimitFuture<S, Request, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let arrival = (&self.limit, self.priority, self.classify.clone());
        ConcurrencyLimitFuture::new(arrival, &mut self.inner, request, |inner| {
            let clone = inner.clone();
            replace(inner, clone)
        })
    }
}
