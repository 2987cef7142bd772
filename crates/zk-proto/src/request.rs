//! What clients ask: one variant per operation, borrowed from the message.
//!
//! Prevents a request from being half understood: it is read whole or refused.

use alloc::vec::Vec;

use crate::acl::Acl;
use crate::jute::{Jute, Malformed, Reader, records};
use crate::multi;
use crate::opcode::Opcode;
use crate::watch::{SetWatches, SetWatches2};

records! {
    /// Makes a node.
    Create<'a> {
        /// Its path, or the beginning of it when the mode is sequential.
        path: &'a str,
        /// Its data; null is kept as null.
        data: Option<&'a [u8]>,
        /// Who may do what to it.
        acl: Vec<Acl<'a>>,
        /// Its [`CreateMode`](crate::mode::CreateMode).
        flags: i32,
    }

    /// Makes a node with a time to live.
    CreateTtl<'a> {
        /// As in [`Create`].
        path: &'a str,
        /// As in [`Create`].
        data: Option<&'a [u8]>,
        /// As in [`Create`].
        acl: Vec<Acl<'a>>,
        /// As in [`Create`].
        flags: i32,
        /// How long it may go without a change, in milliseconds.
        ttl_ms: i64,
    }

    /// Removes a node.
    #[derive(Copy)]
    Delete<'a> {
        /// Which.
        path: &'a str,
        /// The version that it must have; -1 for any.
        version: i32,
    }

    /// Replaces a node's data.
    #[derive(Copy)]
    SetData<'a> {
        /// Whose.
        path: &'a str,
        /// The new data; null is kept as null.
        data: Option<&'a [u8]>,
        /// The version that it must have; -1 for any.
        version: i32,
    }

    /// Replaces a node's access list.
    SetAcl<'a> {
        /// Whose.
        path: &'a str,
        /// The new list.
        acl: Vec<Acl<'a>>,
        /// The version that the list must have; -1 for any.
        version: i32,
    }

    /// Fails unless a node has this version.
    #[derive(Copy)]
    Check<'a> {
        /// Which.
        path: &'a str,
        /// The version that it must have; -1 for any.
        version: i32,
    }

    /// Asks something of a node, and to be told when the answer changes.
    #[derive(Copy)]
    Read<'a> {
        /// Of which.
        path: &'a str,
        /// Whether to be told.
        watch: bool,
    }

    /// Asks something of a node.
    #[derive(Copy)]
    OfPath<'a> {
        /// Of which; for ephemerals the prefix of their paths.
        path: &'a str,
    }

    /// Changes the members of the ensemble: by adding and removing, or as a whole.
    #[derive(Copy)]
    Reconfig<'a> {
        /// Members to add, `server.N=…` separated by commas.
        joining: Option<&'a str>,
        /// Identifiers of members to remove, separated by commas.
        leaving: Option<&'a str>,
        /// All members, instead of the two above.
        members: Option<&'a str>,
        /// The version that the present members must have; -1 for any.
        version: i64,
    }

    /// Proves an identity.
    #[derive(Copy)]
    Auth<'a> {
        /// Always zero.
        kind: i32,
        /// The scheme.
        scheme: &'a str,
        /// The proof, in the scheme's own form.
        proof: &'a [u8],
    }

    /// A step of SASL.
    #[derive(Copy)]
    Sasl<'a> {
        /// The mechanism's token.
        token: &'a [u8],
    }

    /// Asks whether this connection watches a node, or stops it.
    #[derive(Copy)]
    Watches<'a> {
        /// Which node.
        path: &'a str,
        /// Which watches, see [`WatcherKind`](crate::watch::WatcherKind).
        kind: i32,
    }

    /// Watches until told otherwise.
    #[derive(Copy)]
    AddWatch<'a> {
        /// Which node.
        path: &'a str,
        /// How, see [`AddWatchMode`](crate::watch::AddWatchMode).
        mode: i32,
    }
}

