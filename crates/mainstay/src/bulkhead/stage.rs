//! [`Bulkhead`] as a stage of a pipeline.

use mainstay_core::event::Observe;

use super::{Bulkhead, Permit, take, take_blocking};
use crate::error::Rejection;
use crate::pipeline::{Context, Ended, Next, Stage};

/// An attempt holds its place while it runs, and not during a backoff further out.
impl<O: Observe> Stage for Bulkhead<O> {
    async fn run<T, E, N: Next<T, E>>(&self, mut cx: Context<'_>, next: N) -> Ended<T, E> {
        let entered = match self.try_enter() {
            Some(place) => Ok(place),
            None => self.queue(&mut cx).await,
        };
        match entered {
            Ok(_place) => next.run(cx).await,
            Err(rejection) => cx.rejected(rejection),
        }
    }
}

impl<O: Observe> Bulkhead<O> {
    /// Waits for a place for the call `cx`, until the call must end.
    pub(crate) async fn queue(&self, cx: &mut Context<'_>) -> Result<Permit<'_, O>, Rejection> {
        let deadline = cx.deadline_by(&self.0.told.clock);
        let waited = if cx.is_blocking() {
            take_blocking(self, deadline)
        } else {
            take(self, deadline).await
        };
        cx.refresh();
        waited
    }
}
