//! A call that waits for its turn in the queue of a rate limit.
//!
//! Prevents turns that are used up by nobody: only the first in the queue looks at the bucket, and
//! it takes its call out in the moment when it goes. Whoever leaves, at any time, has taken nothing.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::thread;

use derive_where::derive_where;
use mainstay_core::event::Observe;
use mainstay_core::limit::priority::Priority;
use mainstay_core::time::{Deadline, Instant};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::{RateLimiter, passed, refuse};
use crate::error::{Cause, Rejection};
use crate::gate::Unpark;
use crate::waiters::Ticket;

/// A place in the queue. Dropped, it leaves.
#[derive_where(Debug; L)]
pub(super) struct Turn<L: Borrow<RateLimiter<O>>, O: Observe> {
    limiter: L,
    observer: PhantomData<O>,
    ticket: Option<Ticket>,
    /// When it leaves the queue unserved.
    until: Instant,
}

pin_project! {
    /// [`Turn`] as a future.
    pub(super) struct Wait<L, O>
    where
        L: Borrow<RateLimiter<O>>,
        O: Observe,
    {
        turn: Turn<L, O>,
        #[pin]
        timer: Sleep,
    }
}

impl<L: Borrow<RateLimiter<O>>, O: Observe> Turn<L, O> {
    /// Takes a call out at once (`None`), or lines up.
    ///
    /// # Errors
    ///
    /// [`Rejection`] when the queue is full or the turn would come too late.
    pub(super) fn arrive(handle: L, deadline: Deadline) -> Result<Option<Self>, Rejection> {
        let limiter = &*handle.borrow().0;
        let told = &limiter.told;
        if limiter.pass() {
            return Ok(None);
        }
        let now = told.clock.now();
        let until = Deadline::after(now, limiter.queue_wait).earlier(deadline);
        let mut line = limiter.lock();
        let before = limiter.waiting.load(Ordering::Relaxed);
        let wait = limiter.bucket.wait(&limiter.quota, before, now);
        let refused = if now + wait > until.instant() {
            Some(Cause::RateReached)
        } else if before >= limiter.queue {
            Some(Cause::QueueFull)
        } else {
            None
        };
        if let Some(cause) = refused {
            drop(line);
            return Err(refuse(told, cause, Some(wait)));
        }
        let ticket = line.push(Priority::Normal);
        limiter.waiting.store(before + 1, Ordering::Relaxed);
        drop(line);
        Ok(Some(Self {
            limiter: handle,
            observer: PhantomData,
            ticket: Some(ticket),
            until: until.instant(),
        }))
    }

    /// Waits as a future. Under a runtime only.
    pub(super) fn wait(self) -> Wait<L, O> {
        let clock = self.limiter.borrow().0.told.clock;
        Wait {
            timer: tokio::time::sleep_until(clock.timer(self.until)),
            turn: self,
        }
    }

    /// Waits by stopping this thread.
    pub(super) fn block(mut self) -> Result<(), Rejection> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            let now = self.limiter.borrow().0.told.clock.now();
            let look_again = match self.poll(&waker, now) {
                Poll::Ready(ended) => return ended,
                Poll::Pending => self.look_again(now),
            };
            thread::park_timeout(look_again.since(now));
        }
    }

    /// Takes the call out, if it is its turn and it is time.
    fn poll(&mut self, waker: &Waker, now: Instant) -> Poll<Result<(), Rejection>> {
        let limiter = &*self.limiter.borrow().0;
        let mut line = limiter.lock();
        let first = self.ticket.as_ref().is_some_and(|mine| line.is_next(mine));
        let passes = first && limiter.bucket.check(&limiter.quota, now).is_ok();
        if !passes && now < self.until {
            line.poll(&mut self.ticket, waker);
            return Poll::Pending;
        }
        drop(line);
        self.leave();
        let told = &self.limiter.borrow().0.told;
        if passes {
            passed(told);
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(refuse(told, Cause::QueueWait, None)))
    }

    /// When to look again, unless woken before: the first in the queue when its turn comes.
    fn look_again(&self, now: Instant) -> Instant {
        let limiter = &*self.limiter.borrow().0;
        let line = limiter.lock();
        if self.ticket.as_ref().is_some_and(|mine| line.is_next(mine)) {
            let wait = limiter.bucket.wait(&limiter.quota, 0, now);
            self.until.min(now + wait)
        } else {
            self.until
        }
    }

    fn leave(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let limiter = &*self.limiter.borrow().0;
        let mut line = limiter.lock();
        let was_first = line.is_next(&ticket);
        line.remove(ticket);
        limiter.waiting.fetch_sub(1, Ordering::Relaxed);
        let next = if was_first { line.tell_next() } else { None };
        drop(line);
        // The new first one has to set its timer.
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl<L: Borrow<RateLimiter<O>>, O: Observe> Drop for Turn<L, O> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<L: Borrow<RateLimiter<O>>, O: Observe> Future for Wait<L, O> {
    type Output = Result<(), Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let clock = this.turn.limiter.borrow().0.told.clock;
        loop {
            let now = clock.now();
            if let Poll::Ready(ended) = this.turn.poll(cx.waker(), now) {
                return Poll::Ready(ended);
            }
            let look_again = clock.timer(this.turn.look_again(now));
            if this.timer.deadline() != look_again {
                this.timer.as_mut().reset(look_again);
            }
            ready!(this.timer.as_mut().poll(cx));
        }
    }
}
