//! openraft's state machine on our state.
//!
//! Prevents readers that see half an entry: an entry is applied under the lock that readers take,
//! and who waits for it hears before the lock is given back.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use futures_util::{Stream, TryStreamExt as _};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use super::comparison::Points;
use super::engine::{self, Engine, Members};
use crate::disk::SharedDisk;
use crate::log::LogId;
use crate::process::{aside, blocking};
use crate::proposal::Origin;
use crate::replica::SnapshotMark;
use crate::snapshot::{self, Reader};
use crate::state::{FrozenState, Sink, State};

/// How long a snapshot waits for room, when the disk is full, before it is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// A finished snapshot, by name.
#[derive(Clone, Debug)]
pub(crate) struct Finished<D> {
    pub(crate) disk: D,
    pub(crate) name: String,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last entry that was applied.
    pub(crate) applied: Option<LogId>,
    /// The last operation of this member that was.
    pub(crate) own: i64,
}

/// The state, as openraft sees it.
pub(crate) struct Machine<D> {
    state: Arc<RwLock<State>>,
    origin: Origin,
    progress: watch::Sender<Progress>,
    points: Arc<Points>,
    sink: Box<dyn Sink + Send + Sync>,
    disk: D,
    last: Option<LogIdOf<Engine>>,
    members: StoredMembershipOf<Engine>,
    newest: Newest,
}

/// The newest snapshot on the disk.
pub(crate) type Newest = Arc<Mutex<Option<SnapshotMark>>>;

/// A snapshot that will be written.
#[derive(Debug)]
pub(crate) struct Builder<D> {
    disk: D,
    meta: SnapshotMetaOf<Engine>,
    /// Until it is written.
    frozen: Option<FrozenState>,
    newest: Newest,
}

impl<D: SharedDisk> Machine<D> {
    /// The state of the newest snapshot that is not damaged, or an empty one.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(crate) fn recover(
        disk: D,
        origin: Origin,
        sink: Box<dyn Sink + Send + Sync>,
    ) -> io::Result<Self> {
        let mut machine = Self {
            state: Arc::new(RwLock::new(State::new())),
            origin,
            progress: watch::Sender::default(),
            points: Arc::default(),
            sink,
            disk,
            last: None,
            members: StoredMembershipOf::<Engine>::default(),
            newest: Newest::default(),
        };
        for name in snapshot::names(&machine.disk)? {
            let disk = machine.disk.clone();
            if let Ok((meta, state)) = load(&Finished { disk, name }) {
                note(&machine.newest, (state.zxid(), state.time_ms()));
                *machine.write() = state;
                machine.go_on_from(meta);
                break;
            }
        }
        Ok(machine)
    }

    /// The members by the snapshot that it began with.
    pub(crate) fn members(&self) -> Members {
        self.members.membership().clone()
    }

    /// The state, for readers.
    pub(crate) fn state(&self) -> Arc<RwLock<State>> {
        Arc::clone(&self.state)
    }

    /// How far this member is, from now on.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The newest snapshot, from now on.
    pub(crate) fn newest(&self) -> Newest {
        Arc::clone(&self.newest)
    }

    /// What the state amounted to lately, from now on.
    pub(crate) fn points(&self) -> Arc<Points> {
        Arc::clone(&self.points)
    }

    fn note_point(&self) {
        let digest = self
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .digest();
        if let Some(last) = &self.last {
            self.points.note(last.index(), digest);
        }
    }

    fn tell_progress(&self) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        self.progress.send_replace(Progress {
            applied: self.last.as_ref().map(engine::id_of),
            own: state.applied_of(self.origin),
        });
    }

    fn go_on_from(&mut self, meta: SnapshotMetaOf<Engine>) {
        self.last = meta.last_log_id;
        self.members = meta.last_membership;
        self.note_point();
        self.tell_progress();
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(&self) -> SnapshotMetaOf<Engine> {
        SnapshotMetaOf::<Engine> {
            last_log_id: self.last,
            last_membership: self.members.clone(),
        }
    }
}

/// A snapshot of this transaction and this time is on the disk.
fn note(newest: &Newest, (zxid, time_ms): (i64, i64)) {
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    *newest = Some(SnapshotMark { zxid, time_ms });
}

fn load<D: SharedDisk>(snapshot: &Finished<D>) -> io::Result<(SnapshotMetaOf<Engine>, State)> {
    let reader = Reader::open(&snapshot.disk, &snapshot.name).map_err(io::Error::other)?;
    let meta = engine::to_meta(reader.meta()).map_err(io::Error::other)?;
    let state = reader.load().map_err(io::Error::other)?;
    Ok((meta, state))
}

