//! Real time: what had returned comes before what was not yet asked for.
//!
//! Prevents a store that has *an* order of writes, but not the one that people saw happen.

use super::replay::Log;
use super::{Act, Certificate, Promise, Record, Violation, Zxid};
use crate::real_time::{Moment, overtaken};

/// Adds writes out of order, replies from the future, and replies that should be up to date.
pub(super) fn check<K: Ord, V: Eq>(
    promise: Promise,
    log: &Log<'_, K, V>,
    records: &[Record<K, V>],
    certificate: &mut Certificate,
) {
    let is_write = |who: usize| matches!(records[who].act, Act::Write { .. });
    let replies = || {
        let numbered = records.iter().enumerate();
        numbered.filter_map(|(who, record)| record.reply.map(|stamp| (who, stamp)))
    };
    let end = |(who, stamp): (usize, super::Stamp)| Moment {
        at: stamp.at,
        number: stamp.zxid,
        who,
    };
    let begin = |(who, number): (usize, Zxid)| Moment {
        at: records[who].invoked,
        number,
        who,
    };

    let writes = log.writes();
    let ends = replies().filter(|(who, _)| is_write(*who)).map(end);
    for (earlier, later) in overtaken(ends.collect(), writes.iter().copied().map(begin).collect()) {
        certificate.add(Violation::WriteOrder { earlier, later });
    }

    // A prefix that ends just before the write is fine; one that ends with it is not.
    let before = writes
        .iter()
        .map(|&(who, zxid)| begin((who, zxid.saturating_sub(1))));
    let ends = replies().filter(|(who, _)| !is_write(*who)).map(end);
    for (reply, write) in overtaken(ends.collect(), before.collect()) {
        certificate.add(Violation::FromTheFuture { reply, write });
    }

    let up_to_date = |who: usize| match records[who].act {
        Act::Sync => true,
        Act::Read { .. } => promise == Promise::LinearizableReads,
        Act::Write { .. } | Act::Event { .. } => false,
    };
    let begins = replies().filter(|(who, _)| up_to_date(*who));
    let begins = begins.map(|(who, stamp)| begin((who, stamp.zxid)));
    for (newer, reply) in overtaken(replies().map(end).collect(), begins.collect()) {
        certificate.add(Violation::Stale { reply, newer });
    }
}
