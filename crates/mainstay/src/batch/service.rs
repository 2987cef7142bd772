//! [`Batch`] as a service of items. It stands around no other service: what it calls takes many.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{Batch, BatchFuture};
use crate::error::Error;

impl<I, T, E> Service<I> for Batch<I, T, E> {
    type Response = T;
    type Error = Error<E>;
    type Future = BatchFuture<I, T, E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, item: I) -> Self::Future {
        Self::call(self, item)
    }
}
