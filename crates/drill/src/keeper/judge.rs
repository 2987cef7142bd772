//! What a round's history says about the store.
//!
//! Prevents a verdict from a single point of view: the zxids of all replies certify one order, a
//! search that knows nothing of zxids finds an order of its own, and set, lock, ephemeral nodes and
//! the members' last words are compared each by itself.

mod certify;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use mainstay_check::certificate::Certificate;
use mainstay_check::wgl;
use mainstay_check::{lock, set};

use super::history::{Answer, Asked, Entry, History, Life, Path};
use super::load::LockLog;
use super::subject::Subject;

/// Findings that are kept in words, of each kind.
const WORDS_MAX: usize = 5;

/// What was left of a round when all members were well again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// What each of the asked nodes held.
    pub(crate) values: BTreeMap<Path, Option<(u64, i64)>>,
    /// Names of the set's elements.
    pub(crate) elements: Vec<String>,
    /// Names of ephemeral nodes.
    pub(crate) presences: Vec<String>,
}

/// Everything that is known of a round.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// What clients saw.
    pub(crate) history: History,
    /// What lockers saw.
    pub(crate) locks: LockLog,
    /// What each member had at the end.
    pub(crate) left: Vec<Left>,
    /// The round's folder.
    pub(crate) root: Path,
}

/// How often each promise was broken, with the first cases in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Questions.
    pub(crate) asked: usize,
    /// Writes with a reply that says they are done.
    pub(crate) acknowledged: usize,
    /// Questions of unknown end.
    pub(crate) unknown: usize,
    /// Reads behind a sync.
    pub(crate) synced_reads: usize,
    /// Events.
    pub(crate) events: usize,
    /// Holds of the lock.
    pub(crate) holds: usize,
    /// Acknowledged writes that are gone.
    pub(crate) lost: usize,
    /// Writes and reads behind a sync that no order explains, and writes that were done twice.
    pub(crate) disorder: usize,
    /// Sessions that went back, or read what was never there.
    pub(crate) sessions: usize,
    /// Events that are missing, doubled, late or about nothing.
    pub(crate) watches: usize,
    /// Locks with two holders, or tokens that do not grow.
    pub(crate) locks: usize,
    /// Ephemeral nodes that outlived their session.
    pub(crate) outlived: usize,
    /// Members that do not agree with the first one.
    pub(crate) differing: usize,
    /// Messages that no server may send.
    pub(crate) malformed: usize,
    /// Searches that gave up.
    pub(crate) unsearched: usize,
    /// The first cases in words.
    pub(crate) words: Vec<String>,
}

impl Judgement {
    /// Adds what another round found.
    pub(crate) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.synced_reads += other.synced_reads;
        self.events += other.events;
        self.holds += other.holds;
        self.lost += other.lost;
        self.disorder += other.disorder;
        self.sessions += other.sessions;
        self.watches += other.watches;
        self.locks += other.locks;
        self.outlived += other.outlived;
        self.differing += other.differing;
        self.malformed += other.malformed;
        self.unsearched += other.unsearched;
        self.words.extend(other.words);
    }

    /// Whether every promise was kept, as far as could be searched.
    pub(crate) const fn is_kept(&self) -> bool {
        self.lost
            + self.disorder
            + self.sessions
            + self.watches
            + self.locks
            + self.outlived
            + self.differing
            + self.malformed
            == 0
    }

    fn say(&mut self, words: String) {
        self.words.push(words);
    }
}

