//! A client with one session: it goes on with it at any member, and never asks twice.
//!
//! Prevents a history with guesses in it: what was under way when a connection was lost ends as
//! unknown, and nothing is sent again. Requests are pipelined, watches are set again at the next
//! member, and a session that is over is followed by a new one under a new number.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_check::history::Time;
use mainstay_core::random::Random;
use mainstay_zk_proto::header::{XID_PING, XID_SET_WATCHES, XID_WATCH};
use mainstay_zk_proto::jute::Reader;
use mainstay_zk_proto::watch::{Event, SetWatches};
use mainstay_zk_proto::{Code, Request};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::history::{Answer, Asked, Entry, Notes, Parting, Path, Reply};
use super::wire::{self, Ticket, Wire};
use crate::clock::Clock;

/// Requests that a session has under way at most.
const PIPELINE_MAX: usize = 32;

/// Questions that wait for a connection at most.
const JOBS_MAX: usize = 64;

/// A member that is silent for less is not left: a busy machine keeps everybody waiting.
const SILENCE_MIN: Duration = Duration::from_secs(4);

/// The longest pause before the next member is tried.
const RETRY_MAX: Duration = Duration::from_millis(50);

/// Nobody knows whether it was done: the connection was lost before the reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// How long a client stays away from the member that it prefers, and as long again at most. Without
/// it all clients soon are at the member that was hit last, and a leader has none to lose.
const AWAY: Duration = Duration::from_secs(1);

/// How a question ended.
pub(crate) type Told = Result<Answer, Unknown>;

/// What all clients of a drill share.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Where the members listen for clients.
    pub(crate) members: Arc<[SocketAddr]>,
    /// What is written down.
    pub(crate) notes: Notes,
    /// The one clock.
    pub(crate) clock: Clock,
    /// Numbers for sessions.
    pub(crate) sessions: Arc<AtomicU64>,
}

/// Where a client goes first, and how long it may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    /// The member that it prefers, counted from 0.
    pub(crate) member: usize,
    /// Whether it goes nowhere else.
    pub(crate) is_faithful: bool,
    /// The timeout that it asks for, in milliseconds.
    pub(crate) timeout_ms: i32,
}

/// What a client's worker wants to know besides answers.
#[derive(Debug, Default)]
struct Facts {
    session: AtomicU64,
    fired: Mutex<Vec<Path>>,
    changed: Notify,
}

enum Job {
    Ask(Asked, oneshot::Sender<Told>),
    Vanish(oneshot::Sender<()>),
}

/// The handle of a client. Its session ends with it.
#[derive(Debug)]
pub(crate) struct Client {
    jobs: mpsc::Sender<Job>,
    facts: Arc<Facts>,
}

impl Client {
    /// A client, and the work that somebody has to drive for it.
    pub(crate) fn new(
        world: World,
        habit: Habit,
        random: Random,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let facts = Arc::<Facts>::default();
        let session = Session::new(&world, habit.timeout_ms);
        facts.session.store(session.number, Ordering::Relaxed);
        let actor = Actor {
            world,
            habit,
            random,
            jobs: queue,
            facts: Arc::clone(&facts),
            session,
        };
        (Self { jobs, facts }, actor.run())
    }

    /// Asks, and waits for what comes of it. Questions are sent in the order of these calls.
    pub(crate) async fn ask(&self, asked: Asked) -> Told {
        let (tell, told) = oneshot::channel();
        self.jobs
            .send(Job::Ask(asked, tell))
            .await
            .map_err(|_| Unknown)?;
        told.await.unwrap_or(Err(Unknown))
    }

    /// Leaves without a word: the store has to find out that it is over.
    pub(crate) async fn vanish(&self) {
        let (tell, told) = oneshot::channel();
        if self.jobs.send(Job::Vanish(tell)).await.is_ok() {
            told.await.ok();
        }
    }

    /// The number of the session that is used now.
    pub(crate) fn session(&self) -> u64 {
        self.facts.session.load(Ordering::Relaxed)
    }

