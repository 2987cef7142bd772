//! Replies that carry a zxid certify their own order: sort, replay, compare.
//!
//! Prevents a check that cannot keep up with the store: where every reply names the write that it
//! is up to date with, no order has to be searched for. A million operations take seconds, in
//! `O(n log n)`; the search in [`wgl`](crate::wgl) then only has to confirm samples.
//!
//! What is promised to the clients of a store like ZooKeeper:
//!
//! - writes have one order, that of their zxids, and it respects real time;
//! - a session sees a prefix of that order which only grows, and which has its own writes in it;
//! - a read shows the newest write of its key within the session's prefix;
//! - a watch's event comes before any reply that shows the store after the change;
//! - after [`Act::Sync`] (or, with [`Promise::LinearizableReads`], always) a prefix has every
//!   write in it that had returned before, or that anybody had seen before.
//!
//! What always holds: a [`Violation`] names the records that contradict each other, and nothing is
//! reported that another explanation of crashed writes would excuse.

mod clock;
mod replay;
mod sessions;
mod violation;
mod watches;

use std::fmt;

use crate::history::Time;

pub use violation::Violation;

/// More violations are only counted: one broken promise tends to break a thousand replies.
pub const VIOLATIONS_MAX: usize = 1_000;

/// The number of a write in the order of all writes.
pub type Zxid = u64;

/// The zxid of an event whose store does not say which change it tells of: `ZooKeeper`'s protocol
/// before version 3.9. Then it has to tell of some change that was asked for before it came.
pub const ZXID_UNKNOWN: Zxid = 0;

/// What a store said it promises; a verdict is worth nothing without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Writes are linearizable, reads may be old but each session's only move forward. Plain
    /// ZooKeeper.
    SequentialReads,
    /// Reads are linearizable as well.
    LinearizableReads,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SequentialReads => f.write_str("linearizable writes and sequential reads"),
            Self::LinearizableReads => f.write_str("linearizable writes and reads"),
        }
    }
}

/// What a session did or saw. Keys and values are the caller's; small ones are fast ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act<K, V> {
    /// It changed a key.
    Write {
        /// The key.
        key: K,
        /// What it holds now; `None` if it was deleted.
        value: Option<V>,
    },
    /// It read a key.
    Read {
        /// The key.
        key: K,
        /// What it held, with the zxid of the write that put it there; `None` if there was no
        /// such key.
        found: Option<(V, Zxid)>,
        /// Whether the read also set a one-shot watch.
        watch: Watch,
    },
    /// It asked to be brought up to date.
    Sync,
    /// It was told that a key that it watches has changed. The record's reply is the moment at
    /// which the event came, and its zxid is the change's.
    Event {
        /// The key.
        key: K,
    },
}

/// Whether a read sets a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// It does: the next change of the key is told, once.
    Set,
    /// It does not.
    Unset,
}

/// When a reply came, and which prefix of the writes it certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When.
    pub at: Time,
    /// For a write, its own zxid; for a read or a sync, the zxid that the answering server was up
    /// to date with (the reply header's); for an event, the zxid of the change, or
    /// [`ZXID_UNKNOWN`].
    pub zxid: Zxid,
}

/// One record of a run. The records of a session stand in the order in which its replies and
/// events came; a session may have several operations open at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<K, V> {
    /// Whose.
    pub session: u64,
    /// When it was asked; for an event, when it came.
    pub invoked: Time,
    /// What.
    pub act: Act<K, V>,
    /// The reply; `None` if the session never got one. A write without one may have happened at
    /// any later time, or never. An operation that the store refused changes nothing and is not
    /// recorded.
    pub reply: Option<Stamp>,
}

/// A key as it was when all faults had ended and all servers agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Final<K, V> {
    /// The key.
    pub key: K,
    /// What it held, with the zxid of the write that put it there.
    pub found: Option<(V, Zxid)>,
}

/// What the check says, and about which promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The promise that was checked.
    pub promise: Promise,
    /// How many records there were.
    pub records: usize,
    /// How many of them were writes with a reply.
    pub acknowledged: usize,
    /// The first [`VIOLATIONS_MAX`] broken promises.
    pub violations: Vec<Violation>,
    /// How many more there were.
    pub more: usize,
}

impl Certificate {
    /// Whether the promise was kept.
    pub const fn is_kept(&self) -> bool {
        self.violations.is_empty()
    }

    fn add(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (records, acknowledged, promise) = (self.records, self.acknowledged, self.promise);
        write!(
            f,
            "{promise}, {records} records with {acknowledged} acknowledged writes: "
        )?;
        if self.is_kept() {
            return f.write_str("kept");
        }
        let broken = self.violations.len() + self.more;
        write!(f, "broken {broken} times")?;
        for violation in &self.violations {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}

/// Checks a run, and what was left of it at the end.
pub fn check<K, V>(
    promise: Promise,
    records: &[Record<K, V>],
    finals: &[Final<K, V>],
) -> Certificate
where
    K: Ord,
    V: Eq,
{
    let acknowledged =
        |record: &&Record<K, V>| matches!(record.act, Act::Write { .. }) && record.reply.is_some();
    let mut certificate = Certificate {
        promise,
        records: records.len(),
        acknowledged: records.iter().filter(acknowledged).count(),
        violations: Vec::new(),
        more: 0,
    };
    let log = replay::Log::new(records, finals, &mut certificate);
    clock::check(promise, &log, records, &mut certificate);
    sessions::check(records, &mut certificate);
    log.check_reads(records, &mut certificate);
    log.check_finals(finals, &mut certificate);
    watches::check(&log, records, &mut certificate);
    certificate
}

#[cfg(test)]
mod tests;
