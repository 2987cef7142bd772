//! One member of an ensemble.
//!
//! Prevents an acknowledgement of what is not durable at a majority of members, and a proposal that
//! is lost or applied twice while leaders come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::RwLock;

use mainstay_zk_proto::Code;

use crate::disk::SharedDisk;
use crate::ensemble::Change;
use crate::inspection::Inspection;
use crate::log::{Limits, LogError};
use crate::network::Network;
use crate::proposal::Origin;
use crate::raft::Node;
use crate::replica::{NoQuorum, Proposal, Replica, SnapshotMark, Standing};
use crate::state::{Sink, State};
use crate::zoo_cfg;

/// What a member is told at its start.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// The ensemble's name; members of another one are not listened to.
    pub cluster: String,
    /// This member's number. Never one that another member had, nor one whose disk was lost.
    pub member: u64,
    /// All members, the same list at each of them. It counts at an ensemble's first start; later
    /// the ensemble's own list does, and this one only tells where else somebody may be found. A
    /// member that is to join has those in it who are there already, and itself.
    pub members: BTreeMap<u64, PeerConfig>,
    /// How long the files of the log get.
    pub log: Limits,
    /// When snapshots are taken.
    pub snapshots: Snapshots,
    /// Whether hard limits of quotas are kept, while this member leads.
    pub enforce_quota: bool,
    /// Random; the same twice is no harm beyond members that act in step.
    pub seed: u64,
    /// The wall clock, milliseconds since 1970.
    pub time_ms: fn() -> i64,
}

/// The address of a member that has no others, so that the system chooses where it listens.
pub(crate) const NOWHERE: &str = "127.0.0.1:0";

/// A member, as the others know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerConfig {
    /// Where it listens for other members.
    pub address: String,
    /// What `ZooKeeper` writes behind `server.N=`: clients find it in the configuration, and who is
    /// an observer by it has no vote.
    pub line: String,
}

impl PeerConfig {
    /// Whether it has no vote, as its line says.
    pub(crate) fn is_observer(&self) -> bool {
        zoo_cfg::Member::read(&self.line).is_ok_and(|member| member.is_observer)
    }
}

/// When snapshots are taken, and how much of the log is kept behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// After so many entries of the log.
    pub entries: u64,
    /// After so many bytes of entries.
    pub bytes: u64,
    /// Entries that are kept all the same: a member that is farther behind gets a snapshot.
    pub kept_entries: u64,
    /// Bytes of entries that are kept at most.
    pub kept_bytes: usize,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            entries: 100_000,
            // What is not in a snapshot yet is in memory as well; at full speed ten seconds of writes.
            bytes: 64 * 1_024 * 1_024,
            // A restart of a minute at a thousand entries a second.
            kept_entries: 50_000,
            kept_bytes: 16 * 1_024 * 1_024,
        }
    }
}

/// Why a member does not start, or stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum MemberError {
    /// It is not in the list of members.
    NotListed(u64),
    /// Its data are those of a member that was alone, and the list names several.
    WasAlone(u64),
    /// It cannot listen for other members.
    Listen(String, io::Error),
    /// Its log cannot be used.
    Log(LogError),
    /// Its disk failed.
    Disk(io::Error),
    /// The consensus did not start.
    Engine(String),
    /// It has other data than the others, behind this entry of the log, and is out of service.
    Diverged(u64),
    /// The others agreed that it does not belong to the ensemble any more.
    Removed(u64),
    /// It stopped, since it could not keep what it promised.
    Stopped(String),
}

impl fmt::Display for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed(member) => {
                write!(
                    f,
                    "member {member} is not in the list of members; add it there"
                )
            },
            Self::WasAlone(member) => write!(
                f,
                "member {member} was alone, and is to be one of several: give all of them what it \
                 has. With its old zoo.cfg, `mainstay keeper export`; then, at each member with an \
                 empty folder, `mainstay keeper import` from there"
            ),
            Self::Listen(address, error) => {
                write!(f, "cannot listen for other members at {address}: {error}")
            },
            Self::Log(error) => write!(f, "{error}"),
            Self::Disk(error) => write!(f, "the disk of the member failed: {error}"),
            Self::Engine(why) => write!(f, "the consensus did not start: {why}"),
            Self::Diverged(index) => write!(
                f,
                "the data of this member differ from those of the others, behind entry {index} of \
                 the log or before: it is out of service and does not start again. Its files are \
                 as they were: keep a copy for whoever looks into it, take the member out of the \
                 ensemble, and add a new one with an empty folder and another number"
            ),
            Self::Removed(member) => write!(
                f,
                "member {member} does not belong to the ensemble any more; to take it in again, \
                 start it with an empty folder and add it by `reconfig`"
            ),
            Self::Stopped(why) => write!(f, "the member stopped: {why}"),
        }
    }
}

impl std::error::Error for MemberError {}

/// A member of an ensemble, with its log and snapshots on a disk `D`. Dropping it ends it, but
/// [`stop`](Self::stop) says when it has ended.
#[derive(Debug)]
pub struct Member<D: SharedDisk>(Node<D>);

impl<D: SharedDisk> Member<D> {
    /// Starts a member: a new one, when its disk is empty, or one that goes on. It applies what it
    /// has, in the background; the sink also hears of what earlier starts proposed, whose
    /// [`Origin`] is another.
    ///
    /// # Errors
    ///
    /// [`MemberError`].
    pub async fn start<N: Network>(
        config: MemberConfig,
        disk: D,
        network: N,
        sink: impl Sink + Send + 'static,
    ) -> Result<Self, MemberError> {
        Node::start(config, disk, network, sink).await.map(Self)
    }

    /// Waits until the member stopped because it could not keep what it promised, or until the
    /// others do not want it any more. It does not recover from that: its owner stops it, starts
    /// another one, or calls for help.
    pub async fn failed(&self) -> MemberError {
        self.0.failed().await
    }

    /// What it holds of the log, with entries from the index `from`.
    pub fn inspect(&self, from: u64) -> Inspection {
        self.0.inspect(from)
    }

    /// Leaves the lead to another member, if this one has it.
    pub async fn hand_over(&self) {
        self.0.hand_over().await;
    }

    /// Stops; its disk and its address are free afterwards.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

impl<D: SharedDisk> Replica for Member<D> {
    fn origin(&self) -> Origin {
        self.0.origin()
    }

    fn state(&self) -> &RwLock<State> {
        self.0.state()
    }

    fn propose(&self, proposal: Proposal<'_>, register: &mut dyn FnMut(i64)) {
        self.0.propose(proposal, register);
    }

    fn takes_writes(&self) -> bool {
        self.0.takes_writes()
    }

    fn barrier(&self) -> impl Future<Output = Result<(), NoQuorum>> + Send {
        self.0.barrier()
    }

    fn touch(&self, sessions: &BTreeSet<i64>) -> impl Future<Output = Result<(), NoQuorum>> + Send {
        self.0.touch(sessions)
    }

    fn touched(&self) -> BTreeSet<i64> {
        self.0.touched()
    }

    async fn change_members(&self, change: Change) -> Result<Result<(), Code>, NoQuorum> {
        self.0.change_members(change).await
    }

    fn standing(&self) -> Standing {
        self.0.standing()
    }

    fn newest_snapshot(&self) -> Option<SnapshotMark> {
        self.0.newest_snapshot()
    }
}

#[cfg(test)]
mod tests;