    /// Waits until a watch fires or the session changes, for at most `limit`; the paths of the
    /// watches that fired.
    pub(crate) async fn changes(&self, limit: Duration) -> Vec<Path> {
        // It may have run out: whoever asks looks again.
        tokio::time::timeout(limit, self.facts.changed.notified())
            .await
            .ok();
        let mut fired = self
            .facts
            .fired
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *fired)
    }
}

/// A session as its client knows it.
struct Session {
    number: u64,
    ticket: Ticket,
    last_zxid: i64,
    /// When the last question was sent that was answered: the session lived then.
    lived: u64,
    /// Watched nodes that were there.
    data: BTreeSet<Path>,
    /// Watched nodes that were not.
    exist: BTreeSet<Path>,
}

impl Session {
    fn new(world: &World, timeout_ms: i32) -> Self {
        let ticket = Ticket {
            timeout_ms,
            ..Ticket::default()
        };
        Self {
            number: world.sessions.fetch_add(1, Ordering::Relaxed),
            ticket,
            last_zxid: 0,
            lived: world.clock.now_us(),
            data: BTreeSet::new(),
            exist: BTreeSet::new(),
        }
    }
}

/// A question that is under way.
struct Pending {
    xid: i32,
    asked: Asked,
    invoked: u64,
    /// Nobody for a sync that goes before a read.
    tell: Option<oneshot::Sender<Told>>,
}

/// Why a connection ended.
enum End {
    Lost(String),
    /// The client goes to the member that it prefers; nothing was under way.
    Home,
    /// The session was closed.
    Closed,
    Vanished(oneshot::Sender<()>),
    /// Nobody asks any more.
    Over,
}

struct Actor {
    world: World,
    habit: Habit,
    random: Random,
    jobs: mpsc::Receiver<Job>,
    facts: Arc<Facts>,
    session: Session,
}

impl Actor {
    async fn run(mut self) {
        let mut member = self.habit.member;
        while !self.jobs.is_closed() {
            let Some(wire) = self.connect(member).await else {
                let step = usize::from(!self.habit.is_faithful);
                member = (member + step) % self.world.members.len();
                let pause = self.random.up_to(RETRY_MAX);
                sleep(pause).await;
                continue;
            };
            let connection = Connection::new(&mut self, wire, member);
            let since = connection.said;
            let (end, said) = connection.serve().await;
            let part = |why| self.parted(member, (since, said), why);
            match end {
                End::Lost(why) => part(Some(why)),
                End::Home => {
                    part(None);
                    member = self.habit.member;
                },
                End::Closed => self.begin_again(),
                End::Vanished(tell) => {
                    self.begin_again();
                    // Whoever asked may be gone.
                    tell.send(()).ok();
                },
                End::Over => return,
            }
            self.facts.changed.notify_one();
        }
    }

    fn parted(&self, member: usize, (since, said): (Time, Time), why: Option<String>) {
        let (at, session) = (self.world.clock.now_us(), self.session.number);
        self.world.notes.open().partings.push(Parting {
            at,
            session,
            member,
            since,
            said,
            why,
        });
    }

    /// A connection to `member` with a session that is not over.
    async fn connect(&mut self, member: usize) -> Option<Wire> {
        let address = *self.world.members.get(member)?;
        let (ticket, last_zxid) = (self.session.ticket, self.session.last_zxid);
        let (wire, granted) = Wire::open(address, ticket, last_zxid).await.ok()?;
        if granted.timeout_ms <= 0 || granted.id == 0 {
            self.begin_again();
            return None;
        }
        self.session.ticket = granted;
        Some(wire)
    }

    /// The session is over, or will be when the store finds out.
    fn begin_again(&mut self) {
        let Session { number, lived, .. } = self.session;
        self.world.notes.open().ended.insert(number, lived);
        self.session = Session::new(&self.world, self.habit.timeout_ms);
        self.facts
            .session
            .store(self.session.number, Ordering::Relaxed);
        self.facts.changed.notify_one();
    }
}

