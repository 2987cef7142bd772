//! A line: what waits to be answered on one connection, and what waits to be sent.
//!
//! Prevents answers out of order: what cannot be answered yet holds back all that was asked after
//! it on the same connection, and nothing else. Prevents a client that does not read, or asks
//! without end, from filling the memory.
//!
//! Locks are taken in this order: the state, the line, the watches.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_zk_proto::header::{ReplyHeader, RequestHeader};
use mainstay_zk_proto::jute::Jute as _;
use mainstay_zk_proto::{Code, Reply, frame};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::identity::Identities;
use super::tally::Tally;
use crate::watch::Watcher;

/// Most requests of one connection that wait; more are not read. ZooKeeper's
/// `globalOutstandingLimit` has the same number, for all connections together.
const PENDING_MAX: usize = 1_000;
/// Bytes of requests that wait beyond which no more are read.
const PENDING_BYTES_MAX: usize = 4 << 20;
/// Bytes that wait to be sent beyond which no more requests are read.
const OUT_BYTES_MAX: usize = 1 << 20;
/// Bytes that wait to be sent beyond which the connection goes: events come unasked, and somebody
/// who does not read them cannot be kept waiting for.
const OUT_BYTES_END: usize = 64 << 20;

/// One connection, as those see it who answer it.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number, also as a watcher.
    pub(super) id: Watcher,
    /// The client's address.
    pub(super) peer: SocketAddr,
    /// When it was made, milliseconds since 1970.
    pub(super) since_ms: i64,
    /// What it asked and was told.
    pub(super) tally: Tally,
    /// Its session; zero before there is one.
    session: AtomicI64,
    /// How long that may be silent, in milliseconds.
    timeout_ms: AtomicI64,
    /// Whether something came since somebody asked.
    heard: AtomicBool,
    /// Whether its session is known here only, and nothing can be written.
    reads_only: AtomicBool,
    outbox: Mutex<Outbox>,
    /// Who its client is now.
    identities: Mutex<Identities>,
    /// Whether nobody else can listen.
    is_secure: AtomicBool,
    /// There is something to send, or to end.
    pub(super) ready: Notify,
    /// Something was sent or answered.
    pub(super) room: Notify,
    /// The end came from elsewhere; what was not sent soon will not be.
    pub(super) over: Notify,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    out: Vec<u8>,
    stage: Stage,
}

/// How far a connection's life is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is served.
    #[default]
    Open,
    /// What is there is sent, and that is all.
    Closing,
    /// As closing, and nobody is answered any more: the state is one that this connection was not
    /// told the way to.
    Torn,
    /// Nobody sends anything any more.
    Gone,
}

/// A request that cannot be answered yet.
#[derive(Debug)]
pub(super) enum Pending {
    /// A write that was proposed.
    Write {
        sequence: i64,
        xid: i32,
        bytes: usize,
        since: Instant,
    },
    /// A read behind something.
    Read(Asked),
    /// It waits for what others have to agree on.
    Barrier {
        number: u64,
        xid: i32,
        then: Then,
        /// What came of it, when it is over.
        passed: Option<Result<(), Code>>,
    },
    /// The answer, which waits for those before it.
    Answer(Vec<u8>),
}

/// What is answered when others have agreed.
#[derive(Debug)]
pub(super) enum Then {
    /// The path that was asked about.
    Path(Box<str>),
    /// The members.
    Members,
}

/// A read and who asks it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) header: RequestHeader,
    pub(super) body: Box<[u8]>,
    pub(super) identities: Identities,
}

impl Pending {
    fn bytes(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => *bytes,
            Self::Read(asked) => asked.body.len(),
            Self::Barrier {
                then: Then::Path(path),
                ..
            } => path.len(),
            // Answers are small, and counted among the requests.
            Self::Barrier {
                then: Then::Members,
                ..
            }
            | Self::Answer(_) => 0,
        }
    }
}

/// What stands first.
pub(super) enum First {
    /// A read that can be answered now.
    Read(Asked),
    /// A barrier that everything before has passed.
    Passed {
        xid: i32,
        then: Then,
        passed: Result<(), Code>,
    },
}

