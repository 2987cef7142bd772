//! What members ask the log to hold.
//!
//! Prevents an operation that is done twice or not at all: each carries where it comes from and a
//! number that grows, so that what was forwarded again after a change of leaders is known; and all
//! that is not deterministic (time, identities, the session's number and password) was decided
//! before it got here.
//!
//! A [`Batch`] is what one member gathered while it waited; an [`Entry`] is what the leader made
//! of the batches that waited at it. Requests stay the bytes that their clients sent.

use mainstay_zk_proto::acl::Id;
use mainstay_zk_proto::handshake::PASSWORD_BYTES;
use mainstay_zk_proto::jute::{Jute, Malformed, Reader, read_all};
use mainstay_zk_proto::opcode::Opcode;

/// The form of entries on disk and between members. Another form has another number.
const FORM: i32 = 2;

/// Where an operation comes from: a member, since its last start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The member.
    pub member: i64,
    /// Grows with each of its starts.
    pub incarnation: i64,
}

/// A session's password: random, never derived from its number.
pub type Password = [u8; PASSWORD_BYTES];

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Grows with each operation of its origin.
    pub sequence: i64,
    /// The session that it is for; zero for the keeper's own.
    pub session: i64,
    /// Who asks.
    pub identities: Vec<Id<'a>>,
    /// What is to be done.
    pub action: Action<'a>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// What a client asks.
    Request {
        /// The operation.
        opcode: Opcode,
        /// The request behind its header, as the client sent it.
        body: &'a [u8],
    },
    /// A session begins, at the origin.
    Open {
        /// How long it may be silent.
        timeout_ms: i32,
        /// What its client proves itself with.
        password: Password,
    },
    /// A session goes on, at the origin.
    Attach {
        /// What its client proves itself with.
        password: Password,
    },
    /// A session ends, because its client says so.
    Close,
    /// A session ends, because it was silent for too long.
    Expire {
        /// The term of the leader that noticed; another leader counts anew.
        term: i64,
        /// The transaction by which it had come where it was silent; it may have moved meanwhile.
        attached: i64,
    },
    /// A container or a node with a time to live goes.
    Remove {
        /// Which.
        path: &'a str,
        /// The transaction that last changed it, as far as the leader knew.
        mzxid: i64,
    },
}

/// Operations of one origin, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Where they come from.
    pub origin: Origin,
    /// The operations.
    pub operations: Vec<Operation<'a>>,
}

/// What one entry of the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Wall time at the leader, milliseconds since 1970.
    pub time_ms: i64,
    /// Whether the leader keeps hard limits of quotas.
    pub enforce_quota: bool,
    /// The batches, each in its own encoding.
    pub batches: Vec<&'a [u8]>,
}

const REQUEST: i32 = 1;
const OPEN: i32 = 2;
const ATTACH: i32 = 3;
const CLOSE: i32 = 4;
const EXPIRE: i32 = 5;
const REMOVE: i32 = 6;

impl<'a> Entry<'a> {
    /// Reads an entry of the log.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; the log is damaged, or was written by a newer version.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        read_all(bytes)
    }
}

impl<'a> Batch<'a> {
    /// Reads a batch.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        read_all(bytes)
    }
}

impl<'a> Jute<'a> for Entry<'a> {
    const SIZE_MIN: usize = 17;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let form: i32 = reader.read()?;
        if form != FORM {
            return Err(Malformed::Unknown {
                what: "form of log entries",
                value: form,
            });
        }
        Ok(Self {
            time_ms: reader.read()?,
            enforce_quota: reader.read()?,
            batches: reader.read()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        FORM.write(out);
        self.time_ms.write(out);
        self.enforce_quota.write(out);
        self.batches.write(out);
    }
}

