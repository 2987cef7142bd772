//! The answer of a service behind a circuit breaker.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::OwnedPermit;
use crate::classify::{Classify, ErrorsFail, Nested};
use crate::error::{Error, Flat, Rejection};

pin_project! {
    /// The answer of a [`BreakerService`](super::BreakerService). Dropped before its end, it gives
    /// its permit back as abandoned.
    #[derive(Debug)]
    pub struct BreakerFuture<F, C = ErrorsFail> {
        #[pin]
        state: State<F, C>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F, C> {
        Rejected {
            rejection: Option<Rejection>,
        },
        Running {
            #[pin]
            inner: F,
            permit: Option<OwnedPermit>,
            classify: C,
        },
    }
}

impl<F, C> BreakerFuture<F, C> {
    pub(super) const fn running(inner: F, permit: OwnedPermit, classify: C) -> Self {
        Self {
            state: State::Running {
                inner,
                permit: Some(permit),
                classify,
            },
        }
    }

    pub(super) const fn rejected(rejection: Rejection) -> Self {
        Self {
            state: State::Rejected {
                rejection: Some(rejection),
            },
        }
    }
}

impl<F, C, T, E> Future for BreakerFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    E: Flat,
    C: Classify<T, E::Inner>,
{
    type Output = Result<T, Error<E::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // `None` only for who asks again after the answer.
            StateProjection::Rejected { rejection } => rejection
                .take()
                .map_or(Poll::Pending, |one| Poll::Ready(Err(Error::Rejected(one)))),
            StateProjection::Running {
                inner,
                permit,
                classify,
            } => {
                // Out of the future while it runs: a panic is a failure whoever catches it.
                let held = permit.take();
                let Poll::Ready(result) = inner.poll(cx) else {
                    *permit = held;
                    return Poll::Pending;
                };
                if let Some(held) = held {
                    let borrowed = result.as_ref().map_err(Flat::as_error);
                    held.record(Nested(&*classify).classify(borrowed));
                }
                Poll::Ready(result.map_err(Flat::into_error))
            },
        }
    }
}
