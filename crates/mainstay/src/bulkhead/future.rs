//! The answer of a service in a bulkhead.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::event::Observe;
use mainstay_core::time::Deadline;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Bulkhead, BulkheadPermit, admit, arrive, settle};
use crate::admission::{Admission, Settle};
use crate::error::{Error, Flat, Rejection};
use crate::gate::{Arrived, Wait};

pin_project! {
    /// The answer of a [`BulkheadService`](super::BulkheadService). Dropped, it leaves the queue,
    /// or gives the place back.
    pub struct BulkheadFuture<S, R, O = ()>
    where
        S: Service<R>,
        O: Observe,
    {
        #[pin]
        admission: Admission<Waiting<O>, BulkheadPermit<O>, S, R>,
    }
}

pin_project! {
    /// The wait for a place.
    struct Waiting<O>
    where
        O: Observe,
    {
        #[pin]
        wait: Wait<Bulkhead<O>>,
        bulkhead: Bulkhead<O>,
    }
}

impl<S: Service<R>, R, O: Observe> BulkheadFuture<S, R, O> {
    pub(super) fn running(inner: S::Future, permit: BulkheadPermit<O>) -> Self {
        Self {
            admission: Admission::Running {
                inner,
                permit: Some(permit),
            },
        }
    }

    /// For a call that found no place free; `take` gives the service and the request.
    pub(super) fn arriving(bulkhead: &Bulkhead<O>, take: impl FnOnce() -> (S, R)) -> Self {
        let admission = match arrive(bulkhead.clone(), Deadline::NEVER) {
            // A place became free in between.
            Ok(Arrived::Entered(bulkhead)) => {
                let (mut service, request) = take();
                let permit = admit(bulkhead);
                return Self::running(service.call(request), permit);
            },
            Ok(Arrived::Queued(queued)) => Admission::Waiting {
                wait: Waiting {
                    wait: queued.wait(),
                    bulkhead: bulkhead.clone(),
                },
                call: Some(take()),
            },
            Err(rejection) => Admission::Rejected {
                rejection: Some(rejection),
            },
        };
        Self { admission }
    }
}

impl<O: Observe> Future for Waiting<O> {
    type Output = Result<BulkheadPermit<O>, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let ended = ready!(this.wait.poll(cx));
        Poll::Ready(settle(ended, this.bulkhead))
    }
}

impl<T, E, O: Observe> Settle<T, E> for BulkheadPermit<O> {
    fn settle(self, _: Result<&T, &E>) {}
}

impl<S, R, O> Future for BulkheadFuture<S, R, O>
where
    S: Service<R>,
    S::Error: Flat,
    O: Observe,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().admission.poll(cx)
    }
}

impl<S: Service<R>, R, O: Observe> fmt::Debug for BulkheadFuture<S, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BulkheadFuture")
            .field(&self.admission)
            .finish()
    }
}
