//! Frames between members, and the greeting before them.
//!
//! Prevents a member from listening to another ensemble, to a member that is not whom it wanted, or
//! to damaged bytes: both ends say who they are before anything else, and each frame carries a
//! checksum over all of it.
//!
//! ```text
//! greeting  magic:8 | length:4 | crc32c:4 | cluster, member, incarnation, seat, known seat, wanted member,
//!           lane
//! frame     length:4 | crc32c of the rest:4 | id:8 | kind:4 | body
//! ```

use std::io;

use crc32c::crc32c;
use mainstay_zk_proto::jute::{Jute as _, Malformed, Reader as Words};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The protocol and its version: another version has another number.
const MAGIC: [u8; 8] = *b"mainlnk3";

/// Before the body of a frame.
pub(super) const HEAD_BYTES: usize = 20;

/// No body is longer: an entry is at most what a leader gathers, and one request more.
const BODY_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// No greeting is longer.
const GREETING_BYTES_MAX: usize = 4_096;

/// Room that is made for what comes next.
const READ_AHEAD_BYTES: usize = 64 * 1_024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// The answer to the request of the same number.
    Answer = 1,
    /// The request of the same number was refused; the body says why, in words.
    Refusal = 2,
    /// Who owes answers is still there.
    Alive = 3,
    /// Entries of the log, or a heartbeat.
    Append = 10,
    Vote = 11,
    PreVote = 12,
    TransferLeader = 13,
    /// How far the log is committed: an append without entries. Its answer may go with the next one.
    Progress = 14,
    /// What the leader made durable. Nobody answers it.
    Holds = 15,
    /// A snapshot begins.
    SnapshotBegin = 20,
    /// Its next block.
    SnapshotBlock = 21,
    /// All blocks were sent.
    SnapshotEnd = 22,
    /// A batch of another member, for the leader.
    Forward = 30,
    /// How far the log is committed, confirmed by a quorum.
    ReadIndex = 31,
    /// Sessions that another member heard, for the leader.
    Touch = 32,
    /// What the state amounted to behind an entry.
    Compare = 33,
    /// A change of the members, for the leader.
    Change = 34,
    /// What this member has.
    Survey = 35,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Answer,
        Self::Refusal,
        Self::Alive,
        Self::Append,
        Self::Vote,
        Self::PreVote,
        Self::TransferLeader,
        Self::Progress,
        Self::Holds,
        Self::SnapshotBegin,
        Self::SnapshotBlock,
        Self::SnapshotEnd,
        Self::Forward,
        Self::ReadIndex,
        Self::Touch,
        Self::Compare,
        Self::Change,
        Self::Survey,
    ];

    fn from_wire(kind: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&known| known as u32 == kind)
    }
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) body: Vec<u8>,
}

/// Appends a frame to what will be sent.
pub(super) fn write_frame(out: &mut Vec<u8>, id: u64, kind: Kind, body: &[u8]) {
    let start = out.len();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(body);
    let crc = crc32c(&out[start + 8..]).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&crc);
}

/// Reads frames. Giving up while it waits loses nothing.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame begins.
    start: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) const fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The next frame; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.reserve(READ_AHEAD_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A frame that is here already.
    fn buffered(&mut self) -> io::Result<Option<Frame>> {
        let bytes = &self.buffer[self.start..];
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3, rest @ ..] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > BODY_BYTES_MAX {
            return Err(damaged("a frame is too long"));
        }
        let end = HEAD_BYTES + length;
        let Some(bytes) = bytes.get(..end) else {
            return Ok(None);
        };
        if crc32c(&bytes[8..]) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(damaged("a frame's checksum is wrong"));
        }
        let [i0, i1, i2, i3, i4, i5, i6, i7, kind @ ..] = rest;
        let kind = Kind::from_wire(u32::from_le_bytes(kind));
        let frame = Frame {
            id: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            kind: kind.ok_or_else(|| damaged("a frame's kind is not known"))?,
            body: bytes[HEAD_BYTES..].to_vec(),
        };
        self.start += end;
        Ok(Some(frame))
    }
}

fn damaged(detail: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Lane {
    /// Heartbeats, votes and questions: small, and never behind anything large.
    Control = 0,
    /// Entries, batches and snapshots.
    Bulk = 1,
}

/// Who speaks, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) cluster: String,
    pub(super) member: u64,
    pub(super) incarnation: i64,
    /// Its data folder.
    pub(super) seat: i64,
    /// The data folder that it knows under the other one's number; zero when it knows none.
    pub(super) known: i64,
    /// Whom it wants to speak to.
    pub(super) wanted: u64,
    pub(super) lane: Lane,
}

