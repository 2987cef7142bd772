//! The operations by number.
//!
//! Prevents numbers in the code: each operation has a name, and an unknown number is one error in
//! one place.

use crate::jute::Malformed;

macro_rules! opcodes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal,)*) => {
        /// An operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        #[non_exhaustive]
        pub enum Opcode { $($(#[doc = $doc])* $name = $number,)* }

        impl Opcode {
            /// All operations.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The operation of a number on the wire.
            ///
            /// # Errors
            ///
            /// [`Malformed::Unknown`].
            pub const fn from_wire(number: i32) -> Result<Self, Malformed> {
                match number {
                    $($number => Ok(Self::$name),)*
                    value => Err(Malformed::Unknown { what: "operation", value }),
                }
            }
        }
    };
}

opcodes! {
    /// Makes a node; the reply is its path.
    Create = 1,
    /// Removes a node.
    Delete = 2,
    /// A node's stat.
    Exists = 3,
    /// A node's data and stat.
    GetData = 4,
    /// Replaces a node's data.
    SetData = 5,
    /// A node's access list.
    GetAcl = 6,
    /// Replaces a node's access list.
    SetAcl = 7,
    /// Names of a node's children.
    GetChildren = 8,
    /// Waits until this server has seen what was committed before.
    Sync = 9,
    /// A sign of life.
    Ping = 11,
    /// Names of a node's children, and its stat.
    GetChildren2 = 12,
    /// Fails unless a node has this version; in a multi only.
    Check = 13,
    /// Several writes, all or none.
    Multi = 14,
    /// Makes a node; the reply is its path and stat.
    Create2 = 15,
    /// Changes the members of the ensemble.
    Reconfig = 16,
    /// Whether this connection watches.
    CheckWatches = 17,
    /// Stops watching.
    RemoveWatches = 18,
    /// Makes a node that goes with its last child.
    CreateContainer = 19,
    /// Removes such a node; servers only.
    DeleteContainer = 20,
    /// Makes a node that goes when nobody touched it for a time.
    CreateTtl = 21,
    /// Several reads, each with its own result.
    MultiRead = 22,
    /// Proves an identity.
    Auth = 100,
    /// Sets watches again after a reconnection.
    SetWatches = 101,
    /// A step of SASL.
    Sasl = 102,
    /// Paths of a session's ephemeral nodes.
    GetEphemerals = 103,
    /// How many nodes are below a node.
    GetAllChildrenNumber = 104,
    /// Sets watches of all kinds again after a reconnection.
    SetWatches2 = 105,
    /// Watches a node, or all below it, until told otherwise.
    AddWatch = 106,
    /// The identities of this connection.
    WhoAmI = 107,
    /// Begins a session; in logs only.
    CreateSession = -10,
    /// Ends the session.
    CloseSession = -11,
}

impl Opcode {
    /// The number on the wire.
    pub const fn to_wire(self) -> i32 {
        self as i32
    }

    /// Whether it changes the tree or the members, and so goes through the log.
    pub const fn is_write(self) -> bool {
        match self {
            Self::Create
            | Self::Delete
            | Self::SetData
            | Self::SetAcl
            | Self::Check
            | Self::Multi
            | Self::Create2
            | Self::Reconfig
            | Self::CreateContainer
            | Self::DeleteContainer
            | Self::CreateTtl
            | Self::CreateSession
            | Self::CloseSession => true,
            Self::Exists
            | Self::GetData
            | Self::GetAcl
            | Self::GetChildren
            | Self::Sync
            | Self::Ping
            | Self::GetChildren2
            | Self::CheckWatches
            | Self::RemoveWatches
            | Self::MultiRead
            | Self::Auth
            | Self::SetWatches
            | Self::Sasl
            | Self::GetEphemerals
            | Self::GetAllChildrenNumber
            | Self::SetWatches2
            | Self::AddWatch
            | Self::WhoAmI => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_its_own_number() {
        for &opcode in Opcode::ALL {
            assert_eq!(Opcode::from_wire(opcode.to_wire()), Ok(opcode));
        }
        assert!(Opcode::from_wire(10).is_err());
    }
}
