//! The counts of a bulkhead: so many calls in flight, so many waiting, never one more.
//!
//! Prevents one slow upstream from using up every task, connection and byte of memory (Nygard,
//! "Release It!", 2007, "Bulkheads"). The limit and both counts live in one word,
//! `limit:22 | in_flight:22 | queued:20`, so that a call that moves from the queue into flight is
//! never seen in both places or in neither, and a limit that moves is never half seen.
//!
//! Who waits, and who is next, is the business of the shell, which keeps the queue under a lock.
//! The protocol between the two: while nobody waits, [`enter`](Bulkhead::enter) and
//! [`leave`](Bulkhead::leave) need no lock. All that changes the count of those who wait
//! ([`arrive`](Bulkhead::arrive), [`pass_on`](Bulkhead::pass_on), [`promote`](Bulkhead::promote),
//! [`give_up`](Bulkhead::give_up)) is called under it, so that the count is the queue's length.
//!
//! Always holds between calls: while somebody waits there is no free place, so nobody is forgotten
//! in the queue; and with a fixed limit never more calls than the limit are in flight.

use core::fmt;
use core::num::NonZeroU32;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};

/// Most calls in flight, 4,194,303; a higher limit counts as this one. Memory is gone long before.
pub const IN_FLIGHT_MAX: u32 = (1 << IN_FLIGHT_BITS) - 1;

/// Most calls in the queue, 1,048,575; a higher limit counts as this one.
pub const QUEUE_MAX: u32 = (1 << QUEUED_BITS) - 1;

const IN_FLIGHT_BITS: u32 = 22;
const QUEUED_BITS: u32 = 20;

/// How many calls at a time, and how many may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls in flight, 1 to [`IN_FLIGHT_MAX`].
    pub in_flight: NonZeroU32,
    /// Calls that may wait for a place, at most [`QUEUE_MAX`]; none when `None`.
    pub queue: Option<NonZeroU32>,
}

/// A limit above what a bulkhead can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitsError {
    /// Calls in flight, above [`IN_FLIGHT_MAX`].
    InFlight(NonZeroU32),
    /// Calls in the queue, above [`QUEUE_MAX`].
    Queue(NonZeroU32),
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight(limit) => {
                write!(f, "in_flight is {limit}; set at most {IN_FLIGHT_MAX}")
            },
            Self::Queue(limit) => write!(f, "queue is {limit}; set at most {QUEUE_MAX}"),
        }
    }
}

impl core::error::Error for LimitsError {}

