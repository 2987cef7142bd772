//! Log matching: entries with the same identity hold the same, and so do all before them.
//!
//! Source: Raft, figure 3. By induction it is enough that an entry's content and its predecessor
//! are the same wherever and whenever it is seen.

use std::collections::BTreeMap;

use super::{Held, MemberId};
use crate::facts::Findings;

const NAME: &str = "log matching";

/// Term, leader and index.
type Key = (u64, u64, u64);

#[derive(Debug, Default)]
pub(super) struct LogMatching {
    seen: BTreeMap<Key, (u64, Option<Key>)>,
}

impl LogMatching {
    pub(super) fn look(&mut self, member: MemberId, held: &Held, findings: &mut Findings) {
        let mut before = None;
        for entry in &held.entries {
            let key = (entry.id.term, entry.id.leader, entry.id.index);
            let seen = self.seen.entry(key).or_insert((entry.content, before));
            let same_predecessor = match (seen.1, before) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            if seen.0 != entry.content || !same_predecessor {
                let detail = format!(
                    "member {member} holds {key:?} with content {:x} behind {before:?}, which was \
                     seen with content {:x} behind {:?}",
                    entry.content, seen.0, seen.1
                );
                findings.add(NAME, detail);
            }
            seen.1 = seen.1.or(before);
            before = Some(key);
        }
    }
}
