//! The answer of a service behind a limit: turned away, waiting for its turn, or running.
//!
//! Prevents each limit's layer from having its own idea of when a call begins: nothing of it starts
//! before its permit is there, and the permit is given back with the call's outcome, or when the
//! answer is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::{Error, Flat, Rejection};

/// A permit that learns how its call ended.
pub(crate) trait Settle<T, E> {
    /// The call ended so.
    fn settle(self, result: Result<&T, &E>);
}

pin_project! {
    /// A call behind a limit. `W` waits for the permit `P`.
    #[project = AdmissionProjected]
    pub(crate) enum Admission<W, P, S, R>
    where
        S: Service<R>,
    {
        /// The permit is not there yet; the service was ready when it was taken along.
        Waiting {
            #[pin]
            wait: W,
            call: Option<(S, R)>,
        },
        /// Dropped in this order: the call, and then its permit.
        Running {
            #[pin]
            inner: S::Future,
            permit: Option<P>,
        },
        /// There was no permit to be had.
        Rejected { rejection: Option<Rejection> },
    }
}

impl<W, P, S, R> Future for Admission<W, P, S, R>
where
    W: Future<Output = Result<P, Rejection>>,
    P: Settle<S::Response, Error<<S::Error as Flat>::Inner>>,
    S: Service<R>,
    S::Error: Flat,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let AdmissionProjected::Waiting { wait, call } = self.as_mut().project() {
            let permit = ready!(wait.poll(cx));
            // Taken together with the permit, which comes once.
            let Some((mut service, request)) = call.take() else {
                return Poll::Pending;
            };
            match permit {
                Ok(permit) => self.set(Self::Running {
                    inner: service.call(request),
                    permit: Some(permit),
                }),
                Err(rejection) => self.set(Self::Rejected {
                    rejection: Some(rejection),
                }),
            }
        }
        match self.project() {
            AdmissionProjected::Running { inner, permit } => {
                let result = ready!(inner.poll(cx)).map_err(Flat::into_error);
                if let Some(permit) = permit.take() {
                    permit.settle(result.as_ref());
                }
                Poll::Ready(result)
            },
            // Polled again after its end, it never ends.
            AdmissionProjected::Rejected { rejection } => match rejection.take() {
                Some(rejection) => Poll::Ready(Err(Error::Rejected(rejection))),
                None => Poll::Pending,
            },
            AdmissionProjected::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<W, P, S, R> std::fmt::Debug for Admission<W, P, S, R>
where
    S: Service<R>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Waiting { .. } => "Waiting",
            Self::Running { .. } => "Running",
            Self::Rejected { .. } => "Rejected",
        })
    }
}
