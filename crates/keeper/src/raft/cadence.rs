//! When a member takes snapshots, and how much of the log it keeps.
//!
//! Prevents three members that write their snapshots at the same time: a majority is as fast as
//! usual when only one is busy. So each has a beat by its number; all have the same log, and it grows
//! at the same pace.

use openraft::SnapshotPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::engine::Engaged;
use super::store::Store;
use crate::disk::SharedDisk;
use crate::member::Snapshots;

/// How often it is looked how much the log has grown by.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Beats that differ. Three members in a row of numbers have one each; of more, or of other numbers,
/// some share one, and then write at the same time as all did before.
const BEATS: u64 = 3;

/// How many entries a snapshot is due after: by up to a third less than is asked for, so that beats
/// that began together part.
pub(super) const fn policy(member: u64, snapshots: Snapshots) -> SnapshotPolicy {
    let entries = snapshots.entries;
    SnapshotPolicy::LogsSinceLast(entries - entries / (2 * BEATS) * beat(member))
}

/// Takes a snapshot when the log has grown by many bytes, and drops what is in it.
pub(super) async fn keep<D: SharedDisk>(
    raft: Engaged<D>,
    store: Store,
    (member, snapshots): (u64, Snapshots),
) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes early, each by another part of the time between two.
    let mut due = snapshots.bytes - snapshots.bytes / BEATS * beat(member);
    loop {
        look.tick().await;
        let appended = store.appended_bytes();
        if appended >= due {
            due = appended + snapshots.bytes;
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
        let purge = store.last_to_purge(snapshots.kept_bytes);
        let snapshot = raft
            .metrics()
            .borrow_watched()
            .snapshot
            .as_ref()
            .map(openraft::LogId::index);
        if let (Some(purge), Some(snapshot)) = (purge, snapshot)
            && raft.trigger().purge_log(purge.min(snapshot)).await.is_err()
        {
            return;
        }
    }
}

const fn beat(member: u64) -> u64 {
    member % BEATS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_one_ensemble_take_snapshots_after_different_numbers_of_entries() {
        let after = |member, entries| {
            let snapshots = Snapshots {
                entries,
                ..Snapshots::default()
            };
            policy(member, snapshots)
        };
        let of = SnapshotPolicy::LogsSinceLast;
        let three = [1, 2, 3].map(|member| after(member, 100_000));
        assert_eq!(three, [of(83_334), of(66_668), of(100_000)]);
        assert_eq!(after(2, 5), of(5), "few are as they are asked for");
    }
}
