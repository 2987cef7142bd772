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
use crate::disk::SharedDisk;
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

    /// One round: where the log is committed up to, and then until that was applied here.
    async fn pass(&self) {
        let index = loop {
            if let Some(index) = self.read_index().await {
                break index;
            }
            sleep(AGAIN_AFTER).await;
        };
        let mut progress = self.progress.clone();
        let there = |progress: &Progress| progress.applied.is_some_and(|at| at.index >= index);
        // Who stops drops those who wait.
        drop(progress.wait_for(there).await);
    }

    async fn read_index(&self) -> Option<u64> {
        let leader = (*self.route.borrow())?.leader;
        if leader == self.member {
            return read_index(&self.raft).await;
        }
        let link = self.links.to(leader)?.control;
        let answer = link.call(Kind::ReadIndex, Vec::new(), READ_INDEX_DEADLINE);
        let answer = answer.await.ok()?;
        answer.first_chunk().copied().map(u64::from_le_bytes)
    }
}

/// How far the log is committed, as a leader that a quorum confirms; `None` when it is none.
pub(super) async fn read_index<D: SharedDisk>(raft: &Raft<Engine, Machine<D>>) -> Option<u64> {
    if planted::is(Bug::StaleRead) {
        let metrics = raft.metrics();
        return metrics.borrow_watched().last_applied.map(|id| id.index());
    }
    let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
    Some(linearizer.read_log_id().index())
}
