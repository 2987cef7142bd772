//! A call that may be shared.

use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Coalesce;
use super::flight::{Joined, Role, Seat};
use crate::error::{Cause, Error};

pin_project! {
    /// A call through [`Coalesce`]. Takes no part in anything before it is first polled.
    pub struct CoalesceFuture<K, T, E, F>
    where
        K: Hash,
        K: Eq,
        K: Clone,
    {
        // Declared before the part: a leader that is dropped has dropped its call before the next
        // one is promoted.
        #[pin]
        future: Option<F>,
        part: Part<K, T, E>,
    }
}

struct Part<K: Hash + Eq + Clone, T, E> {
    coalesce: Coalesce<K, T, E>,
    /// `None` for a call that is not to be shared.
    key: Option<K>,
    seat: Option<Seat<Result<T, Error<E>>>>,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Wait,
    Lead,
    Alone,
}

impl<K: Hash + Eq + Clone, T, E, F> CoalesceFuture<K, T, E, F> {
    pub(crate) const fn new(coalesce: Coalesce<K, T, E>, key: Option<K>, future: F) -> Self {
        Self {
            future: Some(future),
            part: Part {
                coalesce,
                key,
                seat: None,
                step: Step::Begin,
            },
        }
    }
}

impl<K, T, E, F> Future for CoalesceFuture<K, T, E, F>
where
    K: Hash + Eq + Clone,
    T: Clone,
    E: Clone,
    F: Future<Output = Result<T, Error<E>>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let part = self.as_mut().project().part;
            match part.step {
                Step::Begin => part.begin()?,
                Step::Wait => match ready!(part.poll_role(cx)) {
                    Role::Lead => part.step = Step::Lead,
                    Role::Landed(result) => return Poll::Ready(part.leave(result)),
                    Role::Lost => {
                        let lost = part.coalesce.rejection(Cause::Unanswered);
                        return Poll::Ready(part.leave(Err(lost)));
                    },
                },
                Step::Lead => return self.poll_lead(cx),
                Step::Alone => return poll_some(self.project().future, cx),
            }
        }
    }
}

impl<K, T, E, F> CoalesceFuture<K, T, E, F>
where
    K: Hash + Eq + Clone,
    T: Clone,
    E: Clone,
    F: Future<Output = Result<T, Error<E>>>,
{
    /// Makes the call, for all.
    fn poll_lead(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error<E>>> {
        let mut this = self.project();
        let mut fuse = Fuse {
            part: &mut *this.part,
            armed: true,
        };
        let polled = poll_some(this.future.as_mut(), cx);
        fuse.armed = false;
        drop(fuse);
        let result = ready!(polled);
        // What it held is free before others act on its result.
        this.future.set(None);
        this.part.land(|| Some(result.clone()));
        Poll::Ready(result)
    }
}

/// Polls what is there; after its end, when nothing is, there is nothing to wake for.
fn poll_some<F: Future>(future: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    match future.as_pin_mut() {
        Some(future) => future.poll(cx),
        None => Poll::Pending,
    }
}

impl<K: Hash + Eq + Clone, T, E> Part<K, T, E> {
    fn begin(&mut self) -> Result<(), Error<E>> {
        let Some(key) = &self.key else {
            self.step = Step::Alone;
            return Ok(());
        };
        match self.coalesce.flights().join(key) {
            Joined::Seated(seat) => {
                self.seat = Some(seat);
                self.step = Step::Wait;
                Ok(())
            },
            Joined::Alone => {
                self.step = Step::Alone;
                Ok(())
            },
            Joined::Full => Err(self.coalesce.rejection(Cause::QueueFull)),
        }
    }

    /// The flight has ended: its seat is given up with nothing to hand over.
    fn leave<R>(&mut self, result: R) -> R {
        self.seat = None;
        result
    }

    fn land(&mut self, result: impl FnOnce() -> Option<Result<T, Error<E>>>) {
        if let (Some(key), Some(seat)) = (&self.key, self.seat.take()) {
            self.coalesce.flights().land(key, &seat, result);
        }
    }
}

impl<K: Hash + Eq + Clone, T: Clone, E: Clone> Part<K, T, E> {
    fn poll_role(&self, cx: &Context<'_>) -> Poll<Role<Result<T, Error<E>>>> {
        // A caller that waits has a seat.
        self.seat
            .as_ref()
            .map_or(Poll::Pending, |seat| seat.poll_role(cx))
    }
}

impl<K: Hash + Eq + Clone, T, E> Drop for Part<K, T, E> {
    fn drop(&mut self) {
        if let (Some(key), Some(seat)) = (&self.key, &self.seat) {
            self.coalesce.flights().leave(key, seat);
        }
    }
}

/// Tells all who wait when the call panics while it is polled. Not `std::thread::panicking`: a
/// future that is dropped because something else panics is merely cancelled.
struct Fuse<'a, K: Hash + Eq + Clone, T, E> {
    part: &'a mut Part<K, T, E>,
    armed: bool,
}

impl<K: Hash + Eq + Clone, T, E> Drop for Fuse<'_, K, T, E> {
    fn drop(&mut self) {
        if self.armed {
            self.part.land(|| None);
        }
    }
}

impl<K: Hash + Eq + Clone, T, E, F> fmt::Debug for CoalesceFuture<K, T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceFuture")
            .field("step", &self.part.step)
            .finish_non_exhaustive()
    }
}
