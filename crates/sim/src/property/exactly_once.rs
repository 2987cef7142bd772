//! Exactly once: an operation is one transaction, however often it was sent.
//!
//! Source: Ongaro's dissertation, 6.3; Lee et al., "Implementing linearizability at large scale and
//! low latency", SOSP 2015.

use std::collections::BTreeMap;

use mainstay_keeper::state::Told;

use super::MemberId;
use crate::facts::Findings;

const NAME: &str = "exactly once";

#[derive(Debug, Default)]
pub(super) struct ExactlyOnce {
    /// The transaction of an operation, by origin and number.
    transactions: BTreeMap<(i64, i64, i64), i64>,
}

impl ExactlyOnce {
    pub(super) fn applied(&mut self, member: MemberId, told: &Told<'_>, findings: &mut Findings) {
        let operation = (
            told.origin.member,
            told.origin.incarnation,
            told.operation.sequence,
        );
        let zxid = *self.transactions.entry(operation).or_insert(told.zxid);
        if zxid != told.zxid {
            let detail = format!(
                "operation {operation:?} is transaction {zxid}, and {} at member {member}",
                told.zxid
            );
            findings.add(NAME, detail);
        }
    }
}
