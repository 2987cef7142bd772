//! What guard and request path of one client connection know of each other.
//!
//! Prevents two failures: a connection taken for idle while an answer is under way, and an error
//! of framing that the request path would report as something else. The counts never cross:
//! `admitted` is at least `finished`.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::task::Waker;

use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::reply::Refusal;

/// One client connection.
#[derive(Debug)]
pub(crate) struct Downstream {
    /// The client's address, as X-Forwarded-For shows it.
    address: String,
    admitted: Cell<u64>,
    finished: Cell<u64>,
    finished_at: Cell<Instant>,
    refusal: Cell<Option<Refusal>>,
    waiting: RefCell<Option<Waker>>,
    /// The attempt timer of this connection's requests, of which there is one at a time.
    pub(crate) alarm: RefCell<Alarm>,
}

impl Downstream {
    /// A connection from `peer` that was accepted at `now`.
    pub(crate) fn new(peer: SocketAddr, now: Instant) -> Self {
        Self {
            address: peer.ip().to_canonical().to_string(),
            admitted: Cell::new(0),
            finished: Cell::new(0),
            finished_at: Cell::new(now),
            refusal: Cell::new(None),
            waiting: RefCell::default(),
            alarm: RefCell::default(),
        }
    }

    /// The client's address without its port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A head passed the guard.
    pub(crate) fn admit(&self) {
        self.admitted.set(self.admitted.get() + 1);
    }

    /// An answer was handed over completely, or dropped.
    pub(crate) fn finish(&self, now: Instant) {
        self.finished.set(self.finished.get() + 1);
        self.finished_at.set(now);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Wakes `waker` when the next answer is finished.
    pub(crate) fn wake_when_finished(&self, waker: &Waker) {
        *self.waiting.borrow_mut() = Some(waker.clone());
    }

    /// Since when no request is in flight, if none is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.admitted.get() == self.finished.get()).then(|| self.finished_at.get())
    }

    /// Remembers why the client's bytes are no longer read; the first reason stays.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        if self.refusal.get().is_none() {
            self.refusal.set(Some(refusal));
        }
    }

    /// Why the client's bytes are no longer read.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    /// Takes the refusal to answer with it, so that it is answered once.
    pub(crate) fn take_refusal(&self) -> Option<Refusal> {
        self.refusal.take()
    }
}
