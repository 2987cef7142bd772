//! [`Timeout`] as a stage of a pipeline.

use super::Timeout;
use crate::pipeline::{Context, Ended, Next, Stage};

/// Makes the deadline earlier; the timer itself is around the innermost call, and all stages that
/// wait end by the deadline.
impl Stage for Timeout {
    fn run<T, E, N: Next<T, E>>(
        &self,
        mut cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        cx.limit(self.scope, self.after);
        next.run(cx)
    }
}