/// What is to be sent now.
pub(super) enum Load {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

impl Line {
    pub(super) fn new(id: Watcher, peer: SocketAddr, since_ms: i64) -> Self {
        Self {
            id,
            peer,
            since_ms,
            tally: Tally::default(),
            session: AtomicI64::new(0),
            timeout_ms: AtomicI64::new(0),
            heard: AtomicBool::new(true),
            reads_only: AtomicBool::new(false),
            outbox: Mutex::default(),
            identities: Mutex::new(Identities::at(peer.ip())),
            is_secure: AtomicBool::new(false),
            ready: Notify::new(),
            room: Notify::new(),
            over: Notify::new(),
        }
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its client came by TLS.
    pub(super) fn secure(&self) {
        self.is_secure.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_secure(&self) -> bool {
        self.is_secure.load(Ordering::Relaxed)
    }

    /// Who its client is now.
    pub(super) fn identities(&self) -> Identities {
        let identities = self.identities.lock();
        identities.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its client proved something.
    pub(super) fn identify(&self, identities: Identities) {
        let mut own = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *own = identities;
    }

    /// The session; zero when there is none.
    pub(super) fn session(&self) -> i64 {
        self.session.load(Ordering::Relaxed)
    }

    /// How long its session may be silent.
    pub(super) fn timeout_ms(&self) -> i64 {
        self.timeout_ms.load(Ordering::Relaxed)
    }

    /// A session is here now.
    pub(super) fn seat(&self, session: i64, timeout_ms: i32) {
        self.session.store(session, Ordering::Relaxed);
        let timeout_ms = timeout_ms.into();
        self.timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }

    /// Its session is known here only.
    pub(super) fn read_only(&self) {
        self.reads_only.store(true, Ordering::Relaxed);
    }

    /// Whether its session is known here only, and nothing can be written.
    pub(super) fn reads_only(&self) -> bool {
        self.reads_only.load(Ordering::Relaxed)
    }

    /// Something came from the client.
    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether something came since this was last asked.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) && self.heard.swap(false, Ordering::Relaxed)
    }

    /// The connection ends, and answers nobody any more.
    pub(super) fn tear(&self) {
        self.outbox().tear();
        self.hang_up();
    }

    /// The connection ends from outside.
    pub(super) fn hang_up(&self) {
        self.outbox().close();
        self.ready.notify_one();
        self.over.notify_one();
    }
}

impl Outbox {
    /// Whether another request may be read.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX
            && self.pending_bytes < PENDING_BYTES_MAX
            && self.out.len() < OUT_BYTES_MAX
    }

    /// Whether everything that was asked was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Requests that wait.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// Nothing is taken from the client any more; what is there is sent.
    pub(super) fn close(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
        }
    }

    /// What is there is sent; who waits is not answered, for an answer could show what an event that
    /// never comes should have told before.
    pub(super) fn tear(&mut self) {
        if self.stage != Stage::Gone {
            self.stage = Stage::Torn;
            self.pending.clear();
            self.pending_bytes = 0;
        }
    }

    /// Nobody will send anything.
    pub(super) fn gone(&mut self) {
        *self = Self {
            stage: Stage::Gone,
            ..Self::default()
        };
    }

    /// A request waits behind all that do already.
    pub(super) fn wait(&mut self, pending: Pending) {
        if self.stage == Stage::Torn {
            return;
        }
        self.pending_bytes += pending.bytes();
        self.pending.push_back(pending);
    }

    /// Where answers and events go; `None` when nobody would send them.
    pub(super) fn out(&mut self) -> Option<&mut Vec<u8>> {
        if self.out.len() > OUT_BYTES_END {
            self.gone();
        }
        let is_there = matches!(self.stage, Stage::Open | Stage::Closing);
        is_there.then_some(&mut self.out)
    }

