//! Changes of the ensemble's members, as its leader makes them.
//!
//! Prevents two changes at once, a voter that knows nothing yet, and a change that nobody finishes:
//! who is to vote catches up first, unseen by clients; then all of the change is one step of the
//! log; and what a leader left behind that died within is finished by the next one.
//!
//! A change passes through these lists of members:
//!
//! ```text
//! present   + newcomers that are to vote, unlisted: they get the log and have no vote
//! joint     present and next voters both have to agree; those who leave are unlisted
//! next      what clients see from now on; those who leave hear of it
//! tidy      without those who left
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mainstay_zk_proto::Code;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{Instant as _, RaftMetrics};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::beginning;
use super::engine::{self, Absent, Engaged, Engine, Member, Members};
use super::links::Links;
use crate::disk::SharedDisk;
use crate::ensemble::{Change, Ensemble};
use crate::member::MemberConfig;
use crate::state::State;

/// How long those who are to vote have to catch up. Whoever needs longer joins as an observer
/// first, for which nobody waits.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);

/// How long somebody may take to be reached at all, and a new leader to hear of a quorum.
const REACH_MAX: Duration = Duration::from_secs(3);

/// How long a change waits until no snapshot is being sent.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(20);

/// How often is looked whether something is so.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who was heard of within this time is connected.
const CONNECTED_MAX: Duration = Duration::from_secs(1);

/// Entries that somebody may be behind who counts as caught up.
const BEHIND_MAX: u64 = 1_000;

/// How often the leader looks whether there is something to finish.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// How long another one may take to lead.
const TRANSFER_MAX: Duration = Duration::from_secs(2);

/// Why a change was not made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The client hears this.
    Code(Code),
    /// Another member leads, or will.
    NotLeader,
}

/// Where changes are made, one at a time.
pub(super) struct Roster<D: SharedDisk> {
    pub(super) member: u64,
    pub(super) links: Links,
    /// Those without a vote that the ensemble begins with.
    pub(super) observers: BTreeMap<u64, Member>,
    pub(super) raft: Engaged<D>,
    state: Arc<RwLock<State>>,
    /// Held by what a client asked for.
    changing: Mutex<()>,
    /// Held by whoever writes lists of members, this leader by itself too.
    writing: Mutex<()>,
}

type Nodes = BTreeMap<u64, Member>;
type Step = ChangeMembers<u64, Member>;

/// A change that can be made.
#[derive(Debug)]
struct Plan {
    /// All who are in the next list.
    nodes: Nodes,
    voters: BTreeSet<u64>,
    /// Who is not known yet, and is to vote.
    newcomers: Nodes,
    /// Who leaves.
    leaving: Nodes,
}

/// What clients see.
pub(super) fn listed(members: &Members) -> Ensemble {
    let nodes = members.nodes().filter(|(_, node)| node.is_listed);
    let read = nodes.filter_map(|(&id, node)| {
        let member = crate::zoo_cfg::Member::read(&node.line).ok()?;
        Some((id, member))
    });
    Ensemble(read.collect())
}

impl Plan {
    fn new(present: &Members, next: &Ensemble, absent: &Absent) -> Self {
        let node = |member: &crate::zoo_cfg::Member| Member {
            address: member.address(),
            line: member.to_string(),
            is_listed: true,
            absent: absent.clone(),
        };
        let nodes: Nodes = next.0.iter().map(|(&id, of)| (id, node(of))).collect();
        let voting = next.0.iter().filter(|(_, member)| !member.is_observer);
        let voters: BTreeSet<u64> = voting.map(|(&id, _)| id).collect();
        let newcomer = |id: &u64| voters.contains(id) && present.get_node(id).is_none();
        let unlisted = |(&id, node): (&u64, &Member)| {
            let node = Member {
                is_listed: false,
                absent: Absent::new(),
                ..node.clone()
            };
            (id, node)
        };
        let newcomers = nodes.iter().filter(|(id, _)| newcomer(id));
        let leaving = present.nodes().filter(|(id, _)| !nodes.contains_key(id));
        Self {
            newcomers: newcomers.map(unlisted).collect(),
            leaving: leaving.map(unlisted).collect(),
            voters,
            nodes,
        }
    }

    /// The one step that makes the next list of the present one.
    fn step(&self) -> Step {
        let mut nodes = self.nodes.clone();
        nodes.extend(self.leaving.clone());
        ChangeMembers::Batch(vec![
            ChangeMembers::SetNodes(nodes),
            ChangeMembers::ReplaceAllVoters(self.voters.clone()),
        ])
    }
}

/// Who follows this leader.
pub(super) struct Reached {
    /// Those who were heard of just now.
    pub(super) connected: BTreeSet<u64>,
    /// Those among them who have (nearly) all of the log.
    synced: BTreeSet<u64>,
}