/// Judges a round.
pub(crate) fn judge(evidence: &Evidence, subject: &Subject) -> Judgement {
    let entries = &evidence.history.entries;
    let mut judgement = counted(entries);
    let nothing = Left::default();
    let left = evidence.left.first().unwrap_or(&nothing);

    let writes = certify::Writes::new(&evidence.history);
    let records = certify::records(&evidence.history, &writes, subject);
    let certificate = certify::check(&records, left);
    sort(&mut judgement, &certificate, &records);
    tell_watches(&mut judgement, &certificate, &records, &evidence.history);
    let verdict = search::check(entries, subject);
    match verdict {
        wgl::Verdict::Linearizable { .. } => {},
        wgl::Verdict::Violated(failure) => {
            judgement.disorder += 1;
            judgement.say(format!("not linearizable: {failure}"));
        },
        wgl::Verdict::Unknown { why } => {
            judgement.unsearched += 1;
            judgement.say(format!("the search gave up: {why}"));
        },
    }
    set_is_whole(&mut judgement, entries, left);
    locks_are_fenced(&mut judgement, &evidence.locks);
    for name in &left.presences {
        judgement.outlived += 1;
        if judgement.outlived <= WORDS_MAX {
            let path = format!("{}/presence/{name}", evidence.root);
            judgement.say(format!("{path} outlived its session"));
        }
    }
    for (member, other) in evidence.left.iter().enumerate().skip(1) {
        if other != left {
            judgement.differing += 1;
            judgement.say(difference(member, left, other));
        }
    }
    for what in &evidence.history.malformed {
        judgement.malformed += 1;
        judgement.say(what.clone());
    }
    judgement
}

fn counted(entries: &[Entry]) -> Judgement {
    let mut judgement = Judgement::default();
    for entry in entries {
        if matches!(entry.asked, Asked::Event { .. }) {
            judgement.events += 1;
            continue;
        }
        judgement.asked += 1;
        let Some(reply) = &entry.reply else {
            judgement.unknown += 1;
            continue;
        };
        if matches!(reply.answer, Answer::Refused(_)) {
            continue;
        }
        if entry.asked.is_write() {
            judgement.acknowledged += 1;
        }
        if matches!(entry.asked, Asked::Get { synced: true, .. }) {
            judgement.synced_reads += 1;
        }
    }
    judgement
}

/// Sorts broken promises by kind, and tells the first ones with the records that contradict.
fn sort(judgement: &mut Judgement, certificate: &Certificate, records: &[certify::Record]) {
    use mainstay_check::certificate::Violation;

    let mut told = 0;
    for violation in &certificate.violations {
        let (count, parties) = match *violation {
            Violation::LostWrite { write, .. } => (&mut judgement.lost, vec![write]),
            Violation::PhantomAtTheEnd { .. } => (&mut judgement.disorder, vec![]),
            Violation::DuplicateZxid { first, second, .. } => {
                (&mut judgement.disorder, vec![first, second])
            },
            Violation::WriteOrder { earlier, later } => {
                (&mut judgement.disorder, vec![earlier, later])
            },
            Violation::Stale { reply, newer } => (&mut judgement.disorder, vec![newer, reply]),
            Violation::FromTheFuture { reply, write } => {
                (&mut judgement.sessions, vec![reply, write])
            },
            Violation::WentBack { before, after } => (&mut judgement.sessions, vec![before, after]),
            Violation::OwnWriteMissing { write, reply } => {
                (&mut judgement.sessions, vec![write, reply])
            },
            Violation::WrongVersion { read, write, .. } | Violation::WrongValue { read, write } => {
                (&mut judgement.sessions, vec![write, read])
            },
            Violation::Phantom { read, .. } | Violation::BeyondPrefix { read, .. } => {
                (&mut judgement.sessions, vec![read])
            },
            Violation::EventMissing { watch, reply, .. } => {
                (&mut judgement.watches, vec![watch, reply])
            },
            Violation::EventUnexpected { event } => (&mut judgement.watches, vec![event]),
            Violation::EventOfWrongChange { event, watch, .. } => {
                (&mut judgement.watches, vec![watch, event])
            },
        };
        *count += 1;
        told += 1;
        if told <= WORDS_MAX {
            let parties = parties.iter().filter_map(|party| records.get(*party));
            let parties: Vec<_> = parties.map(|party| format!("\n    {party:?}")).collect();
            judgement.say(format!("{violation}{}", parties.concat()));
        }
    }
    judgement.disorder += certificate.more;
}

