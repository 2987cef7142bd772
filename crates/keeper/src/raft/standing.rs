//! Who leads, as this member may believe it.
//!
//! Prevents a member that was cut off from speaking for an ensemble that goes on without it: a
//! leader that no quorum answered lately is none, whoever hears it, nor is one that was not heard of.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::Instant;

use super::roster::Roster;
use crate::disk::SharedDisk;
use crate::replica::Standing;

/// A leader that was silent for so long, or that no quorum answered, is none.
const LEADER_SILENT_MAX: Duration = Duration::from_secs(1);

/// When the leader was heard of last, and what it said of its quorum.
#[derive(Debug, Default)]
pub(super) struct Heard {
    last: Mutex<Option<Instant>>,
    /// The term whose leader said last that it leads no quorum. A leader that was cut off with
    /// this member still speaks to it, so that its voice alone says nothing.
    denied: Mutex<Option<u64>>,
}

impl Heard {
    pub(super) fn now(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The leader of `term` took what it was told, or said that it leads no quorum.
    pub(super) fn takes(&self, term: u64, takes: bool) {
        *self.denied.lock().unwrap_or_else(PoisonError::into_inner) = (!takes).then_some(term);
    }

    fn is_denied(&self, term: u64) -> bool {
        *self.denied.lock().unwrap_or_else(PoisonError::into_inner) == Some(term)
    }

    /// For how long it was silent; `None` when it was never heard of.
    pub(super) fn silence(&self) -> Option<Duration> {
        let heard = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|heard| heard.elapsed())
    }

    fn is_recent(&self) -> bool {
        let silence = self.silence();
        silence.is_some_and(|silence| silence <= LEADER_SILENT_MAX)
    }
}

/// How the ensemble is, as the roster's member sees it.
pub(super) fn standing<D: SharedDisk>(roster: &Roster<D>, heard: &Heard) -> Standing {
    let member = roster.member;
    let metrics = roster.raft.metrics();
    let metrics = metrics.borrow_watched();
    if metrics.running_state.is_err() {
        // It has stopped, and what it knew last is not so any more.
        return Standing {
            term: metrics.current_term,
            ..Standing::default()
        };
    }
    let is_leader = metrics.current_leader == Some(member);
    let members = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let is_alone = voters.len() == 1;
    let acknowledged = metrics.last_quorum_acked.as_ref();
    let is_heard = if is_leader {
        is_alone || acknowledged.is_some_and(|at| at.elapsed() <= LEADER_SILENT_MAX)
    } else {
        heard.is_recent() && !heard.is_denied(metrics.vote.leader_id().term)
    };
    Standing {
        term: metrics.current_term,
        leader: metrics.current_leader.filter(|_| is_heard),
        is_leader: is_leader && is_heard,
        // Before there is a list, what this member was told counts.
        is_observer: if voters.is_empty() {
            roster.observers.contains_key(&member)
        } else {
            !voters.contains(&member)
        },
        ..Standing::default()
    }
}
