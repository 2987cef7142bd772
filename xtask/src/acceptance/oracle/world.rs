//! One server and the clients of a chapter.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mainstay_zk_proto::handshake::{ConnectRequest, ConnectResponse, PASSWORD_BYTES};
use mainstay_zk_proto::header::ReplyHeader;
use mainstay_zk_proto::jute::{Jute as _, Reader, read_all};
use mainstay_zk_proto::{Opcode, frame};

use super::ask::{Ask, Watched, XID_SET_WATCHES};
use super::sight::{Seen, Sight, Waiting};
use super::story::{CLIENTS, Deed, Step};

/// A server that is silent for this long hangs.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Who prepares a chapter and looks at what is left of it: not one of its clients.
pub(super) const KEEPER: usize = CLIENTS;
const WRONG_PASSWORD: [u8; PASSWORD_BYTES] = [1; PASSWORD_BYTES];

/// One server as a chapter sees it.
#[derive(Debug)]
pub(super) struct World {
    address: SocketAddr,
    pub(super) sight: Sight,
    clients: [Client; CLIENTS + 1],
    /// Sessions that nobody comes back to. They are ended by hand, for time is not compared.
    abandoned: Vec<(i64, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Client {
    connection: Option<Connection>,
    session: i64,
    password: Vec<u8>,
    zxid_seen: i64,
    waiting: VecDeque<Waiting>,
}

/// A connection, and what came and was not looked at yet.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl World {
    pub(super) fn new(address: SocketAddr, root: String) -> Self {
        Self {
            address,
            sight: Sight::new(root),
            clients: std::array::from_fn(|_| Client::default()),
            abandoned: Vec::new(),
        }
    }

    /// Which clients have a connection.
    pub(super) fn connected(&self) -> [bool; CLIENTS] {
        std::array::from_fn(|client| self.clients[client].connection.is_some())
    }

    /// Sends what one client asks in a row; `first` is the number of the first request.
    pub(super) fn send(&mut self, client: usize, first: usize, asks: &[&Ask]) -> Result<()> {
        let root = &self.sight.root;
        let client = &mut self.clients[client];
        let Some(connection) = &mut client.connection else {
            return Ok(());
        };
        let mut out = Vec::new();
        for (ask, request) in asks.iter().zip(first..) {
            let number = i32::try_from(request)? + 1;
            ask.write(root, number, &mut out);
            client.waiting.push_back(Waiting {
                request,
                opcode: ask.opcode,
                xid: ask.xid(number),
            });
        }
        // Who is cut off hears of it when it listens.
        drop(connection.stream.write_all(&out));
        Ok(())
    }

    /// What the client hears until all of its requests are answered, or the connection ends.
    pub(super) fn hear(&mut self, client: usize) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        while !self.clients[client].waiting.is_empty() {
            let Some(message) = self.clients[client].message()? else {
                self.cut(client);
                seen.push(told("the connection ends"));
                break;
            };
            seen.push(self.understand(client, &message)?);
        }
        // Who ends the session, or is refused, is not answered any more.
        let is_last = seen.iter().rev().find(|seen| seen.request.is_some());
        let is_over = is_last.is_some_and(|last| last.is_end);
        if is_over && self.clients[client].connection.is_some() {
            let rest = self.clients[client].message()?;
            seen.push(told(match rest {
                None => "the connection ends",
                Some(_) => "the connection goes on",
            }));
            self.cut(client);
        }
        Ok(seen)
    }

    fn understand(&mut self, client: usize, message: &[u8]) -> Result<Seen> {
        if Sight::is_event(message) {
            return self.sight.event(message).context("an event");
        }
        let waiting = self.clients[client].waiting.pop_front();
        let waiting = waiting.context("an answer to nothing")?;
        let header: ReplyHeader = Reader::new(message).read()?;
        let client = &mut self.clients[client];
        client.zxid_seen = client.zxid_seen.max(header.zxid);
        let answer = self.sight.answer(message, waiting);
        answer.with_context(|| format!("the answer to {waiting:?}"))
    }

    /// What happened for those who did not ask: events that came until each answers a ping.
    pub(super) fn overhear(&mut self, asker: usize) -> Result<Vec<(usize, Vec<Seen>)>> {
        let others = (0..CLIENTS).filter(|client| *client != asker);
        let others: Vec<usize> = others.collect();
        for &client in &others {
            if self.clients[client].connection.is_some() {
                let ping = Ask::new(Opcode::Ping, "", 0);
                self.send(client, usize::try_from(i32::MAX - 1)?, &[&ping])?;
            }
        }
        let mut all = Vec::new();
        for client in others {
            let mut seen = self.hear(client)?;
            // The ping's own answer says nothing.
            seen.retain(|seen| seen.request.is_none());
            if !seen.is_empty() {
                all.push((client, seen));
            }
        }
        Ok(all)
    }

