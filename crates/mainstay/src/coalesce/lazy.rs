//! A service's call that begins when it is first polled.
//!
//! Prevents work for a caller who turns out not to need it: `Service::call` may begin at once, and
//! readiness that is reserved but not used is taken from somebody else.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::{Error, Flat};

pin_project! {
    /// Waits for the service's readiness, then calls it.
    #[project = LazyProjected]
    pub(crate) enum Lazy<S, Request>
    where
        S: Service<Request>,
    {
        Waiting {
            service: S,
            request: Option<Request>,
        },
        Calling {
            #[pin]
            call: S::Future,
        },
    }
}

impl<S: Service<Request>, Request> Lazy<S, Request> {
    pub(crate) const fn new(service: S, request: Request) -> Self {
        Self::Waiting {
            service,
            request: Some(request),
        }
    }
}

impl<S, Request> Future for Lazy<S, Request>
where
    S: Service<Request>,
    S::Error: Flat,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let LazyProjected::Waiting { service, request } = self.as_mut().project() {
            ready!(service.poll_ready(cx)).map_err(Flat::into_error)?;
            if let Some(request) = request.take() {
                let call = service.call(request);
                self.set(Self::Calling { call });
            }
        }
        match self.project() {
            LazyProjected::Calling { call } => call.poll(cx).map_err(Flat::into_error),
            // Its request is there until it is called.
            LazyProjected::Waiting { .. } => Poll::Pending,
        }
    }
}
