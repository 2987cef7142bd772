//! Leader completeness: a new leader has every entry that was committed before it led.
//!
//! Source: Raft, figure 3. With log matching, it is enough that it has the newest of them.

use std::collections::BTreeSet;

use mainstay_keeper::log::LogId;

use super::{Held, MemberId, Seen, count};
use crate::facts::Findings;

const NAME: &str = "leader completeness";

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    /// Leaderships that were checked.
    checked: BTreeSet<(u64, u64)>,
}

impl LeaderCompleteness {
    pub(super) fn look(
        &mut self,
        member: MemberId,
        held: &Held,
        newest: Option<Seen>,
        findings: &mut Findings,
    ) {
        let leads = held
            .facts
            .vote
            .filter(|vote| vote.committed && vote.member == member);
        let Some(vote) = leads.filter(|_| held.facts.leads) else {
            return;
        };
        if !self.checked.insert((vote.term, vote.member)) {
            return;
        }
        let Some(newest) = newest.filter(|newest| is_older(newest.id, vote.term, vote.member))
        else {
            return;
        };
        let purged = count(held.facts.purged);
        let has = held.entries.iter().any(|entry| entry.id == newest.id);
        if newest.id.index >= purged && !has {
            let detail = format!(
                "member {member} leads by {vote:?} without {:?}, which is committed",
                newest.id
            );
            findings.add(NAME, detail);
        }
    }
}

/// An entry that a leader of the same or a later leadership wrote need not be at this one.
fn is_older(id: LogId, term: u64, leader: u64) -> bool {
    (id.term, id.leader) < (term, leader)
}
