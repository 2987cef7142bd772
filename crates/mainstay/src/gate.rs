//! The gate of a bulkhead or a concurrency limit: counts without a lock, and the queue behind them.
//!
//! Prevents a place from being lost between two calls: who gives one back hands it to the next in
//! the queue in one step, and a call that goes away in the very moment when it is called hands it
//! on. A call that finds a place free takes no lock; the queue's is held for a few instructions,
//! never while a call waits, is woken or is told of.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use mainstay_core::bulkhead::{Arrival, Bulkhead, Counts, Full, Left};
use mainstay_core::limit::delay::{Delay, Order};
use mainstay_core::limit::priority::Priority;
use mainstay_core::time::{Deadline, Instant};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use crate::clock::Clock;
use crate::error::Cause;
use crate::waiters::{Fate, Settled, Ticket, Waiters};

/// Places, and those who wait for them.
#[derive(Debug)]
pub(crate) struct Gate {
    line: Mutex<Line>,
    patience: Patience,
}

/// How long calls wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// All the same time, first come first served.
    Fixed(Duration),
    /// As long as the state of the queue allows; all priorities have their share of it.
    Controlled(Delay),
}

#[derive(Debug)]
struct Line {
    waiters: Waiters,
    order: Order,
    /// When the queue was last empty, as far as those know who came.
    empty: Instant,
}

/// Calls may wait in a queue, and have no time to: each would be turned away at once, after it was
/// told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("calls may wait in the queue, and queue_wait is 0; set more than zero, or no queue")]
pub struct NoQueueWait;

impl NoQueueWait {
    pub(crate) fn check(queue: Option<NonZeroU32>, queue_wait: Duration) -> Result<(), Self> {
        if queue.is_some() && queue_wait.is_zero() {
            return Err(Self);
        }
        Ok(())
    }
}

/// What has a gate: a handle, owned or borrowed.
pub(crate) trait Gated {
    /// Its gate.
    fn gate(&self) -> &Gate;
    /// The counts that belong to it.
    fn counts(&self) -> &Bulkhead;
    /// The clock that it reads.
    fn clock(&self) -> Clock;
}

impl<G: Gated> Gated for &G {
    fn gate(&self) -> &Gate {
        (*self).gate()
    }

    fn counts(&self) -> &Bulkhead {
        (*self).counts()
    }

    fn clock(&self) -> Clock {
        (*self).clock()
    }
}

/// One that waits. Dropped, it leaves the queue, and hands on what it was given meanwhile.
#[derive(Debug)]
struct Waiting<G: Gated> {
    /// Taken by whoever gets the place.
    gated: Option<G>,
    ticket: Option<Ticket>,
}

/// Where a call that arrived is now.
#[derive(Debug)]
pub(crate) enum Arrived<G: Gated> {
    /// In flight; what it is given back by.
    Entered(G),
    /// In the queue.
    Queued(Queued<G>),
}

/// A call in the queue, and until when it stays.
#[derive(Debug)]
pub(crate) struct Queued<G: Gated> {
    waiting: Waiting<G>,
    until: Instant,
    clock: Clock,
}

pin_project! {
    /// A call in the queue, as a future: gives the handle back when it has a place, and else why
    /// not.
    #[derive(Debug)]
    pub(crate) struct Wait<G: Gated> {
        waiting: Waiting<G>,
        #[pin]
        timer: Sleep,
    }
}

