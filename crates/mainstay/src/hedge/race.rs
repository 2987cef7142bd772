//! The race of a call's copies.
//!
//! Prevents copies that outlive the call. The first two have a place in the future itself, so that
//! the usual race needs no memory; further ones are boxed. A call that is ready at once pays
//! neither for a timer nor for a clock.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_core::event::Observe;
use mainstay_core::outcome::Outcome;
use mainstay_core::time::{Deadline, Instant};
use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

use super::copies::Copies;
use super::{Accept, Attempt, Plan};
use crate::classify::Classify;
use crate::deadline::Ambient;
use crate::error::Error;

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(super) struct Race<P, S: Copies, C, T, X, E> {
        #[pin]
        first: Option<S::Future>,
        #[pin]
        second: Option<S::Future>,
        further: Vec<(u32, Pin<Box<S::Future>>)>,
        #[pin]
        timer: Option<Sleep>,
        flight: Flight,
        // How the first copy ended, while others go on.
        primary: Option<Result<T, Error<E>>>,
        copies: S,
        classify: C,
        flat: fn(X) -> Error<E>,
        plan: P,
    }
}

/// Where the race is.
#[derive(Clone, Copy, Debug)]
struct Flight {
    /// Copies sent.
    sent: u32,
    /// Copies that have not ended.
    running: u32,
    /// When it was first waited for.
    waiting_since: Option<Instant>,
    deadline: Deadline,
    /// No further copy will be sent.
    is_settled: bool,
    /// A retry around counts what this call returns.
    is_counted: bool,
}

impl<P, O, S, C, T, X, E> Race<P, S, C, T, X, E>
where
    P: Deref<Target = Plan<O>>,
    O: Observe,
    S: Copies,
{
    pub(super) const fn new(plan: P, copies: S, classify: C, flat: fn(X) -> Error<E>) -> Self {
        Self {
            first: None,
            second: None,
            further: Vec::new(),
            timer: None,
            flight: Flight {
                sent: 0,
                running: 0,
                waiting_since: None,
                deadline: Deadline::NEVER,
                is_settled: false,
                is_counted: false,
            },
            primary: None,
            copies,
            classify,
            flat,
            plan,
        }
    }

    /// The call begins: it is counted as a request, unless somebody around it has done so.
    fn begin(self: Pin<&mut Self>) {
        let mut this = self.project();
        let plan = &**this.plan;
        let ambient = Ambient::current();
        this.flight.is_counted = ambient.budget == plan.budget.address();
        if !this.flight.is_counted {
            plan.budget.deposit();
        }
        if let Some(at) = ambient.deadline {
            this.flight.deadline = Deadline::at(plan.clock.instant(at));
        }
        let attempt = this.flight.next();
        this.first.set(this.copies.copy(attempt));
    }
}

