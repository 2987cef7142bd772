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
        let mut cx = *cx;
        match self.enter(&mut cx).await {
            Ok(_place) => next.run(&cx).await,
            Err(rejection) => cx.rejected(rejection),
        }
    }
}

impl Bulkhead {
    /// Lets the call `cx` in, or turns it away, after a wait that ends when the call must.
    pub(crate) async fn enter(&self, cx: &mut Context<'_>) -> Result<BulkheadPermit, Rejection> {
        if let Some(place) = self.try_acquire() {
            return Ok(place);
        }
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
        let left = deadline.remaining(self.clock.now()).unwrap_or_default();
        let place = Arc::clone(&self.places).acquire_owned();
        match block_within(place, left.min(self.queue_wait)) {
            Some(Ok(place)) if waiting.promote() => Ok(self.admit(place)),
            Some(_) | None => Err(self.refuse(Cause::QueueWait, self.counts.counts())),
        }
    }
}
