//! All writes in the order of their zxids, key by key, and what reads should have shown.
//!
//! Prevents trusting a reply about itself: a zxid that a read shows must be that of a write which
//! somebody made, with the value that was written. A crashed write gets its zxid from the first
//! reply that shows its value; until then it is not known to have happened.

use std::collections::BTreeMap;

use super::{Act, Certificate, Final, Record, Violation, Zxid};
use crate::history::Time;

/// One write that is known to have happened.
#[derive(Debug)]
struct Change<'r, V> {
    zxid: Zxid,
    write: usize,
    invoked: Time,
    value: Option<&'r V>,
}

/// What happened to one key.
#[derive(Debug)]
struct Past<'r, V> {
    /// By zxid.
    changes: Vec<Change<'r, V>>,
    /// Crashed writes of a value that no reply shows, by invocation.
    crashed: Vec<(Time, usize, &'r V)>,
    /// When the first delete was asked for whose end nobody knows.
    crashed_delete: Option<Time>,
}

impl<V> Past<'_, V> {
    const fn new() -> Self {
        Self {
            changes: Vec::new(),
            crashed: Vec::new(),
            crashed_delete: None,
        }
    }

    /// The newest change within a prefix.
    fn newest(&self, prefix: Zxid) -> Option<&Change<'_, V>> {
        let end = self.changes.partition_point(|change| change.zxid <= prefix);
        end.checked_sub(1).and_then(|at| self.changes.get(at))
    }

    fn at(&self, zxid: Zxid) -> Option<&Change<'_, V>> {
        self.newest(zxid).filter(|change| change.zxid == zxid)
    }

    /// Whether a delete of unknown end may explain that the key was gone by then.
    fn may_be_deleted(&self, by: Time) -> bool {
        self.crashed_delete.is_some_and(|asked| asked <= by)
    }
}

/// The order of all writes.
#[derive(Debug)]
pub(super) struct Log<'r, K, V> {
    keys: BTreeMap<&'r K, Past<'r, V>>,
}

impl<'r, K: Ord, V: Eq> Log<'r, K, V> {
    pub(super) fn new(
        records: &'r [Record<K, V>],
        finals: &'r [Final<K, V>],
        certificate: &mut Certificate,
    ) -> Self {
        let mut log = Self {
            keys: BTreeMap::new(),
        };
        for (write, record) in records.iter().enumerate() {
            log.record(write, record);
        }
        for past in log.keys.values_mut() {
            past.changes
                .sort_by_key(|change| (change.zxid, change.write));
            past.crashed
                .sort_by_key(|(invoked, write, _)| (*invoked, *write));
        }
        log.adopt(records, finals);
        log.duplicates(records, certificate);
        log
    }

    fn record(&mut self, write: usize, record: &'r Record<K, V>) {
        let Act::Write { key, value } = &record.act else {
            return;
        };
        let past = self.keys.entry(key).or_insert_with(Past::new);
        match (record.reply, value) {
            (Some(stamp), value) => past.changes.push(Change {
                zxid: stamp.zxid,
                write,
                invoked: record.invoked,
                value: value.as_ref(),
            }),
            (None, Some(value)) => past.crashed.push((record.invoked, write, value)),
            (None, None) => {
                let asked = past.crashed_delete.get_or_insert(record.invoked);
                *asked = record.invoked.min(*asked);
            },
        }
    }