impl Gate {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            line: Mutex::new(Line {
                waiters: Waiters::default(),
                order: Order::Fifo,
                empty: Instant::ORIGIN,
            }),
            patience,
        }
    }

    /// Takes a place, or one in the queue, for a call that must end by `deadline`.
    pub(crate) fn arrive<G: Gated>(
        gated: G,
        priority: Priority,
        deadline: Deadline,
    ) -> Result<Arrived<G>, Counts> {
        let now = gated.clock().now();
        let (gate, counts) = (gated.gate(), gated.counts());
        let mut line = gate.lock();
        let share = match gate.patience {
            Patience::Fixed(_) => u32::MAX,
            Patience::Controlled(_) => {
                let queue = counts.limits().queue;
                priority.share(queue.map_or(0, NonZeroU32::get))
            },
        };
        let displaced = match counts.arrive(share) {
            Ok(Arrival::Entered) => {
                drop(line);
                return Ok(Arrived::Entered(gated));
            },
            Ok(Arrival::Queued) => None,
            Err(Full(counts)) => {
                let order = line.order;
                let displaced = line.waiters.displace(priority, order);
                Some(displaced.ok_or(counts)?)
            },
        };
        // One that was displaced was in the queue, and so it was not empty.
        let was_empty = displaced.is_none() && counts.counts().queued == 1;
        let wait = line.patience(gate.patience, was_empty, now);
        let ticket = line.waiters.push(priority);
        drop(line);
        wake(displaced);
        let clock = gated.clock();
        Ok(Arrived::Queued(Queued {
            waiting: Waiting {
                gated: Some(gated),
                ticket: Some(ticket),
            },
            until: Deadline::after(now, wait).earlier(deadline).instant(),
            clock,
        }))
    }

    /// Gives a place back: to the next in the queue, if there is one.
    pub(crate) fn leave(&self, counts: &Bulkhead) {
        if counts.leave() == Left::Owed {
            self.pass_on(counts);
        }
    }

    /// Lets in those for whom there is room, after the limit rose.
    pub(crate) fn promote(&self, counts: &Bulkhead) {
        loop {
            let mut line = self.lock();
            if !counts.promote() {
                return;
            }
            let called = line.call();
            drop(line);
            wake(called);
        }
    }

    #[cold]
    fn pass_on(&self, counts: &Bulkhead) {
        let mut line = self.lock();
        let called = if counts.pass_on() { line.call() } else { None };
        drop(line);
        wake(called);
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // No user's code runs under the lock, so a poisoned one is whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// How long a call that has just come may wait.
    fn patience(&mut self, patience: Patience, was_empty: bool, now: Instant) -> Duration {
        match patience {
            Patience::Fixed(wait) => wait,
            Patience::Controlled(delay) => {
                if was_empty {
                    self.empty = now;
                }
                let wait;
                (self.order, wait) = delay.bound(self.empty, now);
                wait
            },
        }
    }

    fn call(&mut self) -> Option<Settled> {
        // The count says that somebody waits, and it is the queue's length.
        self.waiters.call(self.order)
    }
}

fn wake(settled: Option<Settled>) {
    if let Some(settled) = settled {
        settled.wake();
    }
}

impl<G: Gated> Waiting<G> {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<G, Cause>> {
        let Some(gated) = &self.gated else {
            return Poll::Pending;
        };
        let fate = gated.gate().lock().waiters.poll(&mut self.ticket, waker);
        match fate {
            Fate::Waiting => Poll::Pending,
            Fate::Called => Poll::Ready(self.gated.take().ok_or(Cause::Shed)),
            Fate::Displaced => Poll::Ready(Err(Cause::Shed)),
        }
    }

    /// Leaves the queue because the time is up; a place that came in the same tick wins.
    fn leave(&mut self) -> Result<G, Cause> {
        let called = self.remove() == Some(Fate::Called);
        let gated = self.gated.take();
        gated.filter(|_| called).ok_or(Cause::QueueWait)
    }

    fn remove(&mut self) -> Option<Fate> {
        let ticket = self.ticket.take()?;
        let gated = self.gated.as_ref()?;
        let mut line = gated.gate().lock();
        let fate = line.waiters.remove(ticket);
        if fate == Fate::Waiting {
            gated.counts().give_up();
        }
        Some(fate)
    }
}

impl<G: Gated> Drop for Waiting<G> {
    fn drop(&mut self) {
        if self.remove() == Some(Fate::Called)
            && let Some(gated) = &self.gated
        {
            gated.gate().leave(gated.counts());
        }
    }
}

impl<G: Gated> Queued<G> {
    /// Waits as a future. Under a runtime only.
    pub(crate) fn wait(self) -> Wait<G> {
        Wait {
            waiting: self.waiting,
            timer: tokio::time::sleep_until(self.clock.timer(self.until)),
        }
    }

    /// Waits by stopping this thread.
    pub(crate) fn block(mut self) -> Result<G, Cause> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(ended) = self.waiting.poll(&waker) {
                return ended;
            }
            let left = Deadline::at(self.until).remaining(self.clock.now());
            let Some(left) = left else {
                return self.waiting.leave();
            };
            // Wakes up early at times, hence the loop.
            thread::park_timeout(left);
        }
    }
}

impl<G: Gated> Future for Wait<G> {
    type Output = Result<G, Cause>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(ended) = this.waiting.poll(cx.waker()) {
            return Poll::Ready(ended);
        }
        this.timer.poll(cx).map(|()| this.waiting.leave())
    }
}

/// Wakes a thread that waits.
pub(crate) struct Unpark(pub(crate) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
