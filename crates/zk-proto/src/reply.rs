//! What servers answer: the body behind a reply's header.
//!
//! Prevents a reply that depends on who asks: its shape follows from the operation alone.

use alloc::vec::Vec;

use crate::acl::{Acl, Id};
use crate::jute::{Jute, Malformed, Reader};
use crate::multi;
use crate::opcode::Opcode;
use crate::stat::Stat;

/// The body of a reply, borrowed from a message or from a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Done; there is nothing to say.
    Done,
    /// The path of the node that was made, or that was synced.
    Path(&'a str),
    /// The path of the node that was made, and its stat.
    Created {
        /// Its path.
        path: &'a str,
        /// Its stat.
        stat: Stat,
    },
    /// A node's stat.
    Stat(Stat),
    /// A node's data.
    Data {
        /// The data; null when it was made so.
        data: Option<&'a [u8]>,
        /// The node's stat.
        stat: Stat,
    },
    /// A node's access list.
    Acl {
        /// The list.
        acl: Vec<Acl<'a>>,
        /// The node's stat.
        stat: Stat,
    },
    /// Names of a node's children, or paths of ephemeral nodes.
    Names(Vec<&'a str>),
    /// Names of a node's children, and its stat.
    Children {
        /// The names.
        names: Vec<&'a str>,
        /// The node's stat.
        stat: Stat,
    },
    /// How many there are.
    Number(i32),
    /// The results of a multi.
    Results(multi::Results<'a>),
    /// The next step of SASL.
    Token(Option<&'a [u8]>),
    /// The identities of a connection.
    Identities(Vec<Id<'a>>),
}

impl<'a> Reply<'a> {
    /// Reads the body of the reply to `opcode`.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn read(opcode: Opcode, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let reply = Self::read_from(opcode, &mut reader)?;
        reader.end()?;
        Ok(reply)
    }

    pub(crate) fn read_from(opcode: Opcode, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match opcode {
            Opcode::Create | Opcode::Sync => Self::Path(reader.read()?),
            Opcode::Create2 | Opcode::CreateContainer | Opcode::CreateTtl => Self::Created {
                path: reader.read()?,
                stat: reader.read()?,
            },
            Opcode::Exists | Opcode::SetData | Opcode::SetAcl => Self::Stat(reader.read()?),
            Opcode::GetData | Opcode::Reconfig => Self::Data {
                data: reader.read()?,
                stat: reader.read()?,
            },
            Opcode::GetAcl => Self::Acl {
                acl: reader.read()?,
                stat: reader.read()?,
            },
            Opcode::GetChildren | Opcode::GetEphemerals => Self::Names(reader.read()?),
            Opcode::GetChildren2 => Self::Children {
                names: reader.read()?,
                stat: reader.read()?,
            },
            Opcode::GetAllChildrenNumber => Self::Number(reader.read()?),
            Opcode::Multi | Opcode::MultiRead => Self::Results(reader.read()?),
            Opcode::Sasl => Self::Token(reader.read()?),
            Opcode::WhoAmI => Self::Identities(reader.read()?),
            Opcode::Delete
            | Opcode::Ping
            | Opcode::Check
            | Opcode::CheckWatches
            | Opcode::RemoveWatches
            | Opcode::DeleteContainer
            | Opcode::Auth
            | Opcode::SetWatches
            | Opcode::SetWatches2
            | Opcode::AddWatch
            | Opcode::CreateSession
            | Opcode::CloseSession => Self::Done,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Done => {},
            Self::Path(path) => path.write(out),
            Self::Created { path, stat } => {
                path.write(out);
                stat.write(out);
            },
            Self::Stat(stat) => stat.write(out),
            Self::Data { data, stat } => {
                data.write(out);
                stat.write(out);
            },
            Self::Acl { acl, stat } => {
                acl.write(out);
                stat.write(out);
            },
            Self::Names(names) => names.write(out),
            Self::Children { names, stat } => {
                names.write(out);
                stat.write(out);
            },
            Self::Number(number) => number.write(out),
            Self::Results(results) => results.write(out),
            Self::Token(token) => token.write(out),
            Self::Identities(identities) => identities.write(out),
        }
    }
}
