//! What a member knows only grows: its term, what is committed, applied and purged.
//!
//! Source: openraft's invariants "monotonic term, commit, applied, vote". A start begins from what
//! the disk promised; the vote is among it (see `election_safety`), commit and applied are not.

use std::collections::BTreeMap;

use super::{Held, MemberId, count};
use crate::facts::Findings;

const NAME: &str = "monotonic";

#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    committed: u64,
    applied: u64,
    purged: u64,
}

#[derive(Debug, Default)]
pub(super) struct Monotonic {
    of: BTreeMap<MemberId, Marks>,
}

impl Monotonic {
    pub(super) fn started(&mut self, member: MemberId) {
        let marks = self.of.entry(member).or_default();
        // What was purged is gone for good; the rest is found out again.
        *marks = Marks {
            purged: 0,
            ..Marks::default()
        };
    }

    pub(super) fn look(&mut self, member: MemberId, held: &Held, findings: &mut Findings) {
        let facts = &held.facts;
        let [committed, applied, purged] =
            [facts.committed, facts.applied, facts.purged].map(count);
        let marks = self.of.entry(member).or_default();
        let pairs = [
            ("committed", marks.committed, committed),
            ("applied", marks.applied, applied),
            ("purged", marks.purged, purged),
        ];
        for (what, before, now) in pairs {
            if now < before {
                findings.add(
                    NAME,
                    format!("{what} of member {member}: {before}, then {now}"),
                );
            }
        }
        *marks = Marks {
            committed,
            applied,
            purged,
        };
    }
}
