//! What the leader holds, told to those who may hold it as well.
//!
//! Prevents a write that is safe and waits for two more messages until its member hears so. A leader
//! tells what it has made durable. Where three vote, a follower that has made it durable as well
//! knows that a majority has, and need not wait until the leader has heard that from it and says so:
//! its clients are answered after one way to the leader and back instead of two. Source: Lamport,
//! *Paxos Made Simple*, 2.3: acceptors may tell every learner what they accepted.
//!
//! Always holds: what is learned is of the leader's own term, lies behind the list of members that
//! counts, and that list is committed and has three voters at most, with both members among them.
//! The leader may not know yet that it is committed: [`read_index`](super::barrier::read_index)
//! counts with that.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use mainstay_zk_proto::jute::Malformed;
use openraft::alias::{LogIdOf, VoteOf};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::{AppendEntriesRequest, FlushPoint};
use tokio::sync::Notify;

use super::codec::{decode, encode};
use super::engine::{Engaged, Engine};
use super::frame::Kind;
use super::links::Links;
use crate::disk::SharedDisk;

/// Of as many voters a leader and one more are a majority.
const VOTERS_MAX: usize = 3;

/// What a leader told of what it holds.
pub(super) struct Holding<D: SharedDisk> {
    member: u64,
    raft: Engaged<D>,
    links: Links,
    /// An append without entries that says that all up to its place is committed: true for who holds
    /// that place.
    told: Mutex<Option<AppendEntriesRequest<Engine>>>,
    heard: Notify,
}

impl<D: SharedDisk> Holding<D> {
    pub(super) fn new(member: u64, raft: Engaged<D>, links: Links) -> Self {
        Self {
            member,
            raft,
            links,
            told: Mutex::default(),
            heard: Notify::new(),
        }
    }

    /// Another member says what it holds.
    pub(super) fn hear(&self, body: &[u8]) -> Result<(), Malformed> {
        let told = decode(body)?;
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        self.heard.notify_one();
        Ok(())
    }

    /// Tells others while this member leads, and learns while it follows; until the engine ends.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut flushed = self.raft.watch_log_progress();
        let mut learning = FuturesUnordered::new();
        let mut said = None;
        loop {
            if let Some((vote, last)) = flushed.get().as_ref().and_then(of_its_term) {
                let learned = self.look(vote, last, &mut said);
                learning.extend(learned.map(|told| self.raft.append_entries(told)));
            }
            tokio::select! {
                changed = flushed.changed() => if changed.is_err() { return },
                () = self.heard.notified() => {},
                // Whether it was news, or came from a leader that is none any more.
                Some(_) = learning.next() => {},
            }
        }
    }

    /// All up to `last` is durable by `vote`: a leader says so unless it has `said` it, a follower may
    /// learn from it.
    fn look(
        &self,
        vote: VoteOf<Engine>,
        last: LogIdOf<Engine>,
        said: &mut Option<LogIdOf<Engine>>,
    ) -> Option<AppendEntriesRequest<Engine>> {
        if vote.leader_id().node_id != self.member {
            return self.learn(last);
        }
        if *said != Some(last) {
            *said = Some(last);
            self.say(vote, last);
        }
        None
    }

    /// Tells the others that this member, which leads by `vote`, holds all up to `last`.
    fn say(&self, vote: VoteOf<Engine>, last: LogIdOf<Engine>) {
        let Some(others) = self.voters_beside(&last) else {
            return;
        };
        let body = encode(&AppendEntriesRequest::<Engine> {
            vote,
            prev_log_id: Some(last),
            entries: Vec::new(),
            leader_commit: Some(last),
        });
        for peer in others.into_iter().filter_map(|id| self.links.to(id)) {
            // Who does not hear it hears later that it is committed.
            if peer.bulk.tell(Kind::Holds, body.clone()).is_ok() {
                peer.told.store(last.index(), Ordering::Relaxed);
            }
        }
    }

    /// What the leader told, if this member, which holds all up to `last`, holds it as well.
    fn learn(&self, last: LogIdOf<Engine>) -> Option<AppendEntriesRequest<Engine>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.take_if(|told| {
            let place = told.prev_log_id.as_ref();
            place.is_some_and(|place| {
                let is_held = place.committed_leader_id() == last.committed_leader_id()
                    && place.index() <= last.index();
                let leader = place.committed_leader_id().node_id;
                let counts = self.voters_beside(place);
                is_held && counts.is_some_and(|others| others.contains(&leader))
            })
        })
    }

    /// The others who vote on the entry at `place`, if that is so few that any of them makes a
    /// majority with this member.
    fn voters_beside(&self, place: &LogIdOf<Engine>) -> Option<Vec<u64>> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let members = &metrics.membership_config;
        let counts = members.log_id() == metrics.committed_membership_config.log_id()
            && members.log_id().as_ref()?.index() <= place.index();
        let [voters] = members.membership().get_joint_config().as_slice() else {
            return None;
        };
        let is_small = voters.len() <= VOTERS_MAX && voters.contains(&self.member);
        let others = voters.iter().copied().filter(|id| *id != self.member);
        (counts && is_small).then(|| others.collect())
    }
}

/// The leader by whose vote something was made durable, and up to where, if that is its own.
fn of_its_term(point: &FlushPoint<Engine>) -> Option<(VoteOf<Engine>, LogIdOf<Engine>)> {
    let FlushPoint { vote, last_log_id } = *point;
    let last = last_log_id?;
    let is_its_own = vote.is_committed() && vote.leader_id() == last.committed_leader_id();
    is_its_own.then_some((vote, last))
}
