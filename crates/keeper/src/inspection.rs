//! What a member holds of the log, for those who check that members agree.
//!
//! Prevents a check of agreement that believes what clients were told: leaders, votes and entries
//! are compared as they are.

use std::sync::Arc;

use crate::log::{EntryKind, LogId, Vote};

/// What a member holds.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Whom it follows, or asked to be followed.
    pub vote: Option<Vote>,
    /// The last vote that was made durable since the start: one that others may count with.
    pub promised: Option<Vote>,
    /// Whether it leads, as far as it knows.
    pub leads: bool,
    /// The last entry that it knows to be committed.
    pub committed: Option<LogId>,
    /// The last entry that was applied.
    pub applied: Option<LogId>,
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// The last entry of its newest snapshot.
    pub snapshot: Option<LogId>,
    /// Entries, as far as they were asked for.
    pub entries: Vec<HeldEntry>,
}

/// An entry that a member holds, durable or not.
#[derive(Clone, Debug)]
pub struct HeldEntry {
    /// Where it stands.
    pub id: LogId,
    /// What it holds.
    pub kind: EntryKind,
    /// Its content.
    pub content: Arc<[u8]>,
}
