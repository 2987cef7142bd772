//! A member's consensus: everything in this folder, put together.
//!
//! Prevents parts that outlive the whole: what runs for a member belongs to it, and ends with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use mainstay_core::random::Random;
use mainstay_zk_proto::Code;
use openraft::Config;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::barrier::{Barriers, Rounds};
use super::beginning::{Recovered, addresses, listed, own_address, recover};
use super::cadence;
use super::comparison::Comparison;
use super::courier::{Courier, Route};
use super::desk::Desk;
use super::engine::{Engaged, Member, id_of};
use super::frame::{Greeting, Lane};
use super::handover::hand_over;
use super::holding::Holding;
use super::links::{self, Links};
use super::machine::{Newest, Progress};
use super::network::Wires;
use super::outbox::Outbox;
use super::petition::Petition;
use super::pulse::Pulse;
use super::quarantine::isolate;
use super::roster::Roster;
use super::scribe::Scribe;
use super::seat::Seats;
use super::serve::serve;
use super::store::{Store, Writing};
use super::survey::{self, begin};
use super::watchdog;
use crate::disk::SharedDisk;
use crate::ensemble::Change;
use crate::inspection::Inspection;
use crate::member::{MemberConfig, MemberError};
use crate::network::Network;
use crate::process::own;
use crate::proposal::Origin;
use crate::replica::{DiskStanding, NoQuorum, Proposal, SnapshotMark, Standing};
use crate::state::{Sink, State};

/// How often a leader says that it is there.
const HEARTBEAT_MS: u64 = 50;

/// A leader's lease. A follower that hears nothing waits until it is over, and then for a random
/// time between these two, before it asks for votes: a leader that is silent for 300 ms may be
/// replaced, and one that is gone is after 400 ms. Shorter ones elect a new leader whenever two
/// busy cores keep six heartbeats waiting.
const ELECTION_MIN_MS: u64 = 100;
const ELECTION_MAX_MS: u64 = 200;

/// Entries in one message, which is bounded in bytes by the store.
const MESSAGE_ENTRIES_MAX: u64 = 2_000;

/// How long a member may take to install a snapshot of which it has all blocks.
const SNAPSHOT_INSTALL_MS: u64 = 60_000;

/// Between tries to reach a member that cannot be reached.
const BACKOFF: &str = "20ms 40ms 80ms ..500ms";

/// How long the parts of a member may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A member's consensus.
pub(crate) struct Node<D: SharedDisk> {
    raft: Engaged<D>,
    member: u64,
    outbox: Arc<Outbox>,
    barriers: Arc<Barriers>,
    state: Arc<RwLock<State>>,
    newest_snapshot: Newest,
    pulse: Arc<Pulse<D>>,
    petition: Petition<D>,
    /// Whether this member does not belong to the ensemble any more.
    removed: watch::Receiver<bool>,
    store: Store,
    /// The entry behind which this member differs from the others, as soon as that is known, and
    /// again when it cannot start any more.
    differs: watch::Receiver<Option<u64>>,
    isolated: watch::Receiver<Option<u64>>,
    /// The disk makes nothing durable.
    seen: watchdog::Seen,
    writing: Mutex<Option<Writing>>,
    tasks: Mutex<JoinSet<()>>,
}

