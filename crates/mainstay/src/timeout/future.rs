//! The answer of a service with a time limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Limited, Timeout};
use crate::deadline::Ambient;
use crate::error::{Error, Flat};

pin_project! {
    /// The answer of a [`TimeoutService`](super::TimeoutService).
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        inner: Limited<F>,
    }
}

impl<F> TimeoutFuture<F> {
    pub(super) const fn new(own: Ambient, limit: Timeout, inner: F) -> Self {
        Self {
            inner: Limited::new(own, Some(limit), inner),
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
        self.project().inner.poll(cx).map(|ended| match ended {
            Ok(result) => result.map_err(Flat::into_error),
            Err(elapsed) => Err(elapsed.into_error()),
        })
    }
}