    /// The request of a write that was told, and where its answer goes: `None` when nobody waits.
    pub(super) fn written(&mut self, sequence: i64) -> Option<Written<'_>> {
        let is_it = |pending: &Pending| matches!(pending, Pending::Write { sequence: s, .. } if *s == sequence);
        let at = self.pending.iter().position(is_it)?;
        let Some(Pending::Write {
            xid, bytes, since, ..
        }) = self.pending.get(at)
        else {
            return None;
        };
        let (xid, since) = (*xid, *since);
        self.pending_bytes -= bytes;
        let out = if at == 0 {
            self.pending.pop_front();
            &mut self.out
        } else {
            // Something before it is not over yet, and answers keep the order of requests.
            self.pending[at] = Pending::Answer(Vec::new());
            match &mut self.pending[at] {
                Pending::Answer(frame) => frame,
                Pending::Write { .. } | Pending::Read(_) | Pending::Barrier { .. } => return None,
            }
        };
        Some(Written { xid, since, out })
    }

    /// A barrier is over.
    pub(super) fn pass(&mut self, which: u64, result: Result<(), Code>) {
        for pending in &mut self.pending {
            if let Pending::Barrier { number, passed, .. } = pending
                && *number == which
            {
                *passed = Some(result);
            }
        }
    }

    /// The next request that can be answered now. Answers that waited are moved on the way.
    pub(super) fn first(&mut self) -> Option<First> {
        loop {
            match self.pending.front()? {
                Pending::Write { .. } | Pending::Barrier { passed: None, .. } => return None,
                Pending::Read(_) | Pending::Barrier { .. } | Pending::Answer(_) => {},
            }
            let pending = self.pending.pop_front()?;
            self.pending_bytes = self.pending_bytes.saturating_sub(pending.bytes());
            match pending {
                Pending::Answer(mut frame) => self.out.append(&mut frame),
                Pending::Read(asked) => return Some(First::Read(asked)),
                Pending::Barrier {
                    xid, then, passed, ..
                } => {
                    let passed = passed.unwrap_or(Ok(()));
                    return Some(First::Passed { xid, then, passed });
                },
                Pending::Write { .. } => return None,
            }
        }
    }

    /// What is to be sent; `spare` is an empty buffer to go on with.
    pub(super) fn load(&mut self, spare: Vec<u8>) -> Load {
        if !self.out.is_empty() {
            return Load::Bytes(std::mem::replace(&mut self.out, spare));
        }
        match self.stage {
            Stage::Open => Load::Nothing,
            Stage::Closing | Stage::Torn | Stage::Gone => Load::End,
        }
    }
}

/// Where the answer to a write goes.
pub(super) struct Written<'a> {
    pub(super) xid: i32,
    pub(super) since: Instant,
    pub(super) out: &'a mut Vec<u8>,
}

/// Appends an answer.
pub(super) fn answer(out: &mut Vec<u8>, xid: i32, zxid: i64, result: Result<Reply<'_>, Code>) {
    frame::append(out, |out| {
        let error = result.as_ref().err().map_or(0, |code| code.to_wire());
        ReplyHeader { xid, zxid, error }.write(out);
        if let Ok(reply) = result {
            reply.write(out);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sequence: i64, bytes: usize) -> Pending {
        Pending::Write {
            sequence,
            xid: 0,
            bytes,
            since: Instant::now(),
        }
    }

    #[test]
    fn no_more_is_read_while_too_many_requests_wait() {
        let mut outbox = Outbox::default();
        let mut count = 0;
        while outbox.has_room() {
            count += 1;
            outbox.wait(write(count, 10));
        }
        assert_eq!(count, 1_000);
        assert!(outbox.written(1).is_some());
        assert!(outbox.has_room(), "one was answered");
    }

    #[test]
    fn no_more_is_read_while_too_many_bytes_wait() {
        let mut outbox = Outbox::default();
        for sequence in 1..=4 {
            assert!(outbox.has_room());
            outbox.wait(write(sequence, 1 << 20));
        }
        assert!(!outbox.has_room());
        assert!(outbox.written(3).is_some());
        assert!(
            outbox.has_room(),
            "a write that was done waits for its turn only"
        );
    }

    #[test]
    fn what_waits_is_counted_until_it_was_answered_in_whatever_order() {
        let mut outbox = Outbox::default();
        outbox.wait(write(1, 100));
        outbox.wait(write(2, 200));
        outbox.wait(write(3, 300));
        for sequence in [2, 3] {
            let written = outbox.written(sequence).expect("it waits");
            written.out.extend_from_slice(&[0; 5_000]);
            assert!(outbox.first().is_none(), "the first is not over");
        }
        assert_eq!(outbox.pending_bytes, 100);
        assert!(outbox.written(1).is_some() && outbox.first().is_none());
        assert_eq!((outbox.pending_bytes, outbox.pending_len()), (0, 0));
        assert_eq!(outbox.out.len(), 10_000);
    }

    #[test]
    fn who_does_not_read_is_asked_nothing_more_and_in_the_end_let_go() {
        let mut outbox = Outbox::default();
        let answer = vec![0; 1 << 20];
        outbox.out().expect("open").extend_from_slice(&answer);
        assert!(!outbox.has_room(), "requests are not read any more");
        let mut events = 0;
        while let Some(out) = outbox.out() {
            out.extend_from_slice(&answer);
            events += 1;
            assert!(events <= 64, "it is bounded");
        }
        assert_eq!((outbox.stage(), outbox.out.len()), (Stage::Gone, 0));
    }
}
