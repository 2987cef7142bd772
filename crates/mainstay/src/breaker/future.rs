//! The answer of a service behind a circuit breaker.

use std::pin::Pin;
use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use pin_project_lite::pin_project;

use super::OwnedPermit;
use crate::classify::{Classify, ErrorsFail, Nested};
use crate::error::{Error, Flat, Rejection};

pin_project! {
    /// The answer of a [`BreakerService`](super::BreakerService). Dropped before its end, it gives
    /// its permit back as abandoned.
    #[derive_where(Debug; F, C)]
    pub struct BreakerFuture<F, C = ErrorsFail, O = ()>
    where
        O: Observe,
    {
        #[pin]
        state: State<F, C, O>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive_where(Debug; F, C)]
    enum State<F, C, O>
    where
        O: Observe,
    {
        Rejected {
            rejection: Option<Rejection>,
        },
        Running {
            #[pin]
            inner: F,
            permit: Option<OwnedPermit<O>>,
            classify: C,
        },
    }
}

impl<F, C, O: Observe> BreakerFuture<F, C, O> {
    pub(super) const fn running(inner: F, permit: OwnedPermit<O>, classify: C) -> Self {
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

impl<F, C, O, T, E> Future for BreakerFuture<F, C, O>
where
    O: Observe,
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
