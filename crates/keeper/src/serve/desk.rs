//! The desk: where what was applied meets who waits for it.
//!
//! Prevents an answer without its events: both are put on the same line in the order in which
//! they were applied, events first, and everything at a line is sent in that order.
//!
//! Always holds: operations of this member are told in the order of their numbers, so who waits
//! stands in a queue, and whoever is passed over will never be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use mainstay_zk_proto::header::XID_WATCH;
use mainstay_zk_proto::{Code, Reply};
use tokio::sync::oneshot;
use tokio::time::Duration;

use super::connection::End;
use super::cut_off::CutOff;
use super::line::{First, Line, Stage, Then, answer};
use super::read::Reader;
use super::settings::Settings;
use super::tally::{Silences, Tally};
use super::{event, reconfig, write};
use crate::proposal::{Action, Origin};
use crate::state::{Effect, Sink, State, Told};
use crate::tree::Event;
use crate::watch::{Watcher, Watches};

/// Most changes of sessions that are kept for the next look at them; beyond, all are looked at.
const CHANGES_MAX: usize = 100_000;

/// What all connections of a member share.
#[derive(Debug)]
pub struct Desk {
    pub(super) settings: Settings,
    watches: Mutex<Watches>,
    pub(super) tally: Tally,
    waiting: Mutex<VecDeque<(i64, Waiter)>>,
    lines: Mutex<Lines>,
    changes: Mutex<Changes>,
    line_next: AtomicU64,
    session_next: AtomicI64,
    /// What is told is ours only if it comes from here.
    origin: OnceLock<Origin>,
    /// Milliseconds since 1970 at the start.
    started_ms: AtomicI64,
    pub(super) trace_mask: AtomicU64,
    pub(super) cut_off: CutOff,
    /// Connections that ended by a fault, and why the last one did.
    faults: Mutex<(u64, String)>,
    /// Sessions that this member, as a leader, found silent.
    pub(super) silences: Silences,
}

#[derive(Debug, Default)]
struct Lines {
    all: BTreeMap<Watcher, Arc<Line>>,
    of_session: BTreeMap<i64, Watcher>,
    of_address: BTreeMap<IpAddr, usize>,
    /// Sessions that were heard on a connection that has gone since somebody asked.
    heard_last: BTreeSet<i64>,
}

/// Who waits for an operation.
#[derive(Debug)]
pub(super) enum Waiter {
    /// The line that it was asked on.
    Line(Arc<Line>),
    /// A line whose session it begins or goes on with.
    Handshake(Arc<Line>, oneshot::Sender<Result<i32, Code>>),
    /// Nobody.
    Nobody,
}

/// Sessions that began or ended since somebody looked.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// With its timeout and the transaction, when it began or went on.
    pub(super) sessions: Vec<(i64, Option<(i32, i64)>)>,
    /// There were more than can be kept.
    pub(super) is_torn: bool,
}

