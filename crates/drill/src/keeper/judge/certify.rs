//! The history as records whose zxids certify their order.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_check::certificate::{self, Act, Certificate, Final, Promise, Stamp, Watch, Zxid};
use mainstay_check::history::Time;
use mainstay_zk_proto::Code;

use super::Left;
use crate::keeper::history::{Answer, Asked, Entry, History, Life, Path, Reply};
use crate::keeper::subject::Subject;

/// A record of a session.
pub(super) type Record = certificate::Record<Path, u64>;

/// What is known of nodes from all of the history.
pub(super) struct Writes {
    /// The only value that nodes hold which are never set.
    values: BTreeMap<Path, u64>,
    /// Ephemeral nodes of each session, and whether each is certain to be there until it is
    /// deleted: not if nobody knows whether it was made, or whether it was deleted.
    ephemerals: BTreeMap<u64, Vec<(Path, bool)>>,
    /// Sessions that were closed with the store's word.
    closed: BTreeSet<u64>,
    /// Names of nodes whose makers were not told: who else asked for them knew.
    resolved: BTreeMap<Path, Path>,
}

/// What other entries tell of a node.
#[derive(Default)]
struct Shown {
    /// Nodes that somebody asked for by their full name.
    paths: BTreeSet<Path>,
    /// Nodes that may have been deleted: nobody knows.
    deleted: BTreeSet<Path>,
}

impl Writes {
    pub(super) fn new(history: &History) -> Self {
        let mut writes = Self {
            values: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            closed: BTreeSet::new(),
            resolved: BTreeMap::new(),
        };
        let mut shown = Shown::default();
        for entry in &history.entries {
            if let Asked::Exists { path } = &entry.asked {
                shown.paths.insert(path.clone());
            }
            if let (Asked::Delete { path }, None) = (&entry.asked, &entry.reply) {
                shown.deleted.insert(path.clone());
            }
        }
        for entry in &history.entries {
            writes.take(entry, &shown);
        }
        writes
    }

    fn take(&mut self, entry: &Entry, shown: &Shown) {
        let answer = entry.reply.as_ref().map(|reply| &reply.answer);
        let (path, value, life) = match (&entry.asked, answer) {
            (Asked::Create { path, value, life }, None | Some(Answer::Made { .. }))
            | (Asked::Append { value, life, .. }, Some(Answer::Made { path, .. })) => {
                (path, value, life)
            },
            (
                Asked::Append {
                    prefix,
                    value,
                    life,
                },
                None,
            ) => {
                let path = shown.paths.range::<Path, _>(prefix..).next();
                let Some(path) = path.filter(|path| path.starts_with(&**prefix)) else {
                    return;
                };
                self.resolved.insert(prefix.clone(), Path::clone(path));
                (path, value, life)
            },
            (Asked::Close, Some(Answer::Done)) => {
                self.closed.insert(entry.session);
                return;
            },
            _ => return,
        };
        self.values.insert(path.clone(), *value);
        if *life == Life::Ephemeral {
            let own = self.ephemerals.entry(entry.session).or_default();
            let is_certain = entry.reply.is_some() && !shown.deleted.contains(path);
            own.push((path.clone(), is_certain));
        }
    }

    fn ephemerals(&self, session: u64) -> &[(Path, bool)] {
        self.ephemerals.get(&session).map_or(&[], Vec::as_slice)
    }
}

/// Checks the records against each other and against what was left.
pub(super) fn check(records: &[Record], left: &Left) -> Certificate {
    let finals = left.values.iter().map(|(path, found)| Final {
        key: path.clone(),
        found: found.map(|(value, zxid)| (value, zxid.unsigned_abs())),
    });
    let finals: Vec<_> = finals.collect();
    certificate::check(Promise::SequentialReads, records, &finals)
}

/// All records, in the order of the history.
pub(super) fn records(history: &History, writes: &Writes, subject: &Subject) -> Vec<Record> {
    let carried = carried(history);
    let mut certifier = Certifier {
        writes,
        subject,
        seen: BTreeMap::new(),
        untold: BTreeSet::new(),
        gone: BTreeSet::new(),
        is_carried: false,
        records: Vec::with_capacity(history.entries.len()),
    };
    for (at, entry) in history.entries.iter().enumerate() {
        certifier.is_carried = carried.contains(&at);
        certifier.take(entry);
    }
    // The nodes of a session that ended without a word may go at any time from then on.
    let ended = history.ended.iter();
    for (&session, &from) in ended.filter(|(session, _)| !writes.closed.contains(*session)) {
        for (path, _) in writes.ephemerals(session) {
            let (key, value) = (path.clone(), None);
            certifier.push(session, from, Act::Write { key, value }, None);
        }
    }
    certifier.records
}

