//! A member of the ensemble, as those see it who serve clients.
//!
//! Prevents a server that knows how agreement is reached: it proposes, reads what was applied, and
//! hears through a [`Sink`] what became of its proposals. [`Solo`] is a member
//! without others, for tests and for tools.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use mainstay_zk_proto::Code;
use mainstay_zk_proto::acl::Id;
use mainstay_zk_proto::jute::Jute as _;

use crate::ensemble::Change;
use crate::proposal::{Action, Batch, Entry, Operation, Origin};
use crate::state::{Sink, State};
use crate::touch::Touches;

/// A member of the ensemble.
pub trait Replica: Send + Sync + 'static {
    /// Where its proposals come from.
    fn origin(&self) -> Origin;

    /// What was applied here.
    fn state(&self) -> &RwLock<State>;

    /// Proposes an operation. `register` gets its number before anybody can hear of it: who will
    /// be told by the sink notes it there, quickly and without proposing.
    ///
    /// Every proposal is told exactly once, unless this member stops; also when leaders change.
    fn propose(&self, proposal: Proposal<'_>, register: &mut dyn FnMut(i64));

    /// Whether a write that is proposed now has a chance. While it has none, clients hear so at once:
    /// this member's disk is full or hangs, or too much waits already.
    fn takes_writes(&self) -> bool;

    /// Waits until [`state`](Self::state) has everything that was committed anywhere before.
    fn barrier(&self) -> impl Future<Output = Result<(), NoQuorum>> + Send;

    /// Tells the leader, who may be this member, that `sessions` were heard here; `Ok` when it has
    /// taken them while a quorum heard it. Nobody is also told, so that a member knows whether its
    /// clients are still accounted for.
    fn touch(&self, sessions: &BTreeSet<i64>) -> impl Future<Output = Result<(), NoQuorum>> + Send;

    /// Sessions that were heard anywhere since this was last asked, as far as this member was told.
    fn touched(&self) -> BTreeSet<i64>;

    /// Changes who belongs to the ensemble; then [`state`](Self::state) has the new list, or the
    /// client hears why not. Without a quorum nobody knows what became of it.
    fn change_members(
        &self,
        _: Change,
    ) -> impl Future<Output = Result<Result<(), Code>, NoQuorum>> + Send {
        // A member without others stays so.
        async { Ok(Err(Code::Unimplemented)) }
    }

    /// How the ensemble is, as this member sees it.
    fn standing(&self) -> Standing;

    /// The newest snapshot on its disk, if there is one.
    fn newest_snapshot(&self) -> Option<SnapshotMark> {
        None
    }
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMark {
    /// The last transaction in it.
    pub zxid: i64,
    /// When its last entry was written, milliseconds since 1970.
    pub time_ms: i64,
}

/// What is proposed.
#[derive(Clone, Debug)]
pub struct Proposal<'a> {
    /// The session that it is for; zero for the keeper's own.
    pub session: i64,
    /// Who asks.
    pub identities: Vec<Id<'a>>,
    /// What is to be done.
    pub action: Action<'a>,
}

/// There is no quorum, or it was not reached in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoQuorum;

impl fmt::Display for NoQuorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no quorum; more members are needed before anything can be agreed on")
    }
}

impl std::error::Error for NoQuorum {}

/// How the ensemble is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The present term.
    pub term: u64,
    /// The leader, if there is one that has a quorum.
    pub leader: Option<u64>,
    /// Whether that is this member.
    pub is_leader: bool,
    /// Whether this member has no vote.
    pub is_observer: bool,
    /// What its disk does.
    pub disk: DiskStanding,
}

/// Whether a member's disk keeps what it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskStanding {
    /// It does.
    #[default]
    Fine,
    /// There is no room: this member promises nothing new until there is.
    Full,
    /// It makes nothing durable of what it was asked: this member promises nothing new meanwhile.
    Hangs,
}

/// A member without others: what it proposes is applied at once.
#[derive(Debug)]
pub struct Solo<S> {
    state: RwLock<State>,
    sink: Mutex<Applying<S>>,
    touches: Touches,
    time_ms: fn() -> i64,
}

#[derive(Debug)]
struct Applying<S> {
    sink: S,
    sequence: i64,
}

impl<S: Sink + Send + 'static> Solo<S> {
    /// A member whose clock is `time_ms`, milliseconds since 1970.
    pub fn new(sink: S, time_ms: fn() -> i64) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State::new()),
            sink: Mutex::new(Applying { sink, sequence: 0 }),
            touches: Touches::default(),
            time_ms,
        })
    }
}

impl<S: Sink + Send + 'static> Replica for Solo<S> {
    fn origin(&self) -> Origin {
        Origin {
            member: 1,
            incarnation: 1,
        }
    }

    fn state(&self) -> &RwLock<State> {
        &self.state
    }

    fn propose(&self, proposal: Proposal<'_>, register: &mut dyn FnMut(i64)) {
        let mut applying = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        applying.sequence += 1;
        register(applying.sequence);
        let operation = Operation {
            sequence: applying.sequence,
            session: proposal.session,
            identities: proposal.identities,
            action: proposal.action,
        };
        let mut batch = Vec::new();
        Batch {
            origin: self.origin(),
            operations: vec![operation],
        }
        .write(&mut batch);
        let mut entry = Vec::new();
        Entry {
            time_ms: (self.time_ms)(),
            enforce_quota: false,
            batches: vec![&batch],
        }
        .write(&mut entry);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // What was just written is well-formed.
        let applied = state.apply(&entry, 1, &mut applying.sink);
        debug_assert_eq!(applied, Ok(()));
        drop(state);
        applying.sink.settled();
    }

    fn takes_writes(&self) -> bool {
        true
    }

    async fn barrier(&self) -> Result<(), NoQuorum> {
        Ok(())
    }

    async fn touch(&self, sessions: &BTreeSet<i64>) -> Result<(), NoQuorum> {
        self.touches.add(sessions.iter().copied());
        Ok(())
    }

    fn touched(&self) -> BTreeSet<i64> {
        self.touches.take()
    }

    fn standing(&self) -> Standing {
        Standing {
            term: 1,
            leader: Some(1),
            is_leader: true,
            is_observer: false,
            disk: DiskStanding::Fine,
        }
    }
}
