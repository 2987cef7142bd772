//! The time an endpoint has for its answer's head.
//!
//! Prevents slow clients from opening the circuits of good endpoints: while the client's body is
//! what everybody waits for, the endpoint's time does not run, and what then exceeds the deadline
//! is not charged to it.

use std::cell::RefCell;
use std::task::{Context, Poll};

use mainstay_core::outcome::Reason;
use tokio::time::{Duration, Instant};

use crate::alarm::Alarm;

use super::connection::{Connection, Failure};

/// How long a client that asked for leave to send its body waits for the endpoint's word.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// The limits of one exchange.
#[derive(Debug)]
pub(crate) struct Window {
    /// When the endpoint's time is over.
    until: Instant,
    /// When everybody's time is over.
    deadline: Instant,
    attempt: Duration,
    leave_until: Instant,
    client_was_slow: bool,
}

impl Window {
    /// The limits of an exchange that begins at `now`.
    pub(crate) fn new(now: Instant, attempt: Duration, deadline: Instant) -> Self {
        Self {
            until: deadline.min(now + attempt),
            deadline,
            attempt,
            leave_until: now + LEAVE_WAIT,
            client_was_slow: false,
        }
    }

    /// When the endpoint's time is over, as things are.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    /// Ready with the failure once time is up, or without one when the client may send its body
    /// although the endpoint said nothing.
    pub(crate) fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        alarm: &RefCell<Alarm>,
    ) -> Poll<Option<Failure>> {
        let awaits_client = connection.awaits_client();
        if awaits_client {
            self.client_was_slow = true;
            self.until = self.deadline.min(Instant::now() + self.attempt);
        }
        let holding = connection.is_holding() && self.leave_until < self.until;
        let over = if holding {
            self.leave_until
        } else {
            self.until
        };
        if alarm.borrow_mut().poll_at(cx, over).is_pending() {
            return Poll::Pending;
        }
        if holding {
            connection.stop_holding();
            return Poll::Ready(None);
        }
        let cut_short = self.client_was_slow && self.until == self.deadline;
        Poll::Ready(Some(match (awaits_client, cut_short) {
            (true, _) => Failure::ClientLate,
            (false, true) => Failure::CutShort,
            (false, false) => Failure::Sent(Reason::Timeout),
        }))
    }
}
