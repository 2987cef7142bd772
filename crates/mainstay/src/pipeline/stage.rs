//! What a policy is inside a pipeline: something around the rest of the call.
//!
//! Prevents a pipeline that allocates: stages are plain generic types, so that a chain of them is
//! one future without a `Box`, as `Send` as the call itself.

use std::pin::Pin;
use std::task::{self, Poll};

use pin_project_lite::pin_project;

use super::context::{Context, Ended};

/// A policy around the rest of a call.
///
/// A stage calls `next` once, several times (retry), or not at all (a rejection: see
/// [`Context::rejected`]). It must be safe to drop at any await, and must not wait beyond
/// [`Context::deadline`]: the timer that enforces it is around the innermost call only. `None` is a
/// stage, too: it lets everything through.
pub trait Stage {
    /// Runs the call `cx`, of which `next` is the rest.
    fn run<T, E, N: Next<T, E>>(
        &self,
        cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>>;
}

/// The rest of a call, as a stage sees it.
pub trait Next<T, E>: Copy {
    /// Makes one attempt at it.
    fn run(self, cx: Context<'_>) -> impl Future<Output = Ended<T, E>>;
}

/// Two stages around each other; itself one.
#[derive(Clone, Copy, Debug)]
pub struct Chain<O, I> {
    /// The stage around the other.
    pub outer: O,
    /// The stage inside.
    pub inner: I,
}

/// A stage and what is inside of it, as the rest of a call.
#[derive(Debug)]
pub(super) struct Then<'a, S, N> {
    stage: &'a S,
    next: N,
}

impl<O, I> Chain<O, I> {
    /// `outer` around `inner`.
    pub const fn new(outer: O, inner: I) -> Self {
        Self { outer, inner }
    }
}

impl<'a, S, N> Then<'a, S, N> {
    pub(super) const fn new(stage: &'a S, next: N) -> Self {
        Self { stage, next }
    }
}

impl<S, N: Clone> Clone for Then<'_, S, N> {
    fn clone(&self) -> Self {
        Self {
            stage: self.stage,
            next: self.next.clone(),
        }
    }
}

impl<S, N: Copy> Copy for Then<'_, S, N> {}

impl<S: Stage, N: Next<T, E>, T, E> Next<T, E> for Then<'_, S, N> {
    fn run(self, cx: Context<'_>) -> impl Future<Output = Ended<T, E>> {
        self.stage.run(cx, self.next)
    }
}

impl<O: Stage, I: Stage> Stage for Chain<O, I> {
    fn run<T, E, N: Next<T, E>>(
        &self,
        cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        self.outer.run(cx, Then::new(&self.inner, next))
    }
}

impl<S: Stage> Stage for Option<S> {
    fn run<T, E, N: Next<T, E>>(
        &self,
        cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        match self {
            Some(stage) => Optional::There {
                call: stage.run(cx, next),
            },
            None => Optional::Absent { call: next.run(cx) },
        }
    }
}

pin_project! {
    /// A call with or without a stage around it.
    #[project = OptionalProjection]
    pub(crate) enum Optional<S, N> {
        There { #[pin] call: S },
        Absent { #[pin] call: N },
    }
}

impl<S: Future, N: Future<Output = S::Output>> Future for Optional<S, N> {
    type Output = S::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            OptionalProjection::There { call } => call.poll(cx),
            OptionalProjection::Absent { call } => call.poll(cx),
        }
    }
}