macro_rules! requests {
    ($($(#[doc = $doc:literal])* $name:ident $(($body:ty))?,)*) => {
        /// A request.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request<'a> { $($(#[doc = $doc])* $name $(($body))?,)* }

        impl<'a> Request<'a> {
            /// The operation.
            pub const fn opcode(&self) -> Opcode {
                match self { $(requests!(@pattern $name $($body)?) => Opcode::$name,)* }
            }

            /// Reads what follows the header of a request for `opcode`. Bytes behind it are
            /// ignored: newer clients may say more.
            ///
            /// # Errors
            ///
            /// [`Malformed`]; also for operations that no client may ask for.
            pub fn read(opcode: Opcode, body: &'a [u8]) -> Result<Self, Malformed> {
                let mut reader = Reader::new(body);
                match opcode {
                    $(Opcode::$name => Ok(requests!(@read reader $name $($body)?)),)*
                    Opcode::DeleteContainer | Opcode::CreateSession => Err(Malformed::Unknown {
                        what: "operation of clients",
                        value: opcode.to_wire(),
                    }),
                }
            }

            /// Appends what follows the header.
            pub fn write(&self, out: &mut Vec<u8>) {
                match self { $(requests!(@bind body $name $($body)?) => {
                    requests!(@write body out $($body)?);
                },)* }
            }
        }
    };
    (@pattern $name:ident $body:ty) => { Self::$name(_) };
    (@pattern $name:ident) => { Self::$name };
    (@read $reader:ident $name:ident $body:ty) => { Self::$name($reader.read()?) };
    (@read $reader:ident $name:ident) => { Self::$name };
    (@bind $bound:ident $name:ident $body:ty) => { Self::$name($bound) };
    (@bind $bound:ident $name:ident) => { Self::$name };
    (@write $bound:ident $out:ident $body:ty) => { $bound.write($out) };
    (@write $bound:ident $out:ident) => { () };
}

requests! {
    /// Makes a node; the reply is its path.
    Create(Create<'a>),
    /// Makes a node; the reply is its path and stat.
    Create2(Create<'a>),
    /// Makes a container.
    CreateContainer(Create<'a>),
    /// Makes a node with a time to live.
    CreateTtl(CreateTtl<'a>),
    /// Removes a node.
    Delete(Delete<'a>),
    /// A node's stat.
    Exists(Read<'a>),
    /// A node's data and stat.
    GetData(Read<'a>),
    /// Replaces a node's data.
    SetData(SetData<'a>),
    /// A node's access list.
    GetAcl(OfPath<'a>),
    /// Replaces a node's access list.
    SetAcl(SetAcl<'a>),
    /// Names of a node's children.
    GetChildren(Read<'a>),
    /// Names of a node's children, and its stat.
    GetChildren2(Read<'a>),
    /// Waits until this server has seen what was committed before.
    Sync(OfPath<'a>),
    /// A sign of life.
    Ping,
    /// Fails unless a node has this version.
    Check(Check<'a>),
    /// Several writes, all or none.
    Multi(multi::Operations<'a>),
    /// Several reads.
    MultiRead(multi::Operations<'a>),
    /// Changes the members.
    Reconfig(Reconfig<'a>),
    /// Whether this connection watches.
    CheckWatches(Watches<'a>),
    /// Stops watching.
    RemoveWatches(Watches<'a>),
    /// Proves an identity.
    Auth(Auth<'a>),
    /// A step of SASL.
    Sasl(Sasl<'a>),
    /// Sets watches again.
    SetWatches(SetWatches<'a>),
    /// Sets watches of all kinds again.
    SetWatches2(SetWatches2<'a>),
    /// Paths of the ephemeral nodes that go with the asker.
    GetEphemerals(OfPath<'a>),
    /// How many nodes are below a node.
    GetAllChildrenNumber(OfPath<'a>),
    /// Watches until told otherwise.
    AddWatch(AddWatch<'a>),
    /// The identities of this connection.
    WhoAmI,
    /// Ends the session.
    CloseSession,
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_create_has_the_bytes_that_zookeeper_writes() {
        let request = Request::Create(Create {
            path: "/a",
            data: Some(b"x"),
            acl: vec![Acl::OPEN],
            flags: 1,
        });
        let mut out = vec![];
        request.write(&mut out);
        let expected = [
            &[0, 0, 0, 2][..],
            b"/a",
            &[0, 0, 0, 1],
            b"x",
            &[0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 5],
            b"world",
            &[0, 0, 0, 6],
            b"anyone",
            &[0, 0, 0, 1],
        ]
        .concat();
        assert_eq!(out, expected);
        assert_eq!(Request::read(Opcode::Create, &out), Ok(request));
    }

    #[test]
    fn operations_of_servers_are_not_taken_from_clients() {
        for opcode in [Opcode::DeleteContainer, Opcode::CreateSession] {
            assert!(Request::read(opcode, &[]).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(index in 0..Opcode::ALL.len(), body: Vec<u8>) {
            let opcode = Opcode::ALL[index];
            if let Ok(request) = Request::read(opcode, &body) {
                prop_assert_eq!(request.opcode(), opcode);
                let mut out = vec![];
                request.write(&mut out);
                prop_assert_eq!(Request::read(opcode, &out), Ok(request));
            }
        }
    }
}
