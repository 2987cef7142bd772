//! A service with something that stands in for it.

use std::task::{Context, Poll};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_service::Service;

use super::{Fallback, FallbackFuture};
use crate::classify::Classify;
use crate::error::{Error, Flat};

/// A service whose failed calls are stood in for. Made by [`Fallback::layer`].
#[derive_where(Clone, Debug; S, P, C)]
pub struct FallbackService<S, P, C, O: Observe = ()> {
    pub(super) inner: S,
    pub(super) fallback: Fallback<O>,
    pub(super) prepare: P,
    pub(super) classify: C,
}

impl<S, Request, P, G, R, C, O> Service<Request> for FallbackService<S, P, C, O>
where
    O: Observe,
    S: Service<Request>,
    S::Error: Flat,
    P: Fn(&Request) -> G,
    G: FnOnce(Result<&S::Response, &Error<<S::Error as Flat>::Inner>>) -> R,
    R: Future<Output = Result<S::Response, <S::Error as Flat>::Inner>>,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = FallbackFuture<S::Future, G, R, C, S::Response, <S::Error as Flat>::Inner, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let substitute = (self.prepare)(&request);
        FallbackFuture::new(
            self.inner.call(request),
            self.fallback.clone(),
            substitute,
            self.classify.clone(),
        )
    }
}
