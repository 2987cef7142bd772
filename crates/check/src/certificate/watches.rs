//! An event comes before its session can see the change, once, and tells of the right change.
//!
//! Prevents a client that trusts its watches from acting on what is no longer so: a lost event, a
//! doubled one, or one that comes after the new data.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Log;
use super::{Act, Certificate, Record, Stamp, Violation, Watch, ZXID_UNKNOWN, Zxid};

/// A watch that has not told anything yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    read: usize,
    /// The first known change that it must tell of.
    due: Option<Zxid>,
    /// Already reported as missing.
    overdue: bool,
}

/// One session's watches.
struct Session<'r, K> {
    pending: BTreeMap<&'r K, Pending>,
    /// Known changes that must be told before any reply that contains them.
    due: BTreeSet<(Zxid, &'r K)>,
}

/// Adds events that are missing, unexpected, or tell of another change.
pub(super) fn check<K: Ord, V: Eq>(
    log: &Log<'_, K, V>,
    records: &[Record<K, V>],
    certificate: &mut Certificate,
) {
    let mut sessions: BTreeMap<u64, Session<'_, K>> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        let Some(stamp) = record.reply else {
            continue;
        };
        let session = sessions.entry(record.session).or_insert_with(|| Session {
            pending: BTreeMap::new(),
            due: BTreeSet::new(),
        });
        match &record.act {
            Act::Event { key } => {
                if let Some(wrong) = session.told((at, key, stamp), log) {
                    certificate.add(wrong);
                }
                continue;
            },
            Act::Read { .. } | Act::Write { .. } | Act::Sync => {},
        }
        session.replied(at, stamp.zxid, certificate);
        if let Act::Read {
            key,
            watch: Watch::Set,
            ..
        } = &record.act
        {
            session.watch(at, key, log.first_after(key, stamp.zxid));
        }
    }
}

impl<'r, K: Ord> Session<'r, K> {
    /// A second watch of one key joins the first.
    fn watch(&mut self, read: usize, key: &'r K, due: Option<Zxid>) {
        if self
            .pending
            .get(key)
            .is_some_and(|pending| !pending.overdue)
        {
            return;
        }
        let overdue = false;
        self.pending.insert(key, Pending { read, due, overdue });
        if let Some(due) = due {
            self.due.insert((due, key));
        }
    }

    fn replied(&mut self, reply: usize, prefix: Zxid, certificate: &mut Certificate) {
        while let Some(&(change, key)) = self.due.first().filter(|(due, _)| *due <= prefix) {
            self.due.pop_first();
            if let Some(pending) = self.pending.get_mut(key) {
                pending.overdue = true;
                certificate.add(Violation::EventMissing {
                    watch: pending.read,
                    change,
                    reply,
                });
            }
        }
    }

    fn told<V: Eq>(
        &mut self,
        (event, key, stamp): (usize, &'r K, Stamp),
        log: &Log<'_, K, V>,
    ) -> Option<Violation> {
        let Some(pending) = self.pending.remove(key) else {
            return Some(Violation::EventUnexpected { event });
        };
        if let Some(due) = pending.due {
            self.due.remove(&(due, key));
        }
        let is_due = match pending.due {
            Some(due) if stamp.zxid == ZXID_UNKNOWN => log.was_asked(key, due, stamp.at),
            due => due == Some(stamp.zxid),
        };
        // A crashed write before the first known change may be what it tells of.
        let before_known = pending.due.is_none_or(|due| stamp.zxid < due);
        let excused = before_known && log.may_have_changed(key, stamp.at);
        (!is_due && !excused).then_some(Violation::EventOfWrongChange {
            event,
            watch: pending.read,
            expected: pending.due,
        })
    }
}
