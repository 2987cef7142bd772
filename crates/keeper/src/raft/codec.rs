//! What members say to each other about the log, in our own encoding.
//!
//! Prevents members of two versions from misreading each other: nothing of openraft's own forms is
//! on the wire, so that a newer engine changes this file and no protocol.

use mainstay_zk_proto::Code;
use mainstay_zk_proto::jute::{Jute, Malformed, Reader};
use openraft::alias::{LogIdOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::engine::{self, Engine};
use crate::ensemble::Change;
use crate::log::{EntryKind, LogId, Vote};
use crate::snapshot::Meta;

/// What can be said.
pub(crate) trait Word: Sized {
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads it.
    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// A word in its encoding.
pub(crate) fn encode<W: Word>(word: &W) -> Vec<u8> {
    let mut out = Vec::new();
    word.write(&mut out);
    out
}

/// The word that `bytes` are.
pub(crate) fn decode<W: Word>(bytes: &[u8]) -> Result<W, Malformed> {
    let mut words = Reader::new(bytes);
    let word = W::read(&mut words)?;
    words.end()?;
    Ok(word)
}

/// A snapshot that a leader sends: at its beginning, and again when all of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotOffer {
    pub(crate) vote: VoteOf<Engine>,
    pub(crate) meta: Meta,
}

const SUCCESS: i32 = 0;
const PARTIAL: i32 = 1;
const CONFLICT: i32 = 2;
const HIGHER_VOTE: i32 = 3;
const VOTE_CHANGED: i32 = 1;
const LOG_NOT_FLUSHED: i32 = 2;

fn write_vote(vote: &VoteOf<Engine>, out: &mut Vec<u8>) {
    let Vote {
        term,
        member,
        committed,
    } = engine::vote_of(vote);
    term.cast_signed().write(out);
    member.cast_signed().write(out);
    committed.write(out);
}

fn read_vote(words: &mut Reader<'_>) -> Result<VoteOf<Engine>, Malformed> {
    Ok(engine::to_vote(Vote {
        term: words.read::<i64>()?.cast_unsigned(),
        member: words.read::<i64>()?.cast_unsigned(),
        committed: words.read()?,
    }))
}

fn write_id(id: Option<&LogIdOf<Engine>>, out: &mut Vec<u8>) {
    id.is_some().write(out);
    if let Some(id) = id {
        engine::id_of(id).write(out);
    }
}

fn read_id(words: &mut Reader<'_>) -> Result<Option<LogIdOf<Engine>>, Malformed> {
    let is_some: bool = words.read()?;
    let id: Option<LogId> = is_some.then(|| words.read()).transpose()?;
    Ok(id.map(engine::to_id))
}

impl Word for AppendEntriesRequest<Engine> {
    fn write(&self, out: &mut Vec<u8>) {
        write_vote(&self.vote, out);
        write_id(self.prev_log_id.as_ref(), out);
        write_id(self.leader_commit.as_ref(), out);
        i32::try_from(self.entries.len())
            .unwrap_or(i32::MAX)
            .write(out);
        for entry in &self.entries {
            let (kind, content) = engine::content_of(entry);
            engine::id_of(&entry.log_id).write(out);
            (kind as i32).write(out);
            (&*content).write(out);
        }
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        let vote = read_vote(words)?;
        let prev_log_id = read_id(words)?;
        let leader_commit = read_id(words)?;
        let count: i32 = words.read()?;
        let entries = (0..count).map(|_| {
            let id = words.read()?;
            let kind = EntryKind::from_wire(words.read()?)?;
            engine::to_entry(id, kind, words.read()?)
        });
        Ok(Self {
            vote,
            prev_log_id,
            entries: entries.collect::<Result<_, Malformed>>()?,
            leader_commit,
        })
    }
}

impl Word for AppendEntriesResponse<Engine> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Success => SUCCESS.write(out),
            Self::PartialSuccess(id) => {
                PARTIAL.write(out);
                write_id(id.as_ref(), out);
            },
            Self::Conflict => CONFLICT.write(out),
            Self::HigherVote(vote) => {
                HIGHER_VOTE.write(out);
                write_vote(vote, out);
            },
        }
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match words.read()? {
            SUCCESS => Self::Success,
            PARTIAL => Self::PartialSuccess(read_id(words)?),
            CONFLICT => Self::Conflict,
            HIGHER_VOTE => Self::HigherVote(read_vote(words)?),
            value => {
                return Err(Malformed::Unknown {
                    what: "answer to entries",
                    value,
                });
            },
        })
    }
}

impl Word for VoteRequest<Engine> {
    fn write(&self, out: &mut Vec<u8>) {
        write_vote(&self.vote, out);
        write_id(self.last_log_id.as_ref(), out);
        self.leadership_transfer.write(out);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut request = Self::new(read_vote(words)?, read_id(words)?);
        request.leadership_transfer = words.read()?;
        Ok(request)
    }
}

impl Word for VoteResponse<Engine> {
    fn write(&self, out: &mut Vec<u8>) {
        write_vote(&self.vote, out);
        self.vote_granted.write(out);
        write_id(self.last_log_id.as_ref(), out);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        let vote = read_vote(words)?;
        let granted = words.read()?;
        Ok(Self::new(vote, read_id(words)?, granted))
    }
}

