//! The last events of a node, in order, and those who listen for the next ones.
//!
//! Prevents a lost beginning: whoever starts to listen gets the past and the future with neither
//! a gap nor a record twice. Heartbeats are sent but not kept, so that signs of life never push
//! the events that somebody will look for out of the history.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::event::Event;
use mainstay_core::vector_clock::VectorClock;
use tokio::sync::broadcast;

use crate::clock::Timestamp;
use crate::record::Record;
use crate::subscription::Subscription;

/// Records kept; at some hundred bytes each, about a megabyte.
pub const HISTORY_MAX: usize = 4_096;
/// Records that a subscriber may be behind before it loses some.
const BEHIND_MAX: usize = 1_024;

#[derive(Debug)]
pub(crate) struct History {
    node: Arc<str>,
    kept: Mutex<Kept>,
    sender: broadcast::Sender<Arc<Record>>,
}

#[derive(Debug, Default)]
struct Kept {
    clock: VectorClock,
    /// The number of the latest record.
    seq: u64,
    /// In ascending order of `seq`.
    records: VecDeque<Arc<Record>>,
    /// The highest number that was dropped to make room; 0 while there was room.
    forgotten: u64,
}

impl History {
    pub(crate) fn new(node: Arc<str>) -> Self {
        Self {
            node,
            kept: Mutex::default(),
            sender: broadcast::Sender::new(BEHIND_MAX),
        }
    }

    /// Stamps an event, keeps it, and sends it to all who listen.
    pub(crate) fn push(&self, event: Event) -> Arc<Record> {
        let mut kept = self.lock();
        kept.clock.tick(&self.node);
        kept.seq += 1;
        let record = Arc::new(Record {
            severity: event.kind().severity,
            event,
            node: Arc::clone(&self.node),
            clock: kept.clock.clone(),
            seq: kept.seq,
            // Read under the lock, so that times are in the order of the numbers.
            time: Timestamp::now(),
        });
        if !matches!(record.event, Event::Heartbeat { .. }) {
            kept.keep(Arc::clone(&record));
        }
        // Sent under the lock, so that `subscribe` sees each record exactly once. An error only
        // says that nobody listens.
        drop(self.sender.send(Arc::clone(&record)));
        record
    }

    pub(crate) fn merge(&self, other: &VectorClock) {
        self.lock().clock.merge(other);
    }

    pub(crate) fn clock(&self) -> VectorClock {
        self.lock().clock.clone()
    }

    /// At most `limit` kept records after number `after`, the latest ones, in order.
    pub(crate) fn recent(&self, after: u64, limit: usize) -> Vec<Arc<Record>> {
        let kept = self.lock();
        let start = kept
            .after(after)
            .max(kept.records.len().saturating_sub(limit));
        kept.records.range(start..).cloned().collect()
    }

    /// What comes next, after all that is kept since number `after`; a number from the future
    /// (a listener of a process before this one) means all that is kept.
    pub(crate) fn subscribe(&self, after: Option<u64>) -> Subscription {
        let kept = self.lock();
        let receiver = self.sender.subscribe();
        let Some(after) = after else {
            return Subscription::new(VecDeque::new(), 0, receiver);
        };
        let after = if after > kept.seq { 0 } else { after };
        let lost = kept.forgotten.saturating_sub(after);
        let backlog = kept.records.range(kept.after(after)..).cloned().collect();
        Subscription::new(backlog, lost, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, record: Arc<Record>) {
        if self.records.len() == HISTORY_MAX
            && let Some(oldest) = self.records.pop_front()
        {
            self.forgotten = oldest.seq;
        }
        self.records.push_back(record);
    }

    /// The index of the first record after number `seq`.
    fn after(&self, seq: u64) -> usize {
        self.records.partition_point(|record| record.seq <= seq)
    }
}