    /// What else a client does than asking.
    pub(super) fn deed(&mut self, step: &Step) -> Result<Vec<Seen>> {
        let client = step.client;
        match &step.deed {
            Deed::Ask(_) => Ok(Vec::new()),
            Deed::Connect { timeout_ms } => {
                self.cut(client);
                let leaving = &mut self.clients[client];
                let password = std::mem::take(&mut leaving.password);
                self.abandoned.push((leaving.session, password));
                leaving.session = 0;
                leaving.zxid_seen = 0;
                self.shake(client, *timeout_ms, &[0; PASSWORD_BYTES])
            },
            Deed::Cut => {
                self.cut(client);
                Ok(Vec::new())
            },
            Deed::Guess => {
                if self.clients[client].session == 0 {
                    return Ok(Vec::new());
                }
                self.cut(client);
                self.shake(client, 100_000, &WRONG_PASSWORD)
            },
            Deed::Return(watched) => self.come_back(client, watched),
        }
    }

    fn come_back(&mut self, client: usize, watched: &Watched) -> Result<Vec<Seen>> {
        if self.clients[client].session == 0 {
            return Ok(Vec::new());
        }
        self.cut(client);
        let password = self.clients[client].password.clone();
        let mut seen = self.shake(client, 100_000, &password)?;
        let root = &self.sight.root;
        let returned = &mut self.clients[client];
        let Some(connection) = &mut returned.connection else {
            return Ok(seen);
        };
        let mut out = Vec::new();
        watched.write(root, returned.zxid_seen, &mut out);
        drop(connection.stream.write_all(&out));
        returned.waiting.push_back(Waiting {
            request: usize::MAX,
            opcode: Opcode::SetWatches2,
            xid: XID_SET_WATCHES,
        });
        seen.extend(self.hear(client)?);
        // Nobody promises the order in which what was missed is told.
        seen.sort_by(|one, other| one.text.cmp(&other.text));
        Ok(seen)
    }

    fn cut(&mut self, client: usize) {
        self.clients[client].connection = None;
        self.clients[client].waiting.clear();
    }

    fn shake(&mut self, client: usize, timeout_ms: i32, password: &[u8]) -> Result<Vec<Seen>> {
        let shaking = &mut self.clients[client];
        let mut connection = Connection::open(self.address)?;
        let mut out = Vec::new();
        frame::append(&mut out, |out| {
            ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: shaking.zxid_seen,
                timeout_ms,
                session_id: shaking.session,
                password,
                read_only: Some(false),
            }
            .write(out);
        });
        connection.stream.write_all(&out)?;
        let Some(message) = connection.message()? else {
            return Ok(vec![told("no handshake")]);
        };
        let response: ConnectResponse<'_> = read_all(&message)?;
        let timeout_ms = response.timeout_ms;
        let read_only = response.read_only;
        if response.session_id == 0 {
            let end = connection.message()?.is_none();
            let text = format!("no session, {timeout_ms} ms, {read_only:?}, end {end}");
            return Ok(vec![told(text)]);
        }
        shaking.session = response.session_id;
        shaking.password = response.password.to_vec();
        shaking.connection = Some(connection);
        let session = self.sight.session(response.session_id);
        let text = format!("session {session}, {timeout_ms} ms, {read_only:?}");
        Ok(vec![told(text)])
    }

    /// Ends the session of everybody but the [`KEEPER`]; what went with them is gone then.
    pub(super) fn close_all(&mut self) -> Result<()> {
        for (session, password) in std::mem::take(&mut self.abandoned) {
            if session != 0 {
                self.cut(KEEPER - 1);
                let client = &mut self.clients[KEEPER - 1];
                let own = (
                    client.session,
                    std::mem::replace(&mut client.password, password),
                );
                client.session = session;
                self.close(KEEPER - 1)?;
                (
                    self.clients[KEEPER - 1].session,
                    self.clients[KEEPER - 1].password,
                ) = own;
            }
        }
        for client in 0..CLIENTS {
            self.close(client)?;
        }
        Ok(())
    }

    /// Ends a client's session.
    fn close(&mut self, client: usize) -> Result<()> {
        if self.clients[client].connection.is_none() {
            self.come_back(client, &Watched::default())?;
        }
        let close = Ask::new(Opcode::CloseSession, "", 0);
        self.send(client, 0, &[&close])?;
        self.hear(client)?;
        self.cut(client);
        Ok(())
    }
}

fn told(text: impl Into<String>) -> Seen {
    Seen {
        request: None,
        text: text.into(),
        made: None,
        children: Vec::new(),
        is_end: false,
    }
}

impl Client {
    fn message(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.connection {
            Some(connection) => connection.message(),
            None => Ok(None),
        }
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// The next message; `None` at the end.
    fn message(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(length) = frame::length(rest, frame::MESSAGE_BYTES_MAX + 1_024)?
                && rest.len() >= frame::PREFIX_BYTES + length
            {
                let begin = self.start + frame::PREFIX_BYTES;
                self.start = begin + length;
                return Ok(Some(self.buffer[begin..self.start].to_vec()));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let mut part = [0; 1 << 14];
            match self.stream.read(&mut part) {
                Ok(0) => return Ok(None),
                Ok(count) => self.buffer.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(None);
                },
                Err(error) => bail!("the server says nothing any more: {error}"),
            }
        }
    }
}
