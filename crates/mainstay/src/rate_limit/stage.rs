//! [`RateLimiter`] as a stage of a pipeline.

use mainstay_core::event::Observe;

use super::RateLimiter;
use crate::error::Rejection;
use crate::pipeline::{Context, Ended, Next, Stage};

/// Takes one call out. Outside of a retry that is one for all attempts.
impl<O: Observe> Stage for RateLimiter<O> {
    async fn run<T, E, N: Next<T, E>>(&self, mut cx: Context<'_>, next: N) -> Ended<T, E> {
        if !self.pass()
            && let Err(rejection) = self.queue(&mut cx).await
        {
            return cx.rejected(rejection);
        }
        next.run(cx).await
    }
}

impl<O: Observe> RateLimiter<O> {
    /// Takes one call out, if it is time and nobody waits for it.
    pub(crate) fn pass(&self) -> bool {
        self.0.pass()
    }

    /// Waits for the turn of the call `cx`, until the call must end.
    pub(crate) async fn queue(&self, cx: &mut Context<'_>) -> Result<(), Rejection> {
        let deadline = cx.deadline_by(&self.0.told.clock);
        let waited = if cx.is_blocking() {
            self.acquire_blocking(deadline)
        } else {
            self.acquire(deadline).await
        };
        cx.refresh();
        waited
    }
}
