//! Those who wait for their turn: first come first served or newest first, by priority, with room
//! for each to leave from the middle.
//!
//! Prevents three ways to lose a turn: a call that leaves the queue without a trace, one that is
//! called and never told, and one that is told twice. The one queue of all policies that make calls
//! wait. It is plain data: its owner keeps it under a lock, and wakes those that it calls after the
//! lock is given back.
//!
//! Always holds: each [`Ticket`] stands for one place here, until [`poll`](Waiters::poll) or
//! [`remove`](Waiters::remove) says what became of it. All methods take constant time.

use std::task::Waker;

use mainstay_core::limit::delay::Order;
use mainstay_core::limit::priority::Priority;

/// A place in the queue. Not to be copied: it is given back once.
#[derive(Debug)]
pub(crate) struct Ticket(usize);

/// One whose fate is settled, to be woken when the lock is given back: it may not have left its
/// waker yet.
#[derive(Debug)]
#[must_use = "it does not know yet"]
pub(crate) struct Settled(Option<Waker>);

/// What became of one that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It still waits.
    Waiting,
    /// It is its turn.
    Called,
    /// It had to go for one that is more important.
    Displaced,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    places: Vec<Place>,
    /// Places of nobody, to be used again: the queue's memory is bounded by its longest length.
    free: Vec<usize>,
    /// One list per priority.
    lists: [List; Priority::ALL.len()],
}

#[derive(Debug)]
struct Place {
    fate: Fate,
    priority: Priority,
    /// Who to wake; none before the first poll, and after the call.
    waker: Option<Waker>,
    earlier: Option<usize>,
    later: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct List {
    oldest: Option<usize>,
    newest: Option<usize>,
}

impl Waiters {
    /// Lines up.
    pub(crate) fn push(&mut self, priority: Priority) -> Ticket {
        let list = &mut self.lists[priority as usize];
        let place = Place {
            fate: Fate::Waiting,
            priority,
            waker: None,
            earlier: list.newest,
            later: None,
        };
        let index = if let Some(index) = self.free.pop() {
            self.places[index] = place;
            index
        } else {
            self.places.push(place);
            self.places.len() - 1
        };
        match list.newest.replace(index) {
            Some(before) => self.places[before].later = Some(index),
            None => list.oldest = Some(index),
        }
        Ticket(index)
    }

    /// Calls the next: of the most important ones, the first in `order`.
    pub(crate) fn call(&mut self, order: Order) -> Option<Settled> {
        let mut most = self.lists.iter().rev();
        let index = most.find_map(|list| list.first(order))?;
        Some(Settled(self.settle(index, Fate::Called)))
    }

    /// Sends away, of the least important ones, the one that would be called last, if it is less
    /// important than `priority`.
    pub(crate) fn displace(&mut self, priority: Priority, order: Order) -> Option<Settled> {
        let last = match order {
            Order::Fifo => Order::Lifo,
            Order::Lifo => Order::Fifo,
        };
        let mut less = self.lists[..priority as usize].iter();
        let index = less.find_map(|list| list.first(last))?;
        Some(Settled(self.settle(index, Fate::Displaced)))
    }

    /// Whether `ticket` will be called next, first come first served.
    pub(crate) fn is_next(&self, ticket: &Ticket) -> bool {
        let mut most = self.lists.iter().rev();
        most.find_map(|list| list.oldest) == Some(ticket.0)
    }

    /// The one that will be called next, first come first served, to tell it so.
    pub(crate) fn tell_next(&mut self) -> Option<Settled> {
        let mut most = self.lists.iter().rev();
        let index = most.find_map(|list| list.oldest)?;
        Some(Settled(self.places[index].waker.take()))
    }

    /// What became of `ticket`. While it waits, `waker` is woken when that changes; else the place
    /// is given back, and the ticket is nobody's.
    pub(crate) fn poll(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) -> Fate {
        let Some(Ticket(index)) = *ticket else {
            return Fate::Displaced;
        };
        let place = &mut self.places[index];
        if place.fate != Fate::Waiting {
            *ticket = None;
            self.free.push(index);
            return place.fate;
        }
        match &mut place.waker {
            Some(known) => known.clone_from(waker),
            unknown @ None => *unknown = Some(waker.clone()),
        }
        Fate::Waiting
    }

    /// Leaves the queue. Gives what had become of the ticket before.
    pub(crate) fn remove(&mut self, Ticket(index): Ticket) -> Fate {
        let fate = self.places[index].fate;
        if fate == Fate::Waiting {
            // Nobody is to be woken: who leaves knows it.
            self.settle(index, Fate::Displaced);
        }
        self.free.push(index);
        fate
    }

    /// Takes the place out of its list.
    fn settle(&mut self, index: usize, fate: Fate) -> Option<Waker> {
        let place = &mut self.places[index];
        place.fate = fate;
        let (earlier, later) = (place.earlier.take(), place.later.take());
        let (priority, waker) = (place.priority, place.waker.take());
        let list = &mut self.lists[priority as usize];
        match earlier {
            Some(earlier) => self.places[earlier].later = later,
            None => list.oldest = later,
        }
        match later {
            Some(later) => self.places[later].earlier = earlier,
            None => list.newest = earlier,
        }
        waker
    }
}

impl Settled {
    /// Tells it. Under no lock: what a waker does is up to its task.
    pub(crate) fn wake(self) {
        if let Some(waker) = self.0 {
            waker.wake();
        }
    }
}

impl List {
    const fn first(&self, order: Order) -> Option<usize> {
        match order {
            Order::Fifo => self.oldest,
            Order::Lifo => self.newest,
        }
    }
}

#[cfg(test)]
mod tests;
