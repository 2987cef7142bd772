//! Who waits for a batch, who is in one, and who drives it.
//!
//! Prevents a batch from being forgotten: whoever leaves names the next who has something to do.
//! Pure bookkeeping: it calls nothing, waits for nothing, and returns the wakers and whatever else
//! is to be used or dropped outside the lock.
//!
//! Always holds: a batch in flight has a driver among its callers; the oldest waiting item is woken
//! whenever a place becomes free or it becomes the oldest.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::task::{Context, Waker};
use std::time::Duration;

use mainstay_core::time::Instant;

use super::{Config, Sending};

pub(super) struct Gathering<I, T, E> {
    size_max: usize,
    window: Option<Duration>,
    in_flight_max: usize,
    queue_max: usize,
    next: u64,
    waiting: BTreeMap<u64, Waiting<I>>,
    flying: BTreeMap<u64, Flying<T, E>>,
    flights: BTreeMap<u64, Flight<T, E>>,
}

pub(super) struct Waiting<I> {
    item: I,
    since: Instant,
    waker: Option<Waker>,
}

pub(super) struct Flying<T, E> {
    flight: u64,
    answer: Option<Answer<T, E>>,
    waker: Option<Waker>,
}

pub(super) struct Flight<T, E> {
    driver: u64,
    seats: Vec<u64>,
    /// Away while the driver polls it.
    call: Option<Sending<T, E>>,
}

/// An item's result; `None` when the batch has none for it.
pub(super) type Answer<T, E> = Option<Result<T, E>>;

/// What a caller is to do.
pub(super) enum Step<I, T, E> {
    /// Take the result.
    Answered(Answer<T, E>),
    /// Make the call for these items, and drive it.
    Send(u64, Vec<I>),
    /// Drive the call.
    Drive(u64, Sending<T, E>),
    /// Wait, but ask again at this instant.
    Sleep(Instant),
    /// Wait.
    Wait,
}

/// What is left over when a caller goes: for dropping outside the lock, because what a caller gave
/// us may come back here when it is dropped.
type Leftover<I, T, E> = (
    Option<Waiting<I>>,
    Option<Flying<T, E>>,
    Option<Flight<T, E>>,
);

/// Who is to be woken outside the lock, and what is only to be dropped there.
pub(super) struct Wakers {
    pub(super) wake: Option<Waker>,
    pub(super) drop: Option<Waker>,
}