impl<'a> Jute<'a> for Batch<'a> {
    const SIZE_MIN: usize = 20;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            origin: Origin {
                member: reader.read()?,
                incarnation: reader.read()?,
            },
            operations: reader.read()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.origin.member.write(out);
        self.origin.incarnation.write(out);
        self.operations.write(out);
    }
}

impl<'a> Jute<'a> for Operation<'a> {
    const SIZE_MIN: usize = 24;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: reader.read()?,
            session: reader.read()?,
            identities: reader.read()?,
            action: reader.read()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.sequence.write(out);
        self.session.write(out);
        self.identities.write(out);
        self.action.write(out);
    }
}

impl<'a> Jute<'a> for Action<'a> {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.read()? {
            REQUEST => Self::Request {
                opcode: Opcode::from_wire(reader.read()?)?,
                body: reader.read()?,
            },
            OPEN => Self::Open {
                timeout_ms: reader.read()?,
                password: password(reader)?,
            },
            ATTACH => Self::Attach {
                password: password(reader)?,
            },
            CLOSE => Self::Close,
            EXPIRE => Self::Expire {
                term: reader.read()?,
                attached: reader.read()?,
            },
            REMOVE => Self::Remove {
                path: reader.read()?,
                mzxid: reader.read()?,
            },
            value => {
                return Err(Malformed::Unknown {
                    what: "action",
                    value,
                });
            },
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request { opcode, body } => {
                REQUEST.write(out);
                opcode.to_wire().write(out);
                body.write(out);
            },
            Self::Open {
                timeout_ms,
                password,
            } => {
                OPEN.write(out);
                timeout_ms.write(out);
                (&password[..]).write(out);
            },
            Self::Attach { password } => {
                ATTACH.write(out);
                (&password[..]).write(out);
            },
            Self::Close => CLOSE.write(out),
            Self::Expire { term, attached } => {
                EXPIRE.write(out);
                term.write(out);
                attached.write(out);
            },
            Self::Remove { path, mzxid } => {
                REMOVE.write(out);
                path.write(out);
                mzxid.write(out);
            },
        }
    }
}

fn password(reader: &mut Reader<'_>) -> Result<Password, Malformed> {
    let bytes: &[u8] = reader.read()?;
    bytes.try_into().map_err(|_| Malformed::Short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_proposed_is_read() {
        let actions = [
            Action::Request {
                opcode: Opcode::Delete,
                body: b"body",
            },
            Action::Open {
                timeout_ms: 10_000,
                password: [7; PASSWORD_BYTES],
            },
            Action::Attach {
                password: [8; PASSWORD_BYTES],
            },
            Action::Close,
            Action::Expire {
                term: 3,
                attached: 8,
            },
            Action::Remove {
                path: "/c",
                mzxid: 9,
            },
        ];
        let operations = actions
            .into_iter()
            .zip(1..)
            .map(|(action, sequence)| Operation {
                sequence,
                session: 5,
                identities: vec![Id {
                    scheme: "ip",
                    id: "127.0.0.1",
                }],
                action,
            });
        let batch = Batch {
            origin: Origin {
                member: 1,
                incarnation: 2,
            },
            operations: operations.collect(),
        };
        let mut bytes = Vec::new();
        batch.write(&mut bytes);
        assert_eq!(Batch::read(&bytes), Ok(batch));

        let entry = Entry {
            time_ms: 1_700_000_000_000,
            enforce_quota: true,
            batches: vec![&bytes, &bytes],
        };
        let mut out = Vec::new();
        entry.write(&mut out);
        assert_eq!(Entry::read(&out), Ok(entry));
    }

    #[test]
    fn an_entry_of_another_form_is_not_guessed_at() {
        let mut out = Vec::new();
        (FORM + 1).write(&mut out);
        out.extend_from_slice(&[0; 12]);
        assert!(Entry::read(&out).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let read = (Entry::read(&bytes).is_ok(), Batch::read(&bytes).is_ok());
            prop_assert!(read == (false, false) || bytes.len() >= 16);
        }
    }
}
