//! The state as it was at one moment, record by record; and the state made from them again.
//!
//! Prevents a snapshot that is half read: it says how many records it has and what their content
//! amounts to, and whoever loads it believes neither more nor less.

use std::fmt;

use mainstay_zk_proto::handshake::PASSWORD_BYTES;
use mainstay_zk_proto::jute::{Jute, Malformed, Reader};

use super::{Progress, State};
use crate::planted::{self, Bug};
use crate::session::{Session, Sessions};
use crate::tree::{FrozenTree, TreeLoader};

/// The form of the records. Another form has another number.
const FORM: i32 = 2;

const HEAD: i32 = 1;
const LIST: i32 = 2;
const NODE: i32 = 3;
const SESSION: i32 = 4;
const PROGRESS: i32 = 5;
const END: i32 = 6;

/// The state as it was.
#[derive(Clone, Debug)]
pub struct FrozenState {
    tree: FrozenTree,
    sessions: Sessions,
    progress: Vec<(i64, Progress)>,
    zxid: i64,
    time_ms: i64,
    /// Of all of it.
    digest: u64,
}

/// Makes a state from records.
#[derive(Debug, Default)]
pub struct Loader {
    head: Option<(i64, i64)>,
    tree: TreeLoader,
    sessions: Sessions,
    progress: Vec<(i64, Progress)>,
    records: i64,
    state: Option<State>,
}

/// Why records make no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// A record is not what it should be.
    Malformed(Malformed),
    /// A record comes where it must not.
    Order,
    /// The records are not all there.
    Count,
    /// The content is not what it was when it was written.
    Digest,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => {
                write!(f, "a record of the snapshot is damaged: {malformed}")
            },
            Self::Order => f.write_str("the records of the snapshot are out of order"),
            Self::Count => f.write_str("records of the snapshot are missing"),
            Self::Digest => f.write_str("the snapshot's content is not what was written"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<Malformed> for LoadError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl State {
    /// The state as it is now. Takes microseconds; what changes afterwards is copied.
    pub fn freeze(&self) -> FrozenState {
        FrozenState {
            tree: self.tree.freeze(),
            sessions: self.sessions.clone(),
            progress: self
                .progress
                .iter()
                .map(|(&member, &at)| (member, at))
                .collect(),
            zxid: self.zxid,
            time_ms: self.time_ms,
            digest: self.digest(),
        }
    }
}

impl FrozenState {
    /// The newest transaction in it.
    pub const fn zxid(&self) -> i64 {
        self.zxid
    }

    /// The time of the last entry in it, milliseconds since 1970.
    pub const fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Says all records, in their order.
    ///
    /// # Errors
    ///
    /// Those of `emit`, which end it.
    pub fn records<E>(&self, mut emit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut count = 0_i64;
        let mut out = Vec::new();
        let mut say = |tag: i32, write: &dyn Fn(&mut Vec<u8>)| {
            out.clear();
            tag.write(&mut out);
            write(&mut out);
            count += 1;
            emit(&out)
        };
        say(HEAD, &|out| {
            FORM.write(out);
            self.zxid.write(out);
            self.time_ms.write(out);
        })?;
        let raw = |bytes: &[u8], out: &mut Vec<u8>| out.extend_from_slice(bytes);
        self.tree.lists(|list| say(LIST, &|out| raw(list, out)))?;
        self.tree.nodes(|node| say(NODE, &|out| raw(node, out)))?;
        for (id, session) in self.sessions.iter() {
            say(SESSION, &|out| {
                id.write(out);
                (&session.password[..]).write(out);
                session.timeout_ms.write(out);
                session.member.write(out);
                session.attached.write(out);
            })?;
        }
        for (member, at) in &self.progress {
            say(PROGRESS, &|out| {
                member.write(out);
                at.incarnation.write(out);
                at.sequence.write(out);
            })?;
        }
        out.clear();
        END.write(&mut out);
        count.write(&mut out);
        self.tree.digest().cast_signed().write(&mut out);
        self.digest.cast_signed().write(&mut out);
        emit(&out)
    }
}

impl Loader {
    /// Hears of the next record.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; nothing can be made of the records any more.
    pub fn record(&mut self, record: &[u8]) -> Result<(), LoadError> {
        let mut reader = Reader::new(record);
        let tag: i32 = reader.read()?;
        if (tag == HEAD) != self.head.is_none() || self.state.is_some() {
            return Err(LoadError::Order);
        }
        match tag {
            HEAD => self.head(&mut reader)?,
            LIST => self.tree.list(&mut reader)?,
            NODE => self.tree.node(&mut reader)?,
            SESSION => self.session(&mut reader)?,
            PROGRESS => {
                let member = reader.read()?;
                let at = Progress {
                    incarnation: reader.read()?,
                    sequence: reader.read()?,
                };
                self.progress.push((member, at));
            },
            END => self.end(&mut reader)?,
            value => {
                return Err(LoadError::Malformed(Malformed::Unknown {
                    what: "kind of record",
                    value,
                }));
            },
        }
        self.records += 1;
        reader.end().map_err(LoadError::Malformed)
    }

    /// The state.
    ///
    /// # Errors
    ///
    /// [`LoadError::Count`] when the last record was not there.
    pub fn finish(self) -> Result<State, LoadError> {
        self.state.ok_or(LoadError::Count)
    }

    fn head(&mut self, reader: &mut Reader<'_>) -> Result<(), LoadError> {
        let form: i32 = reader.read()?;
        if form != FORM {
            return Err(LoadError::Malformed(Malformed::Unknown {
                what: "form of snapshots",
                value: form,
            }));
        }
        self.head = Some((reader.read()?, reader.read()?));
        Ok(())
    }

    fn session(&mut self, reader: &mut Reader<'_>) -> Result<(), LoadError> {
        let id = reader.read()?;
        let password: &[u8] = reader.read()?;
        let session = Session {
            password: <[u8; PASSWORD_BYTES]>::try_from(password).map_err(|_| Malformed::Short)?,
            timeout_ms: reader.read()?,
            member: reader.read()?,
            attached: reader.read()?,
        };
        self.sessions
            .open(id, session)
            .map_err(|_| LoadError::Order)
    }

    fn end(&mut self, reader: &mut Reader<'_>) -> Result<(), LoadError> {
        let records: i64 = reader.read()?;
        let of_tree: i64 = reader.read()?;
        let of_all: i64 = reader.read()?;
        if records != self.records {
            return Err(LoadError::Count);
        }
        let tree = std::mem::take(&mut self.tree)
            .finish(of_tree.cast_unsigned())
            .ok_or(LoadError::Digest)?;
        let (zxid, time_ms) = self.head.ok_or(LoadError::Order)?;
        let state = State {
            tree,
            sessions: std::mem::take(&mut self.sessions),
            progress: std::mem::take(&mut self.progress).into_iter().collect(),
            zxid: zxid - i64::from(planted::is(Bug::ZxidNotRestored)),
            time_ms,
            events: Vec::new(),
        };
        if state.digest() != of_all.cast_unsigned() {
            return Err(LoadError::Digest);
        }
        self.state = Some(state);
        Ok(())
    }
}