impl<I, T, E> Gathering<I, T, E> {
    pub(super) fn new(config: Config) -> Self {
        let limit = |max: NonZeroU32| usize::try_from(max.get()).unwrap_or(usize::MAX);
        Self {
            size_max: limit(config.size_max),
            window: config.window,
            in_flight_max: limit(config.in_flight),
            queue_max: limit(config.queue),
            next: 0,
            waiting: BTreeMap::new(),
            flying: BTreeMap::new(),
            flights: BTreeMap::new(),
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn is_waiting(&self, seat: u64) -> bool {
        self.waiting.contains_key(&seat)
    }

    /// A seat for `item`, or the item again when too many wait.
    pub(super) fn join(&mut self, item: I, now: Instant) -> Result<u64, I> {
        if self.waiting.len() >= self.queue_max {
            return Err(item);
        }
        let seat = self.next;
        self.next += 1;
        let waiting = Waiting {
            item,
            since: now,
            waker: None,
        };
        self.waiting.insert(seat, waiting);
        Ok(seat)
    }

    /// What the caller at `seat` is to do now, and whom to wake.
    pub(super) fn step(
        &mut self,
        seat: u64,
        now: Instant,
        cx: &Context<'_>,
    ) -> (Step<I, T, E>, Wakers) {
        if self.flying.contains_key(&seat) {
            return self.step_flying(seat, cx);
        }
        if self.may_send(now)
            && self
                .waiting
                .keys()
                .take(self.size_max)
                .any(|&first| first == seat)
        {
            let step = self.send(seat);
            let wake = self.oldest();
            return (step, Wakers { wake, drop: None });
        }
        let is_oldest = self.waiting.keys().next() == Some(&seat);
        let has_place = self.flights.len() < self.in_flight_max;
        let Some(waiting) = self.waiting.get_mut(&seat) else {
            // A caller without a seat has its result already.
            return (Step::Wait, Wakers::NONE);
        };
        let replaced = Wakers::replaced(&mut waiting.waker, cx);
        let until = self.window.map(|window| waiting.since + window);
        match until {
            // The others are woken when they are the oldest, or have been sent; and without a place
            // the time does not matter.
            Some(until) if is_oldest && has_place => (Step::Sleep(until), replaced),
            Some(_) | None => (Step::Wait, replaced),
        }
    }

    fn step_flying(&mut self, seat: u64, cx: &Context<'_>) -> (Step<I, T, E>, Wakers) {
        let Some(flying) = self.flying.get_mut(&seat) else {
            return (Step::Wait, Wakers::NONE);
        };
        if let Some(answer) = flying.answer.take() {
            let gone = self.flying.remove(&seat);
            let drop = gone.and_then(|gone| gone.waker);
            return (Step::Answered(answer), Wakers { wake: None, drop });
        }
        let replaced = Wakers::replaced(&mut flying.waker, cx);
        let id = flying.flight;
        let flight = self.flights.get_mut(&id);
        let mine = flight.filter(|flight| flight.driver == seat);
        let call = mine.and_then(|flight| flight.call.take());
        let step = call.map_or(Step::Wait, |call| Step::Drive(id, call));
        (step, replaced)
    }

    fn may_send(&self, now: Instant) -> bool {
        let Some((_, oldest)) = self.waiting.first_key_value() else {
            return false;
        };
        let is_due = match self.window {
            Some(window) => now >= oldest.since + window || self.waiting.len() >= self.size_max,
            None => true,
        };
        is_due && self.flights.len() < self.in_flight_max
    }

    fn send(&mut self, driver: u64) -> Step<I, T, E> {
        let id = self.next;
        self.next += 1;
        let size = self.waiting.len().min(self.size_max);
        let mut items = Vec::with_capacity(size);
        let mut seats = Vec::with_capacity(size);
        while items.len() < size
            && let Some((seat, waiting)) = self.waiting.pop_first()
        {
            items.push(waiting.item);
            seats.push(seat);
            let flying = Flying {
                flight: id,
                answer: None,
                waker: waiting.waker,
            };
            self.flying.insert(seat, flying);
        }
        let flight = Flight {
            driver,
            seats,
            call: None,
        };
        self.flights.insert(id, flight);
        Step::Send(id, items)
    }

    /// The driver has polled `call`, which has not ended.
    pub(super) fn put_back(&mut self, flight: u64, call: Sending<T, E>) {
        if let Some(flight) = self.flights.get_mut(&flight) {
            flight.call = Some(call);
        }
    }

    /// The call has given `results`, or panicked. Whom to wake; what nobody waits for any more is
    /// left in `results`.
    ///
    /// With one result too few nobody knows whose is missing: then all go unanswered, rather than
    /// some with the answer of another.
    pub(super) fn land(&mut self, flight: u64, results: &mut Vec<Result<T, E>>) -> Vec<Waker> {
        let Some(flight) = self.flights.remove(&flight) else {
            return Vec::new();
        };
        let mut wakers = Vec::with_capacity(flight.seats.len() + 1);
        let matching = results.len() == flight.seats.len();
        // From the last to the first, so that taking one out moves none that is still to come.
        for (place, seat) in flight.seats.into_iter().enumerate().rev() {
            if let Some(flying) = self.flying.get_mut(&seat) {
                flying.answer = Some(matching.then(|| results.swap_remove(place)));
                wakers.extend(flying.waker.take());
            }
        }
        wakers.extend(self.oldest());
        wakers
    }

    /// The caller at `seat` goes away. Whom to wake, and what to drop.
    pub(super) fn leave(&mut self, seat: u64) -> (Option<Waker>, Leftover<I, T, E>) {
        let was_oldest = self.waiting.keys().next() == Some(&seat);
        let mut leftover: Leftover<I, T, E> = (self.waiting.remove(&seat), None, None);
        if was_oldest {
            return (self.oldest(), leftover);
        }
        let Some(flying) = self.flying.remove(&seat) else {
            return (None, leftover);
        };
        let id = flying.flight;
        leftover.1 = Some(flying);
        let Some(flight) = self.flights.get_mut(&id) else {
            return (None, leftover);
        };
        if flight.driver != seat {
            return (None, leftover);
        }
        let mut seats = flight.seats.iter();
        if let Some(&next) = seats.find(|seat| self.flying.contains_key(seat)) {
            flight.driver = next;
            let next = self.flying.get_mut(&next);
            return (next.and_then(|next| next.waker.take()), leftover);
        }
        // Nobody is left who wants to know.
        leftover.2 = self.flights.remove(&id);
        (self.oldest(), leftover)
    }

    fn oldest(&mut self) -> Option<Waker> {
        let mut oldest = self.waiting.first_entry()?;
        oldest.get_mut().waker.take()
    }
}

impl Wakers {
    const NONE: Self = Self {
        wake: None,
        drop: None,
    };

    /// Puts the waker of `cx` into `place`; the one that was there is to be dropped.
    fn replaced(place: &mut Option<Waker>, cx: &Context<'_>) -> Self {
        Self {
            wake: None,
            drop: place.replace(cx.waker().clone()),
        }
    }
}
