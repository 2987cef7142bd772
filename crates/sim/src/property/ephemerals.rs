//! Ephemeral nodes are there as long as their session, and not a transaction longer.
//!
//! Source: Hunt et al., "ZooKeeper: wait-free coordination for internet-scale systems", 2.1.

use mainstay_keeper::state::State;

use super::MemberId;
use crate::facts::Findings;

const NAME: &str = "ephemerals go with their session";

pub(super) fn check(member: MemberId, state: &State, findings: &mut Findings) {
    for session in state.tree().ephemeral_sessions() {
        if state.sessions().get(session).is_none() {
            let paths = state.tree().ephemerals(session, "");
            let detail = format!("member {member} keeps {paths:?} of session {session:x}");
            findings.add(NAME, detail);
        }
    }
}
