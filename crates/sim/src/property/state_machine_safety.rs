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
        let (first, known) = *self.marks.entry(told.zxid).or_insert((member, mark));
        if known != mark {
            let zxid = told.zxid;
            let detail = format!(
                "transaction {zxid} is {known:?} at member {first} and {mark:?} at {member}"
            );
            findings.add(NAME, detail);
        }
    }

    /// A state that was not reached operation by operation: from a snapshot.
    pub(super) fn state(&self, member: MemberId, state: &State, findings: &mut Findings) {
        let Some((first, known)) = self.marks.get(&state.zxid()) else {
            return;
        };
        let (digest, sessions) = (state.digest(), state.sessions().len());
        if (known.digest, known.sessions) != (digest, sessions) {
            let zxid = state.zxid();
            let detail = format!(
                "after transaction {zxid} member {first} had digest {:x} and {} sessions, member \
                 {member} has {digest:x} and {sessions}",
                known.digest, known.sessions
            );
            findings.add(NAME, detail);
        }
    }
}