fn config(member: &MemberConfig) -> Config {
    Config {
        cluster_name: member.cluster.clone(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MIN_MS,
        election_timeout_max: ELECTION_MAX_MS,
        max_payload_entries: MESSAGE_ENTRIES_MAX,
        install_snapshot_timeout: SNAPSHOT_INSTALL_MS,
        snapshot_policy: cadence::policy(member.member, member.snapshots),
        max_in_snapshot_log_to_keep: member.snapshots.kept_entries,
        replication_lag_threshold: member.snapshots.kept_entries,
        enable_pre_vote: Some(true),
        // What is committed goes to disk with the next flush: a leader that starts again may be
        // behind itself, and has to be elected.
        enable_leader_restore: Some(false),
        broadcast_submitted_on_append: Some(true),
        backoff: BACKOFF.to_owned(),
        ..Config::default()
    }
}

/// Who this member says it is, to whom it has not met yet.
fn greeting(member: &MemberConfig, origin: Origin, seats: &Seats) -> Greeting {
    Greeting {
        cluster: member.cluster.clone(),
        member: member.member,
        incarnation: origin.incarnation,
        seat: seats.own(),
        known: 0,
        wanted: 0,
        lane: Lane::Control,
    }
}

impl<D: SharedDisk> Node<D> {
    pub(crate) async fn start<N: Network>(
        member: MemberConfig,
        disk: D,
        network: N,
        sink: impl Sink + Send + 'static,
    ) -> Result<Self, MemberError> {
        let engine = config(&member)
            .validate()
            .map_err(|error| MemberError::Engine(error.to_string()))?;
        let mut random = Random::seeded(member.seed);
        let drawn = (random.bits(), random.bits());
        let Recovered {
            origin,
            store,
            writing,
            machine,
            seats,
            members,
        } = recover(&member, disk.clone(), sink, drawn).await?;
        let address = own_address(&member, &members)?;
        let (state, newest_snapshot) = (machine.state(), machine.newest());
        let (progress, points) = (machine.progress(), machine.points());
        let mut tasks = JoinSet::new();
        let greeting = greeting(&member, origin, &seats);
        let listener = network.listen(&address).await;
        let listener = listener.map_err(|error| MemberError::Listen(address, error))?;
        let known = (Arc::clone(&seats), random);
        let links = Links::new(network, greeting.clone(), addresses(&member), known);
        let raft = Engaged::new(
            member.member,
            Arc::new(engine),
            Wires::new(links.clone()),
            store.clone(),
            machine,
        );
        let raft = raft
            .await
            .map_err(|fatal| MemberError::Engine(fatal.to_string()))?;
        let scribe = Arc::new(Scribe::default());
        let (route_is, route) = watch::channel(None);
        tasks.spawn(own(watch_route(raft.clone(), route_is)));
        let roster = Roster::new(&member, raft.clone(), links.clone(), Arc::clone(&state));
        let pulse = Arc::new(Pulse::new(Arc::clone(&roster), route.clone()));
        let known = (progress.clone(), points);
        let comparison = Arc::new(Comparison::new(Arc::clone(&roster), known));
        let holding = Arc::new(Holding::new(member.member, raft.clone(), links.clone()));
        let desk = Desk::new(
            raft.clone(),
            Arc::clone(&scribe),
            (Arc::clone(&roster), disk.clone(), store.clone()),
            (Arc::clone(&pulse), Arc::clone(&comparison)),
            Arc::clone(&holding),
        );
        tasks.spawn(own(holding.watch()));
        tasks.spawn(own(serve::<N, _>(
            listener,
            (greeting, seats),
            Arc::new(desk),
        )));
        mind(&mut tasks, &roster, listed(&member.members, false));

        let parts = Parts {
            member,
            raft,
            roster,
            scribe,
            pulse,
            comparison: (comparison, disk),
            route,
            progress,
            state,
            newest_snapshot,
            tasks,
        };
        Ok(parts.assemble(origin, store, writing))
    }

    pub(crate) fn origin(&self) -> Origin {
        self.outbox.origin()
    }

    pub(crate) fn state(&self) -> &RwLock<State> {
        &self.state
    }

    pub(crate) fn propose(&self, proposal: Proposal<'_>, register: &mut dyn FnMut(i64)) {
        self.outbox.propose(proposal, register);
    }

    pub(crate) async fn barrier(&self) -> Result<(), NoQuorum> {
        self.barriers.wait().await
    }

    /// Whether a write that is proposed now has a chance.
    pub(crate) fn takes_writes(&self) -> bool {
        self.seen.disk() == DiskStanding::Fine && self.outbox.has_room()
    }

    pub(crate) async fn change_members(
        &self,
        change: Change,
    ) -> Result<Result<(), Code>, NoQuorum> {
        self.petition.make(change).await
    }

    pub(crate) async fn touch(&self, sessions: &BTreeSet<i64>) -> Result<(), NoQuorum> {
        self.pulse.tell(sessions).await
    }

    pub(crate) fn touched(&self) -> BTreeSet<i64> {
        self.pulse.touched()
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            disk: self.seen.disk(),
            ..self.pulse.standing()
        }
    }

    pub(crate) fn newest_snapshot(&self) -> Option<SnapshotMark> {
        let newest = self.newest_snapshot.lock();
        *newest.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held here, with entries from the index `from`.
    pub(crate) fn inspect(&self, from: u64) -> Inspection {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        Inspection {
            leads: metrics.state == openraft::ServerState::Leader,
            applied: metrics.last_applied.as_ref().map(id_of),
            snapshot: metrics.snapshot.as_ref().map(id_of),
            ..self.store.inspect(from)
        }
    }

    /// Waits until this member fails; for ever, when it does not.
    pub(crate) async fn failed(&self) -> MemberError {
        let mut removed = self.removed.clone();
        tokio::select! {
            error = self.stopped() => error,
            Ok(_) = removed.wait_for(|removed| *removed) => MemberError::Removed(self.member),
        }
    }

    async fn stopped(&self) -> MemberError {
        // Not those that change with every entry: nobody shall be woken for each.
        let mut server = self.raft.server_metrics();
        while server.changed().await.is_ok() {}
        let why = match &self.raft.metrics().borrow_watched().running_state {
            Err(fatal) => fatal.to_string(),
            Ok(()) => "it was stopped".to_owned(),
        };
        if self.differs.borrow().is_none() {
            return MemberError::Stopped(why);
        }
        let mut isolated = self.isolated.clone();
        match isolated.wait_for(Option::is_some).await.map(|index| *index) {
            Ok(Some(index)) => MemberError::Diverged(index),
            Ok(None) | Err(_) => MemberError::Stopped(why),
        }
    }

    /// Leaves the lead to the one who is nearest, so that nobody has to notice that it is gone.
    pub(crate) async fn hand_over(&self) {
        hand_over(self.member, &self.raft).await;
    }

    /// Stops; the disk is free afterwards.
    pub(crate) async fn stop(self) {
        self.hand_over().await;
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        // How it ended was to be had from `failed`.
        drop(self.raft.shutdown().await);
        let writing = self
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(self);
        if let Some(writing) = writing {
            drop(timeout(STOP_TIMEOUT, writing.ended()).await);
        }
    }
}

impl<D: SharedDisk> Drop for Node<D> {
    fn drop(&mut self) {
        // The first poll says that it is to end; nobody waits until it has.
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            let _entered = handle.enter();
            drop(self.raft.shutdown().now_or_never());
        }
    }
}

