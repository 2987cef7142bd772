//! Why an operation failed, by number.
//!
//! Prevents clients that wait for a cause they know: the numbers are ZooKeeper's, one by one.

use crate::jute::Malformed;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal,)*) => {
        /// A cause of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])* $name = $number,)* }

        impl Code {
            /// All causes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The cause of a number on the wire.
            ///
            /// # Errors
            ///
            /// [`Malformed::Unknown`]; zero is no cause.
            pub const fn from_wire(number: i32) -> Result<Self, Malformed> {
                match number {
                    $($number => Ok(Self::$name),)*
                    value => Err(Malformed::Unknown { what: "error code", value }),
                }
            }
        }
    };
}

codes! {
    /// The server is broken.
    System = -1,
    /// Another operation of the same multi failed.
    RuntimeInconsistency = -2,
    /// Data were damaged.
    DataInconsistency = -3,
    /// The connection was lost.
    ConnectionLoss = -4,
    /// The request could not be read.
    Marshalling = -5,
    /// The server does not know the operation.
    Unimplemented = -6,
    /// The operation took too long.
    OperationTimeout = -7,
    /// The request makes no sense.
    BadArguments = -8,
    /// No such session.
    UnknownSession = -12,
    /// The new members would have no quorum.
    NewConfigNoQuorum = -13,
    /// Members are being changed already.
    ReconfigInProgress = -14,
    /// No such node.
    NoNode = -101,
    /// Not allowed.
    NoAuth = -102,
    /// The node has another version.
    BadVersion = -103,
    /// An ephemeral node has no children.
    NoChildrenForEphemerals = -108,
    /// The node is there already.
    NodeExists = -110,
    /// The node has children.
    NotEmpty = -111,
    /// The session is over.
    SessionExpired = -112,
    /// The callback is not one.
    InvalidCallback = -113,
    /// The access list is not one.
    InvalidAcl = -114,
    /// The identity was not proved.
    AuthFailed = -115,
    /// The session is at another server.
    SessionMoved = -118,
    /// This server has no quorum and does not write.
    NotReadOnly = -119,
    /// A local session makes no ephemeral nodes.
    EphemeralOnLocalSession = -120,
    /// Nobody watches this.
    NoWatcher = -121,
    /// The request waited too long.
    RequestTimeout = -122,
    /// Members may not be changed.
    ReconfigDisabled = -123,
    /// The session ended, for it must prove an identity.
    SessionClosedRequireSaslAuth = -124,
    /// A quota is used up.
    QuotaExceeded = -125,
    /// The server has too much to do.
    ThrottledOp = -127,
}

impl Code {
    /// The number on the wire.
    pub const fn to_wire(self) -> i32 {
        self as i32
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self:?} ({})", self.to_wire())
    }
}

impl core::error::Error for Code {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_number_and_none_is_success() {
        for &code in Code::ALL {
            assert_eq!(Code::from_wire(code.to_wire()), Ok(code));
            assert!(code.to_wire() < 0);
        }
        assert!(Code::from_wire(0).is_err());
    }
}
