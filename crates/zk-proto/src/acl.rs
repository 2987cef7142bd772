//! Who may do what to a node.

use crate::jute::records;

/// Bits of what may be done.
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 1 << 1;
    /// Make children.
    pub const CREATE: i32 = 1 << 2;
    /// Remove children.
    pub const DELETE: i32 = 1 << 3;
    /// Set the access list.
    pub const ADMIN: i32 = 1 << 4;
    /// All of it.
    pub const ALL: i32 = READ | WRITE | CREATE | DELETE | ADMIN;
}

records! {
    /// An identity within a scheme.
    #[derive(Copy, PartialOrd, Ord, Hash)]
    Id<'a> {
        /// `world`, `auth`, `digest`, `ip`, `x509`, `sasl` or `super`.
        scheme: &'a str,
        /// Who, in the scheme's own form.
        id: &'a str,
    }

    /// What one identity may do.
    #[derive(Copy, PartialOrd, Ord, Hash)]
    Acl<'a> {
        /// Bits of [`perms`].
        perms: i32,
        /// Who may.
        id: Id<'a>,
    }
}

impl Acl<'static> {
    /// Anybody may do anything.
    pub const OPEN: Self = Self {
        perms: perms::ALL,
        id: Id {
            scheme: "world",
            id: "anyone",
        },
    };
}
