//! Telling all connections of one worker that it stops.
//!
//! Prevents a lock on every poll of every connection: a connection looks at one flag, and the
//! worker wakes all of them once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};

use tokio::sync::Notify;

/// The open client connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    draining: Cell<bool>,
    next: Cell<u64>,
    wakers: RefCell<BTreeMap<u64, Waker>>,
    closed: Notify,
}

/// One connection; dropping it means it is closed.
#[derive(Debug)]
pub(crate) struct Member {
    drain: Rc<Drain>,
    number: u64,
}

impl Drain {
    /// Tells all connections to finish, those that come later too.
    pub(crate) fn begin(&self) {
        self.draining.set(true);
        for waker in self.wakers.borrow().values() {
            waker.wake_by_ref();
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.wakers.borrow().len()
    }

    /// Waits until a connection closes.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// A new connection.
    pub(crate) fn join(self: &Rc<Self>) -> Member {
        let number = self.next.get();
        self.next.set(number + 1);
        self.wakers
            .borrow_mut()
            .insert(number, Waker::noop().clone());
        Member {
            drain: Rc::clone(self),
            number,
        }
    }
}

impl Member {
    /// Lets the worker wake the task that polls now.
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        self.drain.wakers.borrow_mut().insert(self.number, waker);
    }

    /// Whether the connection should finish.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.draining.get()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.drain.wakers.borrow_mut().remove(&self.number);
        // Every acceptor of the worker may be waiting for room.
        self.drain.closed.notify_waiters();
    }
}