impl Limits {
    /// Says whether a bulkhead can count so far.
    ///
    /// # Errors
    ///
    /// [`LimitsError::InFlight`] above [`IN_FLIGHT_MAX`], [`LimitsError::Queue`] above
    /// [`QUEUE_MAX`].
    pub fn check(self) -> Result<(), LimitsError> {
        if self.in_flight.get() > IN_FLIGHT_MAX {
            return Err(LimitsError::InFlight(self.in_flight));
        }
        match self.queue {
            Some(queue) if queue.get() > QUEUE_MAX => Err(LimitsError::Queue(queue)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Both counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls that wait.
    pub queued: u32,
}

/// There is no room; the counts say where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub Counts);

/// Where a call that arrived is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In flight.
    Entered,
    /// In the queue: put it there before the lock is given back.
    Queued,
}

/// What became of a place that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a place that is owed to a waiting call must be passed on"]
pub enum Left {
    /// It is free, or gone with a limit that was lowered.
    Free,
    /// Nothing has changed: somebody waits for it. Lock the queue and
    /// [`pass_on`](Bulkhead::pass_on).
    Owed,
}

/// The counts of one bulkhead. Shared by reference between threads.
///
/// ```
/// use core::num::NonZeroU32;
/// use mainstay_core::bulkhead::{Arrival, Bulkhead, Left, Limits};
///
/// let one = NonZeroU32::MIN;
/// let bulkhead = Bulkhead::new(Limits { in_flight: one, queue: Some(one) });
/// assert!(bulkhead.enter().is_ok());
/// // One slow call holds the only place. One more may wait; the third is turned away at once.
/// assert_eq!(bulkhead.arrive(u32::MAX), Ok(Arrival::Queued));
/// assert!(bulkhead.arrive(u32::MAX).is_err());
///
/// // The place goes to the one that waits, and nobody can take it from under its nose.
/// assert_eq!(bulkhead.leave(), Left::Owed);
/// assert!(bulkhead.pass_on());
/// assert!(bulkhead.enter().is_err());
/// ```
#[derive(Debug)]
pub struct Bulkhead {
    word: AtomicU64,
    /// Most calls that may wait.
    queue: AtomicU32,
}

/// The word, taken apart.
#[derive(Clone, Copy)]
struct Word {
    limit: u32,
    counts: Counts,
}

impl Bulkhead {
    /// An empty bulkhead. A limit that [`check`](Limits::check) refuses counts as the highest.
    pub fn new(limits: Limits) -> Self {
        let word = Word {
            limit: limits.in_flight.get().min(IN_FLIGHT_MAX),
            counts: Counts::default(),
        };
        Self {
            word: AtomicU64::new(word.encode()),
            queue: AtomicU32::new(queue_limit(limits.queue)),
        }
    }

    /// The limits of this moment.
    pub fn limits(&self) -> Limits {
        Limits {
            in_flight: NonZeroU32::new(self.load().limit).unwrap_or(NonZeroU32::MIN),
            queue: NonZeroU32::new(self.queue.load(Ordering::Relaxed)),
        }
    }

    /// The counts of this moment.
    pub fn counts(&self) -> Counts {
        self.load().counts
    }

    /// Takes a place in flight if one is free and nobody waits. Give it back with
    /// [`leave`](Self::leave).
    ///
    /// # Errors
    ///
    /// [`Full`] when as many calls are in flight as may be, or somebody was here before.
    pub fn enter(&self) -> Result<(), Full> {
        self.update(|word| word.has_room().then(|| word.with(1, 0)))
            .map(drop)
            .map_err(|word| Full(word.counts))
    }

    /// Takes a place in flight, or one in the queue. Under the queue's lock.
    ///
    /// `share` is how many places of the queue are open to this call: it waits only behind fewer.
    /// With 0 it never waits, with `u32::MAX` the whole queue is open to it.
    ///
    /// # Errors
    ///
    /// [`Full`] when neither is to be had. The counts are those of this moment.
    pub fn arrive(&self, share: u32) -> Result<Arrival, Full> {
        let queue = self.queue.load(Ordering::Relaxed).min(share);
        let arrival = |word: Word| {
            if word.has_room() {
                Some((Arrival::Entered, word.with(1, 0)))
            } else {
                (word.counts.queued < queue).then(|| (Arrival::Queued, word.with(0, 1)))
            }
        };
        self.update(|word| arrival(word).map(|(_, next)| next))
            .map_err(|word| Full(word.counts))
            .map(|seen| arrival(seen).map_or(Arrival::Queued, |(arrival, _)| arrival))
    }

    /// Gives a place in flight back, unless somebody waits for it.
    pub fn leave(&self) -> Left {
        match self.update(|word| (!word.owes()).then(|| word.with(-1, 0))) {
            Ok(_) => Left::Free,
            Err(_) => Left::Owed,
        }
    }

    /// Gives a place in flight to the next in the queue; `false` when nobody waits any more, or
    /// the limit was lowered: the place is free or gone then. Under the queue's lock; `true`
    /// obliges to take one call out of the queue.
    pub fn pass_on(&self) -> bool {
        self.always(|word| {
            if word.owes() {
                word.with(0, -1)
            } else {
                word.with(-1, 0)
            }
        })
        .owes()
    }

    /// Moves the next in the queue into flight if there is room, after the limit rose. Under the
    /// queue's lock; `true` obliges to take one call out of the queue.
    pub fn promote(&self) -> bool {
        self.update(|word| {
            (word.counts.queued > 0 && word.counts.in_flight < word.limit).then(|| word.with(1, -1))
        })
        .is_ok()
    }

    /// Gives a place in the queue back. Under the queue's lock.
    pub fn give_up(&self) {
        self.always(|word| word.with(0, -1));
    }

    /// Sets how many calls may be in flight. Calls that are in flight stay, so after a lower limit
    /// their places are gone when they leave; after a higher one, `true` says that there is room
    /// for calls that wait: [`promote`](Self::promote) them, as many as it lets through.
    #[must_use = "calls that wait must be let through"]
    pub fn resize(&self, in_flight: NonZeroU32) -> bool {
        let limit = in_flight.get().min(IN_FLIGHT_MAX);
        let seen = self.always(|word| Word { limit, ..word });
        seen.counts.queued > 0 && seen.counts.in_flight < limit
    }

    /// Sets how many calls may wait. Those that wait stay.
    pub fn resize_queue(&self, queue: Option<NonZeroU32>) {
        self.queue.store(queue_limit(queue), Ordering::Relaxed);
    }

    fn load(&self) -> Word {
        Word::decode(self.word.load(Ordering::Acquire))
    }

    fn always(&self, next: impl Fn(Word) -> Word) -> Word {
        // Both are the word that was seen; `Err` cannot be, the update always has a successor.
        match self.update(|word| Some(next(word))) {
            Ok(seen) | Err(seen) => seen,
        }
    }

    /// Replaces the word; gives what it was, which is `Err` when it has no successor.
    fn update(&self, next: impl Fn(Word) -> Option<Word>) -> Result<Word, Word> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::decode(seen);
            let next = next(word).ok_or(word)?;
            match self.word.compare_exchange_weak(
                seen,
                next.encode(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(word),
                Err(current) => seen = current,
            }
        }
    }
}

fn queue_limit(queue: Option<NonZeroU32>) -> u32 {
    queue.map_or(0, NonZeroU32::get).min(QUEUE_MAX)
}

impl Word {
    /// Whether a call that has just come may go into flight.
    const fn has_room(self) -> bool {
        self.counts.queued == 0 && self.counts.in_flight < self.limit
    }

    /// Whether a place that is given back belongs to a call that waits.
    const fn owes(self) -> bool {
        self.counts.queued > 0 && self.counts.in_flight <= self.limit
    }

    /// With that many more calls in flight and in the queue, never below zero.
    const fn with(self, in_flight: i32, queued: i32) -> Self {
        Self {
            limit: self.limit,
            counts: Counts {
                in_flight: self.counts.in_flight.saturating_add_signed(in_flight),
                queued: self.counts.queued.saturating_add_signed(queued),
            },
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked before")]
    const fn decode(word: u64) -> Self {
        Self {
            limit: (word >> (IN_FLIGHT_BITS + QUEUED_BITS)) as u32,
            counts: Counts {
                in_flight: (word >> QUEUED_BITS) as u32 & IN_FLIGHT_MAX,
                queued: word as u32 & QUEUE_MAX,
            },
        }
    }

    const fn encode(self) -> u64 {
        (self.limit as u64) << (IN_FLIGHT_BITS + QUEUED_BITS)
            | (self.counts.in_flight as u64) << QUEUED_BITS
            | self.counts.queued as u64
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
