//! A service whose slow calls are sent twice.

use std::sync::Arc;
use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_service::Service;

use super::copies::Requests;
use super::{Hedge, HedgeFuture, Repeat};
use crate::classify::Classify;
use crate::error::{Error, Flat};

/// A service whose slow calls are sent twice. Made by [`Hedge::layer`].
#[derive_where(Clone, Debug; S, R, C)]
pub struct HedgeService<S, R, C, O: Observe = ()> {
    inner: S,
    hedge: Hedge<O>,
    repeat: R,
    classify: C,
}

impl<S, R, C, O: Observe> HedgeService<S, R, C, O> {
    pub(super) const fn new(inner: S, hedge: Hedge<O>, repeat: R, classify: C) -> Self {
        Self {
            inner,
            hedge,
            repeat,
            classify,
        }
    }
}

impl<S, R, C, O, Request> Service<Request> for HedgeService<S, R, C, O>
where
    O: Observe,
    S: Service<Request> + Clone,
    S::Error: Flat,
    R: Repeat<Request> + Clone,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = HedgeFuture<S, Request, R, C, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let copies = Requests {
            spare: self.repeat.copy(&request),
            first: Some(self.inner.call(request)),
            service: self.inner.clone(),
            repeat: self.repeat.clone(),
        };
        HedgeFuture::new(Arc::clone(&self.hedge.0), copies, self.classify.clone())
    }
}