/// Entries that watch for a node which is not there, and whose connection was lost before it was
/// told. Such a watch is set again at the next member, and fires if the node is there by then: one
/// that was made and removed between two connections is missed, also by `ZooKeeper`.
///
/// Who asks again before it was told still has one watch, so all that asked share the loss.
fn carried(history: &History) -> BTreeSet<usize> {
    let mut lost: BTreeMap<u64, Vec<Time>> = BTreeMap::new();
    for connection in &history.partings {
        lost.entry(connection.session)
            .or_default()
            .push(connection.at);
    }
    let mut open: BTreeMap<(u64, &Path), (Time, Vec<usize>)> = BTreeMap::new();
    let mut carried = BTreeSet::new();
    let mut end = |session, (since, asked): (Time, Vec<usize>), until: Time| {
        let lost = lost.get(&session).map_or(&[][..], Vec::as_slice);
        if lost.iter().any(|at| (since..=until).contains(at)) {
            carried.extend(asked);
        }
    };
    for (at, entry) in history.entries.iter().enumerate() {
        let Some(reply) = &entry.reply else { continue };
        let session = entry.session;
        match (&entry.asked, &reply.answer) {
            (Asked::Exists { path }, Answer::Refused(Code::NoNode)) => {
                let watch = open
                    .entry((session, path))
                    .or_insert_with(|| (reply.at, Vec::new()));
                watch.1.push(at);
            },
            (Asked::Event { path }, _) => {
                if let Some(watch) = open.remove(&(session, path)) {
                    end(session, watch, reply.at);
                }
            },
            _ => {},
        }
    }
    for ((session, _), watch) in open {
        end(session, watch, Time::MAX);
    }
    carried
}

struct Certifier<'h> {
    writes: &'h Writes,
    subject: &'h Subject,
    /// The greatest zxid that each session has been shown in data or in its own writes.
    seen: BTreeMap<u64, Zxid>,
    /// Watches of reads that are left out; so are their events.
    untold: BTreeSet<(u64, Path)>,
    /// Nodes that were deleted, whose names do not come again.
    gone: BTreeSet<Path>,
    /// Whether the entry at hand is among those of [`carried`].
    is_carried: bool,
    records: Vec<Record>,
}

