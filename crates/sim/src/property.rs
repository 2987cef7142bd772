//! What must always hold, each in a file of its own with where it is from.
//!
//! | property | file |
//! |---|---|
//! | votes do not go back, and no leader is behind its own log | `election_safety` |
//! | logs that agree on an entry agree on all before it | `log_matching` |
//! | a new leader has everything that was committed | `leader_completeness` |
//! | what is committed stays, and lies at a majority | `committed` |
//! | members that applied as much are the same | `state_machine_safety` |
//! | nothing is applied twice | `exactly_once` |
//! | commit, applied, term and purge do not go back | `monotonic` |
//! | ephemeral nodes go with their session | `ephemerals` |
//! | nobody's session is over while it is heard | `expiry` |
//!
//! What clients are promised is checked when a run is over, see [`history`](crate::history).

mod committed;
mod election_safety;
mod ephemerals;
mod exactly_once;
mod expiry;
mod leader_completeness;
mod log_matching;
mod monotonic;
mod state_machine_safety;

use mainstay_keeper::inspection::Inspection;
use mainstay_keeper::log::LogId;
use mainstay_keeper::state::{State, Told};
use xxhash_rust::xxh3::xxh3_64;

use crate::facts::Findings;

pub use expiry::Expiry;

/// A member, from one.
pub type MemberId = u64;

/// An entry, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands.
    pub id: LogId,
    /// A hash of what it holds.
    pub content: u64,
}

/// What a member holds, as the properties look at it.
#[derive(Clone, Debug)]
pub struct Held {
    /// All but the entries.
    pub facts: Inspection,
    /// Entries that were not committed when the member was looked at before, and those behind.
    pub entries: Vec<Seen>,
}

impl From<Inspection> for Held {
    fn from(mut facts: Inspection) -> Self {
        let entries = std::mem::take(&mut facts.entries);
        let seen = entries.iter().map(|entry| Seen {
            id: entry.id,
            content: xxh3_64(&entry.content) ^ entry.kind as u64,
        });
        Self {
            entries: seen.collect(),
            facts,
        }
    }
}

/// How many entries there are up to this one: the first has index zero.
fn count(last: Option<LogId>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}

/// All of them, with what they remember.
#[derive(Debug)]
pub struct Properties {
    election_safety: election_safety::ElectionSafety,
    log_matching: log_matching::LogMatching,
    leader_completeness: leader_completeness::LeaderCompleteness,
    committed: committed::Committed,
    state_machine_safety: state_machine_safety::StateMachineSafety,
    exactly_once: exactly_once::ExactlyOnce,
    monotonic: monotonic::Monotonic,
    /// Who was silent for how long.
    pub expiry: Expiry,
}

impl Properties {
    pub(crate) fn new(members: usize) -> Self {
        Self {
            election_safety: election_safety::ElectionSafety::default(),
            log_matching: log_matching::LogMatching::default(),
            leader_completeness: leader_completeness::LeaderCompleteness::default(),
            committed: committed::Committed::new(members),
            state_machine_safety: state_machine_safety::StateMachineSafety::default(),
            exactly_once: exactly_once::ExactlyOnce::default(),
            monotonic: monotonic::Monotonic::default(),
            expiry: Expiry::default(),
        }
    }

    /// From which index on entries of a member have to be seen: those before were, and may not
    /// change any more.
    pub fn wanted_from(&self, member: MemberId) -> u64 {
        // The last of those before is seen again, as what comes before the next.
        self.committed.known_of(member).saturating_sub(1)
    }

    /// A member was looked at.
    pub fn look(&mut self, member: MemberId, held: &Held, findings: &mut Findings) {
        self.election_safety.look(member, held, findings);
        self.log_matching.look(member, held, findings);
        self.leader_completeness
            .look(member, held, self.committed.newest(), findings);
        self.committed.look(member, held, findings);
        self.monotonic.look(member, held, findings);
    }

    /// All members were looked at.
    pub fn looked(&mut self, findings: &mut Findings) {
        self.committed.looked(findings);
    }

    /// A member starts, and knows what its disk knows.
    pub fn started(&mut self, member: MemberId) {
        self.monotonic.started(member);
        self.committed.started(member);
    }

    /// A member lost its disk, and is another one from now on.
    pub fn lost(&mut self, member: MemberId) {
        self.election_safety.lost(member);
    }

    /// A member applied an operation.
    pub fn applied(
        &mut self,
        member: MemberId,
        (state, told): (&State, &Told<'_>),
        findings: &mut Findings,
    ) {
        self.state_machine_safety
            .applied(member, (state, told), findings);
        self.exactly_once.applied(member, told, findings);
        self.expiry.applied(told, findings);
    }

    /// A member's state, between two operations.
    pub fn state(&mut self, member: MemberId, state: &State, findings: &mut Findings) {
        self.state_machine_safety.state(member, state, findings);
        ephemerals::check(member, state, findings);
    }
}
