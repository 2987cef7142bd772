//! What clients did and heard, and whether it is what they were promised.
//!
//! Prevents a store that is right by its own account only: the certificate, the search for a
//! linearization and the check of locks know nothing but requests and replies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_check::certificate::{self, Act, Final, Promise, Record};
use mainstay_check::history::Recorder;
use mainstay_check::lock::{self, Hold, Use};
use mainstay_check::model::register::{Input, Output, Register};
use mainstay_check::wgl::{self, Limits, Verdict};
use mainstay_keeper::state::{State, Told};

use crate::facts::Facts;
use crate::key::{Key, Value};

const CLIENTS: &str = "what clients were promised";
const SAMPLE: &str = "linearizable writes and synced reads";
const EPHEMERALS: &str = "ephemerals stay with their session";
const FENCING: &str = "fencing";
const PROGRESS: &str = "the check of the sample ended";

/// Operations on the sampled key: beyond, the search takes too long.
const SAMPLE_MAX: usize = 400;

/// What clients did; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Book>>);

/// What clients did, with the lock on it.
#[derive(Debug, Default)]
pub struct Book {
    records: Vec<Record<Key, Value>>,
    /// What happened to each key, as it was applied.
    changes: BTreeMap<Key, BTreeMap<u64, Option<Value>>>,
    last_zxid: i64,
    sample: Recorder<Input, Output>,
    sampled: usize,
    /// Nodes that were promised to sessions.
    ephemerals: BTreeMap<i64, Vec<String>>,
    holds: Vec<Hold>,
    uses: Vec<Use>,
    /// The greatest token that the protected resource has seen.
    token: u64,
}

impl History {
    /// The book, to write into.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member applied an operation.
    pub fn applied(&self, told: &Told<'_>) {
        let mut book = self.book();
        if told.zxid <= book.last_zxid || told.result.is_err() {
            return;
        }
        book.last_zxid = told.zxid;
        if let Some((key, value)) = crate::key::change(&told.operation.action) {
            let changes = book.changes.entry(key).or_default();
            changes.insert(told.zxid.cast_unsigned(), value);
        }
    }

    /// Checks what clients were promised, given what is there at the end.
    pub fn check(&self, state: &State, facts: &Facts) {
        let mut book = self.book();
        let finals: Vec<Final<Key, Value>> = Key::all()
            .map(|key| Final {
                key,
                found: crate::key::held(state, key),
            })
            .collect();
        let kept = certificate::check(Promise::SequentialReads, &book.records, &finals);
        for violation in &kept.violations {
            let (session, act) = match named(violation, &book.records) {
                Some(record) => (record.session, format!("{record:?}")),
                None => (0, String::new()),
            };
            facts.violated(
                CLIENTS,
                format_args!("{violation}; session {session:x}: {act}"),
            );
        }
        for (session, _) in state.sessions().iter() {
            let paths = book.ephemerals.get(&session).into_iter().flatten();
            for path in paths.filter(|path| state.tree().stat(path).is_none()) {
                facts.violated(
                    EPHEMERALS,
                    format_args!("{path} is lost, its session is there"),
                );
            }
        }
        let sample = std::mem::take(&mut book.sample).finish();
        match wgl::check(&Register, &sample, &Limits::default(), &|| true) {
            Verdict::Linearizable { .. } => {},
            Verdict::Violated(failure) => facts.violated(SAMPLE, format_args!("{failure}")),
            Verdict::Unknown { why } => facts.violated(PROGRESS, format_args!("{why}")),
        }
        let report = lock::check(&book.holds, &book.uses);
        for violation in &report.violations {
            facts.violated(FENCING, format_args!("{violation}"));
        }
        if !report.overlaps.is_empty() {
            facts.met("two believed to hold the lock");
        }
    }

    /// Replies that clients got.
    pub fn replies(&self) -> usize {
        let replied = |record: &&Record<Key, Value>| record.reply.is_some();
        self.book().records.iter().filter(replied).count()
    }
}

