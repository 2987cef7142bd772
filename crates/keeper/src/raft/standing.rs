//! Who leads, as this member may believe it.
//!
//! Prevents a member that was cut off from speaking for an ensemble that goes on without it: a
//! leader that no quorum answered lately is none, nor is one that was not heard of.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Instant as _, Raft, ServerState};
use tokio::time::Instant;

use super::engine::Engine;
use super::machine::Machine;
use crate::disk::SharedDisk;
use crate::replica::Standing;

/// A leader that was silent for so long, or that no quorum answered, is none.
const LEADER_SILENT_MAX: Duration = Duration::from_secs(1);

/// When the leader was heard of last.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Option<Instant>>);

impl Heard {
    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_recent(&self) -> bool {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() <= LEADER_SILENT_MAX)
    }
}

/// How the ensemble is, as `member` sees it.
pub(super) fn standing<D: SharedDisk>(
    member: u64,
    raft: &Raft<Engine, Machine<D>>,
    heard: &Heard,
) -> Standing {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    if metrics.running_state.is_err() {
        // It has stopped, and what it knew last is not so any more.
        return Standing {
            term: metrics.current_term,
            ..Standing::default()
        };
    }
    let is_leader = metrics.current_leader == Some(member);
    let voters = metrics.membership_config.membership().voter_ids().count();
    let is_alone = voters == 1;
    let acknowledged = metrics.last_quorum_acked.as_ref();
    let is_heard = if is_leader {
        is_alone || acknowledged.is_some_and(|at| at.elapsed() <= LEADER_SILENT_MAX)
    } else {
        heard.is_recent()
    };
    Standing {
        term: metrics.current_term,
        leader: metrics.current_leader.filter(|_| is_heard),
        is_leader: is_leader && is_heard,
        is_observer: metrics.state == ServerState::Learner,
    }
}
