//! What a client asks, as its chance has it.

use mainstay_check::certificate::{Act, Watch};
use mainstay_check::model::register::Input;
use mainstay_zk_proto::Request;
use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::header::XID_SET_WATCHES;
use mainstay_zk_proto::request::{Create, Delete, OfPath, Read, SetData};
use mainstay_zk_proto::watch::SetWatches;
use tokio::time::Instant;

use super::Life;
use super::wire::ask;
use crate::history;
use crate::key::{self, Key, Value};

/// Where the lock is.
pub(super) const LOCK: &str = "/lock";

const EPHEMERAL: i32 = 1;
const ANY_VERSION: i32 = -1;

/// Requests at once.
const BATCH_MAX: u64 = 4;

/// A request that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Under {
    pub(super) xid: i32,
    pub(super) what: What,
    /// When, in moments and in time.
    pub(super) invoked: u64,
    pub(super) sent: Instant,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Create(Key, Value),
    Set(Key, Value),
    Delete(Key),
    /// Its data, and whether to be told when they change.
    Get(Key, Watch),
    /// Whether it is there, and to be told when that changes.
    Await(Key),
    Sync,
    /// The sampled node, after a sync.
    Sample,
    /// A node of the session's own.
    Ephemeral(u64),
    Lock,
    Unlock,
    /// To go on watching what was watched elsewhere.
    WatchAgain,
    Close,
}

impl What {
    /// Which node it writes, and what will be in it; nothing where it is deleted.
    const fn written(self) -> Option<(Key, Option<Value>)> {
        match self {
            Self::Create(key, value) | Self::Set(key, value) => Some((key, Some(value))),
            Self::Delete(key) => Some((key, None)),
            Self::Get(..)
            | Self::Await(_)
            | Self::Sync
            | Self::Sample
            | Self::Ephemeral(_)
            | Self::Lock
            | Self::Unlock
            | Self::WatchAgain
            | Self::Close => None,
        }
    }
}

impl Life {
    fn value(&mut self) -> Value {
        self.values += 1;
        (self.client.number << 32) | self.values
    }

    /// A request for a node that shall be there.
    pub(super) fn make(&mut self, key: Key) -> What {
        What::Create(key, self.value())
    }

    /// Asks for some things at once.
    pub(super) fn ask_some(&mut self, out: &mut Vec<u8>) {
        let batch = 1 + self.client.random.below(BATCH_MAX);
        if self.client.random.below(4) > 0 {
            for _ in 0..batch {
                let what = self.something();
                self.ask(out, what);
            }
        } else {
            self.sample(out);
        }
    }

    fn something(&mut self) -> What {
        let (dice, other) = (self.client.random.bits(), self.client.random.below(2));
        let watch = if other == 0 { Watch::Set } else { Watch::Unset };
        match self.client.random.below(16) {
            0..4 => What::Set(Key::kept(dice), self.value()),
            4..8 => What::Get(Key::kept(dice), watch),
            8 => What::Create(Key::fleeting(dice), self.value()),
            9 => What::Delete(Key::fleeting(dice)),
            10 => What::Get(Key::fleeting(dice), watch),
            11 => What::Await(Key::awaited(dice)),
            12 if other == 0 => What::Create(Key::awaited(dice), self.value()),
            12 => What::Set(Key::fleeting(dice), self.value()),
            13 if self.session.ephemerals < 3 => {
                self.session.ephemerals += 1;
                What::Ephemeral(self.session.ephemerals)
            },
            13 | 14 => What::Sync,
            _ if self.holding.is_some() => What::Unlock,
            _ => What::Lock,
        }
    }

    /// Writes the sampled node, or reads it after a sync.
    fn sample(&mut self, out: &mut Vec<u8>) {
        let what = if self.client.random.below(2) == 0 {
            What::Set(Key::Sample, self.value())
        } else {
            What::Sample
        };
        self.ask_sampled(out, what);
    }

    /// Asks something; if it is of the sampled node, then only if there is room for it.
    pub(super) fn ask_sampled(&mut self, out: &mut Vec<u8>, what: What) {
        let is_read = matches!(what, What::Sample);
        let input = match what.written() {
            Some((Key::Sample, Some(value))) => Some(Input::Write(value.cast_signed())),
            Some(_) | None => is_read.then_some(Input::Read),
        };
        if let Some(input) = input {
            let moment = self.client.facts.moment();
            let mut book = self.client.history.book();
            if !book.sample(self.sampling, moment, input) {
                return;
            }
        }
        if is_read {
            self.ask(out, What::Sync);
        }
        self.ask(out, what);
    }

