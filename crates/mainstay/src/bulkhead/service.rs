//! A service in a bulkhead.

use std::mem::replace;
use std::task::{Context, Poll};

use tower_service::Service;

use super::{Bulkhead, BulkheadFuture};
use crate::error::{Error, Flat};

/// A service whose calls need a place in a [`Bulkhead`]. Made by [`Bulkhead::layer`].
///
/// A call waits for its place in its own future, so that the queue is the bulkhead's and not that
/// of `poll_ready`. The service is cloned only for a call that has to wait: it takes the one along
/// that is ready.
#[derive(Clone, Debug)]
pub struct BulkheadService<S> {
    inner: S,
    bulkhead: Bulkhead,
}

impl<S> BulkheadService<S> {
    pub(super) const fn new(inner: S, bulkhead: Bulkhead) -> Self {
        Self { inner, bulkhead }
    }
}

impl<S, Request> Service<Request> for BulkheadService<S>
where
    S: Service<Request> + Clone,
    S::Error: Flat,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = BulkheadFuture<S, Request>;

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