impl<D: SharedDisk> RaftSnapshotBuilder<Engine> for Builder<D> {
    type SnapshotData = Finished<D>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Engine, Finished<D>>> {
        let meta = engine::meta_of(&self.meta);
        let disk = self.disk.clone();
        let frozen = self.frozen.take().ok_or(io::ErrorKind::InvalidInput)?;
        let frozen = Arc::new(frozen);
        let name = loop {
            let (disk, meta, frozen) = (disk.clone(), meta.clone(), Arc::clone(&frozen));
            // It takes as long as the disk takes, and others want to be served meanwhile.
            let written = aside(move || snapshot::write(&disk, &meta, &frozen)).await;
            match written? {
                // Nothing was harmed: the log holds what the snapshot would.
                Err(error) if error.is_full() => sleep(FULL_PAUSE).await,
                written => break written.map_err(io::Error::other)?,
            }
        };
        note(&self.newest, (frozen.zxid(), frozen.time_ms()));
        Ok(SnapshotOf::<Engine, Finished<D>> {
            meta: self.meta.clone(),
            snapshot: Finished {
                disk: self.disk.clone(),
                name,
            },
        })
    }
}

impl<D: SharedDisk> RaftStateMachine<Engine> for Machine<D> {
    type SnapshotBuilder = Builder<D>;
    type SnapshotData = Finished<D>;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<Engine>>, StoredMembershipOf<Engine>)> {
        Ok((self.last, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Engine>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            match &entry.payload {
                EntryPayload::Blank => {},
                EntryPayload::Normal(payload) => {
                    let term = entry.log_id.committed_leader_id().term.cast_signed();
                    let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                    state
                        .apply(&payload.0, term, &mut *self.sink)
                        .map_err(io::Error::other)?;
                },
                EntryPayload::Membership(members) => {
                    let at = Some(entry.log_id);
                    self.members = StoredMembershipOf::<Engine>::new(at, members.clone());
                    let lines = lines(members);
                    let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                    state.set_members(&lines, &mut *self.sink);
                },
            }
            self.last = Some(entry.log_id);
            self.note_point();
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        self.sink.settled();
        self.tell_progress();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<D> {
        Builder {
            disk: self.disk.clone(),
            meta: self.meta(),
            frozen: Some(self.write().freeze()),
            newest: self.newest(),
        }
    }

    async fn install_snapshot(
        &mut self,
        _: &SnapshotMetaOf<Engine>,
        snapshot: Finished<D>,
    ) -> io::Result<()> {
        // A large one takes seconds, in which others want to hear of this member.
        let source = snapshot.clone();
        let loaded = blocking(move || load(&source)).await;
        let (meta, state) = loaded.map_err(io::Error::other)??;
        {
            let mut present = self.state.write().unwrap_or_else(PoisonError::into_inner);
            // Nobody may be answered from the new state before this is told.
            self.sink.replaced(&state);
            note(&self.newest, (state.zxid(), state.time_ms()));
            *present = state;
        }
        self.go_on_from(meta);
        self.sink.settled();
        if snapshot::names(&self.disk)?.contains(&snapshot.name) {
            return Ok(());
        }
        // It lies on another disk.
        let frozen = self.write().freeze();
        snapshot::write(&self.disk, &engine::meta_of(&self.meta()), &frozen)
            .map_err(io::Error::other)?;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<Engine, Finished<D>>>> {
        for name in snapshot::names(&self.disk)? {
            let Ok(reader) = Reader::open(&self.disk, &name) else {
                continue;
            };
            let meta = engine::to_meta(reader.meta()).map_err(io::Error::other)?;
            let disk = self.disk.clone();
            return Ok(Some(SnapshotOf::<Engine, Finished<D>> {
                meta,
                snapshot: Finished { disk, name },
            }));
        }
        Ok(None)
    }
}

/// What clients see of the members: nothing new while two lists hold.
fn lines(members: &Members) -> String {
    let mut lines = String::new();
    if members.get_joint_config().len() == 1 {
        for (id, node) in members.nodes() {
            if node.is_listed && !node.line.is_empty() {
                lines.extend(["server.", &id.to_string(), "=", &node.line, "\n"]);
            }
        }
    }
    lines
}

impl<D: Debug> Debug for Machine<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("disk", &self.disk)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use openraft::testing::log::{StoreBuilder, Suite};

    use super::*;
    use crate::disk::simulated::SimulatedDisk;
    use crate::log::{Limits, Log};
    use crate::raft::store::Store;
    use crate::state::Told;
    use crate::tree::Event;

    const NOBODY: Origin = Origin {
        member: 1,
        incarnation: 1,
    };

    struct Deaf;

    impl Sink for Deaf {
        fn event(&mut self, _: &Event, _: i64) {}
        fn session_over(&mut self, _: i64) {}
        fn applied(&mut self, _: &State, _: Told<'_>) {}
        fn settled(&mut self) {}
    }

    struct Fresh;

    impl StoreBuilder<Engine, Store, Machine<SimulatedDisk>> for Fresh {
        async fn build(
            &self,
        ) -> Result<((), Store, Machine<SimulatedDisk>), openraft::StorageError<Engine>> {
            let disk = SimulatedDisk::new(1);
            let (log, recovered) = Log::open(disk.clone(), 1, Limits::default()).expect("empty");
            let (store, _) = Store::start(log, &recovered).expect("starts");
            let machine = Machine::recover(disk, NOBODY, Box::new(Deaf)).expect("empty");
            Ok(((), store, machine))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn log_and_state_pass_the_engines_own_tests() {
        Suite::test_all(Fresh).await.expect("all of them");
    }
}
