//! Each session's prefix only grows, and has the session's own writes in it.
//!
//! Prevents time that runs backwards for one client, most easily after it was moved to another
//! server: monotonic reads and read-your-writes (Terry et al., "Session guarantees for weakly
//! consistent replicated data", 1994).

use std::collections::BTreeMap;

use super::{Act, Certificate, Record, Violation, Zxid};

/// Adds replies that are older than what their session had seen.
pub(super) fn check<K, V>(records: &[Record<K, V>], certificate: &mut Certificate) {
    let mut furthest: BTreeMap<u64, (Zxid, usize)> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        let Some(stamp) = record.reply else {
            continue;
        };
        let is_event = matches!(record.act, Act::Event { .. });
        let (zxid, before) = *furthest.entry(record.session).or_insert((stamp.zxid, at));
        if stamp.zxid > zxid {
            furthest.insert(record.session, (stamp.zxid, at));
        } else if stamp.zxid < zxid && !is_event {
            certificate.add(match records[before].act {
                Act::Write { .. } => Violation::OwnWriteMissing {
                    write: before,
                    reply: at,
                },
                Act::Read { .. } | Act::Sync | Act::Event { .. } => {
                    Violation::WentBack { before, after: at }
                },
            });
        }
    }
}
