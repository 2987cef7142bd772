//! Waiting until this member has all that was committed anywhere before.
//!
//! Prevents a read that is older than what its reader was told already, and a round of messages per
//! reader: a round serves all who wait when it begins. Source: Ongaro's dissertation, 6.4
//! (`ReadIndex`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Raft, ReadPolicy};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::courier::Route;
use super::engine::Engine;
use super::frame::Kind;
use super::links::Links;
use super::machine::{Machine, Progress};
use super::store::Store;
use crate::disk::SharedDisk;
use crate::log::LogId;
use crate::planted::{self, Bug};
use crate::replica::NoQuorum;

/// How long one who waits does so; leaders come and go meanwhile.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// Between tries to find a leader that has a quorum.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long one question to the leader may take.
const READ_INDEX_DEADLINE: Duration = Duration::from_secs(1);

/// Rounds under way.
const ROUNDS_MAX: usize = 2;

type Waiter = oneshot::Sender<Result<(), NoQuorum>>;

/// Those who wait for the next round.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    waiting: Mutex<Vec<Waiter>>,
    joined: Notify,
}

/// What a round needs.
pub(super) struct Rounds<D: SharedDisk> {
    pub(super) member: u64,
    pub(super) raft: Raft<Engine, Machine<D>>,
    pub(super) links: Links,
    pub(super) route: watch::Receiver<Option<Route>>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) store: Store,
}

impl Barriers {
    /// Waits for a round that begins after now.
    pub(super) async fn wait(&self) -> Result<(), NoQuorum> {
        let (passed, wait) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(passed);
        self.joined.notify_one();
        wait.await.unwrap_or(Err(NoQuorum))
    }

    /// Makes rounds, until it is dropped.
    pub(super) async fn serve<D: SharedDisk>(self: Arc<Self>, rounds: Rounds<D>) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let full = under_way.len() >= ROUNDS_MAX;
            tokio::select! {
                () = self.joined.notified(), if !full => {},
                Some(()) = under_way.next() => {},
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.is_empty() && under_way.len() < ROUNDS_MAX {
                under_way.push(rounds.serve(std::mem::take(&mut *waiting)));
            }
        }
    }
}

impl<D: SharedDisk> Rounds<D> {
    /// Serves some with one round.
    async fn serve(&self, waiting: Vec<Waiter>) {
        let passed = timeout(BARRIER_TIMEOUT, self.pass()).await;
        let passed = passed.map_err(|_late| NoQuorum);
        for one in waiting {
            // Who does not wait any more does not need to hear.
            one.send(passed).ok();
        }
    }

    /// One round: up to where anything may be committed, and then until that was applied here.
    async fn pass(&self) {
        let read = loop {
            if let Some(read) = self.read_index().await {
                break read;
            }
            sleep(AGAIN_AFTER).await;
        };
        let mut progress = self.progress.clone();
        let there = |progress: &Progress| progress.applied.is_some_and(|at| read.is_passed(at));
        // Who stops drops those who wait.
        drop(progress.wait_for(there).await);
    }

    async fn read_index(&self) -> Option<ReadIndex> {
        let leader = (*self.route.borrow())?.leader;
        if leader == self.member {
            return read_index(&self.raft, &self.store).await;
        }
        let link = self.links.to(leader)?.control;
        let answer = link.call(Kind::ReadIndex, Vec::new(), READ_INDEX_DEADLINE);
        ReadIndex::from_bytes(&answer.await.ok()?)
    }
}

/// Up to where anything may be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadIndex {
    index: u64,
    /// The leader's term, or a later one.
    term: u64,
}

impl ReadIndex {
    /// Whether all that was committed when it was asked for is applied where `at` is. Where an entry
    /// of a later term is, all is that was committed in earlier ones; what the leader had beyond
    /// that may be gone, and its place may never be reached.
    const fn is_passed(self, at: LogId) -> bool {
        at.index >= self.index || at.term > self.term
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        let both = u128::from(self.index) << 64 | u128::from(self.term);
        both.to_le_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_le_bytes(bytes.try_into().ok()?);
        let half = |part: u128| u64::try_from(part & u128::from(u64::MAX)).ok();
        Some(Self {
            index: half(both >> 64)?,
            term: half(both)?,
        })
    }
}

/// Up to where anything may be committed, as a leader that a quorum confirms; `None` when it is none.
///
/// That is as far as its log goes: a follower may have learned before its leader that an entry is
/// committed, see [`holding`](super::holding), and have told a client.
pub(super) async fn read_index<D: SharedDisk>(
    raft: &Raft<Engine, Machine<D>>,
    store: &Store,
) -> Option<ReadIndex> {
    let metrics = raft.metrics();
    if planted::is(Bug::StaleRead) {
        let metrics = metrics.borrow_watched();
        let (index, term) = (metrics.last_applied?.index(), metrics.current_term);
        return Some(ReadIndex { index, term });
    }
    let held = store.last_index();
    let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
    let index = linearizer.read_log_id().index().max(held);
    // Where it leads no more by now, the term is a later one: then more has to be applied.
    let term = metrics.borrow_watched().current_term;
    Some(ReadIndex { index, term })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_never_reached_is_passed_by_an_entry_of_a_later_leader() {
        let read = ReadIndex { index: 9, term: 3 };
        assert_eq!(ReadIndex::from_bytes(&read.to_bytes()), Some(read));
        let at = |term, index| LogId {
            term,
            leader: 1,
            index,
        };
        assert!(!read.is_passed(at(3, 8)));
        assert!(read.is_passed(at(3, 9)));
        assert!(read.is_passed(at(4, 7)), "what was at 8 and 9 is gone");
        assert_eq!(ReadIndex::from_bytes(&[0; 8]), None);
    }
}
