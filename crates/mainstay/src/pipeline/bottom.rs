//! The call itself, at the bottom of a pipeline: where the timer is, and where the result is
//! classified, once per attempt.

use mainstay_core::time::Deadline;

use super::context::{Context, Ended};
use super::limited::Limited;
use super::stage::Next;
use crate::classify::Classify;
use crate::error::{Cause, Policy, Rejection};
use crate::name::Name;
use crate::retry::Attempt;

/// An asynchronous call.
#[derive(Debug)]
pub(super) struct Bottom<'a, F, C> {
    pub(super) call: &'a F,
    pub(super) classify: &'a C,
    pub(super) name: &'a Name,
}

/// A call that blocks its thread.
#[derive(Debug)]
pub(super) struct BlockingBottom<'a, F, C>(pub(super) Bottom<'a, F, C>);

impl<F, C> Clone for Bottom<'_, F, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, C> Copy for Bottom<'_, F, C> {}

impl<F, C> Clone for BlockingBottom<'_, F, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, C> Copy for BlockingBottom<'_, F, C> {}

impl<F, C> Bottom<'_, F, C> {
    /// Whether there is time left to begin.
    fn too_late(&self, cx: &Context<'_>) -> Option<Rejection> {
        let late = cx.deadline() != Deadline::NEVER && cx.deadline().remaining(cx.now()).is_none();
        late.then(|| Rejection {
            policy: Policy::Deadline,
            name: self.name.clone(),
            cause: Cause::NoTime,
            retry_after: None,
        })
    }
}

impl<F, Fut, C, T, E> Next<T, E> for Bottom<'_, F, C>
where
    F: Fn(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
{
    fn run(self, cx: Context<'_>) -> impl Future<Output = Ended<T, E>> {
        match self.too_late(&cx) {
            None => Limited::Running {
                call: (self.call)(cx.attempt()),
                timer: None,
                classify: self.classify,
                cx,
            },
            rejection @ Some(_) => Limited::TooLate { rejection, cx },
        }
    }
}

impl<F, C, T, E> Next<T, E> for BlockingBottom<'_, F, C>
where
    F: Fn(Attempt) -> Result<T, E>,
    C: Classify<T, E>,
{
    async fn run(self, cx: Context<'_>) -> Ended<T, E> {
        if let Some(rejection) = self.0.too_late(&cx) {
            return cx.rejected(rejection);
        }
        // A thread cannot be stopped from outside: the attempt carries the deadline, for the
        // call's own sockets.
        let result = cx.ambient().enter(|| (self.0.call)(cx.attempt()));
        cx.ended(result, self.0.classify)
    }
}