    /// Watches again what was watched on a connection that is gone.
    pub(super) fn watch_again(&mut self, out: &mut Vec<u8>) {
        if self.session.watches.is_empty() {
            return;
        }
        self.client.facts.met("watches set again");
        self.ask(out, What::WatchAgain);
    }

    pub(super) fn ask_to_close(&mut self, out: &mut Vec<u8>) {
        self.ask(out, What::Close);
    }

    pub(super) fn ask(&mut self, out: &mut Vec<u8>, what: What) {
        self.xid += 1;
        let xid = if matches!(what, What::WatchAgain) {
            XID_SET_WATCHES
        } else {
            self.xid
        };
        self.write(out, xid, what);
        self.under_way.push_back(Under {
            xid,
            what,
            invoked: self.client.facts.moment(),
            sent: Instant::now(),
        });
    }

    fn write(&self, out: &mut Vec<u8>, xid: i32, what: What) {
        let create = |path: &str, data: &[u8], flags, out: &mut Vec<u8>| {
            let create = Create {
                path,
                data: Some(data),
                acl: vec![Acl::OPEN],
                flags,
            };
            ask(out, xid, &Request::Create(create));
        };
        match what {
            What::Create(key, value) => create(&key.path(), &key::bytes(value), 0, out),
            What::Ephemeral(number) => {
                let path = ephemeral(self.session.id, number);
                create(&path, &[], EPHEMERAL, out);
            },
            What::Lock => create(LOCK, &[], EPHEMERAL, out),
            What::Set(key, value) => {
                let set = SetData {
                    path: &key.path(),
                    data: Some(&key::bytes(value)),
                    version: ANY_VERSION,
                };
                ask(out, xid, &Request::SetData(set));
            },
            What::Delete(key) => delete(out, xid, &key.path()),
            What::Unlock => delete(out, xid, LOCK),
            What::Get(key, watch) => read(out, xid, key, watch == Watch::Set),
            What::Sample => read(out, xid, Key::Sample, false),
            What::Await(key) => {
                let (path, watch) = (&*key.path(), true);
                ask(out, xid, &Request::Exists(Read { path, watch }));
            },
            What::Sync => ask(out, xid, &Request::Sync(OfPath { path: "/" })),
            What::Close => ask(out, xid, &Request::CloseSession),
            What::WatchAgain => self.write_watches(out, xid),
        }
    }

    fn write_watches(&self, out: &mut Vec<u8>, xid: i32) {
        let paths = |awaits| {
            let watches = self.session.watches.iter();
            let those = watches.filter(move |(_, watching)| watching.awaits == awaits);
            those.map(|(key, _)| key.path()).collect::<Vec<_>>()
        };
        let (data, exist) = (paths(false), paths(true));
        let again = SetWatches {
            relative_zxid: self.session.zxid,
            data: data.iter().map(String::as_str).collect(),
            exist: exist.iter().map(String::as_str).collect(),
            children: Vec::new(),
        };
        ask(out, xid, &Request::SetWatches(again));
    }

    /// The connection is lost, and with it what was under way.
    pub(super) fn lose(&mut self) {
        let mut forgets = false;
        for under in std::mem::take(&mut self.under_way) {
            let written = under.what.written();
            let writes_sample = written.is_some_and(|(key, _)| key == Key::Sample);
            let is_sampled = matches!(under.what, What::Sample) || writes_sample;
            let mut book = self.client.history.book();
            if let Some((key, value)) = written {
                let act = Act::Write { key, value };
                book.record(history::record(
                    self.session.id.cast_unsigned(),
                    under.invoked,
                    act,
                    None,
                ));
            }
            if is_sampled {
                let moment = 0;
                book.sampled(self.sampling, moment, None);
                self.sampling += 1;
            }
            drop(book);
            forgets |= matches!(under.what, What::Lock | What::Unlock);
        }
        if forgets {
            // Nobody knows whether it has the lock; whoever has no session has none.
            self.session = super::Session::new(&mut self.client.random);
            self.holding = None;
        }
    }
}

/// Where a session's own nodes are.
pub(super) fn ephemeral(session: i64, number: u64) -> String {
    format!("/ephemeral-{session:x}-{number}")
}

fn delete(out: &mut Vec<u8>, xid: i32, path: &str) {
    let version = ANY_VERSION;
    ask(out, xid, &Request::Delete(Delete { path, version }));
}

fn read(out: &mut Vec<u8>, xid: i32, key: Key, watch: bool) {
    let path = &*key.path();
    ask(out, xid, &Request::GetData(Read { path, watch }));
}
