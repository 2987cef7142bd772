//! A leader leaves the lead to another member.
//!
//! Prevents a pause: nobody has to notice that the leader is gone, or of no use.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::timeout;

use super::engine::Engine;
use super::machine::Machine;
use crate::disk::SharedDisk;

/// How long it waits until another one leads.
const TRANSFER_TIMEOUT: Duration = Duration::from_millis(500);

/// Leaves the lead to the one who is nearest, if `member` has it and there are others.
pub(super) async fn hand_over<D: SharedDisk>(member: u64, raft: &Raft<Engine, Machine<D>>) {
    let nearest = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let replication = metrics.replication.iter().flatten();
        let others = replication.filter(|(id, _)| **id != member && voters.contains(id));
        others
            .max_by_key(|(_, matched)| **matched)
            .map(|(id, _)| *id)
    };
    let Some(nearest) = nearest else {
        return;
    };
    if raft.trigger().transfer_leader(nearest).await.is_err() {
        return;
    }
    let mut metrics = raft.server_metrics();
    let moved = async {
        while metrics.borrow_watched().current_leader == Some(member)
            && metrics.changed().await.is_ok()
        {}
    };
    // The others notice by themselves, if it was in vain.
    drop(timeout(TRANSFER_TIMEOUT, moved).await);
}