impl Reached {
    pub(super) fn of(member: u64, metrics: &RaftMetrics<Engine>) -> Self {
        let last = metrics.last_log_index.unwrap_or_default();
        let heard = metrics.heartbeat.iter().flatten();
        let just =
            heard.filter(|(_, at)| at.as_ref().is_some_and(|at| at.elapsed() <= CONNECTED_MAX));
        let mut connected: BTreeSet<u64> = just.map(|(&id, _)| id).collect();
        connected.insert(member);
        let matched = metrics.replication.iter().flatten();
        let near = matched.filter(|(_, id)| {
            id.as_ref()
                .is_some_and(|id| id.index() + BEHIND_MAX >= last)
        });
        let near = near.map(|(&id, _)| id).filter(|id| connected.contains(id));
        let synced = near.chain([member]).collect();
        Self { connected, synced }
    }
}

fn is_quorum(voters: &BTreeSet<u64>, of: &BTreeSet<u64>) -> bool {
    voters.intersection(of).count() > voters.len() / 2
}

impl<D: SharedDisk> Roster<D> {
    pub(super) fn new(
        member: &MemberConfig,
        raft: Engaged<D>,
        links: Links,
        state: Arc<RwLock<State>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            member: member.member,
            raft,
            links,
            state,
            observers: beginning::listed(&member.members, true),
            changing: Mutex::default(),
            writing: Mutex::default(),
        })
    }

    /// Makes a change that somebody asks for; the answer is the entry of the log that says so.
    pub(super) async fn change(&self, change: &Change) -> Result<u64, Refused> {
        self.make(|present| self.asked(change, present)).await
    }

    /// Makes a change: to the members that `next` gives for the present ones, and to who is absent.
    pub(super) async fn make(
        &self,
        next: impl FnOnce(&Members) -> Result<(Ensemble, Absent), Code>,
    ) -> Result<u64, Refused> {
        let _one = self
            .changing
            .try_lock()
            .map_err(|_busy| Refused::Code(Code::ReconfigInProgress))?;
        // What this leader does by itself after a change, the next one waits for: to clients the one
        // before is over.
        let is_settled = || !self.leads() || self.is_settled();
        wait(REACH_MAX, is_settled).await;
        let Ok(_writing) = timeout(REACH_MAX, self.writing.lock()).await else {
            return Err(Refused::Code(Code::ReconfigInProgress));
        };
        wait(REACH_MAX, is_settled).await;
        let plan = self.plan(next)?;
        if !plan.voters.contains(&self.member) {
            return Err(self.leave_the_lead(&plan.voters).await);
        }
        if let Err(refused) = self.prepare(&plan).await {
            self.forget(plan.newcomers.keys().copied().collect()).await;
            return Err(refused);
        }
        self.step(plan.step()).await
    }

    /// Whether all agree on one list of members, and that is the newest.
    fn is_settled(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let present = &metrics.membership_config;
        *present == metrics.committed_membership_config
            && present.membership().get_joint_config().len() == 1
    }

    /// What is to be done, if it may be.
    fn plan(
        &self,
        next: impl FnOnce(&Members) -> Result<(Ensemble, Absent), Code>,
    ) -> Result<Plan, Refused> {
        if !self.leads() {
            return Err(Refused::NotLeader);
        }
        if !self.is_settled() {
            return Err(Refused::Code(Code::ReconfigInProgress));
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let present = metrics.membership_config.membership();
        let (next, absent) = next(present).map_err(Refused::Code)?;
        Ok(Plan::new(present, &next, &absent))
    }

    /// What somebody asks for. Who is absent and not named stays so.
    fn asked(&self, change: &Change, present: &Members) -> Result<(Ensemble, Absent), Code> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let version = state.members_version();
        drop(state);
        if change.version != -1 && change.version != version {
            return Err(Code::BadVersion);
        }
        let next = listed(present).after(change)?;
        if !change.is_allowed {
            return Err(Code::NoAuth);
        }
        if !next.has_numbers() {
            return Err(Code::BadArguments);
        }
        let mut absent = engine::absent(present);
        absent.retain(|id, _| !change.names(*id));
        Ok((next, absent))
    }

    /// A leader that will have no vote leaves the lead to one that will, who is then asked.
    async fn leave_the_lead(&self, voters: &BTreeSet<u64>) -> Refused {
        let heir = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let there = Reached::of(self.member, &metrics).synced;
            let present: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
            let matched = metrics.replication.iter().flatten();
            let heirs = matched.filter(|(id, _)| {
                voters.contains(id) && present.contains(id) && there.contains(id)
            });
            heirs.max_by_key(|(_, at)| **at).map(|(&id, _)| id)
        };
        let Some(heir) = heir else {
            return Refused::Code(Code::NewConfigNoQuorum);
        };
        if self.raft.trigger().transfer_leader(heir).await.is_ok() {
            wait(TRANSFER_MAX, || !self.leads()).await;
        }
        Refused::NotLeader
    }

    /// Those who are to vote get what they miss; `Err` when no quorum of them has it in time.
    async fn prepare(&self, plan: &Plan) -> Result<(), Refused> {
        if !plan.newcomers.is_empty() {
            self.step(ChangeMembers::AddNodes(plan.newcomers.clone()))
                .await?;
        }
        self.catch_up(plan).await;
        // The engine's list of members and a snapshot that is on its way may disagree.
        let is_quiet = || !self.links.are_sending() || !self.leads();
        let quiet = wait(SNAPSHOT_WAIT_MAX, is_quiet).await;
        if !self.leads() {
            return Err(Refused::NotLeader);
        }
        let there = Reached::of(self.member, &self.raft.metrics().borrow_watched()).synced;
        if !is_quorum(&plan.voters, &there) {
            return Err(Refused::Code(Code::NewConfigNoQuorum));
        }
        if quiet {
            Ok(())
        } else {
            Err(Refused::Code(Code::ReconfigInProgress))
        }
    }

    /// Waits for those who have no vote yet, and are to have one, as long as they can be reached;
    /// and until a quorum is there, for a new leader has heard of nobody.
    async fn catch_up(&self, plan: &Plan) {
        let began = Instant::now();
        let enough = || {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let present: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
            let Reached { connected, synced } = Reached::of(self.member, &metrics);
            let mut missing = plan.voters.difference(&present);
            let is_late = began.elapsed() >= REACH_MAX;
            let is_there = |id: &u64| synced.contains(id) || (is_late && !connected.contains(id));
            metrics.current_leader != Some(self.member)
                || (missing.all(is_there) && (is_late || is_quorum(&plan.voters, &synced)))
        };
        wait(CATCH_UP_MAX, enough).await;
    }

    fn leads(&self) -> bool {
        self.raft.metrics().borrow_watched().current_leader == Some(self.member)
    }

    /// Changes the engine's list, whose removed voters go on to get the log.
    async fn step(&self, step: Step) -> Result<u64, Refused> {
        let written = self.raft.change_membership(step, true).await;
        match written {
            Ok(written) => Ok(written.log_id.index()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(Refused::NotLeader)
            },
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => {
                Err(Refused::Code(Code::ReconfigInProgress))
            },
            // A leader that lost the lead within cannot say how far it came.
            Err(
                RaftError::APIError(
                    ClientWriteError::PreconditionFailed(_)
                    | ClientWriteError::LogEntryDiscarded(_),
                )
                | RaftError::Fatal(_),
            ) => Err(Refused::Code(Code::ConnectionLoss)),
        }
    }

    /// Drops some who have no vote; the next tidying does it, if this does not.
    async fn forget(&self, members: BTreeSet<u64>) {
        if !members.is_empty() {
            drop(self.step(ChangeMembers::RemoveNodes(members)).await);
        }
    }

    /// Finishes what is not, while this member leads; until the engine ends.
    pub(super) async fn tidy(self: Arc<Self>) {
        let mut look = interval(TIDY_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut metrics = self.raft.server_metrics();
        loop {
            tokio::select! {
                _ = look.tick() => {},
                changed = metrics.changed() => if changed.is_err() { return },
            }
            if let Ok(_writing) = self.writing.try_lock()
                && let Some(step) = self.unfinished()
            {
                // What cannot be done now is found again.
                drop(self.step(step).await);
            }
        }
    }

    /// What is to be done next, if anything.
    fn unfinished(&self) -> Option<Step> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = &metrics.membership_config;
        if metrics.current_leader != Some(self.member)
            || *members != metrics.committed_membership_config
        {
            return None;
        }
        next_tidying(
            members.membership(),
            members.log_id().as_ref().map(openraft::LogId::index),
            &self.observers,
        )
    }
}

/// What a leader does with a list of members that was left, when no change is under way.
fn next_tidying(members: &Members, at: Option<u64>, observers: &Nodes) -> Option<Step> {
    if members.get_joint_config().len() > 1 {
        return Some(ChangeMembers::AddVoterIds(BTreeSet::new()));
    }
    // The first entry can only name those with a vote.
    if at == Some(0) && !observers.is_empty() {
        return Some(ChangeMembers::AddNodes(observers.clone()));
    }
    let unlisted = members.nodes().filter(|(_, node)| !node.is_listed);
    let unlisted: BTreeSet<u64> = unlisted.map(|(&id, _)| id).collect();
    (!unlisted.is_empty()).then_some(ChangeMembers::RemoveNodes(unlisted))
}

/// Waits until something is so; says whether it is.
pub(super) async fn wait(most: Duration, mut is: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + most;
    while !is() {
        if Instant::now() >= end {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}
