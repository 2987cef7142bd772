//! The answer of a service behind a client throttle.

use std::fmt;
use std::future::Pending;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::OwnedPermit;
use crate::admission::{Admission, Settle};
use crate::classify::{Classify, Nested};
use crate::error::{Error, Flat, Rejection};

pin_project! {
    /// The answer of a [`ThrottleService`](super::ThrottleService).
    pub struct ThrottleFuture<S, R, C>
    where
        S: Service<R>,
    {
        // Nobody waits here.
        #[pin]
        admission: Admission<Pending<Result<Graded<C>, Rejection>>, Graded<C>, S, R>,
    }
}

/// A permit, and what says what the result means.
struct Graded<C> {
    permit: OwnedPermit,
    classify: C,
}

impl<S: Service<R>, R, C> ThrottleFuture<S, R, C> {
    pub(super) fn running(inner: S::Future, permit: OwnedPermit, classify: C) -> Self {
        let permit = Some(Graded { permit, classify });
        Self {
            admission: Admission::Running { inner, permit },
        }
    }

    pub(super) fn rejected(rejection: Rejection) -> Self {
        Self {
            admission: Admission::Rejected {
                rejection: Some(rejection),
            },
        }
    }
}

impl<T, E, C: Classify<T, E>> Settle<T, Error<E>> for Graded<C> {
    fn settle(self, result: Result<&T, &Error<E>>) {
        self.permit.record(Nested(self.classify).classify(result));
    }
}

impl<S, R, C> Future for ThrottleFuture<S, R, C>
where
    S: Service<R>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner>,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().admission.poll(cx)
    }
}

impl<S: Service<R>, R, C> fmt::Debug for ThrottleFuture<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThrottleFuture")
            .field(&self.admission)
            .finish()
    }
}
