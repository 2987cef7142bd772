//! What a server tells unasked: something that a client watches happened.

use crate::jute::{Jute, Malformed, Reader, records};
use alloc::vec::Vec;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// Nothing to a node: the connection's state changed.
    None = -1,
    /// A node was made.
    Created = 1,
    /// A node was removed.
    Deleted = 2,
    /// A node's data changed.
    DataChanged = 3,
    /// A node's children changed.
    ChildrenChanged = 4,
    /// A data watch was removed.
    DataWatchRemoved = 5,
    /// A child watch was removed.
    ChildWatchRemoved = 6,
    /// A persistent watch was removed.
    PersistentWatchRemoved = 7,
}

impl EventKind {
    /// The kind of a number on the wire.
    ///
    /// # Errors
    ///
    /// [`Malformed::Unknown`].
    pub const fn from_wire(number: i32) -> Result<Self, Malformed> {
        Ok(match number {
            -1 => Self::None,
            1 => Self::Created,
            2 => Self::Deleted,
            3 => Self::DataChanged,
            4 => Self::ChildrenChanged,
            5 => Self::DataWatchRemoved,
            6 => Self::ChildWatchRemoved,
            7 => Self::PersistentWatchRemoved,
            value => {
                return Err(Malformed::Unknown {
                    what: "event kind",
                    value,
                });
            },
        })
    }
}

/// The state of a connection, as events carry it.
pub mod state {
    /// Not connected.
    pub const DISCONNECTED: i32 = 0;
    /// Connected.
    pub const SYNC_CONNECTED: i32 = 3;
    /// An identity could not be proved.
    pub const AUTH_FAILED: i32 = 4;
    /// Connected to a server without a quorum.
    pub const CONNECTED_READ_ONLY: i32 = 5;
    /// An identity was proved by SASL.
    pub const SASL_AUTHENTICATED: i32 = 6;
    /// The session is over.
    pub const EXPIRED: i32 = -112;
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What happened.
    pub kind: EventKind,
    /// One of [`state`].
    pub state: i32,
    /// To which node, in the client's view.
    pub path: &'a str,
}

impl<'a> Jute<'a> for Event<'a> {
    const SIZE_MIN: usize = 12;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            kind: EventKind::from_wire(reader.read()?)?,
            state: reader.read()?,
            path: reader.read()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        (self.kind as i32).write(out);
        self.state.write(out);
        self.path.write(out);
    }
}

/// How [`AddWatch`](crate::request::AddWatch) watches: both stay until they are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum AddWatchMode {
    /// The node and its children.
    Persistent = 0,
    /// The node and all below it.
    PersistentRecursive = 1,
}

impl AddWatchMode {
    /// The mode of a number on the wire.
    ///
    /// # Errors
    ///
    /// [`Malformed::Unknown`].
    pub const fn from_wire(number: i32) -> Result<Self, Malformed> {
        match number {
            0 => Ok(Self::Persistent),
            1 => Ok(Self::PersistentRecursive),
            value => Err(Malformed::Unknown {
                what: "watch mode",
                value,
            }),
        }
    }
}

/// Which watches to check or remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum WatcherKind {
    /// Watches of children.
    Children = 1,
    /// Watches of data and existence.
    Data = 2,
    /// All of them.
    Any = 3,
    /// Persistent watches.
    Persistent = 4,
    /// Persistent watches of all below.
    PersistentRecursive = 5,
}

impl WatcherKind {
    /// The kind of a number on the wire.
    ///
    /// # Errors
    ///
    /// [`Malformed::Unknown`].
    pub const fn from_wire(number: i32) -> Result<Self, Malformed> {
        Ok(match number {
            1 => Self::Children,
            2 => Self::Data,
            3 => Self::Any,
            4 => Self::Persistent,
            5 => Self::PersistentRecursive,
            value => {
                return Err(Malformed::Unknown {
                    what: "watcher kind",
                    value,
                });
            },
        })
    }
}

records! {
    /// Watches that a client sets again after a reconnection.
    SetWatches<'a> {
        /// The newest transaction that the client has seen: what changed after it fires at once.
        relative_zxid: i64,
        /// Nodes whose data are watched.
        data: Vec<&'a str>,
        /// Nodes that were not there, and are watched for.
        exist: Vec<&'a str>,
        /// Nodes whose children are watched.
        children: Vec<&'a str>,
    }

    /// [`SetWatches`] with those that stay.
    SetWatches2<'a> {
        /// As in [`SetWatches`].
        relative_zxid: i64,
        /// As in [`SetWatches`].
        data: Vec<&'a str>,
        /// As in [`SetWatches`].
        exist: Vec<&'a str>,
        /// As in [`SetWatches`].
        children: Vec<&'a str>,
        /// Nodes that are watched until told otherwise; nothing is made up for.
        persistent: Vec<&'a str>,
        /// The same with all below them.
        persistent_recursive: Vec<&'a str>,
    }
}
