//! A network in memory, that can be cut, slowed and reset.
//!
//! Prevents code for bad days from being run on them only. As with TCP, bytes of a connection that
//! is cut are late, not lost: they go on when the cut heals, unless somebody gave up before.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Ready, ready};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Listener, Network};

/// Bytes on their way in one connection.
const WINDOW_BYTES: usize = 256 * 1_024;

/// Pieces on their way in one direction of a connection.
const PIECES: usize = 64;

/// Connections that were not accepted yet.
const BACKLOG: usize = 64;

/// The network; clones are the same network. A member sees it through [`host`](Self::host).
#[derive(Clone, Debug)]
pub struct MemoryNetwork(Arc<World>);

/// The network as one member sees it, whose address it is.
#[derive(Clone, Debug)]
pub struct Host {
    world: Arc<World>,
    name: String,
}

/// Where connections come in.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<DuplexStream>);

#[derive(Debug)]
struct World {
    rules: watch::Sender<Rules>,
    listeners: Mutex<BTreeMap<String, mpsc::Sender<DuplexStream>>>,
    pumps: Mutex<JoinSet<()>>,
}

#[derive(Clone, Debug, Default)]
struct Rules {
    /// Nothing gets from the first to the second.
    cut: BTreeSet<(String, String)>,
    delay: Duration,
    /// Connections that began before are gone.
    resets: u64,
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self(Arc::new(World {
            rules: watch::Sender::new(Rules::default()),
            listeners: Mutex::default(),
            pumps: Mutex::default(),
        }))
    }
}

impl MemoryNetwork {
    /// The network as the member at `address` sees it.
    pub fn host(&self, address: &str) -> Host {
        Host {
            world: Arc::clone(&self.0),
            name: address.to_owned(),
        }
    }

    /// From now on nothing gets from `from` to `to`; the other way is as it was.
    pub fn cut(&self, from: &str, to: &str) {
        let pair = (from.to_owned(), to.to_owned());
        self.0.rules.send_modify(|rules| {
            rules.cut.insert(pair);
        });
    }

    /// From now on nothing gets from one of `here` to one of `there`, nor back.
    pub fn part(&self, here: &[&str], there: &[&str]) {
        for here in here {
            for there in there {
                self.cut(here, there);
                self.cut(there, here);
            }
        }
    }

    /// All cuts heal.
    pub fn heal(&self) {
        self.0.rules.send_modify(|rules| rules.cut.clear());
    }

    /// From now on each piece of a stream takes so long.
    pub fn delay(&self, delay: Duration) {
        self.0.rules.send_modify(|rules| rules.delay = delay);
    }

    /// All connections are gone at once.
    pub fn reset(&self) {
        self.0.rules.send_modify(|rules| rules.resets += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rules {
    fn is_cut(&self, (from, to): &(String, String)) -> bool {
        self.cut.contains(&(from.clone(), to.clone()))
    }
}

impl Network for Host {
    type Stream = DuplexStream;
    type Listener = Incoming;

    async fn connect(&self, address: &str) -> io::Result<DuplexStream> {
        let there = (self.name.clone(), address.to_owned());
        let back = (address.to_owned(), self.name.clone());
        let mut rules = self.world.rules.subscribe();
        let open = |rules: &Rules| !rules.is_cut(&there) && !rules.is_cut(&back);
        rules
            .wait_for(open)
            .await
            .map_err(|_gone| io::ErrorKind::NetworkDown)?;
        let listener = lock(&self.world.listeners).get(address).cloned();
        let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (mine, near) = tokio::io::duplex(WINDOW_BYTES);
        let (theirs, far) = tokio::io::duplex(WINDOW_BYTES);
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        listener
            .try_send(theirs)
            .map_err(|_full| io::ErrorKind::ConnectionRefused)?;
        let mut pumps = lock(&self.world.pumps);
        while pumps.try_join_next().is_some() {}
        let resets = rules.borrow().resets;
        pumps.spawn(pump((near_read, far_write), rules.clone(), resets, there));
        pumps.spawn(pump((far_read, near_write), rules, resets, back));
        Ok(mine)
    }

    async fn listen(&self, address: &str) -> io::Result<Incoming> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        lock(&self.world.listeners).insert(address.to_owned(), sender);
        Ok(Incoming(receiver))
    }
}

/// Carries bytes in one direction, until the connection ends.
async fn pump(
    (mut from, mut to): (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>),
    mut rules: watch::Receiver<Rules>,
    resets: u64,
    direction: (String, String),
) {
    let (mut reset, delays) = (rules.clone(), rules.clone());
    let (under_way, mut arriving) = mpsc::channel(PIECES);
    let take = async move {
        let mut bytes = vec![0; 64 * 1_024];
        loop {
            let read = from.read(&mut bytes).await?;
            // What was sent first is not in the way of what was sent a little later.
            let due = Instant::now() + delays.borrow().delay;
            let piece = bytes[..read].to_vec();
            if under_way.send((due, piece)).await.is_err() || read == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let give = async {
        while let Some((due, piece)) = arriving.recv().await {
            let open = rules.wait_for(|rules| !rules.is_cut(&direction)).await;
            drop(open.map_err(|_gone| io::ErrorKind::NetworkDown)?);
            sleep_until(due).await;
            if piece.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    let carry = async { tokio::try_join!(take, give) };
    tokio::select! {
        // Whoever held the other end sees that it ended.
        _ended = carry => {},
        _reset = reset.wait_for(|rules| rules.resets > resets) => {},
    }
}

impl Listener for Incoming {
    type Stream = DuplexStream;
    type Opening = Ready<io::Result<DuplexStream>>;

    async fn accept(&mut self) -> io::Result<Self::Opening> {
        let stream = self.0.recv().await.ok_or(io::ErrorKind::AddrInUse)?;
        Ok(ready(Ok(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair(network: &MemoryNetwork) -> (DuplexStream, DuplexStream) {
        let mut incoming = network.host("b").listen("b").await.expect("listens");
        let near = network.host("a").connect("b").await.expect("connects");
        let far = incoming.accept().await.expect("accepts").await;
        (near, far.expect("opens"))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_cut_in_one_direction_still_comes_from_the_other() {
        let network = MemoryNetwork::default();
        let (mut near, mut far) = pair(&network).await;
        network.cut("a", "b");
        near.write_all(b"x").await.expect("buffered");
        far.write_all(b"y").await.expect("buffered");
        assert_eq!(near.read_u8().await.expect("that way is open"), b'y');
        let waits = tokio::time::timeout(Duration::from_secs(1), far.read_u8());
        assert!(waits.await.is_err(), "it is cut");
        network.heal();
        assert_eq!(far.read_u8().await.expect("it is late, not lost"), b'x');
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_reset_both_ends_see_the_end() {
        let network = MemoryNetwork::default();
        let (mut near, mut far) = pair(&network).await;
        network.reset();
        let mut byte = [0];
        assert_eq!(near.read(&mut byte).await.expect("the end"), 0);
        assert_eq!(far.read(&mut byte).await.expect("the end"), 0);
    }
}
