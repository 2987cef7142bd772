//! The service: workers, one queue, a stall.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::ops::Range;

use mainstay_core::random::Random;

use crate::engine::{Door, Place};

/// What the service is.
#[derive(Clone, Debug)]
pub(crate) struct Capacity {
    pub(crate) workers: NonZeroU32,
    /// Mean time of work on one request, in nanoseconds.
    pub(crate) work: u64,
    /// Requests that may wait; all when `None`.
    pub(crate) queue: Option<NonZeroU32>,
    /// Time that it takes to read one request, and to refuse it if it must, in nanoseconds: one
    /// after the other, before there is a worker.
    pub(crate) door: u64,
    /// When it stands still, in nanoseconds.
    pub(crate) stall: Range<u64>,
}

impl Capacity {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.workers.get()) * 1e9 / self.work as f64
    }
}

/// What became of a request at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Work on it ends then.
    Begun { ends: u64 },
    /// It waits.
    Queued,
    /// The queue is full.
    Refused,
}

pub(crate) struct Service {
    capacity: Capacity,
    /// The engine that bounds what is let in.
    door: Door,
    queue: VecDeque<usize>,
    /// When all that was sent so far will have been read.
    read_until: u64,
    random: Random,
}

impl Service {
    pub(crate) fn new(capacity: Capacity, random: Random) -> Self {
        let unbounded = NonZeroU32::MAX;
        Self {
            door: Door::new(capacity.workers, capacity.queue.unwrap_or(unbounded)),
            queue: VecDeque::new(),
            read_until: 0,
            capacity,
            random,
        }
    }

    /// When a request that is sent now will have been read: behind all others, and not in the
    /// stall.
    pub(crate) fn read_at(&mut self, now: u64) -> u64 {
        let begins = now.max(self.read_until);
        let stall = &self.capacity.stall;
        let begins = if stall.contains(&begins) {
            stall.end
        } else {
            begins
        };
        self.read_until = begins + self.capacity.door;
        self.read_until
    }

    pub(crate) fn offer(&mut self, attempt: usize, now: u64) -> Offered {
        match self.door.offer() {
            Place::Worker => Offered::Begun {
                ends: self.ends(now),
            },
            Place::Queue => {
                self.queue.push_back(attempt);
                Offered::Queued
            },
            Place::Nowhere => Offered::Refused,
        }
    }

    /// Work on a request ended; the next one, and when work on that ends.
    pub(crate) fn next(&mut self, now: u64) -> Option<(usize, u64)> {
        if !self.door.next() {
            return None;
        }
        let attempt = self.queue.pop_front()?;
        Some((attempt, self.ends(now)))
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    fn ends(&mut self, now: u64) -> u64 {
        let work = self.capacity.work / 2 + self.random.below(self.capacity.work + 1);
        let ends = now + work;
        // A stall in between interrupts the work.
        let stall = &self.capacity.stall;
        if now < stall.start && ends > stall.start {
            ends + (stall.end - stall.start)
        } else {
            ends
        }
    }
}
