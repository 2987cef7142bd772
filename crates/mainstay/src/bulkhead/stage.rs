//! [`Bulkhead`] as a stage of a pipeline.

use std::sync::Arc;

use mainstay_core::bulkhead::Full;
use mainstay_core::time::Deadline;

use super::{Bulkhead, BulkheadPermit, Hull, Waiting};
use crate::error::{Cause, Rejection};
use crate::pipeline::{Context, Ended, Next, Stage, block_until};

/// An attempt holds its place while it runs, and not during a backoff further out.
impl Stage for Bulkhead {
    async fn run<T, E, N: Next<T, E>>(&self, mut cx: Context<'_>, next: N) -> Ended<T, E> {
        let entered = match self.try_acquire() {
            Some(place) => Ok(place),
            None => self.queue(&mut cx).await,
        };
        match entered {
            Ok(_place) => next.run(cx).await,
            Err(rejection) => cx.rejected(rejection),
        }
    }
}

impl Bulkhead {
    /// Waits for a place for the call `cx`, until the call must end.
    pub(crate) async fn queue(&self, cx: &mut Context<'_>) -> Result<BulkheadPermit, Rejection> {
        let deadline = cx.deadline_by(&self.0.clock);
        let waited = if cx.is_blocking() {
            self.0.wait_blocking(deadline)
        } else {
            self.0.wait(deadline).await
        };
        cx.refresh();
        waited
    }
}

impl Hull {
    /// [`wait`](Self::wait) that blocks the thread.
    fn wait_blocking(self: &Arc<Self>, deadline: Deadline) -> Result<BulkheadPermit, Rejection> {
        if let Err(Full(counts)) = self.counts.queue() {
            return Err(self.refuse(Cause::QueueFull, counts));
        }
        let waiting = Waiting {
            hull: self,
            promoted: false,
        };
        let wait_until = Deadline::after(self.clock.now(), self.queue_wait).earlier(deadline);
        let place = Arc::clone(&self.places).acquire_owned();
        match block_until(place, wait_until, &self.clock) {
            Some(Ok(place)) if waiting.promote() => Ok(self.admit(place)),
            Some(_) | None => Err(self.refuse(Cause::QueueWait, self.counts.counts())),
        }
    }
}
