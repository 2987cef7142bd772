//! Election safety: a vote is never taken back, and no leader is behind its own log.
//!
//! Source: Ongaro and Ousterhout, "In search of an understandable consensus algorithm", figure 3.
//! Here terms are ordered together with the leader's number, as in openraft: within a term a vote
//! may go to a higher number, never to a lower one, so that no two leaders share a pair.

use std::collections::BTreeMap;

use mainstay_keeper::log::Vote;

use super::{Held, MemberId};
use crate::facts::Findings;

const NAME: &str = "election safety";

#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    /// Votes that were made durable: what others may count with.
    promised: BTreeMap<MemberId, Vote>,
}

impl ElectionSafety {
    /// Whom it promised its vote, it cannot know any more: it must not vote before the others have
    /// agreed that nothing of that counts.
    pub(super) fn lost(&mut self, member: MemberId) {
        self.promised.remove(&member);
    }

    pub(super) fn look(&mut self, member: MemberId, held: &Held, findings: &mut Findings) {
        let Some(vote) = held.facts.vote else { return };
        if let Some(before) = self.promised.get(&member)
            && (vote.term, vote.member) < (before.term, before.member)
        {
            let detail = format!("member {member} promised {before:?} and then had {vote:?}");
            findings.add(NAME, detail);
        }
        self.promised
            .extend(held.facts.promised.map(|vote| (member, vote)));
        // Who follows another one by now may not have said yet that it does not lead.
        let leads = held.facts.leads && vote.committed && vote.member == member;
        for entry in held.entries.iter().filter(|_| leads) {
            // Only this member writes entries of its leadership, and nobody those of a later one.
            if (entry.id.term, entry.id.leader) > (vote.term, member) {
                let detail = format!("member {member} leads by {vote:?} and holds {:?}", entry.id);
                findings.add(NAME, detail);
            }
        }
    }
}