impl Desk {
    /// A desk where nobody is yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            watches: Mutex::default(),
            tally: Tally::default(),
            waiting: Mutex::default(),
            lines: Mutex::default(),
            changes: Mutex::default(),
            line_next: AtomicU64::new(1),
            session_next: AtomicI64::new(0),
            origin: OnceLock::new(),
            started_ms: AtomicI64::new(0),
            trace_mask: AtomicU64::new(306),
            faults: Mutex::default(),
            silences: Silences::default(),
            cut_off: CutOff::default(),
        })
    }

    /// What hears the replica; there is one.
    pub fn sink(self: &Arc<Self>) -> Teller {
        Teller {
            desk: Arc::clone(self),
            told: Vec::new(),
            over: Vec::new(),
        }
    }

    /// Proposals come from `origin` from now on. Numbers of sessions hold the member and the time,
    /// so that no two members and no two starts give the same.
    pub(super) fn begin(&self, origin: Origin, now_ms: i64) {
        // A second start with another origin would be two servers at one desk.
        let own = *self.origin.get_or_init(|| origin);
        debug_assert_eq!(own, origin, "one desk, one member");
        let time = (now_ms << 24).cast_unsigned() >> 8;
        let first = (origin.member << 56) | time.cast_signed();
        self.session_next.store(first, Ordering::Relaxed);
        self.started_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn started_ms(&self) -> i64 {
        self.started_ms.load(Ordering::Relaxed)
    }

    /// A number that no session has.
    pub(super) fn session_number(&self) -> i64 {
        self.session_next.fetch_add(1, Ordering::Relaxed)
    }

    /// A connection comes; `None` when its address has too many already.
    pub(super) fn enter(&self, peer: SocketAddr, now_ms: i64) -> Option<Arc<Line>> {
        let mut lines = self.lines();
        let of_address = lines.of_address.entry(peer.ip()).or_default();
        let allowed = self.settings.connections_of_address_max;
        if allowed.is_some_and(|allowed| *of_address >= allowed.get()) {
            return None;
        }
        *of_address += 1;
        let id = self.line_next.fetch_add(1, Ordering::Relaxed);
        let line = Arc::new(Line::new(id, peer, now_ms));
        lines.all.insert(id, Arc::clone(&line));
        drop(lines);
        Some(line)
    }

    /// A connection goes, and its watches with it.
    pub(super) fn leave(&self, line: &Line) {
        // First nobody adds watches for it any more, then they go.
        line.outbox().gone();
        let mut lines = self.lines();
        lines.all.remove(&line.id);
        let session = line.session();
        if lines.of_session.get(&session) == Some(&line.id) {
            lines.of_session.remove(&session);
        }
        if session != 0
            && !line.reads_only()
            && line.was_heard()
            && lines.heard_last.len() < CHANGES_MAX
        {
            lines.heard_last.insert(session);
        }
        if let Some(count) = lines.of_address.get_mut(&line.peer.ip()) {
            *count -= 1;
            if *count == 0 {
                lines.of_address.remove(&line.peer.ip());
            }
        }
        drop(lines);
        self.watches().close(line.id);
    }

    /// A connection ended.
    pub(super) fn ended(&self, line: &Line, end: &End) {
        if end.is_fault() {
            self.fault(&format_args!("{}: {end}", line.peer));
        }
    }

    /// Something went wrong that operators should hear of.
    pub(crate) fn fault(&self, what: &dyn fmt::Display) {
        let mut faults = lock(&self.faults);
        *faults = (faults.0 + 1, what.to_string());
    }

    /// Connections that ended by a fault, and why the last one did.
    pub(super) fn faults(&self) -> (u64, String) {
        lock(&self.faults).clone()
    }

    /// Somebody waits for an operation.
    pub(super) fn wait(&self, sequence: i64, waiter: Waiter) {
        lock(&self.waiting).push_back((sequence, waiter));
    }

    /// Who waits for it. Whoever waits for one before it was passed over, and hears nothing more.
    fn waiter(&self, sequence: i64) -> Option<Waiter> {
        let mut waiting = lock(&self.waiting);
        while waiting.front().is_some_and(|(first, _)| *first <= sequence) {
            match waiting.pop_front() {
                Some((first, waiter)) if first == sequence => return Some(waiter),
                Some((_, Waiter::Line(line))) => line.hang_up(),
                Some((_, Waiter::Handshake(..) | Waiter::Nobody)) | None => {},
            }
        }
        None
    }

    /// A session is at `line` now; where it was before, it is not any more.
    fn seat(&self, session: i64, timeout_ms: i32, line: &Line) -> Option<Arc<Line>> {
        let mut lines = self.lines();
        if line.outbox().stage() == Stage::Gone {
            return None;
        }
        line.seat(session, timeout_ms);
        let before = lines.of_session.insert(session, line.id)?;
        lines.all.get(&before).cloned()
    }

    /// A session that is known here only is at `line` now.
    pub(super) fn seat_reader(&self, session: i64, timeout_ms: i32, line: &Line) {
        line.read_only();
        if let Some(before) = self.seat(session, timeout_ms, line) {
            before.hang_up();
        }
    }

    /// A session is not here any more.
    fn unseat(&self, session: i64) -> Option<Arc<Line>> {
        let mut lines = self.lines();
        let line = lines.of_session.remove(&session)?;
        lines.all.get(&line).cloned()
    }

    fn change(&self, session: i64, began: Option<(i32, i64)>) {
        let mut changes = lock(&self.changes);
        if changes.sessions.len() < CHANGES_MAX {
            changes.sessions.push((session, began));
        } else {
            changes.is_torn = true;
        }
    }

    /// Sessions that began or ended since this was last asked.
    pub(super) fn changes(&self) -> Changes {
        std::mem::take(&mut lock(&self.changes))
    }

    /// Sessions at this member that were heard since this was last asked.
    pub(super) fn heard(&self) -> BTreeSet<i64> {
        let mut lines = self.lines();
        let mut sessions = std::mem::take(&mut lines.heard_last);
        let counts = lines.all.values().filter(|line| !line.reads_only());
        let heard = counts.filter(|line| line.was_heard());
        let those = heard.map(|line| line.session());
        sessions.extend(those.filter(|&session| session != 0));
        sessions
    }

    /// Lets go of those whose session nobody who leads has counted with for `untold`: it may end
    /// before this member hears of it, and its client has to know that.
    pub(super) fn let_go(&self, untold: Duration) {
        for line in self.lines().all.values() {
            let timeout_ms = u64::try_from(line.timeout_ms()).unwrap_or(0);
            // ZooKeeper's clients give a silent server up after as long.
            let patience = Duration::from_millis(timeout_ms) * 2 / 3;
            if line.session() != 0 && !line.reads_only() && untold > patience {
                line.hang_up();
            }
        }
    }

    /// A snapshot took the state's place: what was proposed may have been done, and watches may have
    /// missed what they wait for. Clients come again, and set what they watch.
    fn let_go_of_all(&self) {
        lock(&self.changes).is_torn = true;
        for line in self.connections() {
            line.tear();
        }
    }

    /// All connections.
    pub(super) fn connections(&self) -> Vec<Arc<Line>> {
        self.lines().all.values().cloned().collect()
    }

    fn those(&self, watchers: &BTreeSet<Watcher>) -> Vec<Arc<Line>> {
        let lines = self.lines();
        let those = watchers.iter().filter_map(|watcher| lines.all.get(watcher));
        those.cloned().collect()
    }

    /// How many connections there are.
    pub fn connections_len(&self) -> usize {
        self.lines().all.len()
    }

    /// Answers all that a line waits for and that can be answered now.
    pub(super) fn go_on(&self, state: &State, line: &Line) {
        let mut outbox = line.outbox();
        while let Some(first) = outbox.first() {
            let Some(out) = outbox.out() else { return };
            match first {
                First::Passed { xid, then, passed } => {
                    let reply = match &then {
                        Then::Path(path) => Ok(Reply::Path(path)),
                        Then::Members => reconfig::answer(state),
                    };
                    answer(out, xid, state.zxid(), passed.and(reply));
                },
                First::Read(asked) => Reader {
                    state,
                    desk: self,
                    watcher: line.id,
                    session: line.session(),
                    identities: &asked.identities,
                }
                .answer(asked.header, &asked.body, out),
            }
            self.tally.send();
            line.tally.send();
        }
    }

    pub(super) fn watches(&self) -> MutexGuard<'_, Watches> {
        lock(&self.watches)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        lock(&self.lines)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `ask` while nothing is applied.
pub(super) fn read<T>(state: &RwLock<State>, ask: impl FnOnce(&State) -> T) -> T {
    ask(&state.read().unwrap_or_else(PoisonError::into_inner))
}

/// Tells lines what was applied.
#[derive(Debug)]
pub struct Teller {
    desk: Arc<Desk>,
    /// Lines that something was put on.
    told: Vec<Arc<Line>>,
    /// Lines that end.
    over: Vec<Arc<Line>>,
}

impl Teller {
    fn tell(&self, state: &State, line: &Line, told: &Told<'_>) {
        let mut outbox = line.outbox();
        let Some(written) = outbox.written(told.operation.sequence) else {
            return;
        };
        self.desk.tally.answer(written.since);
        line.tally.answer(written.since);
        write::answer_to(told, written.xid, written.out);
        drop(outbox);
        self.desk.go_on(state, line);
    }

    fn shake(&mut self, line: &Line, sender: oneshot::Sender<Result<i32, Code>>, told: &Told<'_>) {
        let result = match told.result {
            Ok(Effect::Session { timeout_ms }) => {
                let session = told.operation.session;
                self.over.extend(self.desk.seat(session, timeout_ms, line));
                Ok(timeout_ms)
            },
            Ok(Effect::Tree(_) | Effect::Gone) => Err(Code::System),
            Err(code) => Err(code),
        };
        if sender.send(result).is_err() {
            // Nobody waits any more: the connection is gone, and the session will be silent.
        }
    }
}

impl Sink for Teller {
    fn event(&mut self, happened: &Event, _: i64) {
        let watchers = self.desk.watches().fire(happened.kind, &happened.path);
        if watchers.is_empty() {
            return;
        }
        for line in self.desk.those(&watchers) {
            if !happened.is_for(&line.identities().ids()) {
                continue;
            }
            if let Some(out) = line.outbox().out() {
                event(out, XID_WATCH, happened.kind, &happened.path);
            }
            self.desk.tally.send();
            line.tally.send();
            self.told.push(line);
        }
    }

    fn session_over(&mut self, session: i64) {
        self.desk.change(session, None);
        self.over.extend(self.desk.unseat(session));
    }

    fn applied(&mut self, state: &State, told: Told<'_>) {
        let is_ours = self.desk.origin.get() == Some(&told.origin);
        let session = told.operation.session;
        if let Ok(Effect::Session { timeout_ms }) = told.result {
            self.desk.change(session, Some((timeout_ms, told.zxid)));
            // A session that went on elsewhere is not here any more.
            if !is_ours && matches!(told.operation.action, Action::Attach { .. }) {
                self.over.extend(self.desk.unseat(session));
            }
        }
        if !is_ours {
            return;
        }
        match self.desk.waiter(told.operation.sequence) {
            Some(Waiter::Line(line)) => {
                let is_moved = told.result == Err(Code::SessionMoved);
                self.tell(state, &line, &told);
                // As ZooKeeper does: a client that is in two places must leave one of them.
                let end = if is_moved {
                    &mut self.over
                } else {
                    &mut self.told
                };
                end.push(line);
            },
            Some(Waiter::Handshake(line, sender)) => self.shake(&line, sender, &told),
            Some(Waiter::Nobody) | None => {},
        }
    }

    fn replaced(&mut self, state: &State) {
        if let Some(&origin) = self.desk.origin.get() {
            // A handshake among them hears that nobody knows.
            drop(self.desk.waiter(state.applied_of(origin)));
        }
        self.desk.let_go_of_all();
    }

    fn settled(&mut self) {
        for line in self.told.drain(..) {
            line.ready.notify_one();
            line.room.notify_one();
        }
        for line in self.over.drain(..) {
            line.hang_up();
        }
    }
}
