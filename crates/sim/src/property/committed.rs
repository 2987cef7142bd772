//! What is committed stays what it is, and lies at a majority of members.
//!
//! Sources: Raft, figure 3 (state machine safety needs it) and section 5.4.2; openraft's
//! `committed on quorum` and `committed immutable`. A commit by less than a majority is found the
//! moment that it happens, not when a later election forgets it.

use std::collections::BTreeMap;

use super::{Held, MemberId, Seen, count};
use crate::facts::Findings;

const NAME: &str = "committed stays";
const QUORUM: &str = "committed by a majority";

#[derive(Debug)]
pub(super) struct Committed {
    members: usize,
    /// Everything that any member knew to be committed, by index.
    entries: BTreeMap<u64, Seen>,
    known: BTreeMap<MemberId, u64>,
    /// The log of each member, also of one whose disk was lost since, for it had what it said, behind
    /// what it knew to be committed, as it was when it was looked at
    /// last, and how many entries are purged or in its snapshot.
    logs: BTreeMap<MemberId, (u64, BTreeMap<u64, Seen>)>,
    /// Indices whose majority was not checked yet.
    fresh: Vec<u64>,
}

impl Committed {
    pub(super) const fn new(members: usize) -> Self {
        Self {
            members,
            entries: BTreeMap::new(),
            known: BTreeMap::new(),
            logs: BTreeMap::new(),
            fresh: Vec::new(),
        }
    }

    /// The newest entry that is known to be committed.
    pub(super) fn newest(&self) -> Option<Seen> {
        self.entries.last_key_value().map(|(_, seen)| *seen)
    }

    /// How many entries `member` was known to know to be committed.
    pub(super) fn known_of(&self, member: MemberId) -> u64 {
        self.known.get(&member).copied().unwrap_or(0)
    }

    pub(super) fn started(&mut self, member: MemberId) {
        self.known.remove(&member);
    }

    pub(super) fn look(&mut self, member: MemberId, held: &Held, findings: &mut Findings) {
        let committed = count(held.facts.committed);
        for entry in &held.entries {
            let index = entry.id.index;
            if index >= committed {
                break;
            }
            let known = self.entries.entry(index).or_insert_with(|| {
                self.fresh.push(index);
                *entry
            });
            if known != entry {
                let detail = format!(
                    "member {member} knows {:?} to be committed, and {:?} was",
                    entry.id, known.id
                );
                findings.add(NAME, detail);
            }
        }
        self.known.insert(member, committed);
        let purged = count(held.facts.purged);
        let (reaches, log) = self.logs.entry(member).or_default();
        *reaches = purged.max(count(held.facts.snapshot));
        if let Some(first) = held.entries.first() {
            log.split_off(&first.id.index);
        }
        log.extend(held.entries.iter().map(|entry| (entry.id.index, *entry)));
        *log = log.split_off(&purged);
    }

    /// All members were looked at: what is committed since lies at a majority of them.
    pub(super) fn looked(&mut self, findings: &mut Findings) {
        for index in std::mem::take(&mut self.fresh) {
            let Some(entry) = self.entries.get(&index) else {
                continue;
            };
            let has = |(reaches, log): &&(u64, BTreeMap<u64, Seen>)| {
                index < *reaches || log.get(&index) == Some(entry)
            };
            let holders = self.logs.values().filter(has).count();
            if holders * 2 <= self.members {
                let detail = format!(
                    "{:?} is committed and lies at {holders} of {} members",
                    entry.id, self.members
                );
                findings.add(QUORUM, detail);
            }
        }
    }
}
