//! The counts of a bulkhead: so many calls in flight, so many waiting, never one more.
//!
//! Prevents one slow upstream from using up every task, connection and byte of memory. Both counts
//! live in one word, `in_flight:32 | queued:32`, so that a call that moves from the queue into
//! flight is never seen in both places or in neither. Who may wait how long, and who is next, is
//! the business of the asynchronous half.

use core::num::NonZeroU32;

use crate::atomic::{AtomicU64, Ordering};

/// How many calls at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls in flight.
    pub in_flight: NonZeroU32,
    /// Calls that may wait for a place; none when `None`.
    pub queue: Option<NonZeroU32>,
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

/// The counts of one bulkhead.
#[derive(Debug)]
pub struct Bulkhead {
    word: AtomicU64,
    limits: Limits,
}

impl Bulkhead {
    /// An empty bulkhead.
    pub fn new(limits: Limits) -> Self {
        Self {
            word: AtomicU64::new(0),
            limits,
        }
    }

    /// The limits.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The counts of this moment.
    pub fn counts(&self) -> Counts {
        Counts::decode(self.word.load(Ordering::Acquire))
    }

    /// Takes a place in flight. Give it back with [`leave`](Self::leave).
    ///
    /// # Errors
    ///
    /// [`Full`] when as many calls are in flight as may be.
    pub fn enter(&self) -> Result<(), Full> {
        let max = self.limits.in_flight.get();
        self.update(|counts| {
            (counts.in_flight < max).then(|| Counts {
                in_flight: counts.in_flight + 1,
                ..counts
            })
        })
    }

    /// Takes a place in the queue. Ends with [`promote`](Self::promote) or
    /// [`give_up`](Self::give_up).
    ///
    /// # Errors
    ///
    /// [`Full`] when as many calls wait as may.
    pub fn queue(&self) -> Result<(), Full> {
        let max = self.limits.queue.map_or(0, NonZeroU32::get);
        self.update(|counts| {
            (counts.queued < max).then(|| Counts {
                queued: counts.queued + 1,
                ..counts
            })
        })
    }

    /// Moves a waiting call into flight, in one step.
    ///
    /// # Errors
    ///
    /// [`Full`] when as many calls are in flight as may be; the call still waits then.
    pub fn promote(&self) -> Result<(), Full> {
        let max = self.limits.in_flight.get();
        self.update(|counts| {
            (counts.in_flight < max).then(|| Counts {
                in_flight: counts.in_flight + 1,
                queued: counts.queued.saturating_sub(1),
            })
        })
    }

    /// Gives a place in the queue back.
    pub fn give_up(&self) {
        self.always(|counts| Counts {
            queued: counts.queued.saturating_sub(1),
            ..counts
        });
    }

    /// Gives a place in flight back.
    pub fn leave(&self) {
        self.always(|counts| Counts {
            in_flight: counts.in_flight.saturating_sub(1),
            ..counts
        });
    }

    fn always(&self, next: impl Fn(Counts) -> Counts) {
        // Cannot be full: the update always has a successor.
        let _never_full = self.update(|counts| Some(next(counts)));
    }

    fn update(&self, next: impl Fn(Counts) -> Option<Counts>) -> Result<(), Full> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let counts = Counts::decode(seen);
            let next = next(counts).ok_or(Full(counts))?;
            match self.word.compare_exchange_weak(
                seen,
                next.encode(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(()),
                Err(current) => seen = current,
            }
        }
    }
}

impl Counts {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
    const fn decode(word: u64) -> Self {
        Self {
            in_flight: (word >> 32) as u32,
            queued: word as u32,
        }
    }

    const fn encode(self) -> u64 {
        (self.in_flight as u64) << 32 | self.queued as u64
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