impl<D: SharedDisk> Debug for Node<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("member", &self.member)
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}

/// What a node is made of.
struct Parts<D: SharedDisk> {
    member: MemberConfig,
    raft: Engaged<D>,
    roster: Arc<Roster<D>>,
    scribe: Arc<Scribe>,
    pulse: Arc<Pulse<D>>,
    comparison: (Arc<Comparison<D>>, D),
    route: watch::Receiver<Option<Route>>,
    progress: watch::Receiver<Progress>,
    state: Arc<RwLock<State>>,
    newest_snapshot: Newest,
    tasks: JoinSet<()>,
}

impl<D: SharedDisk> Parts<D> {
    /// Starts what still has to run.
    fn assemble(self, origin: Origin, store: Store, writing: Writing) -> Node<D> {
        let Self {
            member,
            raft,
            roster,
            scribe,
            comparison: (comparison, disk),
            route,
            progress,
            mut tasks,
            ..
        } = self;
        let links = roster.links.clone();
        let outbox = Arc::new(Outbox::new(origin));
        let stamping = (member.time_ms, member.enforce_quota);
        tasks.spawn(own(Arc::clone(&scribe).write(raft.clone(), stamping)));
        let courier = Courier {
            member: member.member,
            outbox: Arc::clone(&outbox),
            scribe,
            links: links.clone(),
            route: route.clone(),
            progress: progress.clone(),
        };
        tasks.spawn(own(courier.carry()));
        let petition = Petition {
            roster: Arc::clone(&roster),
            route: route.clone(),
            progress: progress.clone(),
        };
        let barriers = Arc::new(Barriers::default());
        let rounds = Rounds {
            member: member.member,
            raft: raft.clone(),
            links,
            route,
            progress,
            store: store.clone(),
        };
        tasks.spawn(own(Arc::clone(&barriers).serve(rounds)));
        let (removed_is, removed) = watch::channel(false);
        let notices = survey::notice_removal(roster, Arc::clone(&self.pulse), removed_is);
        tasks.spawn(own(notices));
        let beat = (member.member, member.snapshots);
        tasks.spawn(own(cadence::keep(raft.clone(), store.clone(), beat)));
        let seen = watchdog::Seen::default();
        let watch = watchdog::watch(member.member, raft.clone(), store.clone(), seen.clone());
        tasks.spawn(own(async move { match watch.await {} }));
        let (is_isolated, isolated) = watch::channel(None);
        let differs = comparison.differs();
        let isolate = isolate(differs.clone(), raft.clone(), disk, is_isolated);
        tasks.spawn(own(isolate));
        tasks.spawn(own(async move { match comparison.compare().await {} }));
        Node {
            raft,
            differs,
            isolated,
            member: member.member,
            outbox,
            barriers,
            newest_snapshot: self.newest_snapshot,
            state: self.state,
            pulse: self.pulse,
            store,
            seen,
            petition,
            removed,
            writing: Mutex::new(Some(writing)),
            tasks: Mutex::new(tasks),
        }
    }
}

/// Minds who belongs to the ensemble, which begins with `voters`.
fn mind<D: SharedDisk>(
    tasks: &mut JoinSet<()>,
    roster: &Arc<Roster<D>>,
    voters: BTreeMap<u64, Member>,
) {
    let follow = links::follow(roster.links.clone(), roster.raft.clone());
    tasks.spawn(own(follow));
    tasks.spawn(own(begin(Arc::clone(roster), voters)));
    tasks.spawn(own(Arc::clone(roster).tidy()));
    tasks.spawn(own(Arc::clone(roster).mind_seats()));
}

/// Says who leads, whenever that changes.
async fn watch_route<D: SharedDisk>(raft: Engaged<D>, route: watch::Sender<Option<Route>>) {
    let mut metrics = raft.server_metrics();
    loop {
        let is = {
            let metrics = metrics.borrow_watched();
            metrics.current_leader.map(|leader| Route {
                term: metrics.vote.leader_id().term,
                leader,
            })
        };
        route.send_if_modified(|was| std::mem::replace(was, is) != is);
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
