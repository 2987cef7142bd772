//! A network in virtual time: pieces of streams take as long as the seed says.
//!
//! Prevents orders of messages that no test thought of from being met in production first. Bytes
//! of a connection keep their order and are never lost while it lives, as with TCP; a connection
//! that is cut holds them back, one that is reset ends, and a machine that lost its power says
//! nothing, not even goodbye, until it is there again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Ready, ready};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_keeper::network::{Listener, Network};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::trace::Trace;

mod pipe;

pub use pipe::Stream;

use pipe::Pipe;

/// Connections that were not accepted yet.
const BACKLOG: usize = 64;

/// How long a piece of a stream is under way: as chance has it, between these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The least.
    pub least: Duration,
    /// The most.
    pub most: Duration,
}

impl Latency {
    fn draw(self, random: &mut Random) -> Duration {
        self.least + random.up_to(self.most.saturating_sub(self.least))
    }
}

/// The network; clones are the same one.
#[derive(Clone, Debug)]
pub struct SimulatedNetwork(Arc<World>);

#[derive(Debug)]
struct World {
    map: Mutex<Map>,
    /// A cut healed, or a machine came back.
    changed: Notify,
    trace: Trace,
}

#[derive(Debug)]
struct Map {
    listeners: BTreeMap<String, mpsc::Sender<Stream>>,
    pipes: Vec<Weak<Mutex<Pipe>>>,
    /// Nothing gets from the first to the second.
    cut: BTreeSet<(String, String)>,
    /// Machines without power.
    off: BTreeSet<String>,
    latency: Latency,
    random: Random,
    made: u64,
}

/// The network as the machine at one address sees it.
#[derive(Clone, Debug)]
pub struct Host {
    world: Arc<World>,
    name: String,
}

/// Where connections come in.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Stream>);

impl SimulatedNetwork {
    /// A network without anybody.
    pub fn new(random: Random, latency: Latency, trace: Trace) -> Self {
        Self(Arc::new(World {
            map: Mutex::new(Map {
                listeners: BTreeMap::new(),
                pipes: Vec::new(),
                cut: BTreeSet::new(),
                off: BTreeSet::new(),
                latency,
                random,
                made: 0,
            }),
            changed: Notify::new(),
            trace,
        }))
    }

    /// The network as `name` sees it.
    pub fn host(&self, name: &str) -> Host {
        Host {
            world: Arc::clone(&self.0),
            name: name.to_owned(),
        }
    }

    /// From now on nothing gets from `from` to `to`; the other way is as it was.
    pub fn cut(&self, from: &str, to: &str) {
        let mut map = self.0.map();
        map.cut.insert((from.to_owned(), to.to_owned()));
        map.apply_cuts();
    }

    /// Nothing is cut any more.
    pub fn heal(&self) {
        let mut map = self.0.map();
        map.cut.clear();
        map.apply_cuts();
        drop(map);
        self.0.changed.notify_waiters();
    }

    /// From now on pieces take so long.
    pub fn latency(&self, latency: Latency) {
        let mut map = self.0.map();
        map.latency = latency;
        map.each(|pipe| pipe.latency = latency);
    }

    /// All connections of `name` end with an error, at both ends.
    pub fn reset(&self, name: &str) {
        self.0.map().each(|pipe| {
            if pipe.is_of(name) {
                pipe.reset();
            }
        });
    }

    /// The machine at `name` loses its power: nobody hears anything of it any more.
    pub fn power_off(&self, name: &str) {
        let mut map = self.0.map();
        map.off.insert(name.to_owned());
        map.listeners
            .retain(|address, _| machine_of(address) != name);
        map.each(|pipe| {
            if pipe.is_of(name) {
                pipe.silence();
            }
        });
    }

    /// The machine at `name` has power again, and knows nothing of its connections.
    pub fn power_on(&self, name: &str) {
        self.0.map().off.remove(name);
        self.reset(name);
        self.0.changed.notify_waiters();
    }
}

/// Whose address it is: `2:clients` is machine 2's.
fn machine_of(address: &str) -> &str {
    address.split(':').next().unwrap_or(address)
}

impl World {
    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn each(&mut self, mut act: impl FnMut(&mut Pipe)) {
        self.pipes.retain(|pipe| pipe.strong_count() > 0);
        for pipe in self.pipes.iter().filter_map(Weak::upgrade) {
            act(&mut pipe::lock(&pipe));
        }
    }

    fn apply_cuts(&mut self) {
        let cut = self.cut.clone();
        self.each(|pipe| {
            let is_cut = cut.contains(&pipe.direction);
            pipe.cut(is_cut);
        });
    }

    fn is_open(&self, one: &str, other: &str) -> bool {
        let cut = |from: &str, to: &str| self.cut.contains(&(from.to_owned(), to.to_owned()));
        !cut(one, other) && !cut(other, one) && !self.off.contains(other)
    }

    fn pipe(&mut self, from: &str, to: &str, trace: &Trace) -> Arc<Mutex<Pipe>> {
        self.made += 1;
        let random = self.random.fork(&format!("pipe {}", self.made));
        let direction = (from.to_owned(), to.to_owned());
        let pipe = Pipe::new(direction, self.latency, random, trace.clone());
        let pipe = Arc::new(Mutex::new(pipe));
        self.pipes.push(Arc::downgrade(&pipe));
        pipe
    }

    /// A connection between two, an end for each.
    fn connect(&mut self, from: &str, to: &str, trace: &Trace) -> (Stream, Stream) {
        let there = self.pipe(from, to, trace);
        let back = self.pipe(to, from, trace);
        let near = Stream::new(Arc::clone(&back), Arc::clone(&there));
        (near, Stream::new(there, back))
    }
}

impl Network for Host {
    type Stream = Stream;
    type Listener = Incoming;

    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let machine = machine_of(address);
        loop {
            let changed = self.world.changed.notified();
            let is_open = self.world.map().is_open(&self.name, machine);
            if is_open {
                break;
            }
            changed.await;
        }
        let way = {
            let map = &mut *self.world.map();
            map.latency.draw(&mut map.random) + map.latency.draw(&mut map.random)
        };
        sleep(way).await;
        let mut map = self.world.map();
        let listener = map.listeners.get(address).cloned();
        let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, far) = map.connect(&self.name, machine, &self.world.trace);
        drop(map);
        listener
            .try_send(far)
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        self.world
            .trace
            .note(format_args!("connect {} {address}", self.name));
        Ok(near)
    }

    async fn listen(&self, address: &str) -> io::Result<Incoming> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.world
            .map()
            .listeners
            .insert(address.to_owned(), sender);
        Ok(Incoming(receiver))
    }
}

impl Listener for Incoming {
    type Stream = Stream;
    type Opening = Ready<io::Result<Stream>>;

    async fn accept(&mut self) -> io::Result<Self::Opening> {
        let stream = self.0.recv().await.ok_or(io::ErrorKind::AddrInUse)?;
        Ok(ready(Ok(stream)))
    }
}
