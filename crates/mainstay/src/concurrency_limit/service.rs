//! A service behind a concurrency limit.

use std::mem::replace;
use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_service::Service;

use super::{ConcurrencyLimit, ConcurrencyLimitFuture, Priority};
use crate::classify::{Classify, ErrorsFail};
use crate::error::{Error, Flat};

/// A service whose calls need a place under a [`ConcurrencyLimit`]. Made by
/// [`ConcurrencyLimit::layer`].
///
/// A call waits for its place in its own future. The service is cloned only for a call that has to
/// wait: it takes the one along that is ready.
#[derive_where(Clone, Debug; S, C)]
pub struct ConcurrencyLimitService<S, C = ErrorsFail, O: Observe = ()> {
    inner: S,
    limit: ConcurrencyLimit<O>,
    priority: Priority,
    classify: C,
}

impl<S, C, O: Observe> ConcurrencyLimitService<S, C, O> {
    pub(super) const fn new(
        inner: S,
        limit: ConcurrencyLimit<O>,
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

impl<S, C, O, Request> Service<Request> for ConcurrencyLimitService<S, C, O>
where
    O: Observe,
    S: Service<Request> + Clone,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = ConcurrencyLimitFuture<S, Request, C, O>;

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
