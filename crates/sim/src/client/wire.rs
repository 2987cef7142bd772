//! A connection, as a client of the protocol sees it: requests out, messages in.

use std::io;
use std::time::Duration;

use mainstay_keeper::network::Network as _;
use mainstay_zk_proto::frame;
use mainstay_zk_proto::handshake::{ConnectRequest, ConnectResponse};
use mainstay_zk_proto::header::RequestHeader;
use mainstay_zk_proto::jute::{Jute as _, read_all};
use mainstay_zk_proto::{Opcode, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Session;
use crate::network::{Host, Stream};

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How long a handshake may take.
const SHAKE_MAX: Duration = Duration::from_secs(3);

/// A connection with a session.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
}

/// What became of a handshake.
#[derive(Debug)]
pub(super) enum Shaken {
    /// The session begins, or goes on.
    Session {
        id: i64,
        password: Vec<u8>,
        timeout: Duration,
    },
    /// It is over.
    Over,
}

fn late<E>(_: E) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn malformed<E>(_: E) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Wire {
    /// Connects, and begins a session or goes on with it.
    pub(super) async fn open(
        host: &Host,
        address: &str,
        session: &Session,
    ) -> io::Result<(Self, Shaken)> {
        let stream = timeout(CONNECT_MAX, host.connect(address)).await;
        let mut wire = Self {
            stream: stream.map_err(late)??,
        };
        let shaken = timeout(SHAKE_MAX, wire.shake(session)).await;
        let shaken = shaken.map_err(late)??;
        Ok((wire, shaken))
    }

    async fn shake(&mut self, session: &Session) -> io::Result<Shaken> {
        let mut out = Vec::new();
        frame::append(&mut out, |out| {
            let timeout_ms = session.wanted.as_millis();
            ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: session.zxid,
                timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
                session_id: session.id,
                password: &session.password,
                read_only: Some(false),
            }
            .write(out);
        });
        self.send(&out).await?;
        let message = self.message().await?;
        let response: ConnectResponse<'_> = read_all(&message).map_err(malformed)?;
        if response.session_id == 0 {
            return Ok(Shaken::Over);
        }
        let timeout_ms = u64::try_from(response.timeout_ms).map_err(malformed)?;
        Ok(Shaken::Session {
            id: response.session_id,
            password: response.password.to_vec(),
            timeout: Duration::from_millis(timeout_ms),
        })
    }

    /// Sends bytes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message.
    pub(super) async fn message(&mut self) -> io::Result<Vec<u8>> {
        let mut prefix = [0; frame::PREFIX_BYTES];
        self.stream.read_exact(&mut prefix).await?;
        let length = frame::length(&prefix, frame::MESSAGE_BYTES_MAX).map_err(malformed)?;
        let mut message = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut message).await?;
        Ok(message)
    }
}

/// Appends a request.
pub(super) fn ask(out: &mut Vec<u8>, xid: i32, request: &Request<'_>) {
    frame::append(out, |out| {
        let opcode = request.opcode();
        // Sessions are closed by an opcode without a body.
        debug_assert!(opcode != Opcode::CreateSession, "no client asks this");
        RequestHeader {
            xid,
            opcode: opcode.to_wire(),
        }
        .write(out);
        request.write(out);
    });
}
