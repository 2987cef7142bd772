//! From questions to ZooKeeper's messages, and back.
//!
//! Prevents a client library's own opinions (retries, caches, reordering) between the store and
//! the checkers: what is sent and read here is the protocol and nothing else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::frame::{self, MESSAGE_BYTES_MAX, PREFIX_BYTES};
use mainstay_zk_proto::handshake::{ConnectRequest, ConnectResponse, PASSWORD_BYTES};
use mainstay_zk_proto::header::{ReplyHeader, RequestHeader};
use mainstay_zk_proto::jute::{Jute as _, Reader};
use mainstay_zk_proto::request::{Create, Delete, OfPath, Read, SetData};
use mainstay_zk_proto::{Code, Opcode, Reply, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::history::{Answer, Asked, Life};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// How long a server may take to say which session it is. A member that has to catch up with
/// what the client has seen takes two seconds before it sends the client elsewhere.
const HANDSHAKE_MAX: Duration = Duration::from_secs(4);

/// Who a client is to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The session; zero for a new one.
    pub(crate) id: i64,
    /// Its password.
    pub(crate) password: [u8; PASSWORD_BYTES],
    /// How long it may be silent, in milliseconds; zero or less when it is over.
    pub(crate) timeout_ms: i32,
}

/// A connection that speaks frames.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects and shakes hands. `last_zxid` is the newest transaction that the client has seen.
    ///
    /// # Errors
    /// Nobody is there, or does not answer in time, or not as a server would.
    pub(crate) async fn open(
        address: SocketAddr,
        ticket: Ticket,
        last_zxid: i64,
    ) -> io::Result<(Self, Ticket)> {
        let stream = timeout(CONNECT_MAX, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut wire = Self {
            stream,
            buffer: Vec::new(),
        };
        let mut out = Vec::new();
        frame::append(&mut out, |out| {
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: last_zxid,
                timeout_ms: ticket.timeout_ms,
                session_id: ticket.id,
                password: &ticket.password,
                read_only: Some(false),
            };
            request.write(out);
        });
        let granted = timeout(HANDSHAKE_MAX, async {
            wire.send(&out).await?;
            let message = wire.next().await?;
            let response: ConnectResponse<'_> =
                Reader::new(&message).read().map_err(io::Error::other)?;
            let password = response.password.try_into().map_err(io::Error::other)?;
            Ok::<_, io::Error>(Ticket {
                id: response.session_id,
                password,
                timeout_ms: response.timeout_ms,
            })
        });
        let granted = granted.await??;
        Ok((wire, granted))
    }

    /// Sends whole frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames).await
    }

    /// The next message. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let length = frame::length(&self.buffer, MESSAGE_BYTES_MAX);
            let length = length.map_err(io::Error::other)?;
            let end = length.map(|length| PREFIX_BYTES + length);
            if let Some(end) = end.filter(|end| self.buffer.len() >= *end) {
                let message = self.buffer[PREFIX_BYTES..end].to_vec();
                self.buffer.drain(..end);
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Appends the frame that asks `request`.
pub(crate) fn append(out: &mut Vec<u8>, xid: i32, request: &Request<'_>) {
    frame::append(out, |out| {
        let opcode = request.opcode().to_wire();
        RequestHeader { xid, opcode }.write(out);
        request.write(out);
    });
}

/// The flag of a create whose name gets a number; that of an ephemeral node is 1.
const SEQUENTIAL: i32 = 2;

/// Appends the frame for a question.
pub(crate) fn ask(out: &mut Vec<u8>, xid: i32, asked: &Asked) {
    let data = |value: &u64| value.to_string().into_bytes();
    let flags = |life: &Life, sequential: i32| match life {
        Life::Persistent => sequential,
        Life::Ephemeral => 1 + sequential,
    };
    let made = |path, value: &[u8], flags, out: &mut Vec<u8>| {
        let (data, acl) = (Some(value), vec![Acl::OPEN]);
        let create = Create {
            path,
            data,
            acl,
            flags,
        };
        append(out, xid, &Request::Create2(create));
    };
    match asked {
        Asked::Create { path, value, life } => made(path, &data(value), flags(life, 0), out),
        Asked::Append {
            prefix,
            value,
            life,
        } => made(prefix, &data(value), flags(life, SEQUENTIAL), out),
        Asked::Set {
            path,
            value,
            expected,
        } => {
            let value = data(value);
            let set = SetData {
                path,
                data: Some(&value),
                version: expected.unwrap_or(-1),
            };
            append(out, xid, &Request::SetData(set));
        },
        Asked::Delete { path } => {
            append(out, xid, &Request::Delete(Delete { path, version: -1 }));
        },
        Asked::Get { path, watch, .. } => {
            let watch = *watch;
            append(out, xid, &Request::GetData(Read { path, watch }));
        },
        Asked::Exists { path } => {
            let watch = true;
            append(out, xid, &Request::Exists(Read { path, watch }));
        },
        Asked::Children { path } => {
            let watch = false;
            append(out, xid, &Request::GetChildren(Read { path, watch }));
        },
        Asked::Sync => append(out, xid, &Request::Sync(OfPath { path: "/" })),
        Asked::Close => append(out, xid, &Request::CloseSession),
        Asked::Event { .. } => {},
    }
}

/// Reads the header of a message, and what follows it.
pub(crate) fn header(message: &[u8]) -> Result<(ReplyHeader, &[u8]), String> {
    let mut reader = Reader::new(message);
    let header = reader.read().map_err(|error| error.to_string())?;
    Ok((header, reader.rest()))
}

/// Reads the answer to a question.
pub(crate) fn answer(asked: &Asked, error: i32, body: &[u8]) -> Result<Answer, String> {
    if error != 0 {
        let code = Code::from_wire(error).map_err(|error| error.to_string())?;
        return Ok(Answer::Refused(code));
    }
    let opcode = match asked {
        Asked::Create { .. } | Asked::Append { .. } => Opcode::Create2,
        Asked::Set { .. } => Opcode::SetData,
        Asked::Delete { .. } => Opcode::Delete,
        Asked::Get { .. } => Opcode::GetData,
        Asked::Exists { .. } => Opcode::Exists,
        Asked::Children { .. } => Opcode::GetChildren,
        Asked::Sync => Opcode::Sync,
        Asked::Close | Asked::Event { .. } => Opcode::CloseSession,
    };
    let reply = Reply::read(opcode, body).map_err(|error| format!("{opcode:?}: {error}"))?;
    Ok(match reply {
        Reply::Created { path, stat } => Answer::Made {
            path: path.into(),
            czxid: stat.czxid,
        },
        Reply::Stat(stat) => Answer::Version {
            version: stat.version,
            mzxid: stat.mzxid,
        },
        Reply::Data { data, stat } => Answer::Data {
            value: data.and_then(|data| std::str::from_utf8(data).ok()?.parse().ok()),
            version: stat.version,
            mzxid: stat.mzxid,
        },
        Reply::Names(names) => Answer::Names(names.into_iter().map(str::to_owned).collect()),
        Reply::Done
        | Reply::Path(_)
        | Reply::Acl { .. }
        | Reply::Children { .. }
        | Reply::Number(_)
        | Reply::Results(_)
        | Reply::Token(_)
        | Reply::Identities(_) => Answer::Done,
    })
}
