//! Where the copies of a call come from.
//!
//! Prevents a call that must not be made twice from being made twice: there is no second copy of it
//! to be had.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Attempt, Repeat};

/// Makes the copies of one call.
pub(super) trait Copies {
    type Future;

    /// Whether there is another copy to be had.
    fn has_more(&self) -> bool;

    /// The next copy, if there is one.
    fn copy(&mut self, attempt: Attempt) -> Option<Self::Future>;
}

/// Any number of copies.
pub(super) struct Operation<F>(pub(super) F);

impl<F: Fn(Attempt) -> Copy, Copy> Copies for Operation<F> {
    type Future = Copy;

    fn has_more(&self) -> bool {
        true
    }

    fn copy(&mut self, attempt: Attempt) -> Option<Copy> {
        Some((self.0)(attempt))
    }
}

/// Just the one.
pub(super) struct Once<F>(pub(super) Option<F>);

impl<F> Copies for Once<F> {
    type Future = F;

    fn has_more(&self) -> bool {
        self.0.is_some()
    }

    fn copy(&mut self, _: Attempt) -> Option<F> {
        self.0.take()
    }
}

/// Copies of a request to clones of a service.
pub(super) struct Requests<S: Service<Request>, Request, R> {
    /// The call that the service was ready for.
    pub(super) first: Option<S::Future>,
    pub(super) service: S,
    pub(super) spare: Option<Request>,
    pub(super) repeat: R,
}

pin_project! {
    #[project = RequestProjection]
    pub(super) enum RequestCopy<S: Service<Request>, Request> {
        // A clone is not ready because the original was: it waits for its own turn.
        Readying { service: S, request: Option<Request> },
        Calling { #[pin] call: S::Future },
    }
}

impl<S: Service<Request> + Clone, Request, R: Repeat<Request>> Copies for Requests<S, Request, R> {
    type Future = RequestCopy<S, Request>;

    fn has_more(&self) -> bool {
        self.first.is_some() || self.spare.is_some()
    }

    fn copy(&mut self, _: Attempt) -> Option<Self::Future> {
        if let Some(call) = self.first.take() {
            return Some(RequestCopy::Calling { call });
        }
        let request = self.spare.take()?;
        self.spare = self.repeat.copy(&request);
        Some(RequestCopy::Readying {
            service: self.service.clone(),
            request: Some(request),
        })
    }
}

impl<S: Service<Request>, Request> Future for RequestCopy<S, Request> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let RequestProjection::Readying { service, request } = self.as_mut().project() {
            ready!(service.poll_ready(cx))?;
            let Some(request) = request.take() else {
                return Poll::Pending;
            };
            let call = service.call(request);
            self.set(Self::Calling { call });
        }
        match self.project() {
            RequestProjection::Calling { call } => call.poll(cx),
            // Left just above.
            RequestProjection::Readying { .. } => Poll::Pending,
        }
    }
}
