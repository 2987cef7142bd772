//! The ways in which a store can break its promise.
//!
//! Prevents a report that only says "inconsistent": each variant is one promise, with the records
//! that contradict each other, counted as they were given.

use std::fmt;

use super::Zxid;

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two writes have one zxid.
    DuplicateZxid {
        /// The first write.
        first: usize,
        /// The second.
        second: usize,
        /// Their zxid.
        zxid: Zxid,
    },
    /// A write that was asked for after another had returned has the smaller zxid.
    WriteOrder {
        /// The write that had returned.
        earlier: usize,
        /// The write with the smaller zxid.
        later: usize,
    },
    /// A reply certifies a prefix that contains a write which nobody had asked for yet.
    FromTheFuture {
        /// The reply.
        reply: usize,
        /// The write.
        write: usize,
    },
    /// A reply that must be up to date is not: of a sync, or of any read where reads are
    /// linearizable.
    Stale {
        /// The reply.
        reply: usize,
        /// An operation with a greater zxid that had returned before.
        newer: usize,
    },
    /// A session's prefix shrank: a later reply certifies less than an earlier one.
    WentBack {
        /// The earlier reply.
        before: usize,
        /// The later one.
        after: usize,
    },
    /// A session does not see its own write.
    OwnWriteMissing {
        /// The write.
        write: usize,
        /// The reply that certifies a prefix without it.
        reply: usize,
    },
    /// A read shows something older (or newer) than the newest write within its prefix.
    WrongVersion {
        /// The read.
        read: usize,
        /// The write that it should show.
        write: usize,
        /// The zxid that it shows; `None` if it shows that there is no such key.
        shown: Option<Zxid>,
    },
    /// A read shows the right zxid with another value.
    WrongValue {
        /// The read.
        read: usize,
        /// The write with that zxid.
        write: usize,
    },
    /// A read shows a value that no write put there.
    Phantom {
        /// The read.
        read: usize,
        /// The zxid that it shows.
        zxid: Zxid,
    },
    /// A read shows a zxid beyond the prefix that its own reply certifies.
    BeyondPrefix {
        /// The read.
        read: usize,
        /// The zxid that it shows.
        zxid: Zxid,
    },
    /// An acknowledged write is not there at the end, and no later one replaced it.
    LostWrite {
        /// The write.
        write: usize,
        /// The place of the key among the last reads.
        last_read: usize,
    },
    /// What is there at the end was put there by nobody.
    PhantomAtTheEnd {
        /// The place of the key among the last reads.
        last_read: usize,
    },
    /// The session saw the store after a change that it watches, and had not been told.
    EventMissing {
        /// The read that set the watch.
        watch: usize,
        /// The change.
        change: Zxid,
        /// The reply that came too early.
        reply: usize,
    },
    /// An event for a key that the session does not watch, or a second one for one watch.
    EventUnexpected {
        /// The event.
        event: usize,
    },
    /// An event tells of another change than the first after its watch was set.
    EventOfWrongChange {
        /// The event.
        event: usize,
        /// The read that set the watch.
        watch: usize,
        /// The change that should have been told, if any is known.
        expected: Option<Zxid>,
    },
}

impl fmt::Display for Violation {
    #[expect(
        clippy::too_many_lines,
        reason = "one sentence per promise reads better whole"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateZxid {
                first,
                second,
                zxid,
            } => write!(f, "writes {first} and {second} have the same zxid {zxid}"),
            Self::WriteOrder { earlier, later } => write!(
                f,
                "write {later} was asked for after write {earlier} had returned, and has a smaller zxid"
            ),
            Self::FromTheFuture { reply, write } => write!(
                f,
                "reply {reply} certifies write {write}, which nobody had asked for yet"
            ),
            Self::Stale { reply, newer } => write!(
                f,
                "reply {reply} is older than {newer}, which had returned before it was asked for"
            ),
            Self::WentBack { before, after } => write!(
                f,
                "the session went back: reply {after} is older than its earlier reply {before}"
            ),
            Self::OwnWriteMissing { write, reply } => {
                write!(
                    f,
                    "reply {reply} does not contain the session's own write {write}"
                )
            },
            Self::WrongVersion { read, write, shown } => {
                write!(f, "read {read} should show write {write} and shows ")?;
                match shown {
                    Some(zxid) => write!(f, "zxid {zxid}"),
                    None => f.write_str("that there is no such key"),
                }
            },
            Self::WrongValue { read, write } => {
                write!(f, "read {read} shows write {write} with another value")
            },
            Self::Phantom { read, zxid } => {
                write!(
                    f,
                    "read {read} shows zxid {zxid} of a write that nobody made"
                )
            },
            Self::BeyondPrefix { read, zxid } => write!(
                f,
                "read {read} shows zxid {zxid}, which its own reply says is yet to come"
            ),
            Self::LostWrite { write, last_read } => write!(
                f,
                "acknowledged write {write} is lost: last read {last_read} shows something older"
            ),
            Self::PhantomAtTheEnd { last_read } => {
                write!(f, "last read {last_read} shows a write that nobody made")
            },
            Self::EventMissing {
                watch,
                change,
                reply,
            } => write!(
                f,
                "reply {reply} came before the event of change {change}, which read {watch} watches"
            ),
            Self::EventUnexpected { event } => {
                write!(f, "event {event} is for nothing that the session watches")
            },
            Self::EventOfWrongChange {
                event,
                watch,
                expected: Some(expected),
            } => write!(
                f,
                "event {event} of the watch of read {watch} should tell of change {expected}"
            ),
            Self::EventOfWrongChange {
                event,
                watch,
                expected: None,
            } => write!(
                f,
                "event {event} of the watch of read {watch} tells of a change that nobody made"
            ),
        }
    }
}
