//! What clients asked of an ensemble and what they were told, in the order in which each session
//! heard it.
//!
//! Prevents verdicts about something else than what clients saw: sessions write down every reply
//! and event as it comes, and the checkers read nothing but this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_check::history::Time;
use mainstay_zk_proto::Code;

/// The path of a node.
pub(crate) type Path = Arc<str>;

/// How long a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Until it is deleted.
    Persistent,
    /// As long as its session.
    Ephemeral,
}

/// What a session asks, or is told unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A node with this name.
    Create {
        /// Its path.
        path: Path,
        /// What it holds.
        value: u64,
        /// How long it lives.
        life: Life,
    },
    /// A node whose name ends in a number that the store chooses.
    Append {
        /// Its path without the number.
        prefix: Path,
        /// What it holds.
        value: u64,
        /// How long it lives.
        life: Life,
    },
    /// Hold `value`, if the version is `expected` or nothing is expected.
    Set {
        /// The node.
        path: Path,
        /// What it shall hold.
        value: u64,
        /// The version that it must have.
        expected: Option<i32>,
    },
    /// Be gone.
    Delete {
        /// The node.
        path: Path,
    },
    /// Value and version.
    Get {
        /// The node.
        path: Path,
        /// Whether to be told of the next change.
        watch: bool,
        /// Whether a sync goes before, in the same breath.
        synced: bool,
    },
    /// Whether the node is there, and to be told when that or its value changes.
    Exists {
        /// The node.
        path: Path,
    },
    /// Names of children.
    Children {
        /// Of which node.
        path: Path,
    },
    /// Bring the session up to date.
    Sync,
    /// End the session.
    Close,
    /// Nothing: a watched node changed.
    Event {
        /// The node.
        path: Path,
    },
}

/// What a session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// The node was made.
    Made {
        /// Its path.
        path: Path,
        /// The transaction that made it.
        czxid: i64,
    },
    /// The node is there, or was changed.
    Version {
        /// Its version.
        version: i32,
        /// The transaction that last changed it.
        mzxid: i64,
    },
    /// What the node holds.
    Data {
        /// The value; `None` for anything that no client of a drill writes.
        value: Option<u64>,
        /// Its version.
        version: i32,
        /// The transaction that last changed it.
        mzxid: i64,
    },
    /// Names of children.
    Names(Vec<String>),
    /// It was not done.
    Refused(Code),
}

/// A reply: when it came, up to which transaction it certifies, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// When.
    pub(crate) at: Time,
    /// The zxid of its header.
    pub(crate) zxid: i64,
    /// What.
    pub(crate) answer: Answer,
}

/// One question with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whose: a number of the drill's own, a new one for every session.
    pub(crate) session: u64,
    /// Which member was asked, counted from 0.
    pub(crate) member: usize,
    /// When it was sent.
    pub(crate) invoked: Time,
    /// What.
    pub(crate) asked: Asked,
    /// The reply; `None` when the connection was lost before it came: nobody knows.
    pub(crate) reply: Option<Reply>,
}

impl Entry {
    /// Whether it changed the tree, by the store's own word.
    pub(crate) fn is_done_write(&self) -> bool {
        let reply = self.reply.as_ref();
        let done = reply.is_some_and(|reply| !matches!(reply.answer, Answer::Refused(_)));
        done && self.asked.is_write()
    }
}

impl Asked {
    /// The node that it is about; none of a whole session.
    pub(crate) const fn path(&self) -> Option<&Path> {
        match self {
            Self::Create { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path }
            | Self::Get { path, .. }
            | Self::Exists { path }
            | Self::Children { path }
            | Self::Event { path } => Some(path),
            Self::Append { prefix, .. } => Some(prefix),
            Self::Sync | Self::Close => None,
        }
    }

    /// Whether it changes the tree.
    pub(crate) const fn is_write(&self) -> bool {
        match self {
            Self::Create { .. }
            | Self::Append { .. }
            | Self::Set { .. }
            | Self::Delete { .. }
            | Self::Close => true,
            Self::Get { .. }
            | Self::Exists { .. }
            | Self::Children { .. }
            | Self::Sync
            | Self::Event { .. } => false,
        }
    }
}

/// A connection that ended while its session went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parting {
    /// When.
    pub(crate) at: Time,
    /// Whose.
    pub(crate) session: u64,
    /// To which member, counted from 0.
    pub(crate) member: usize,
    /// Since when it was connected.
    pub(crate) since: Time,
    /// When it last said something.
    pub(crate) said: Time,
    /// Why, in words; nothing when the client left by itself.
    pub(crate) why: Option<String>,
}

/// Everything that was asked and told.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// In the order in which each session heard it.
    pub(crate) entries: Vec<Entry>,
    /// Sessions that ended, with the time from which on their nodes may go.
    pub(crate) ended: BTreeMap<u64, Time>,
    /// Connections that were lost.
    pub(crate) partings: Vec<Parting>,
    /// What no server may say, in words.
    pub(crate) malformed: Vec<String>,
}

/// The history that all sessions of a round write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<History>>);

impl Notes {
    /// The history as it is.
    pub(crate) fn open(&self) -> MutexGuard<'_, History> {
        // Each change is one push: whoever panicked left a whole history.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one entry down.
    pub(crate) fn push(&self, entry: Entry) {
        self.open().entries.push(entry);
    }

    /// Whether a write was asked for after `began` and is acknowledged.
    pub(crate) fn wrote_since(&self, began: Time) -> bool {
        let open = self.open();
        let done = |entry: &&Entry| entry.invoked > began && entry.is_done_write();
        open.entries.iter().rev().any(|entry| done(&entry))
    }

    /// Takes what is there; new entries go to a new history. How far each session had seen goes
    /// over as a sync that nobody asked for, so that no session may go back between two histories.
    pub(crate) fn take(&self) -> History {
        let mut open = self.open();
        let taken = std::mem::take(&mut *open);
        let mut last = BTreeMap::new();
        for entry in &taken.entries {
            let Some(reply) = &entry.reply else { continue };
            let is_event = matches!(entry.asked, Asked::Event { .. });
            let is_refused = matches!(reply.answer, Answer::Refused(_));
            if !is_event && !is_refused && !taken.ended.contains_key(&entry.session) {
                last.insert(entry.session, (entry.member, reply.clone()));
            }
        }
        let seen = last.into_iter().map(|(session, (member, reply))| Entry {
            session,
            member,
            // Nothing had returned by then that it would have to know of.
            invoked: 0,
            asked: Asked::Sync,
            reply: Some(Reply {
                answer: Answer::Done,
                ..reply
            }),
        });
        open.entries = seen.collect();
        drop(open);
        taken
    }
}
