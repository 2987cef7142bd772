//! Records: what a frame says.

use mainstay_zk_proto::jute::{Jute, Malformed, Reader};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// That leader.
    pub leader: u64,
    /// Its place.
    pub index: u64,
}

/// Whom a member follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// In which term.
    pub term: u64,
    /// Whom.
    pub member: u64,
    /// Whether a quorum does.
    pub committed: bool,
}

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum EntryKind {
    /// Nothing: a leader's first word.
    Blank = 0,
    /// Operations.
    Normal = 1,
    /// The members.
    Membership = 2,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A vote was given.
    Vote(Vote),
    /// An entry follows the last one.
    Entry {
        /// Where it stands.
        id: LogId,
        /// What it holds.
        kind: EntryKind,
        /// Its content.
        payload: &'a [u8],
    },
    /// Entries from this index on are not valid.
    Truncate {
        /// The first that is not.
        from: u64,
    },
    /// Entries up to this one are in a snapshot and not needed.
    Purge(LogId),
    /// Entries up to this one are committed.
    Committed(LogId),
}

const VOTE: i32 = 1;
const ENTRY: i32 = 2;
const TRUNCATE: i32 = 3;
const PURGE: i32 = 4;
const COMMITTED: i32 = 5;

impl EntryKind {
    pub(crate) const fn from_wire(kind: i32) -> Result<Self, Malformed> {
        match kind {
            0 => Ok(Self::Blank),
            1 => Ok(Self::Normal),
            2 => Ok(Self::Membership),
            value => Err(Malformed::Unknown {
                what: "kind of entry",
                value,
            }),
        }
    }
}

fn read_u64(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    reader.read().map(i64::cast_unsigned)
}

fn write_u64(number: u64, out: &mut Vec<u8>) {
    number.cast_signed().write(out);
}

impl Jute<'_> for LogId {
    const SIZE_MIN: usize = 24;

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            term: read_u64(reader)?,
            leader: read_u64(reader)?,
            index: read_u64(reader)?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_u64(self.term, out);
        write_u64(self.leader, out);
        write_u64(self.index, out);
    }
}

impl<'a> Jute<'a> for Record<'a> {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.read()? {
            VOTE => Self::Vote(Vote {
                term: read_u64(reader)?,
                member: read_u64(reader)?,
                committed: reader.read()?,
            }),
            ENTRY => Self::Entry {
                id: reader.read()?,
                kind: EntryKind::from_wire(reader.read()?)?,
                payload: reader.read()?,
            },
            TRUNCATE => Self::Truncate {
                from: read_u64(reader)?,
            },
            PURGE => Self::Purge(reader.read()?),
            COMMITTED => Self::Committed(reader.read()?),
            value => {
                return Err(Malformed::Unknown {
                    what: "kind of record",
                    value,
                });
            },
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Vote(vote) => {
                VOTE.write(out);
                write_u64(vote.term, out);
                write_u64(vote.member, out);
                vote.committed.write(out);
            },
            Self::Entry { id, kind, payload } => {
                ENTRY.write(out);
                id.write(out);
                (*kind as i32).write(out);
                payload.write(out);
            },
            Self::Truncate { from } => {
                TRUNCATE.write(out);
                write_u64(*from, out);
            },
            Self::Purge(id) => {
                PURGE.write(out);
                id.write(out);
            },
            Self::Committed(id) => {
                COMMITTED.write(out);
                id.write(out);
            },
        }
    }
}
