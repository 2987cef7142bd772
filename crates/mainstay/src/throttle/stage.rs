//! [`Throttle`] as a stage of a pipeline.

use super::Throttle;
use crate::pipeline::{Context, Ended, Next, Stage};

/// Each attempt counts. What stages further in turn away says nothing of the callee.
impl Stage for Throttle {
    async fn run<T, E, N: Next<T, E>>(&self, cx: Context<'_>, next: N) -> Ended<T, E> {
        match self.try_acquire() {
            Ok(permit) => {
                let ended = next.run(cx).await;
                permit.record(ended.outcome);
                ended
            },
            Err(rejection) => cx.rejected(rejection),
        }
    }
}
