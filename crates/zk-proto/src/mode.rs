//! How long a node lives and how it is named.
//!
//! Prevents three encodings of one thing from being mixed up: the flags of a request, the opcode
//! that brings them, and the mark in a stat's `ephemeral_owner`.

use crate::jute::Malformed;

/// The mark of a container in `ephemeral_owner`.
pub const CONTAINER_OWNER: i64 = i64::MIN;

/// The mark of a node with a time to live: the upper bits of `ephemeral_owner`.
const TTL_OWNER: i64 = 0xff << 56;

/// Longest time to live, in milliseconds: what 40 bits hold, nearly 35 years.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// How long a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Until it is removed.
    Persistent,
    /// As long as the session that made it.
    Ephemeral,
    /// Until its last child is removed.
    Container,
    /// Until nobody changed it for a time and it has no children.
    Ttl,
}

/// What the flags of a create say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CreateMode {
    /// How long the node lives.
    pub life: Life,
    /// Whether a number is appended to its name.
    pub sequential: bool,
}

impl CreateMode {
    const fn new(life: Life, sequential: bool) -> Self {
        Self { life, sequential }
    }

    /// The mode of the flags on the wire.
    ///
    /// # Errors
    ///
    /// [`Malformed::Unknown`].
    pub const fn from_wire(flags: i32) -> Result<Self, Malformed> {
        Ok(match flags {
            0 => Self::new(Life::Persistent, false),
            1 => Self::new(Life::Ephemeral, false),
            2 => Self::new(Life::Persistent, true),
            3 => Self::new(Life::Ephemeral, true),
            4 => Self::new(Life::Container, false),
            5 => Self::new(Life::Ttl, false),
            6 => Self::new(Life::Ttl, true),
            value => {
                return Err(Malformed::Unknown {
                    what: "create mode",
                    value,
                });
            },
        })
    }

    /// The flags on the wire. Containers are never sequential.
    pub const fn to_wire(self) -> i32 {
        match (self.life, self.sequential) {
            (Life::Persistent, false) => 0,
            (Life::Ephemeral, false) => 1,
            (Life::Persistent, true) => 2,
            (Life::Ephemeral, true) => 3,
            (Life::Container, _) => 4,
            (Life::Ttl, false) => 5,
            (Life::Ttl, true) => 6,
        }
    }
}

/// Whom a node's life hangs on, as `ephemeral_owner` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Nobody.
    Nobody,
    /// A session.
    Session(i64),
    /// Its children.
    Container,
    /// The time since its last change.
    Ttl {
        /// How long that may be, in milliseconds, 1 to [`TTL_MS_MAX`].
        ms: i64,
    },
}

impl Owner {
    /// Reads `ephemeral_owner`.
    pub const fn from_wire(owner: i64) -> Self {
        match owner {
            0 => Self::Nobody,
            CONTAINER_OWNER => Self::Container,
            _ if owner & TTL_OWNER == TTL_OWNER => Self::Ttl {
                ms: owner & TTL_MS_MAX,
            },
            session => Self::Session(session),
        }
    }

    /// The value of `ephemeral_owner`.
    pub const fn to_wire(self) -> i64 {
        match self {
            Self::Nobody => 0,
            Self::Session(session) => session,
            Self::Container => CONTAINER_OWNER,
            Self::Ttl { ms } => TTL_OWNER | (ms & TTL_MS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_owners_are_read_as_they_were_written() {
        for flags in 0..=6 {
            let mode = CreateMode::from_wire(flags).expect("flags 0 to 6 are modes");
            assert_eq!(mode.to_wire(), flags);
        }
        assert!(CreateMode::from_wire(7).is_err());
        for owner in [
            Owner::Nobody,
            Owner::Session(0x0100_2345_6789_abcd),
            Owner::Container,
            Owner::Ttl { ms: 1 },
            Owner::Ttl { ms: TTL_MS_MAX },
        ] {
            assert_eq!(Owner::from_wire(owner.to_wire()), owner);
        }
    }
}
