//! The first message of each side: which session, how long may it be silent.
//!
//! Prevents a client of an older protocol from being turned away: `read_only` at the end came
//! later, and is left out by those who do not know it.

use alloc::vec::Vec;

use crate::jute::{Jute, Malformed, Reader};

/// Bytes of a session's password.
pub const PASSWORD_BYTES: usize = 16;

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Always zero.
    pub protocol_version: i32,
    /// The newest transaction that the client has seen: a server that has not, must not serve it.
    pub last_zxid_seen: i64,
    /// How long the client wants to be allowed to be silent.
    pub timeout_ms: i32,
    /// The session to go on with; zero for a new one.
    pub session_id: i64,
    /// The password of that session.
    pub password: &'a [u8],
    /// Whether a server without a quorum will do; `None` when the client is too old to say.
    pub read_only: Option<bool>,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse<'a> {
    /// Always zero.
    pub protocol_version: i32,
    /// How long the client may be silent; zero or less when its session is gone.
    pub timeout_ms: i32,
    /// The session.
    pub session_id: i64,
    /// Its password.
    pub password: &'a [u8],
    /// Whether this server has no quorum; `None` towards clients too old to ask.
    pub read_only: Option<bool>,
}

/// The boolean at the end that came later.
fn read_late(reader: &mut Reader<'_>) -> Result<Option<bool>, Malformed> {
    if reader.rest().is_empty() {
        return Ok(None);
    }
    reader.read().map(Some)
}

fn write_late(late: Option<bool>, out: &mut Vec<u8>) {
    if let Some(late) = late {
        late.write(out);
    }
}

impl<'a> Jute<'a> for ConnectRequest<'a> {
    const SIZE_MIN: usize = 28;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            protocol_version: reader.read()?,
            last_zxid_seen: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: read_late(reader)?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.protocol_version.write(out);
        self.last_zxid_seen.write(out);
        self.timeout_ms.write(out);
        self.session_id.write(out);
        self.password.write(out);
        write_late(self.read_only, out);
    }
}

impl<'a> Jute<'a> for ConnectResponse<'a> {
    const SIZE_MIN: usize = 20;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            protocol_version: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: read_late(reader)?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.protocol_version.write(out);
        self.timeout_ms.write(out);
        self.session_id.write(out);
        self.password.write(out);
        write_late(self.read_only, out);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::jute::read_all;

    #[test]
    fn a_handshake_has_the_lengths_that_every_client_expects() {
        for (read_only, request_bytes, response_bytes) in [(None, 44, 36), (Some(true), 45, 37)] {
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: 7,
                timeout_ms: 10_000,
                session_id: 0,
                password: &[0; PASSWORD_BYTES],
                read_only,
            };
            let mut out = vec![];
            request.write(&mut out);
            assert_eq!(out.len(), request_bytes);
            assert_eq!(read_all(&out), Ok(request));

            let response = ConnectResponse {
                protocol_version: 0,
                timeout_ms: 10_000,
                session_id: 0x0100_0000_0000_0001,
                password: &[7; PASSWORD_BYTES],
                read_only,
            };
            let mut out = vec![];
            response.write(&mut out);
            assert_eq!(out.len(), response_bytes);
            assert_eq!(read_all(&out), Ok(response));
        }
    }
}
