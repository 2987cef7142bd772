//! [`ConcurrencyLimit`] as a stage of a pipeline.

use mainstay_core::event::Observe;

use super::{ConcurrencyLimit, Gated as _, Permit, admit};
use crate::error::Rejection;
use crate::pipeline::{Context, Ended, Next, Stage};

/// An attempt holds its place while it runs, and the limit learns from how it ended. What stages
/// further in turn away says nothing.
impl<O: Observe> Stage for ConcurrencyLimit<O> {
    async fn run<T, E, N: Next<T, E>>(&self, mut cx: Context<'_>, next: N) -> Ended<T, E> {
        let entered = match self.try_enter() {
            Some(place) => Ok(place),
            None => self.queue(&mut cx).await,
        };
        match entered {
            Ok(place) => {
                let ended = next.run(cx).await;
                place.record(ended.outcome);
                ended
            },
            Err(rejection) => cx.rejected(rejection),
        }
    }
}

impl<O: Observe> ConcurrencyLimit<O> {
    /// Takes a place if one is free and nobody waits for it.
    pub(crate) fn try_enter(&self) -> Option<Permit<'_, O>> {
        self.counts().enter().ok()?;
        Some(admit(self))
    }

    /// Waits for a place for the call `cx`, until the call must end.
    pub(crate) async fn queue(&self, cx: &mut Context<'_>) -> Result<Permit<'_, O>, Rejection> {
        let deadline = cx.deadline_by(&self.0.told.clock);
        let waited = if cx.is_blocking() {
            self.acquire_blocking(deadline, cx.priority())
        } else {
            self.acquire(deadline, cx.priority()).await
        };
        cx.refresh();
        waited
    }
}
