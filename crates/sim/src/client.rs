//! A client: sessions that move between members, reads, writes, watches, ephemeral nodes, a lock.
//!
//! Prevents a history that is polite: the client asks several things at once, loses its
//! connections, is silent for too long, and goes on with its work before it knows that it lost the
//! lock.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::random::Random;
use tokio::time::{Instant, sleep, timeout};

use crate::facts::Facts;
use crate::history::History;
use crate::key::Key;
use crate::machine;
use crate::network::Host;
use crate::property::MemberId;

mod ask;
mod hear;
mod wire;

use ask::{Under, What};
use wire::{Shaken, Wire};

/// Between tries to connect.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Between two batches of requests.
const THINK_MAX: Duration = Duration::from_millis(60);

/// What all clients are told.
#[derive(Debug, Default)]
pub struct Orders {
    /// They end, and close their sessions or leave them.
    pub over: AtomicBool,
}

/// What a client is made of.
#[derive(Debug)]
pub struct Client {
    /// Its number, from one.
    pub number: u64,
    /// The network as it sees it.
    pub host: Host,
    /// How many members there are.
    pub members: u64,
    /// Its chance.
    pub random: Random,
    /// What is known.
    pub facts: Facts,
    /// What clients did.
    pub history: History,
    /// What all clients are told.
    pub orders: Arc<Orders>,
    /// How many answers it got.
    pub answers: Arc<AtomicU64>,
    /// Whether what the lock protects looks at tokens.
    pub is_fenced: bool,
}

/// A session, as its client knows it.
#[derive(Debug)]
struct Session {
    /// Zero before it began.
    id: i64,
    password: Vec<u8>,
    /// What is asked for.
    wanted: Duration,
    /// What was granted.
    timeout: Duration,
    /// The newest transaction that it has seen.
    zxid: i64,
    /// Watches that have told nothing yet, with what their reads had seen.
    watches: BTreeMap<Key, Watching>,
    ephemerals: u64,
}

#[derive(Clone, Copy, Debug)]
struct Watching {
    /// The read was up to date with this.
    zxid: u64,
    /// It waits for a node that was not there.
    awaits: bool,
}

/// The lock, as its holder knows it.
#[derive(Clone, Copy, Debug)]
struct Holding {
    hold: usize,
    token: u64,
}

/// A client at work.
#[derive(Debug)]
struct Life {
    client: Client,
    session: Session,
    holding: Option<Holding>,
    /// Requests that were not answered, in order.
    under_way: VecDeque<Under>,
    xid: i32,
    values: u64,
    /// Its name in the sampled history: another one after each crash.
    sampling: u64,
    member: MemberId,
}

impl Session {
    fn new(random: &mut Random) -> Self {
        Self {
            id: 0,
            password: vec![0; 16],
            wanted: Duration::from_millis(1_500 + random.below(4_000)),
            timeout: Duration::from_secs(4),
            zxid: 0,
            watches: BTreeMap::new(),
            ephemerals: 0,
        }
    }
}

impl Client {
    /// Makes the nodes that are there from the beginning; answers how many are there.
    pub async fn prepare(self) -> usize {
        let mut life = Life::new(self);
        let mut made = 0;
        for key in Key::initial() {
            let what = life.make(key);
            made += usize::from(life.until_answered(what).await);
        }
        life.close().await;
        made
    }

    /// Lives until it is told that it is over.
    pub async fn live(self) {
        let mut life = Life::new(self);
        while !life.is_over() {
            let Ok(mut wire) = life.connect().await else {
                sleep(life.client.random.up_to(AGAIN_AFTER)).await;
                continue;
            };
            let lost = life.serve(&mut wire).await;
            life.lose();
            if lost.is_ok() {
                return;
            }
        }
    }
}

impl Life {
    fn new(mut client: Client) -> Self {
        let session = Session::new(&mut client.random);
        Self {
            sampling: client.number * 10_000,
            client,
            session,
            holding: None,
            under_way: VecDeque::new(),
            xid: 0,
            values: 0,
            member: 1,
        }
    }

    fn is_over(&self) -> bool {
        self.client.orders.over.load(Ordering::Relaxed)
    }

    /// A connection to some member, with a session.
    async fn connect(&mut self) -> io::Result<Wire> {
        self.member = 1 + self.client.random.below(self.client.members);
        let address = machine::clients(self.member);
        let asked = Instant::now();
        let open = Wire::open(&self.client.host, &address, &self.session).await;
        let (wire, shaken) = open?;
        let facts = &self.client.facts;
        let (number, member) = (self.client.number, self.member);
        match shaken {
            Shaken::Over => {
                let id = self.session.id;
                facts.trace.note(format_args!("over {number} {id:x}"));
                facts.met("client heard that its session is over");
                self.session = Session::new(&mut self.client.random);
                self.holding = None;
                Err(io::ErrorKind::NotConnected.into())
            },
            Shaken::Session {
                id,
                password,
                timeout,
            } => {
                facts
                    .trace
                    .note(format_args!("session {number} {member} {id:x}"));
                if self.session.id == id {
                    facts.met("session went on elsewhere");
                }
                self.session.id = id;
                self.session.password = password;
                self.session.timeout = timeout;
                self.heard(asked);
                Ok(wire)
            },
        }
    }

    /// Works on a connection until it is lost; `Ok` when the client ends.
    async fn serve(&mut self, wire: &mut Wire) -> io::Result<()> {
        let mut out = Vec::new();
        self.watch_again(&mut out);
        self.exchange(wire, &out).await?;
        while !self.is_over() {
            sleep(self.client.random.up_to(THINK_MAX)).await;
            if self.client.random.below(50) == 0 {
                let silence = self.session.timeout * 5 / 2;
                sleep(self.client.random.up_to(silence)).await;
            }
            self.use_lock();
            let mut out = Vec::new();
            self.ask_some(&mut out);
            self.exchange(wire, &out).await?;
        }
        if self.client.random.below(2) == 0 {
            let mut out = Vec::new();
            self.ask_to_close(&mut out);
            self.exchange(wire, &out).await?;
        }
        Ok(())
    }

    /// Sends requests, and hears until all are answered.
    async fn exchange(&mut self, wire: &mut Wire, out: &[u8]) -> io::Result<()> {
        wire.send(out).await?;
        let patience = self.session.timeout * 2 / 3;
        while !self.under_way.is_empty() {
            let message = timeout(patience, wire.message()).await;
            let message = message.map_err(|_| io::ErrorKind::TimedOut)??;
            self.hear(&message)?;
        }
        Ok(())
    }

    /// Asks one thing until it is answered, one way or another.
    async fn until_answered(&mut self, what: What) -> bool {
        for _ in 0..100 {
            let Ok(mut wire) = self.connect().await else {
                sleep(AGAIN_AFTER).await;
                continue;
            };
            let mut out = Vec::new();
            self.ask_sampled(&mut out, what);
            let answered = self.exchange(&mut wire, &out).await;
            self.lose();
            if answered.is_ok() {
                return true;
            }
        }
        false
    }

    async fn close(&mut self) {
        if let Ok(mut wire) = self.connect().await {
            let mut out = Vec::new();
            self.ask_to_close(&mut out);
            // Whoever does not hear it will notice the silence.
            self.exchange(&mut wire, &out).await.ok();
        }
    }
}
