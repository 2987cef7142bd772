//! The answer of a service whose slow calls are sent twice.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mainstay_core::event::Observe;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::copies::Requests;
use super::race::Race;
use super::{Plan, Repeat};
use crate::classify::{Classify, Nested};
use crate::error::{Error, Flat};

type Requested<S, Request, R, C, E, O> = Race<
    Arc<Plan<O>>,
    Requests<S, Request, R>,
    Nested<C>,
    <S as Service<Request>>::Response,
    <S as Service<Request>>::Error,
    E,
>;

pin_project! {
    /// The answer of a [`HedgeService`](super::HedgeService).
    pub struct HedgeFuture<S, Request, R, C, O = ()>
    where
        S: Service<Request>,
        S: Clone,
        S::Error: Flat,
        R: Repeat<Request>,
    {
        #[pin]
        race: Requested<S, Request, R, C, <S::Error as Flat>::Inner, O>,
    }
}

impl<S, Request, R, C, O> HedgeFuture<S, Request, R, C, O>
where
    O: Observe,
    S: Service<Request> + Clone,
    S::Error: Flat,
    R: Repeat<Request>,
{
    pub(super) fn new(plan: Arc<Plan<O>>, copies: Requests<S, Request, R>, classify: C) -> Self {
        Self {
            race: Race::new(plan, copies, Nested(classify), Flat::into_error),
        }
    }
}

impl<S, Request, R, C, O> Future for HedgeFuture<S, Request, R, C, O>
where
    O: Observe,
    S: Service<Request> + Clone,
    S::Error: Flat,
    R: Repeat<Request>,
    C: Classify<S::Response, <S::Error as Flat>::Inner>,
{
    type Output = Result<S::Response, Error<<S::Error as Flat>::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().race.poll(cx)
    }
}

impl<S, Request, R, C, O> fmt::Debug for HedgeFuture<S, Request, R, C, O>
where
    S: Service<Request> + Clone,
    S::Error: Flat,
    R: Repeat<Request>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture").finish_non_exhaustive()
    }
}