/// The record that a violation is about first.
fn named<'r>(
    violation: &certificate::Violation,
    records: &'r [Record<Key, Value>],
) -> Option<&'r Record<Key, Value>> {
    use certificate::Violation as Broken;
    let at = match *violation {
        Broken::DuplicateZxid { second: at, .. }
        | Broken::WriteOrder { later: at, .. }
        | Broken::FromTheFuture { reply: at, .. }
        | Broken::Stale { reply: at, .. }
        | Broken::WentBack { after: at, .. }
        | Broken::OwnWriteMissing { reply: at, .. }
        | Broken::WrongVersion { read: at, .. }
        | Broken::WrongValue { read: at, .. }
        | Broken::Phantom { read: at, .. }
        | Broken::BeyondPrefix { read: at, .. }
        | Broken::LostWrite { write: at, .. }
        | Broken::EventMissing { reply: at, .. }
        | Broken::EventUnexpected { event: at }
        | Broken::EventOfWrongChange { event: at, .. } => at,
        Broken::PhantomAtTheEnd { .. } => return None,
    };
    records.get(at)
}

impl Book {
    /// A client did or saw something.
    pub fn record(&mut self, record: Record<Key, Value>) {
        self.records.push(record);
    }

    /// The first change of a key behind a prefix.
    pub fn first_after(&self, key: Key, prefix: u64) -> u64 {
        let changes = self.changes.get(&key);
        let after = changes.and_then(|changes| changes.range(prefix + 1..).next());
        after.map_or(0, |(zxid, _)| *zxid)
    }

    /// What a change of a key put there.
    pub fn put_by(&self, key: Key, zxid: u64) -> Option<Value> {
        *self.changes.get(&key)?.get(&zxid)?
    }

    /// Whether another operation may be sampled; it has been asked if so.
    pub fn sample(&mut self, client: u64, at: u64, input: Input) -> bool {
        let begun = self.sampled < SAMPLE_MAX && self.sample.invoke(client, at, input).is_ok();
        self.sampled += usize::from(begun);
        begun
    }

    /// A sampled operation was answered; `None` when nobody will ever know.
    pub fn sampled(&mut self, client: u64, at: u64, output: Option<Output>) {
        // What was not begun does not end.
        let ended = match output {
            Some(output) => self.sample.returned(client, at, output),
            None => self.sample.crashed(client),
        };
        debug_assert!(ended.is_ok(), "{ended:?}");
    }

    /// A sampled operation was refused: it did not happen.
    pub fn refused(&mut self, client: u64, at: u64) {
        let ended = self.sample.failed(client, at);
        debug_assert!(ended.is_ok(), "{ended:?}");
    }

    /// A client has the lock.
    pub fn hold(&mut self, hold: Hold) -> usize {
        self.holds.push(hold);
        self.holds.len() - 1
    }

    /// It still believes to have it.
    pub fn believed_until(&mut self, hold: usize, at: u64) {
        if let Some(hold) = self.holds.get_mut(hold) {
            hold.released = Some(at);
        }
    }

    /// A session has a node of its own.
    pub fn ephemeral(&mut self, session: i64, path: String) {
        self.ephemerals.entry(session).or_default().push(path);
    }

    /// A client uses what the lock protects: the resource looks at its token, unless it is asked
    /// not to, and refuses one that is smaller than another that it has seen.
    pub fn use_resource(&mut self, (client, token): (u64, u64), at: (u64, u64), is_fenced: bool) {
        if is_fenced && token < self.token {
            return;
        }
        self.token = self.token.max(token);
        self.uses.push(Use {
            client,
            token,
            invoked: at.0,
            returned: at.1,
        });
    }
}

/// A record of what a client did.
pub const fn record(
    session: u64,
    invoked: u64,
    act: Act<Key, Value>,
    reply: Option<certificate::Stamp>,
) -> Record<Key, Value> {
    Record {
        session,
        invoked,
        act,
        reply,
    }
}
