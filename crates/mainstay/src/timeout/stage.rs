//! [`Timeout`] as a stage of a pipeline.

use super::Timeout;
use crate::pipeline::{Context, Ended, Next, Stage};

/// Makes the deadline earlier; the timer itself is around the innermost call, and all stages that
/// wait end by the deadline.
impl Stage for Timeout {
    fn run<T, E, N: Next<T, E>>(
        &self,
        cx: &Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        let mut cx = *cx;
        cx.limit(self.scope, self.after);
        async move { next.run(&cx).await }
    }
}
