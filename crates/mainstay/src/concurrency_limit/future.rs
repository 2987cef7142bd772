//! The answer of a service behind a concurrency limit.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::event::Observe;
use mainstay_core::time::Deadline;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{ConcurrencyLimit, OwnedPermit, Priority, admit, arrive};
use crate::admission::{Admission, Settle};
use crate::classify::{Classify, Nested};
use crate::error::{Error, Flat, Rejection};
use crate::gate::{Arrived, Wait};

pin_project! {
    /// The answer of a [`ConcurrencyLimitService`](super::ConcurrencyLimitService). Dropped, it
    /// leaves the queue, or gives the place back.
    pub struct ConcurrencyLimitFuture<S, R, C, O = ()>
    where
        S: Service<R>,
        O: Observe,
    {
        #[pin]
        admission: Admission<Waiting<C, O>, Graded<C, O>, S, R>,
    }
}

pin_project! {
    /// The wait for a place.
    struct Waiting<C, O>
    where
        O: Observe,
    {
        #[pin]
        wait: Wait<ConcurrencyLimit<O>>,
        limit: ConcurrencyLimit<O>,
        classify: Option<C>,
    }
}

/// A place, and what says what the result means.
struct Graded<C, O: Observe> {
    permit: OwnedPermit<O>,
    /// None when it was asked for twice, which it is not.
    classify: Option<C>,
}

impl<S: Service<R>, R, C, O: Observe> ConcurrencyLimitFuture<S, R, C, O> {
    /// `take` takes the ready service along, for a call that has to wait.
    pub(super) fn new(
        (limit, priority, classify): (&ConcurrencyLimit<O>, Priority, C),
        service: &mut S,
        request: R,
        take: impl FnOnce(&mut S) -> S,
    ) -> Self {
        let admission = match arrive(limit.clone(), Deadline::NEVER, priority) {
            Ok(Arrived::Entered(limit)) => {
                // Before the call begins: the permit measures it.
                let permit = Graded {
                    permit: admit(limit),
                    classify: Some(classify),
                };
                Admission::Running {
                    inner: service.call(request),
                    permit: Some(permit),
                }
            },
            Ok(Arrived::Queued(queued)) => Admission::Waiting {
                wait: Waiting {
                    wait: queued.wait(),
                    limit: limit.clone(),
                    classify: Some(classify),
                },
                call: Some((take(service), request)),
            },
            Err(rejection) => Admission::Rejected {
                rejection: Some(rejection),
            },
        };
        Self { admission }
    }
}

impl<C, O: Observe> Future for Waiting<C, O> {
    type Output = Result<Graded<C, O>, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let ended = ready!(this.wait.poll(cx));
        Poll::Ready(this.limit.0.settle(ended).map(|permit| Graded {
            permit,
            classify: this.classify.take(),
        }))
    }
}

impl<T, E, C: Classify<T, E>, O: Observe> Settle<T, Error<E>> for Graded<C, O> {
    fn settle(self, result: Result<&T, &Error<E>>) {
        match self.classify {
            Some(classify) => self.permit.record(Nested(classify).classify(result)),
            None => self.permit.ignore(),
        }
    }
}

impl<S, R, C, O> Future for ConcurrencyLimitFuture<S, R, C, O>
where
    O: Observe,
    S: Service<R>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner>,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().admission.poll(cx)
    }
}

impl<S: Service<R>, R, C, O: Observe> fmt::Debug for ConcurrencyLimitFuture<S, R, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConcurrencyLimitFuture")
            .field(&self.admission)
            .finish()
    }
}
