//! A call that goes with others.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::gathering::Step;
use super::{Batch, Sending};
use crate::error::{Cause, Error};

pin_project! {
    /// A call through [`Batch`]. Joins a batch when it is first polled; leaves it when dropped.
    pub struct BatchFuture<I, T, E> {
        #[pin]
        timer: Option<Sleep>,
        caller: Caller<I, T, E>,
    }
}

struct Caller<I, T, E> {
    batch: Batch<I, T, E>,
    /// Until it joins.
    item: Option<I>,
    /// From then on, until it has its result.
    seat: Option<u64>,
}

impl<I, T, E> BatchFuture<I, T, E> {
    pub(super) const fn new(batch: Batch<I, T, E>, item: I) -> Self {
        Self {
            timer: None,
            caller: Caller {
                batch,
                item: Some(item),
                seat: None,
            },
        }
    }

    /// Whether the item was not sent yet.
    pub(super) fn is_waiting(&self) -> bool {
        let Caller { batch, item, seat } = &self.caller;
        item.is_some() || seat.is_some_and(|seat| batch.gathering().is_waiting(seat))
    }
}

impl<I, T, E> Future for BatchFuture<I, T, E> {
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let Some(step) = this.caller.step(cx)? else {
                // Polled after its end, which a future need not bear.
                return Poll::Pending;
            };
            let batch = &this.caller.batch;
            match step {
                Step::Answered(answer) => {
                    this.caller.seat = None;
                    let unanswered = || Err(this.caller.batch.rejection(Cause::Unanswered));
                    return Poll::Ready(
                        answer.map_or_else(unanswered, |result| result.map_err(Error::Inner)),
                    );
                },
                Step::Send(flight, items) => {
                    let fuse = Fuse::new(batch, flight);
                    let call = (batch.0.send)(items);
                    ready!(fuse.drive(call, cx));
                },
                Step::Drive(flight, call) => ready!(Fuse::new(batch, flight).drive(call, cx)),
                Step::Sleep(until) => {
                    let until = batch.0.clock.timer(until);
                    this.timer.set(Some(sleep_until(until)));
                    ready!(poll_timer(this.timer.as_mut(), cx));
                },
                Step::Wait => return Poll::Pending,
            }
        }
    }
}

fn poll_timer(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    match timer.as_pin_mut() {
        Some(timer) => timer.poll(cx),
        None => Poll::Ready(()),
    }
}

impl<I, T, E> Caller<I, T, E> {
    /// What to do next; `None` when it has its result.
    fn step(&mut self, cx: &Context<'_>) -> Result<Option<Step<I, T, E>>, Error<E>> {
        let now = self.batch.0.clock.now();
        let mut gathering = self.batch.gathering();
        if let Some(item) = self.item.take() {
            match gathering.join(item, now) {
                Ok(seat) => self.seat = Some(seat),
                Err(item) => {
                    drop(gathering);
                    drop(item);
                    return Err(self.batch.rejection(Cause::QueueFull));
                },
            }
        }
        let Some(seat) = self.seat else {
            return Ok(None);
        };
        let (step, wakers) = gathering.step(seat, now, cx);
        drop(gathering);
        drop(wakers.drop);
        wakers.wake.into_iter().for_each(Waker::wake);
        Ok(Some(step))
    }
}

impl<I, T, E> Drop for Caller<I, T, E> {
    fn drop(&mut self) {
        let Some(seat) = self.seat else {
            return;
        };
        let (waker, leftover) = self.batch.gathering().leave(seat);
        drop(leftover);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// A batch in the hands of its driver: if that panics, the batch has ended for all.
struct Fuse<'a, I, T, E> {
    batch: &'a Batch<I, T, E>,
    flight: u64,
    armed: bool,
}

impl<'a, I, T, E> Fuse<'a, I, T, E> {
    const fn new(batch: &'a Batch<I, T, E>, flight: u64) -> Self {
        Self {
            batch,
            flight,
            armed: true,
        }
    }

    /// Polls `call`; ready when the batch has its results.
    fn drive(mut self, mut call: Sending<T, E>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = call.as_mut().poll(cx);
        self.armed = false;
        match polled {
            Poll::Ready(results) => {
                drop(call);
                self.land(results);
                Poll::Ready(())
            },
            Poll::Pending => {
                self.batch.gathering().put_back(self.flight, call);
                Poll::Pending
            },
        }
    }

    fn land(&self, mut results: Vec<Result<T, E>>) {
        let wakers = self.batch.gathering().land(self.flight, &mut results);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<I, T, E> Drop for Fuse<'_, I, T, E> {
    fn drop(&mut self) {
        if self.armed {
            self.land(Vec::new());
        }
    }
}

impl<I, T, E> fmt::Debug for BatchFuture<I, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchFuture")
            .field("seat", &self.caller.seat)
            .finish_non_exhaustive()
    }
}
