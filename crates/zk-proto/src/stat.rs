//! What is known of a node besides its data.

use crate::jute::records;

records! {
    /// A node's stat. Times are milliseconds since 1970.
    #[derive(Copy, Default, Hash)]
    Stat {
        /// The transaction that made it: the fencing token of locks and leaders.
        czxid: i64,
        /// The transaction that last changed its data.
        mzxid: i64,
        /// When it was made.
        ctime: i64,
        /// When its data last changed.
        mtime: i64,
        /// Changes of its data.
        version: i32,
        /// Changes of its children.
        cversion: i32,
        /// Changes of its access list.
        aversion: i32,
        /// The session that it goes with; zero when it goes with none. The marks of containers and
        /// nodes with a time to live, see [`mode`](crate::mode), are not told to clients.
        ephemeral_owner: i64,
        /// Bytes of its data.
        data_length: i32,
        /// Children.
        num_children: i32,
        /// The transaction that last changed its children.
        pzxid: i64,
    }
}

/// Bytes of a stat on the wire.
pub const STAT_BYTES: usize = 68;

#[cfg(test)]
mod tests {
    use crate::jute::Jute as _;

    use super::*;

    #[test]
    fn a_stat_has_the_length_that_every_client_expects() {
        assert_eq!(Stat::SIZE_MIN, STAT_BYTES);
    }
}
