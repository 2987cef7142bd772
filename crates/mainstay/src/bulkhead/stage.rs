//! [`Bulkhead`] as a stage of a pipeline.

use std::sync::Arc;

use mainstay_core::bulkhead::Full;
use mainstay_core::time::Deadline;

use super::{Bulkhead, BulkheadPermit, Hull, Waiting};
use crate::error::{Cause, Rejection};
use crate::pipeline::{Context, Ended, Next, Stage, block_within};

/// An attempt holds its place while it runs, and not during a backoff further out.
impl Stage for Bulkhead {
    async fn run<T, E, N: Next<T, E>>(&self, cx: &Context<'_>, next: N) -> Ended<T, E> {
        match self.try_acquire() {
            Some(_place) => next.run(cx).await,
            None => match self.queue(cx).await {
                Ok(_place) => next.run(&cx.refreshed()).await,
                Err(rejection) => cx.refreshed().rejected(rejection),
            },
        }
    }
}

impl Bulkhead {
    /// Waits for a place until the call `cx` is over. The context's moment is in the past then.
    pub(crate) async fn queue(&self, cx: &Context<'_>) -> Result<BulkheadPermit, Rejection> {
        let deadline = cx.deadline_by(&self.0.clock);
        if cx.is_blocking() {
            self.0.wait_blocking(deadline)
        } else {
            self.0.wait(deadline).await
        }
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
        let left = deadline.remaining(self.clock.now()).unwrap_or_default();
        let place = Arc::clone(&self.places).acquire_owned();
        match block_within(place, left.min(self.queue_wait)) {
            Some(Ok(place)) if waiting.promote() => Ok(self.admit(place)),
            Some(_) | None => Err(self.refuse(Cause::QueueWait, self.counts.counts())),
        }
    }
}