/// Tells all that a session asked and heard of a node whose watch went wrong, and when it changed
/// its connection: an event alone explains nothing.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no other violation is about a watch"
)]
fn tell_watches(
    judgement: &mut Judgement,
    certificate: &Certificate,
    records: &[certify::Record],
    history: &History,
) {
    use mainstay_check::certificate::{Act, Violation};

    let record = |violation: &Violation| match *violation {
        Violation::EventUnexpected { event } => records.get(event),
        Violation::EventMissing { watch, .. } | Violation::EventOfWrongChange { watch, .. } => {
            records.get(watch)
        },
        _ => None,
    };
    for wrong in certificate
        .violations
        .iter()
        .filter_map(record)
        .take(WORDS_MAX)
    {
        let (Act::Read { key, .. } | Act::Event { key }) = &wrong.act else {
            continue;
        };
        let is_about = |entry: &&Entry| entry.asked.path().is_some_and(|path| path == key);
        let own = history
            .entries
            .iter()
            .filter(|entry| entry.session == wrong.session);
        let told = own
            .filter(is_about)
            .map(|entry| (entry.invoked, format!("{entry:?}")));
        let partings = history
            .partings
            .iter()
            .filter(|one| one.session == wrong.session);
        let parted = partings.map(|one| (one.at, format!("{one:?}")));
        let mut story: Vec<(u64, String)> = told.chain(parted).collect();
        story.sort();
        let story: Vec<String> = story
            .into_iter()
            .map(|(_, one)| format!("\n    {one}"))
            .collect();
        judgement.say(format!(
            "session {} and {key}:{}",
            wrong.session,
            story.concat()
        ));
    }
}

/// Each acknowledged element is there once, in the order of its number.
fn set_is_whole(judgement: &mut Judgement, entries: &[Entry], left: &Left) {
    let mut adds = Vec::new();
    let mut numbered = Vec::new();
    for entry in entries {
        let Asked::Append {
            value,
            life: Life::Persistent,
            ..
        } = &entry.asked
        else {
            continue;
        };
        let add = match entry.reply.as_ref().map(|reply| &reply.answer) {
            Some(Answer::Made { path, czxid }) => {
                numbered.push((*czxid, number(path)));
                set::Add::Acknowledged
            },
            Some(_) => set::Add::Failed,
            None => set::Add::Unknown,
        };
        adds.push((*value, add));
    }
    let element = |name: &String| name.split('-').next().and_then(|text| text.parse().ok());
    let there: Vec<u64> = left.elements.iter().filter_map(element).collect();
    let report = set::check(&adds, &there);
    if !report.is_kept() {
        judgement.lost += report.lost.len();
        judgement.disorder += report.duplicated.len() + report.unexpected.len();
        judgement.say(format!("the set: {report}"));
    }
    numbered.sort_unstable();
    let grows = |pair: &[(i64, Option<u64>)]| pair[0].1.is_some() && pair[0].1 < pair[1].1;
    let shrinking = numbered.windows(2).find(|pair| !grows(pair));
    if let Some(pair) = shrinking {
        judgement.disorder += 1;
        judgement.say(format!("numbers of sequential nodes do not grow: {pair:?}"));
    }
}

/// The number that the store appended.
fn number(path: &Path) -> Option<u64> {
    path.rsplit_once('-')?.1.parse().ok()
}

fn locks_are_fenced(judgement: &mut Judgement, log: &LockLog) {
    judgement.holds = log.holds.len();
    let report = lock::check(&log.holds, &log.uses);
    for violation in &report.violations {
        judgement.locks += 1;
        judgement.say(format!("the lock: {violation}"));
    }
    // A hold may overlap one whose session had ended without its client knowing. One that was
    // given back with the store's word was held until then.
    let both = report.overlaps.iter();
    let both = both.filter(|(before, _)| log.holds[*before].released.is_some());
    for (before, after) in both {
        judgement.locks += 1;
        let (before, after) = (log.holds[*before], log.holds[*after]);
        judgement.say(format!(
            "the lock had two holders: {before:?} and {after:?}"
        ));
    }
}

fn difference(member: usize, left: &Left, other: &Left) -> String {
    let paths: BTreeSet<_> = left.values.keys().chain(other.values.keys()).collect();
    let differs = |path: &&&Path| left.values.get(**path) != other.values.get(**path);
    let first = paths.iter().find(differs).map(|path| {
        let [one, two] = [left, other].map(|left| left.values.get(*path));
        format!("{path} is {two:?} there and {one:?} at member 1")
    });
    let first = first.unwrap_or_else(|| "its children differ".to_owned());
    format!("member {} differs: {first}", member + 1)
}

#[cfg(test)]
mod tests;