/// A session at a member.
struct Connection<'a> {
    actor: &'a mut Actor,
    wire: Wire,
    member: usize,
    pending: VecDeque<Pending>,
    xid: i32,
    heard: Instant,
    /// When something was sent last.
    said: Time,
}

impl<'a> Connection<'a> {
    fn new(actor: &'a mut Actor, wire: Wire, member: usize) -> Self {
        Self {
            said: actor.world.clock.now_us(),
            actor,
            wire,
            member,
            pending: VecDeque::new(),
            xid: 0,
            heard: Instant::now(),
        }
    }

    /// Serves until the connection ends, and says when it last sent something; what is under way
    /// then is unknown.
    async fn serve(mut self) -> (End, Time) {
        let end = match self.listen().await {
            Ok(end) => end,
            Err(why) => End::Lost(why),
        };
        for pending in std::mem::take(&mut self.pending) {
            self.note(&pending, None);
            if let Some(tell) = pending.tell {
                tell.send(Err(Unknown)).ok();
            }
        }
        (end, self.said)
    }

    async fn listen(&mut self) -> Result<End, String> {
        self.watch_again().await?;
        let timeout = self.actor.session.ticket.timeout_ms.unsigned_abs();
        let timeout = Duration::from_millis(timeout.into());
        let mut pings = interval(timeout / 4);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let silence_max = SILENCE_MIN.max(timeout * 2 / 3);
        let is_away = self.member != self.actor.habit.member;
        let away = AWAY + self.actor.random.up_to(AWAY);
        let mut home = std::pin::pin!(sleep(away));
        let mut goes_home = false;
        loop {
            if goes_home && self.pending.is_empty() {
                return Ok(End::Home);
            }
            let takes_more = !goes_home && self.pending.len() < PIPELINE_MAX;
            tokio::select! {
                message = self.wire.next() => {
                    let message = message.map_err(|error| error.to_string())?;
                    self.heard = Instant::now();
                    if self.hear(&message)? {
                        return Ok(End::Closed);
                    }
                },
                () = &mut home, if is_away && !goes_home => goes_home = true,
                job = self.actor.jobs.recv(), if takes_more => match job {
                    Some(Job::Ask(asked, tell)) => self.send(asked, tell).await?,
                    Some(Job::Vanish(tell)) => return Ok(End::Vanished(tell)),
                    None => return Ok(End::Over),
                },
                _ = pings.tick() => {
                    if self.heard.elapsed() > silence_max {
                        return Err("the member is silent".to_owned());
                    }
                    let mut out = Vec::new();
                    wire::append(&mut out, XID_PING, &Request::Ping);
                    self.put(&out).await?;
                },
            }
        }
    }

    async fn put(&mut self, frames: &[u8]) -> Result<(), String> {
        let sent = self.wire.send(frames).await;
        self.said = self.actor.world.clock.now_us();
        sent.map_err(|error| error.to_string())
    }

    /// Sets the watches again that the last connection took with it.
    async fn watch_again(&mut self) -> Result<(), String> {
        let session = &self.actor.session;
        if session.data.is_empty() && session.exist.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        let again = SetWatches {
            relative_zxid: session.last_zxid,
            data: session.data.iter().map(|path| &**path).collect(),
            exist: session.exist.iter().map(|path| &**path).collect(),
            children: Vec::new(),
        };
        wire::append(&mut out, XID_SET_WATCHES, &Request::SetWatches(again));
        self.put(&out).await
    }

    async fn send(&mut self, asked: Asked, tell: oneshot::Sender<Told>) -> Result<(), String> {
        let invoked = self.actor.world.clock.now_us();
        let mut out = Vec::new();
        if matches!(asked, Asked::Get { synced: true, .. }) {
            self.ask(&mut out, (Asked::Sync, invoked), None);
        }
        self.ask(&mut out, (asked, invoked), Some(tell));
        self.put(&out).await
    }