impl Certifier<'_> {
    fn push(&mut self, session: u64, invoked: Time, act: Act<Path, u64>, reply: Option<Stamp>) {
        self.records.push(Record {
            session,
            invoked,
            act,
            reply,
        });
    }

    fn take(&mut self, entry: &Entry) {
        let Entry {
            session, invoked, ..
        } = *entry;
        let Some(reply) = &entry.reply else {
            return self.take_unknown(entry);
        };
        let zxid = reply.zxid.unsigned_abs();
        let at = reply.at;
        match (&entry.asked, &reply.answer) {
            (Asked::Create { path, value, .. }, Answer::Made { .. })
            | (Asked::Set { path, value, .. }, Answer::Version { .. })
            | (Asked::Append { value, .. }, Answer::Made { path, .. }) => {
                let (key, value) = (path.clone(), Some(*value));
                let stamp = self.stamp_write(session, (at, zxid));
                self.push(session, invoked, Act::Write { key, value }, Some(stamp));
            },
            (Asked::Delete { path }, Answer::Done) => {
                self.gone.insert(path.clone());
                let (key, value) = (path.clone(), None);
                let stamp = self.stamp_write(session, (at, zxid));
                self.push(session, invoked, Act::Write { key, value }, Some(stamp));
            },
            (Asked::Close, Answer::Done) => self.take_close((session, invoked), (at, zxid)),
            (Asked::Sync, Answer::Done) => {
                if self.subject.promises_linearizable_sync() {
                    self.push(session, invoked, Act::Sync, Some(Stamp { at, zxid }));
                }
            },
            (Asked::Event { path }, _) if self.untold.remove(&(session, path.clone())) => {},
            (Asked::Event { path }, _) => {
                // Version 3.8 of the protocol does not say which change an event tells of.
                let (key, zxid) = (path.clone(), certificate::ZXID_UNKNOWN);
                self.push(
                    session,
                    invoked,
                    Act::Event { key },
                    Some(Stamp { at, zxid }),
                );
            },
            _ => self.take_read(entry, reply),
        }
    }

    /// A closed session takes its nodes with it. What is gone already does not go again, and what
    /// may not be there need not.
    fn take_close(&mut self, (session, invoked): (u64, Time), reply: (Time, Zxid)) {
        let stamp = self.stamp_write(session, reply);
        let writes = self.writes;
        for (path, is_certain) in writes.ephemerals(session) {
            if self.gone.contains(path) {
                continue;
            }
            let (key, value) = (path.clone(), None);
            let stamp = Some(stamp).filter(|_| *is_certain);
            self.push(session, invoked, Act::Write { key, value }, stamp);
        }
    }

    fn take_read(&mut self, entry: &Entry, reply: &Reply) {
        let (path, watch, found) = match (&entry.asked, &reply.answer) {
            (Asked::Get { path, watch, .. }, Answer::Data { value, mzxid, .. }) => {
                // A value that is no number was written by nobody.
                let found = (value.unwrap_or(u64::MAX), mzxid.unsigned_abs());
                (path, *watch, Some(found))
            },
            (Asked::Get { path, .. }, Answer::Refused(Code::NoNode)) => (path, false, None),
            (Asked::Exists { path }, Answer::Version { mzxid, .. }) => {
                let value = self.writes.values.get(path).copied().unwrap_or(u64::MAX);
                (path, true, Some((value, mzxid.unsigned_abs())))
            },
            (Asked::Exists { path }, Answer::Refused(Code::NoNode)) => (path, true, None),
            _ => return,
        };
        let zxid = if self.subject.stamps_reads() {
            reply.zxid.unsigned_abs()
        } else if let Some((_, shown)) = found {
            // It has at least seen what it shows.
            let seen = self.seen.entry(entry.session).or_default();
            *seen = shown.max(*seen);
            *seen
        } else {
            // What is not there does not say since when.
            if watch {
                self.untold.insert((entry.session, path.clone()));
            }
            return;
        };
        let place = (entry.session, path.clone());
        let is_told = watch && !self.is_carried;
        if is_told {
            self.untold.remove(&place);
        } else if watch {
            self.untold.insert(place);
        }
        let act = Act::Read {
            key: path.clone(),
            found,
            watch: if is_told { Watch::Set } else { Watch::Unset },
        };
        let at = reply.at;
        self.push(entry.session, entry.invoked, act, Some(Stamp { at, zxid }));
    }

    /// A write of unknown end may happen at any later time.
    fn take_unknown(&mut self, entry: &Entry) {
        let Entry {
            session, invoked, ..
        } = *entry;
        match &entry.asked {
            Asked::Create { path, value, .. } | Asked::Set { path, value, .. } => {
                let (key, value) = (path.clone(), Some(*value));
                self.push(session, invoked, Act::Write { key, value }, None);
            },
            Asked::Delete { path } => {
                let (key, value) = (path.clone(), None);
                self.push(session, invoked, Act::Write { key, value }, None);
            },
            Asked::Close => {
                for (path, _) in self.writes.ephemerals(session) {
                    let (key, value) = (path.clone(), None);
                    self.push(session, invoked, Act::Write { key, value }, None);
                }
            },
            Asked::Append { prefix, value, .. } => {
                if let Some(path) = self.writes.resolved.get(prefix) {
                    let (key, value) = (path.clone(), Some(*value));
                    self.push(session, invoked, Act::Write { key, value }, None);
                }
            },
            Asked::Get { .. }
            | Asked::Exists { .. }
            | Asked::Children { .. }
            | Asked::Sync
            | Asked::Event { .. } => {},
        }
    }

    fn stamp_write(&mut self, session: u64, (at, zxid): (Time, Zxid)) -> Stamp {
        let seen = self.seen.entry(session).or_default();
        *seen = zxid.max(*seen);
        Stamp { at, zxid }
    }
}