impl Greeting {
    pub(super) async fn send<W: AsyncWrite + Unpin>(&self, stream: &mut W) -> io::Result<()> {
        let mut body = Vec::new();
        (&*self.cluster).write(&mut body);
        self.member.cast_signed().write(&mut body);
        self.incarnation.write(&mut body);
        self.seat.write(&mut body);
        self.known.write(&mut body);
        self.wanted.cast_signed().write(&mut body);
        (self.lane as i32).write(&mut body);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        stream.write_all(&out).await?;
        stream.flush().await
    }

    pub(super) async fn receive<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Self> {
        let mut magic = [0; 8];
        stream.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(damaged("the other end is no member of this version"));
        }
        let length = stream.read_u32_le().await? as usize;
        let crc = stream.read_u32_le().await?;
        if length > GREETING_BYTES_MAX {
            return Err(damaged("a greeting is too long"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if crc32c(&body) != crc {
            return Err(damaged("a greeting's checksum is wrong"));
        }
        Self::parse(&body).map_err(io::Error::other)
    }

    fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut words = Words::new(body);
        let greeting = Self {
            cluster: words.read::<&str>()?.to_owned(),
            member: words.read::<i64>()?.cast_unsigned(),
            incarnation: words.read()?,
            seat: words.read()?,
            known: words.read()?,
            wanted: words.read::<i64>()?.cast_unsigned(),
            lane: match words.read()? {
                0 => Lane::Control,
                1 => Lane::Bulk,
                value => {
                    return Err(Malformed::Unknown {
                        what: "lane of a connection",
                        value,
                    });
                },
            },
        };
        words.end()?;
        Ok(greeting)
    }

    /// Checks that the other end, which said `other`, is whom this one wants.
    pub(super) fn check(&self, other: &Self) -> io::Result<()> {
        if other.cluster != self.cluster {
            return Err(damaged("the other end belongs to another ensemble"));
        }
        if other.wanted != self.member || self.wanted != other.member {
            return Err(damaged("the other end is another member"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut out = Vec::new();
        write_frame(&mut out, 7, Kind::Append, b"body");
        write_frame(&mut out, 8, Kind::Answer, b"");
        for cut in 0..out.len() {
            let (first, second) = out.split_at(cut);
            let mut reader = FrameReader::new(first.chain(second));
            let frame = reader.next().await.expect("good").expect("there");
            assert_eq!((frame.id, frame.kind), (7, Kind::Append));
            assert_eq!(frame.body, b"body");
            let frame = reader.next().await.expect("good").expect("there");
            assert_eq!((frame.id, frame.kind), (8, Kind::Answer));
            assert_eq!(reader.next().await.expect("the end"), None);
        }
    }

    #[tokio::test]
    async fn no_damaged_byte_of_a_frame_is_believed() {
        let mut out = Vec::new();
        write_frame(&mut out, 7, Kind::Vote, b"body");
        for place in 0..out.len() {
            let mut damaged = out.clone();
            damaged[place] ^= 0x10;
            let mut reader = FrameReader::new(&*damaged);
            let read = reader.next().await;
            assert!(!matches!(read, Ok(Some(_))), "byte {place}");
        }
    }

    #[tokio::test]
    async fn a_greeting_is_refused_by_another_ensemble_and_another_member() {
        let mine = Greeting {
            cluster: "a".to_owned(),
            member: 1,
            incarnation: 3,
            seat: 4,
            known: 0,
            wanted: 2,
            lane: Lane::Bulk,
        };
        let mut out = Vec::new();
        mine.send(&mut out).await.expect("memory");
        let heard = Greeting::receive(&mut &*out).await.expect("a greeting");
        assert_eq!(heard, mine);
        let theirs = Greeting {
            member: 2,
            wanted: 1,
            ..mine.clone()
        };
        mine.check(&theirs).expect("it is whom we want");
        let other_member = Greeting {
            member: 3,
            ..theirs.clone()
        };
        assert!(mine.check(&other_member).is_err());
        let another = Greeting {
            cluster: "b".to_owned(),
            ..theirs
        };
        assert!(mine.check(&another).is_err());
    }
}