    fn ask(
        &mut self,
        out: &mut Vec<u8>,
        (asked, invoked): (Asked, u64),
        tell: Option<oneshot::Sender<Told>>,
    ) {
        self.xid += 1;
        wire::ask(out, self.xid, &asked);
        self.pending.push_back(Pending {
            xid: self.xid,
            asked,
            invoked,
            tell,
        });
    }

    /// Takes one message; whether it ended the session.
    fn hear(&mut self, message: &[u8]) -> Result<bool, String> {
        let (header, body) = wire::header(message).map_err(|why| self.malformed(why))?;
        match header.xid {
            XID_PING | XID_SET_WATCHES => return Ok(false),
            XID_WATCH => {
                let event = Reader::new(body).read::<Event<'_>>();
                let event = event.map_err(|error| self.malformed(error.to_string()))?;
                self.fire(event.path.into(), header.zxid);
                return Ok(false);
            },
            _ => {},
        }
        let Some(pending) = self.pending.pop_front() else {
            return Err(self.malformed(format!("reply {} to nothing", header.xid)));
        };
        if pending.xid != header.xid {
            let why = format!("reply {} where {} is due", header.xid, pending.xid);
            self.pending.push_front(pending);
            return Err(self.malformed(why));
        }
        let answer = match wire::answer(&pending.asked, header.error, body) {
            Ok(answer) => answer,
            Err(why) => {
                self.pending.push_front(pending);
                return Err(self.malformed(why));
            },
        };
        self.actor.session.lived = pending.invoked;
        self.learn(&pending.asked, &answer, header.zxid);
        let at = self.actor.world.clock.now_us();
        let zxid = header.zxid;
        let is_over = pending.asked == Asked::Close && answer == Answer::Done;
        self.note(
            &pending,
            Some(Reply {
                at,
                zxid,
                answer: answer.clone(),
            }),
        );
        if let Some(tell) = pending.tell {
            // Whoever asked may be gone; the history has it.
            tell.send(Ok(answer)).ok();
        }
        Ok(is_over)
    }

    fn learn(&mut self, asked: &Asked, answer: &Answer, zxid: i64) {
        let session = &mut self.actor.session;
        session.last_zxid = session.last_zxid.max(zxid);
        match (asked, answer) {
            (Asked::Get { path, watch, .. }, Answer::Data { .. }) if *watch => {
                session.data.insert(Arc::clone(path));
            },
            (Asked::Exists { path }, Answer::Version { .. }) => {
                session.data.insert(Arc::clone(path));
            },
            (Asked::Exists { path }, Answer::Refused(Code::NoNode)) => {
                session.exist.insert(Arc::clone(path));
            },
            _ => {},
        }
    }

    fn fire(&mut self, path: Path, zxid: i64) {
        let session = &mut self.actor.session;
        session.data.remove(&path);
        session.exist.remove(&path);
        let at = self.actor.world.clock.now_us();
        self.actor.world.notes.push(Entry {
            session: self.actor.session.number,
            member: self.member,
            invoked: at,
            asked: Asked::Event {
                path: Arc::clone(&path),
            },
            reply: Some(Reply {
                at,
                zxid,
                answer: Answer::Done,
            }),
        });
        let facts = &self.actor.facts;
        let mut fired = facts.fired.lock().unwrap_or_else(PoisonError::into_inner);
        fired.push(path);
        drop(fired);
        facts.changed.notify_one();
    }

    fn note(&self, pending: &Pending, reply: Option<Reply>) {
        self.actor.world.notes.push(Entry {
            session: self.actor.session.number,
            member: self.member,
            invoked: pending.invoked,
            asked: pending.asked.clone(),
            reply,
        });
    }

    /// A message that no server may send ends the connection and fails the drill.
    fn malformed(&self, why: String) -> String {
        let note = format!("member {}: {why}", self.member + 1);
        self.actor.world.notes.open().malformed.push(note);
        why
    }
}