impl<P, O, S, C, T, X, E> Race<P, S, C, T, X, E>
where
    P: Deref<Target = Plan<O>>,
    O: Observe,
    S: Copies,
    S::Future: Future<Output = Result<T, X>>,
    C: Classify<T, Error<E>>,
{
    /// Asks all copies until one decides or none has anything to say.
    fn poll_copies(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error<E>>> {
        while let Poll::Ready((number, result)) = self.as_mut().poll_one(cx) {
            if let Some(decided) = self.as_mut().ended(number, result) {
                return Poll::Ready(decided);
            }
        }
        Poll::Pending
    }

    /// The first copy that has ended, in the order in which they were sent; its place is free.
    fn poll_one(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(u32, Result<T, Error<E>>)> {
        let mut this = self.project();
        for (number, slot) in [(1, &mut this.first), (2, &mut this.second)] {
            let Some(copy) = slot.as_mut().as_pin_mut() else {
                continue;
            };
            if let Poll::Ready(result) = copy.poll(cx) {
                slot.set(None);
                return Poll::Ready((number, result.map_err(*this.flat)));
            }
        }
        for index in 0..this.further.len() {
            let (number, copy) = &mut this.further[index];
            if let Poll::Ready(result) = copy.as_mut().poll(cx) {
                let number = *number;
                drop(this.further.swap_remove(index));
                return Poll::Ready((number, result.map_err(*this.flat)));
            }
        }
        Poll::Pending
    }

    /// A copy ended; the call's result, if that decides it.
    fn ended(
        self: Pin<&mut Self>,
        number: u32,
        result: Result<T, Error<E>>,
    ) -> Option<Result<T, Error<E>>> {
        let mut this = self.project();
        let plan = &**this.plan;
        let outcome = this.classify.classify(result.as_ref());
        this.flight.running -= 1;
        let decides = match plan.config.accept {
            Accept::FirstSuccess => matches!(outcome, Outcome::Success | Outcome::Permanent),
            Accept::FirstAnswer => outcome != Outcome::Ignored,
        };
        let is_last = this.flight.running == 0;
        if !(this.flight.is_counted && (decides || is_last)) {
            plan.budget.ended(outcome);
        }
        if decides {
            // The losers end before the winner is returned.
            this.first.set(None);
            this.second.set(None);
            this.further.clear();
            plan.finished(number, outcome, this.flight);
            return Some(result);
        }
        if matches!(outcome, Outcome::Throttled { .. }) {
            this.flight.is_settled = true;
        }
        if number == 1 {
            *this.primary = Some(result);
        }
        if is_last { this.primary.take() } else { None }
    }

    /// Waits for the time of the next copy; ready when one was sent.
    fn poll_timer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let plan = &**this.plan;
        if this.flight.waiting_since.is_none() {
            this.flight.waiting_since = Some(plan.clock.now());
        }
        let is_over = this.flight.is_settled || this.flight.sent >= plan.config.copies.get();
        if is_over || !this.copies.has_more() {
            return Poll::Pending;
        }
        if this.timer.is_none() {
            let now = plan.clock.now();
            let due = plan.clock.timer(now + plan.delay(now));
            this.timer.set(Some(sleep_until(due)));
        }
        if let Some(timer) = this.timer.as_mut().as_pin_mut()
            && Pin::new(&mut unconstrained(timer)).poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        this.timer.set(None);
        let copy = if plan.charge(plan.clock.now()) {
            this.copies.copy(this.flight.peek())
        } else {
            None
        };
        let Some(copy) = copy else {
            this.flight.is_settled = true;
            return Poll::Pending;
        };
        let Attempt { number, .. } = this.flight.next();
        plan.sent.fetch_add(1, Ordering::Relaxed);
        if number == 2 {
            this.second.set(Some(copy));
        } else {
            this.further.push((number, Box::pin(copy)));
        }
        Poll::Ready(())
    }
}

impl Flight {
    const fn peek(&self) -> Attempt {
        Attempt {
            number: self.sent + 1,
            deadline: self.deadline,
        }
    }

    const fn next(&mut self) -> Attempt {
        let attempt = self.peek();
        self.sent += 1;
        self.running += 1;
        attempt
    }
}

impl<O: Observe> Plan<O> {
    /// A copy's answer is the call's.
    fn finished(&self, number: u32, outcome: Outcome, flight: &Flight) {
        if number > 1 {
            self.won.fetch_add(1, Ordering::Relaxed);
        }
        // What fails fast is no fast call.
        if outcome.callee_worked() != Some(true) {
            return;
        }
        // Where a copy won, the first one took longer than that: without the slow ones the quantile
        // would sink, and more and more calls would be sent twice.
        let (rtt, now) = match flight.waiting_since {
            None => (Duration::ZERO, self.clock.coarse()),
            Some(since) => {
                let now = self.clock.now();
                (now.since(since), now)
            },
        };
        self.latency.record(rtt, now);
    }
}

impl<P, O, S, C, T, X, E> Future for Race<P, S, C, T, X, E>
where
    P: Deref<Target = Plan<O>>,
    O: Observe,
    S: Copies,
    S::Future: Future<Output = Result<T, X>>,
    C: Classify<T, Error<E>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.flight.sent == 0 {
            self.as_mut().begin();
        }
        // A retry inside does not count the request a second time.
        let own = Ambient {
            budget: self.plan.budget.address(),
            ..Ambient::NONE
        };
        loop {
            let polled = own.enter(|| self.as_mut().poll_copies(cx));
            if polled.is_ready() {
                return polled;
            }
            if self.as_mut().poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
