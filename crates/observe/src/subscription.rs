//! Listening to events.
//!
//! Prevents a slow listener from slowing the node down or eating its memory: it loses records
//! and is told how many.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::record::Record;

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The next record.
    Record(Arc<Record>),
    /// Up to this many records are lost: the subscriber was too slow, or asked for records that
    /// are no longer kept. What follows is in order again.
    Lagged(u64),
}

/// A place in the sequence of events, from [`crate::Observer::subscribe`].
#[derive(Debug)]
pub struct Subscription {
    backlog: VecDeque<Arc<Record>>,
    lost: u64,
    receiver: broadcast::Receiver<Arc<Record>>,
}

impl Subscription {
    pub(crate) const fn new(
        backlog: VecDeque<Arc<Record>>,
        lost: u64,
        receiver: broadcast::Receiver<Arc<Record>>,
    ) -> Self {
        Self {
            backlog,
            lost,
            receiver,
        }
    }

    /// Waits for the next delivery; `None` once the observer is gone. Safe to drop: nothing is
    /// lost when a wait is cut short.
    pub async fn next(&mut self) -> Option<Delivery> {
        if self.lost > 0 {
            return Some(Delivery::Lagged(std::mem::take(&mut self.lost)));
        }
        if let Some(record) = self.backlog.pop_front() {
            return Some(Delivery::Record(record));
        }
        match self.receiver.recv().await {
            Ok(record) => Some(Delivery::Record(record)),
            Err(RecvError::Lagged(lost)) => Some(Delivery::Lagged(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}
