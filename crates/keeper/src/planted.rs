//! Bugs that are planted on purpose, one at a time, to see whether the simulation finds them.
//!
//! Prevents checks that cannot fail. Only builds of the simulation know how to plant one (`--cfg
//! mainstay_planted`); in any other `is` is `false` when it is compiled, and nothing is left.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A leader takes an entry for stored at a follower when it was sent.
    SubQuorumCommit = 1,
    /// A vote is not made durable.
    VoteNotPersisted,
    /// A leader says how far the log is committed without asking a quorum.
    StaleRead,
    /// A purge takes entries behind the snapshot as well.
    SnapshotOverNewerLog,
    /// Sessions are over by the wall clock.
    ExpiryByWallClock,
    /// Watches that a client sets again are forgotten.
    WatchLostOnReconnect,
    /// A watch stays after it fired.
    WatchFiresTwice,
    /// An operation that comes again is applied again.
    DuplicateApply,
    /// A snapshot is one transaction behind what it says.
    ZxidNotRestored,
    /// Ephemeral nodes stay when their session expires.
    EphemeralKept,
    /// A member that lost its disk is taken for the one that it was.
    FolderNotChecked,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::SubQuorumCommit,
        Self::VoteNotPersisted,
        Self::StaleRead,
        Self::SnapshotOverNewerLog,
        Self::ExpiryByWallClock,
        Self::WatchLostOnReconnect,
        Self::WatchFiresTwice,
        Self::DuplicateApply,
        Self::ZxidNotRestored,
        Self::EphemeralKept,
        Self::FolderNotChecked,
    ];
}

#[cfg(mainstay_planted)]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Plants a bug in this process, for good.
#[cfg(mainstay_planted)]
pub fn plant(bug: Bug) {
    PLANTED.store(bug as u8, std::sync::atomic::Ordering::Relaxed);
}

/// Whether this bug is planted.
#[cfg(mainstay_planted)]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Whether this bug is planted: never.
#[cfg(not(mainstay_planted))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
