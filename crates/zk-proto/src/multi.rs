//! Several operations in one request.
//!
//! Prevents a list without an end: it is read until its own end mark, and may hold only what can
//! be part of a multi.

use alloc::vec::Vec;

use crate::code::Code;
use crate::jute::{Jute, Malformed, Reader, records};
use crate::opcode::Opcode;
use crate::reply::Reply;
use crate::request::Request;

records! {
    /// Precedes each operation and each result; marks the end.
    #[derive(Copy)]
    Header {
        /// The operation; -1 for an error and for the end.
        opcode: i32,
        /// Whether this is the end.
        done: bool,
        /// The result's error, or -1 in a request.
        error: i32,
    }
}

const END: Header = Header {
    opcode: -1,
    done: true,
    error: -1,
};

/// The number of an error in place of a result.
const ERROR: i32 = -1;

/// The operations of one request, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations<'a>(pub Vec<Request<'a>>);

/// The results of a request, in the order of its operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results<'a>(pub Vec<Part<'a>>);

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// It was done.
    Done {
        /// The operation.
        opcode: Opcode,
        /// Its result.
        reply: Reply<'a>,
    },
    /// It failed; of a multi of writes, the first one that did.
    Failed(Code),
    /// It could have been done, but one after it failed.
    RolledBack,
}

impl<'a> Jute<'a> for Operations<'a> {
    const SIZE_MIN: usize = Header::SIZE_MIN;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut operations = Vec::new();
        loop {
            let header: Header = reader.read()?;
            if header.done {
                return Ok(Self(operations));
            }
            let opcode = Opcode::from_wire(header.opcode)?;
            operations.push(read_part(opcode, reader)?);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for operation in &self.0 {
            let header = Header {
                opcode: operation.opcode().to_wire(),
                done: false,
                error: -1,
            };
            header.write(out);
            operation.write(out);
        }
        END.write(out);
    }
}

/// One operation. Nothing tells where it ends but its own fields.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not listed cannot be part of a multi, whatever it is"
)]
fn read_part<'a>(opcode: Opcode, reader: &mut Reader<'a>) -> Result<Request<'a>, Malformed> {
    Ok(match opcode {
        Opcode::Create => Request::Create(reader.read()?),
        Opcode::Create2 => Request::Create2(reader.read()?),
        Opcode::CreateContainer => Request::CreateContainer(reader.read()?),
        Opcode::CreateTtl => Request::CreateTtl(reader.read()?),
        Opcode::Delete => Request::Delete(reader.read()?),
        Opcode::SetData => Request::SetData(reader.read()?),
        Opcode::Check => Request::Check(reader.read()?),
        Opcode::GetData => Request::GetData(reader.read()?),
        Opcode::GetChildren => Request::GetChildren(reader.read()?),
        other => {
            return Err(Malformed::Unknown {
                what: "operation of a multi",
                value: other.to_wire(),
            });
        },
    })
}

impl<'a> Jute<'a> for Results<'a> {
    const SIZE_MIN: usize = Header::SIZE_MIN;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut results = Vec::new();
        loop {
            let header: Header = reader.read()?;
            if header.done {
                return Ok(Self(results));
            }
            results.push(Part::read(header, reader)?);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for part in &self.0 {
            part.write(out);
        }
        END.write(out);
    }
}

impl<'a> Part<'a> {
    fn read(header: Header, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        if header.opcode == ERROR {
            return Ok(match reader.read()? {
                0 => Self::RolledBack,
                error => Self::Failed(Code::from_wire(error)?),
            });
        }
        let opcode = Opcode::from_wire(header.opcode)?;
        let reply = Reply::read_from(opcode, reader)?;
        Ok(Self::Done { opcode, reply })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (opcode, error) = match self {
            Self::Done { opcode, .. } => (result_of(*opcode).to_wire(), 0),
            Self::Failed(code) => (ERROR, code.to_wire()),
            Self::RolledBack => (ERROR, 0),
        };
        let header = Header {
            opcode,
            done: false,
            error,
        };
        header.write(out);
        match self {
            Self::Done { reply, .. } => reply.write(out),
            Self::Failed(_) | Self::RolledBack => error.write(out),
        }
    }
}

/// The operation whose form the result has: who made a container or a node with a time to live
/// is answered as by [`Opcode::Create2`].
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others are answered as themselves"
)]
const fn result_of(opcode: Opcode) -> Opcode {
    match opcode {
        Opcode::CreateContainer | Opcode::CreateTtl => Opcode::Create2,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::jute::read_all;
    use crate::request::{Check, Delete};
    use crate::stat::Stat;

    #[test]
    fn operations_are_read_up_to_their_end_mark() {
        let operations = Operations(vec![
            Request::Check(Check {
                path: "/a",
                version: 3,
            }),
            Request::Delete(Delete {
                path: "/a",
                version: -1,
            }),
        ]);
        let mut out = vec![];
        operations.write(&mut out);
        assert_eq!(&out[..9], [0, 0, 0, 13, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(&out[out.len() - 9..][..5], [0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(read_all(&out), Ok(operations));
    }

    #[test]
    fn a_multi_holds_no_multi() {
        let mut out = vec![];
        Operations(vec![Request::Multi(Operations::default())]).write(&mut out);
        assert!(read_all::<Operations<'_>>(&out).is_err());
    }

    #[test]
    fn results_tell_errors_from_replies() {
        let done = |opcode, reply| Part::Done { opcode, reply };
        let results = Results(vec![
            done(Opcode::Create, Reply::Path("/a0000000001")),
            done(Opcode::SetData, Reply::Stat(Stat::default())),
            done(Opcode::Delete, Reply::Done),
            Part::RolledBack,
            Part::Failed(Code::BadVersion),
        ]);
        let mut out = vec![];
        results.write(&mut out);
        assert_eq!(read_all(&out), Ok(results));
    }

    #[test]
    fn a_container_is_answered_as_by_create2() {
        let reply = Reply::Created {
            path: "/c",
            stat: Stat::default(),
        };
        let mut out = vec![];
        Results(vec![Part::Done {
            opcode: Opcode::CreateContainer,
            reply,
        }])
        .write(&mut out);
        assert_eq!(&out[..4], Opcode::Create2.to_wire().to_be_bytes());
    }
}
