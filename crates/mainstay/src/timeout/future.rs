//! The answer of a service with a time limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time;

use super::Timeout;
use crate::error::{Error, Flat};

pin_project! {
    /// The answer of a [`TimeoutService`](super::TimeoutService).
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        inner: time::Timeout<F>,
        limit: Timeout,
    }
}

impl<F: Future> TimeoutFuture<F> {
    pub(super) fn new(inner: F, limit: Timeout) -> Self {
        Self {
            inner: time::timeout(limit.after, inner),
            limit,
        }
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Flat,
{
    type Output = Result<T, Error<E::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Timeout { scope, after } = *this.limit;
        // tokio asks the future before the timer: an answer in the same tick wins.
        this.inner.poll(cx).map(|ended| match ended {
            Ok(result) => result.map_err(Flat::into_error),
            Err(_elapsed) => Err(Error::Timeout { scope, after }),
        })
    }
}
