//! The answer of a service whose calls are tried again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::event::Observe;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::course::{Course, Next};
use super::{Repeat, Retry};
use crate::classify::{Classify, Nested};
use crate::error::{Error, Flat, Rejection};
use crate::timeout::Limited;

pin_project! {
    /// The answer of a [`RetryService`](super::RetryService).
    pub struct RetryFuture<S: Service<Request>, Request, C, R, O = ()> {
        #[pin]
        attempts: Limited<Attempts<S, Request, C, R, O>>,
    }
}

pin_project! {
    struct Attempts<S: Service<Request>, Request, C, R, O> {
        #[pin]
        state: State<S::Future, Request>,
        service: S,
        // For another attempt; none when the request can be sent only once.
        spare: Option<Request>,
        retry: Retry<O>,
        course: Option<Course>,
        classify: Nested<C>,
        repeat: R,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, Request> {
        Rejected { rejection: Option<Rejection> },
        // The service of the first attempt is ready already.
        First { request: Option<Request> },
        Calling { #[pin] call: F },
        Waiting { #[pin] backoff: Sleep },
        Readying,
    }
}

impl<S, Request, C, R, O> RetryFuture<S, Request, C, R, O>
where
    S: Service<Request>,
    R: Repeat<Request>,
    O: Observe,
{
    pub(super) fn new(service: S, retry: &Retry<O>, keep: (C, R), request: Request) -> Self {
        let (classify, repeat) = keep;
        let begun = Course::begin(retry);
        let course = begun.as_ref().ok().copied();
        let spare = course.and_then(|_| repeat.copy(&request));
        let course = course.map(|course| course.repeatable(spare.is_some()));
        let state = match begun {
            Ok(_) => State::First {
                request: Some(request),
            },
            Err(rejection) => State::Rejected {
                rejection: Some(rejection),
            },
        };
        let attempts = Attempts {
            state,
            service,
            spare,
            retry: retry.clone(),
            course,
            classify: Nested(classify),
            repeat,
        };
        let own = course.map_or_else(Default::default, |course| course.ambient());
        let limit = course.and_then(|course| course.limit());
        Self {
            attempts: Limited::new(own, limit, attempts),
        }
    }
}

impl<S, Request, C, R, O> Future for RetryFuture<S, Request, C, R, O>
where
    O: Observe,
    S: Service<Request>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner>,
    R: Repeat<Request>,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(self.project().attempts.poll(cx));
        Poll::Ready(ended.unwrap_or_else(|elapsed| Err(elapsed.into_error())))
    }
}

type Ended<S, Request> = Result<
    <S as Service<Request>>::Response,
    Error<<<S as Service<Request>>::Error as Flat>::Inner>,
>;

impl<S, Request, C, R, O> Attempts<S, Request, C, R, O>
where
    O: Observe,
    S: Service<Request>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner>,
    R: Repeat<Request>,
{
    /// The request of another attempt, once the service is ready for it.
    fn poll_request(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Request>, S::Error>> {
        let this = self.project();
        ready!(this.service.poll_ready(cx))?;
        let request = this.spare.take();
        *this.spare = request.as_ref().and_then(|it| this.repeat.copy(it));
        let repeatable = this.spare.is_some();
        *this.course = this.course.map(|it| it.repeatable(repeatable));
        Poll::Ready(Ok(request))
    }

    /// An attempt ended; its result, if that is the call's.
    fn ended(self: Pin<&mut Self>, result: Ended<S, Request>) -> Option<Ended<S, Request>> {
        let mut this = self.project();
        let course = this.course.as_mut();
        let next = course.map_or(Next::Done, |it| it.next(this.retry, &result, this.classify));
        match next {
            Next::Done => Some(result),
            Next::Exhausted => Some(result.map_err(Error::exhausted)),
            Next::Again { after } => {
                // The attempt is dropped here: nothing is held during the backoff.
                let backoff = sleep(after);
                this.state.set(State::Waiting { backoff });
                None
            },
        }
    }
}

impl<S, Request, C, R, O> Future for Attempts<S, Request, C, R, O>
where
    O: Observe,
    S: Service<Request>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner>,
    R: Repeat<Request>,
{
    type Output = Ended<S, Request>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mark = self.course.map_or_else(Default::default, |it| it.mark());
            let request = match self.as_mut().project().state.project() {
                StateProjection::Rejected { rejection } => match rejection.take() {
                    Some(rejection) => return Poll::Ready(Err(Error::Rejected(rejection))),
                    // Polled again after its end, it stays pending, as a future may.
                    None => return Poll::Pending,
                },
                StateProjection::First { request } => request.take(),
                StateProjection::Waiting { backoff } => {
                    ready!(backoff.poll(cx));
                    self.as_mut().project().state.set(State::Readying);
                    continue;
                },
                StateProjection::Readying => {
                    let request = mark.enter(|| self.as_mut().poll_request(cx));
                    ready!(request).map_err(Flat::into_error)?
                },
                StateProjection::Calling { call } => {
                    let ended = ready!(mark.enter(|| call.poll(cx)));
                    match self.as_mut().ended(ended.map_err(Flat::into_error)) {
                        Some(result) => return Poll::Ready(result),
                        None => continue,
                    }
                },
            };
            let Some(request) = request else {
                return Poll::Pending;
            };
            let mut this = self.as_mut().project();
            let call = mark.enter(|| this.service.call(request));
            this.state.set(State::Calling { call });
        }
    }
}

impl<S: Service<Request>, Request, C, R, O> std::fmt::Debug for RetryFuture<S, Request, C, R, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetryFuture").finish_non_exhaustive()
    }
}
