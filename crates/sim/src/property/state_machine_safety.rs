//! State machine safety: members that applied as much are the same.
//!
//! Source: Raft, figure 3. Looked at after every single operation: the same transaction is the same
//! operation with the same outcome, and leaves the same state behind.

use std::collections::BTreeMap;

use mainstay_keeper::state::{State, Told};

use super::MemberId;
use crate::facts::Findings;

const NAME: &str = "state machine safety";

/// What a transaction was and left, for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    origin: (i64, i64),
    sequence: i64,
    done: bool,
    digest: u64,
    sessions: usize,
}

#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    marks: BTreeMap<i64, (MemberId, Mark)>,
    /// States by their last transaction and their time: an entry whose operations were all applied
    /// before moves the time alone.
    states: BTreeMap<(i64, i64), (MemberId, u64, usize)>,
}

impl StateMachineSafety {
    pub(super) fn applied(
        &mut self,
        member: MemberId,
        (state, told): (&State, &Told<'_>),
        findings: &mut Findings,
    ) {
        let mark = Mark {
            origin: (told.origin.member, told.origin.incarnation),
            sequence: told.operation.sequence,
            done: told.result.is_ok(),
            digest: state.digest(),
            sessions: state.sessions().len(),
        };
        self.state(member, state, findings);
        let (first, known) = *self.marks.entry(told.zxid).or_insert((member, mark));
        if known != mark {
            let zxid = told.zxid;
            let detail = format!(
                "transaction {zxid} is {known:?} at member {first} and {mark:?} at {member}"
            );
            findings.add(NAME, detail);
        }
    }

    /// A state between two operations, however it was reached: by operations or from a snapshot.
    pub(super) fn state(&mut self, member: MemberId, state: &State, findings: &mut Findings) {
        let (digest, sessions) = (state.digest(), state.sessions().len());
        let at = (state.zxid(), state.time_ms());
        let first = self.states.entry(at).or_insert((member, digest, sessions));
        let (first, known_digest, known_sessions) = *first;
        if (known_digest, known_sessions) != (digest, sessions) {
            let (zxid, time_ms) = at;
            let detail = format!(
                "after transaction {zxid} at {time_ms} member {first} had digest {known_digest:x} \
                 and {known_sessions} sessions, member {member} has {digest:x} and {sessions}"
            );
            findings.add(NAME, detail);
        }
    }
}