impl Word for TransferLeaderRequest<Engine> {
    fn write(&self, out: &mut Vec<u8>) {
        write_vote(self.from_leader(), out);
        self.to_node_id().cast_signed().write(out);
        write_id(self.last_log_id(), out);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        let from = read_vote(words)?;
        let to: i64 = words.read()?;
        Ok(Self::new(from, to.cast_unsigned(), read_id(words)?))
    }
}

impl Word for TransferLeaderResponse<Engine> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Ok(()) => SUCCESS.write(out),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                VOTE_CHANGED.write(out);
                write_vote(expected, out);
                write_vote(actual, out);
            },
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                LOG_NOT_FLUSHED.write(out);
                write_id(expected.as_ref(), out);
                write_id(actual.as_ref(), out);
            },
        }
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match words.read()? {
            SUCCESS => Ok(()),
            VOTE_CHANGED => Err(TransferLeaderError::VoteChanged {
                expected: read_vote(words)?,
                actual: read_vote(words)?,
            }),
            LOG_NOT_FLUSHED => Err(TransferLeaderError::LogNotFlushed {
                expected: read_id(words)?,
                actual: read_id(words)?,
            }),
            value => {
                return Err(Malformed::Unknown {
                    what: "answer to a transfer of leadership",
                    value,
                });
            },
        })
    }
}

impl Word for SnapshotOffer {
    fn write(&self, out: &mut Vec<u8>) {
        write_vote(&self.vote, out);
        self.meta.write(out);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            vote: read_vote(words)?,
            meta: words.read()?,
        })
    }
}

fn write_text(text: Option<&String>, out: &mut Vec<u8>) {
    text.map(String::as_str).write(out);
}

fn read_text(words: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let text: Option<&str> = words.read()?;
    Ok(text.map(str::to_owned))
}

impl Word for Change {
    fn write(&self, out: &mut Vec<u8>) {
        for text in [&self.joining, &self.leaving, &self.members] {
            write_text(text.as_ref(), out);
        }
        self.version.write(out);
        i32::try_from(self.voters_min)
            .unwrap_or(i32::MAX)
            .write(out);
        self.is_allowed.write(out);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            joining: read_text(words)?,
            leaving: read_text(words)?,
            members: read_text(words)?,
            version: words.read()?,
            voters_min: usize::try_from(words.read::<i32>()?).unwrap_or_default(),
            is_allowed: words.read()?,
        })
    }
}

/// What became of a change: the entry of the log that says so, or why there is none.
impl Word for Result<u64, Code> {
    fn write(&self, out: &mut Vec<u8>) {
        let code = self.as_ref().err().map_or(0, |code| code.to_wire());
        code.write(out);
        let index = self.as_ref().copied().unwrap_or_default();
        index.cast_signed().write(out);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        let code: i32 = words.read()?;
        let index: i64 = words.read()?;
        Ok(match code {
            0 => Ok(index.cast_unsigned()),
            code => Err(Code::from_wire(code).unwrap_or(Code::System)),
        })
    }
}

impl Word for SnapshotResponse<Engine> {
    fn write(&self, out: &mut Vec<u8>) {
        write_vote(&self.vote, out);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self::new(read_vote(words)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> LogIdOf<Engine> {
        engine::to_id(LogId {
            term: 2,
            leader: 1,
            index,
        })
    }

    fn again<W: Word>(word: &W) -> W {
        decode(&encode(word)).expect("what was written")
    }

    #[test]
    fn what_one_member_says_another_understands() {
        let vote = VoteOf::<Engine>::new_committed(2, 1);
        let entry = |index, kind, content: &[u8]| {
            let id = engine::id_of(&id(index));
            engine::to_entry(id, kind, content).expect("valid")
        };
        let request = AppendEntriesRequest::<Engine> {
            vote,
            prev_log_id: Some(id(4)),
            entries: vec![
                entry(5, EntryKind::Blank, b""),
                entry(6, EntryKind::Normal, b"x"),
            ],
            leader_commit: None,
        };
        let read = again(&request);
        assert_eq!((read.vote, read.prev_log_id), (vote, Some(id(4))));
        assert_eq!(read.entries, request.entries);
        for response in [
            AppendEntriesResponse::<Engine>::Success,
            AppendEntriesResponse::PartialSuccess(Some(id(3))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ] {
            assert_eq!(again(&response), response);
        }
        let mut ask = VoteRequest::<Engine>::new(vote, Some(id(9)));
        ask.leadership_transfer = true;
        assert_eq!(again(&ask), ask);
        let answer = VoteResponse::<Engine>::new(vote, None, true);
        assert_eq!(again(&answer), answer);
        let refused: TransferLeaderResponse<Engine> = Err(TransferLeaderError::LogNotFlushed {
            expected: Some(id(3)),
            actual: None,
        });
        assert_eq!(again(&refused), refused);
        let change = Change {
            joining: Some("server.4=d:1:2;3".to_owned()),
            leaving: None,
            members: Some(String::new()),
            version: 7,
            voters_min: 2,
            is_allowed: true,
        };
        assert_eq!(again(&change), change);
        for outcome in [Ok(5), Err(Code::NewConfigNoQuorum)] {
            assert_eq!(again(&outcome), outcome);
        }
        let offer = SnapshotOffer {
            vote,
            meta: Meta {
                members: vec![1, 2],
                ..Meta::default()
            },
        };
        assert_eq!(again(&offer), offer);
    }
}