    /// Gives crashed writes the zxids under which replies show their values. Smaller zxids go to
    /// writes that were asked for earlier: any other choice explains less.
    fn adopt(&mut self, records: &'r [Record<K, V>], finals: &'r [Final<K, V>]) {
        let read = |record: &'r Record<K, V>| match &record.act {
            Act::Read {
                key,
                found: Some((value, zxid)),
                ..
            } if record.reply.is_some() => Some((key, *zxid, value)),
            Act::Read { .. } | Act::Write { .. } | Act::Sync | Act::Event { .. } => None,
        };
        let last_read = |last_read: &'r Final<K, V>| {
            let found = last_read.found.as_ref();
            found.map(|(value, zxid)| (&last_read.key, *zxid, value))
        };
        let shown = records.iter().filter_map(read);
        let shown = shown.chain(finals.iter().filter_map(last_read));
        let unknown = shown.filter(|(key, zxid, _)| {
            let past = self.keys.get(key);
            past.is_some_and(|past| !past.crashed.is_empty() && past.at(*zxid).is_none())
        });
        let mut claims: Vec<_> = unknown.collect();
        claims.sort_by_key(|(key, zxid, _)| (*key, *zxid));
        claims.dedup();
        for (key, zxid, value) in claims {
            let Some(past) = self.keys.get_mut(key) else {
                continue;
            };
            let place = past.changes.partition_point(|change| change.zxid < zxid);
            let is_known = past
                .changes
                .get(place)
                .is_some_and(|change| change.zxid == zxid);
            let made = past
                .crashed
                .iter()
                .position(|(_, _, wrote)| *wrote == value);
            if let Some(made) = made.filter(|_| !is_known) {
                let (invoked, write, value) = past.crashed.remove(made);
                let change = Change {
                    zxid,
                    write,
                    invoked,
                    value: Some(value),
                };
                past.changes.insert(place, change);
            }
        }
    }

    /// All writes that are known to have happened, with their zxids.
    pub(super) fn writes(&self) -> Vec<(usize, Zxid)> {
        let changes = self.keys.values().flat_map(|past| &past.changes);
        changes.map(|change| (change.write, change.zxid)).collect()
    }

    fn duplicates(&self, records: &[Record<K, V>], certificate: &mut Certificate) {
        let mut writes = self.writes();
        writes.sort_by_key(|(write, zxid)| (*zxid, *write));
        for pair in writes.windows(2) {
            let [(first, zxid), (second, other)] = *pair else {
                continue;
            };
            if zxid == other && !is_one_transaction(&records[first], &records[second]) {
                certificate.add(Violation::DuplicateZxid {
                    first,
                    second,
                    zxid,
                });
            }
        }
    }

    pub(super) fn check_reads(&self, records: &[Record<K, V>], certificate: &mut Certificate) {
        for (read, record) in records.iter().enumerate() {
            let (Act::Read { key, found, .. }, Some(stamp)) = (&record.act, record.reply) else {
                continue;
            };
            let past = self.keys.get(key);
            let newest = past.and_then(|past| past.newest(stamp.zxid));
            let wrong = match found {
                Some((_, zxid)) if *zxid > stamp.zxid => {
                    Some(Violation::BeyondPrefix { read, zxid: *zxid })
                },
                Some((value, zxid)) => {
                    let shown = past.and_then(|past| past.at(*zxid));
                    wrong_version(read, (value, *zxid), shown, newest)
                },
                None => newest
                    .filter(|newest| newest.value.is_some())
                    .filter(|_| !past.is_some_and(|past| past.may_be_deleted(stamp.at)))
                    .map(|newest| Violation::WrongVersion {
                        read,
                        write: newest.write,
                        shown: None,
                    }),
            };
            if let Some(violation) = wrong {
                certificate.add(violation);
            }
        }
    }

    pub(super) fn check_finals(&self, finals: &[Final<K, V>], certificate: &mut Certificate) {
        for (at, last_read) in finals.iter().enumerate() {
            let past = self.keys.get(&last_read.key);
            let newest = past.and_then(|past| past.changes.last());
            let lost = |newest: &Change<'_, V>| Violation::LostWrite {
                write: newest.write,
                last_read: at,
            };
            let wrong = match &last_read.found {
                Some((value, zxid)) => {
                    let shown = past.and_then(|past| past.at(*zxid));
                    let made = shown.is_some_and(|shown| shown.value == Some(value));
                    let newer = newest.filter(|newest| newest.zxid > *zxid).map(lost);
                    newer
                        .or_else(|| (!made).then_some(Violation::PhantomAtTheEnd { last_read: at }))
                },
                None => newest
                    .filter(|newest| newest.value.is_some())
                    .filter(|_| !past.is_some_and(|past| past.may_be_deleted(Time::MAX)))
                    .map(lost),
            };
            if let Some(violation) = wrong {
                certificate.add(violation);
            }
        }
    }

    /// The first known change of a key behind a prefix.
    pub(super) fn first_after(&self, key: &K, prefix: Zxid) -> Option<Zxid> {
        let changes = &self.keys.get(key)?.changes;
        let at = changes.partition_point(|change| change.zxid <= prefix);
        changes.get(at).map(|change| change.zxid)
    }

    /// Whether the change of this zxid had been asked for by then.
    pub(super) fn was_asked(&self, key: &K, zxid: Zxid, by: Time) -> bool {
        let change = self.keys.get(key).and_then(|past| past.at(zxid));
        change.is_some_and(|change| change.invoked <= by)
    }

    /// Whether a write of unknown end may be the change that an event tells of.
    pub(super) fn may_have_changed(&self, key: &K, by: Time) -> bool {
        self.keys.get(key).is_some_and(|past| {
            let first = past.crashed.first();
            past.may_be_deleted(by) || first.is_some_and(|(invoked, ..)| *invoked <= by)
        })
    }
}

/// Writes of several keys that were asked for and answered as one.
fn is_one_transaction<K: PartialEq, V>(first: &Record<K, V>, second: &Record<K, V>) -> bool {
    let (Act::Write { key: one, .. }, Act::Write { key: other, .. }) = (&first.act, &second.act)
    else {
        return false;
    };
    let call = |record: &Record<K, V>| (record.session, record.invoked, record.reply);
    one != other && call(first) == call(second)
}

fn wrong_version<V: PartialEq>(
    read: usize,
    (value, zxid): (&V, Zxid),
    shown: Option<&Change<'_, V>>,
    newest: Option<&Change<'_, V>>,
) -> Option<Violation> {
    let Some(shown) = shown else {
        return Some(Violation::Phantom { read, zxid });
    };
    if shown.value != Some(value) {
        let write = shown.write;
        return Some(Violation::WrongValue { read, write });
    }
    let newer = newest.filter(|newest| newest.zxid != zxid);
    newer.map(|newest| Violation::WrongVersion {
        read,
        write: newest.write,
        shown: Some(zxid),
    })
}
