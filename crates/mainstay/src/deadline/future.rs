//! The answer of a service that keeps to its requests' deadlines.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::error::{Error, Flat, Rejection};
use crate::timeout::Limited;

pin_project! {
    /// The answer of a [`DeadlineService`](super::DeadlineService).
    #[derive(Debug)]
    pub struct DeadlineFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F> {
        Rejected { rejection: Option<Rejection> },
        Running { #[pin] inner: Limited<F> },
    }
}

impl<F> DeadlineFuture<F> {
    pub(super) const fn rejected(rejection: Rejection) -> Self {
        Self {
            state: State::Rejected {
                rejection: Some(rejection),
            },
        }
    }

    pub(super) const fn running(inner: Limited<F>) -> Self {
        Self {
            state: State::Running { inner },
        }
    }
}

impl<F, T, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Flat,
{
    type Output = Result<T, Error<E::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // Polled again after its end, it stays pending, as a future may.
            StateProjection::Rejected { rejection } => rejection
                .take()
                .map_or(Poll::Pending, |why| Poll::Ready(Err(Error::Rejected(why)))),
            StateProjection::Running { inner } => inner.poll(cx).map(|ended| match ended {
                Ok(result) => result.map_err(Flat::into_error),
                Err(elapsed) => Err(elapsed.into_error()),
            }),
        }
    }
}
