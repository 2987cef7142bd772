//! How many requests of a service are worked on at a time, and how many may wait for that.
//!
//! Prevents one slow service from using up everything: beyond the limits a request is rejected
//! at once. A request that is dropped while it waits gives its place in the queue back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::config;

/// The bulkhead of one service, shared by all workers.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    places: Arc<Semaphore>,
    queued: AtomicU32,
    limits: config::Bulkhead,
}

/// There was no place, and waiting for one is not allowed or took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// A place; dropping it gives it back.
pub(crate) type Place = OwnedSemaphorePermit;

impl Bulkhead {
    /// An empty bulkhead.
    pub(crate) fn new(limits: config::Bulkhead) -> Self {
        let places = usize::try_from(limits.in_flight.get()).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            queued: AtomicU32::new(0),
            limits,
        }
    }

    /// A place, if there is one and nobody waits for it.
    pub(crate) fn try_enter(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Waits for a place, at most as long as configured and not beyond `deadline`.
    pub(crate) async fn enter(&self, now: Instant, deadline: Instant) -> Result<Place, Full> {
        let queue_max = self.limits.queue.map_or(0, std::num::NonZeroU32::get);
        let _ticket = Ticket::take(&self.queued, queue_max).ok_or(Full)?;
        let until = deadline.min(now + self.limits.queue_wait);
        match timeout_at(until, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Full),
        }
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        self.limits.in_flight.get().saturating_sub(free)
    }

    /// Requests waiting.
    pub(crate) fn queued(&self) -> u32 {
        self.queued.load(Ordering::Relaxed)
    }

    /// The limits.
    pub(crate) const fn limits(&self) -> &config::Bulkhead {
        &self.limits
    }
}

/// A place in the queue.
struct Ticket<'a>(&'a AtomicU32);

impl<'a> Ticket<'a> {
    fn take(queued: &'a AtomicU32, max: u32) -> Option<Self> {
        queued
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |queued| {
                (queued < max).then_some(queued + 1)
            })
            .ok()
            .map(|_| Self(queued))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
