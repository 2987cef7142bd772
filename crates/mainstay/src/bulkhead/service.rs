//! A service in a bulkhead.

use std::mem::replace;
use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_service::Service;

use super::{Bulkhead, BulkheadFuture};
use crate::error::{Error, Flat};

/// A service whose calls need a place in a [`Bulkhead`]. Made by [`Bulkhead::layer`].
///
/// A call waits for its place in its own future, so that the queue is the bulkhead's and not that
/// of `poll_ready`. The service is cloned only for a call that has to wait: it takes the one along
/// that is ready.
#[derive_where(Clone, Debug; S)]
pub struct BulkheadService<S, O = ()> {
    inner: S,
    bulkhead: Bulkhead<O>,
}

impl<S, O> BulkheadService<S, O> {
    pub(super) const fn new(inner: S, bulkhead: Bulkhead<O>) -> Self {
        Self { inner, bulkhead }
    }
}

impl<S, O, Request> Service<Request> for BulkheadService<S, O>
where
    S: Service<Request> + Clone,
    S::Error: Flat,
    O: Observe,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = BulkheadFuture<S, Request, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.bulkhead.try_acquire() {
            Some(permit) => BulkheadFuture::running(self.inner.call(request), permit),
            None => BulkheadFuture::arriving(&self.bulkhead, || {
                let clone = self.inner.clone();
                (replace(&mut self.inner, clone), request)
            }),
        }
    }
}
