//! A service that is broken on purpose.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{FaultFuture, Faults, Forge};
use crate::error::{Error, Flat};

/// A service some of whose calls are broken. Made by [`Faults::layer`].
#[derive(Clone, Debug)]
pub struct FaultService<S, P, G> {
    pub(super) inner: S,
    pub(super) faults: Faults,
    pub(super) key: P,
    pub(super) forge: G,
}

impl<S, Request, P, G> Service<Request> for FaultService<S, P, G>
where
    S: Service<Request>,
    S::Error: Flat,
    P: Fn(&Request) -> Option<&str>,
    G: Forge<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = FaultFuture<S::Future, G>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let fault = self.faults.decide((self.key)(&request));
        let call = || self.inner.call(request);
        FaultFuture::new(call, &self.faults, fault, self.forge.clone())
    }
}
