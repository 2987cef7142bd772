//! All connections of a load, on one `epoll`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::event::{Timespec, epoll};

use crate::clock;
use crate::connection::Connection;
use crate::operation::Operation;
use crate::protocol::{Client, Protocol, What};

/// Looked at in one call.
const EVENTS: usize = 256;
/// How long a server may take to open what was connected, and to say goodbye.
const OPEN_MAX: Duration = Duration::from_mins(1);

/// What was heard, where and when.
#[derive(Debug)]
pub struct Heard {
    /// The connection's number.
    pub connection: usize,
    /// When it was read.
    pub at: Instant,
    /// What it was; an error when the connection is lost.
    pub what: Result<What>,
}

/// Connections, by number.
pub struct Crowd {
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Those that have something to write.
    speaking: BTreeSet<usize>,
    ready: Vec<epoll::Event>,
    scratch: Vec<u8>,
    said: Vec<What>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            speaking: BTreeSet::new(),
            ready: Vec::with_capacity(EVENTS),
            scratch: Vec::new(),
            said: Vec::new(),
        })
    }

    /// `count` connections, spread evenly over `addresses`, all open.
    pub fn open(protocol: Protocol, addresses: &[SocketAddr], count: usize) -> Result<Self> {
        let mut crowd = Self::new()?;
        for &address in addresses.iter().cycle().take(count) {
            crowd.join(address, protocol.client())?;
        }
        crowd.settle(count)?;
        Ok(crowd)
    }

    /// One more; its number.
    pub fn join(&mut self, address: SocketAddr, client: Box<dyn Client>) -> Result<usize> {
        let number = self.connections.len();
        self.connections.push(None);
        self.put(number, Connection::open(address, client)?)?;
        Ok(number)
    }

    /// A connection that was lost is made again elsewhere.
    pub fn join_again(
        &mut self,
        number: usize,
        address: SocketAddr,
        client: Box<dyn Client>,
    ) -> Result<()> {
        self.put(number, Connection::open(address, client)?)
    }

    fn put(&mut self, number: usize, connection: Connection) -> Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &connection.stream, data, epoll::EventFlags::IN)?;
        self.connections[number] = Some(connection);
        self.speaking.insert(number);
        Ok(())
    }

    /// Drops what is left of a lost connection, and returns who spoke on it.
    pub fn lose(&mut self, number: usize) -> Option<Box<dyn Client>> {
        self.speaking.remove(&number);
        self.connections[number].take().map(|lost| lost.client)
    }

    /// Waits until `count` connections have opened.
    pub fn settle(&mut self, count: usize) -> Result<()> {
        self.wait("open", count, |what| matches!(what, What::Open))
    }

    /// Waits until so much was heard of a kind.
    pub fn wait(&mut self, name: &str, count: usize, is_it: impl Fn(&What) -> bool) -> Result<()> {
        let end = clock::now() + OPEN_MAX;
        let (mut found, mut heard) = (0, Vec::new());
        while found < count {
            if clock::now() > end {
                bail!("waited for {count} {name}, had {found}");
            }
            self.turn(Duration::from_millis(100), &mut heard)?;
            for one in heard.drain(..) {
                match one.what? {
                    What::Refused(_, why) => bail!("{name}: {why}"),
                    what => found += usize::from(is_it(&what)),
                }
            }
        }
        Ok(())
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.connections.len()
    }

    /// Asks on one of them; it is sent with the next turn.
    pub fn ask(&mut self, number: usize, operation: Operation, token: u32) {
        if let Some(Some(connection)) = self.connections.get_mut(number) {
            connection.client.ask(operation, token, &mut connection.out);
            self.speaking.insert(number);
        }
    }

    /// Writes what is to be sent, waits until something comes or the time is over, reads it.
    pub fn turn(&mut self, timeout: Duration, heard: &mut Vec<Heard>) -> Result<()> {
        self.write_all(heard);
        self.ready.clear();
        let timeout = Timespec::try_from(timeout)?;
        let buffer = rustix::buffer::spare_capacity(&mut self.ready);
        match epoll::wait(&self.epoll, buffer, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {},
            Err(error) => return Err(error.into()),
        }
        for event in &self.ready {
            // Copied: the kernel's events are packed.
            let (data, flags) = (event.data, event.flags);
            let number = usize::try_from(data.u64())?;
            let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else {
                continue;
            };
            let read = connection.read(&mut self.scratch, &mut self.said);
            let at = clock::now();
            heard.extend(self.said.drain(..).map(|what| Heard {
                connection: number,
                at,
                what: Ok(what),
            }));
            let more_room = flags.contains(epoll::EventFlags::OUT);
            if more_room || !connection.out.is_empty() {
                self.speaking.insert(number);
            }
            if let Err(error) = read {
                let what = Err(error);
                self.speaking.remove(&number);
                heard.push(Heard {
                    connection: number,
                    at,
                    what,
                });
            }
        }
        Ok(())
    }

    fn write_all(&mut self, heard: &mut Vec<Heard>) {
        for number in std::mem::take(&mut self.speaking) {
            if let Err(error) = self.write(number) {
                heard.push(Heard {
                    connection: number,
                    at: clock::now(),
                    what: Err(error),
                });
            }
        }
    }

    fn write(&mut self, number: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else {
            return Ok(());
        };
        let has_waited = connection.is_waiting;
        connection.is_waiting = !connection.write()?;
        if connection.is_waiting == has_waited {
            return Ok(());
        }
        self.interest(number)
    }

    /// Asks to be told when more can be written, where something waits for that.
    fn interest(&self, number: usize) -> Result<()> {
        let connection = self.connections.get(number).and_then(Option::as_ref);
        let connection = connection.context("a connection that is there")?;
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, connection.is_waiting);
        let data = epoll::EventData::new_u64(number as u64);
        epoll::modify(&self.epoll, &connection.stream, data, flags)?;
        Ok(())
    }

    /// Says goodbye everywhere, and waits until it was heard.
    pub fn leave(mut self) -> Result<()> {
        let mut expected = 0;
        for (number, connection) in self.connections.iter_mut().enumerate() {
            if let Some(Connection { client, out, .. }) = connection {
                expected += usize::from(client.leave(out));
                self.speaking.insert(number);
            }
        }
        let end = clock::now() + OPEN_MAX;
        let (mut gone, mut heard) = (0, Vec::new());
        while gone < expected {
            if clock::now() > end {
                return Err(anyhow!("{gone} of {expected} goodbyes were heard"));
            }
            self.turn(Duration::from_millis(100), &mut heard)?;
            let over = heard.drain(..);
            for one in over.filter(|one| matches!(one.what, Ok(What::Done(_)) | Err(_))) {
                gone += 1;
                self.lose(one.connection);
            }
        }
        Ok(())
    }
}
