//! An ensemble in one process: members on simulated disks and a network in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mainstay_zk_proto::Request;
use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::opcode::Opcode;
use mainstay_zk_proto::request::Create;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::disk::simulated::SimulatedDisk;
use crate::log::Limits;
use crate::member::{Member, MemberConfig, MemberError, PeerConfig, Snapshots};
use crate::network::memory::MemoryNetwork;
use crate::proposal::{Action, Origin};
use crate::replica::{Proposal, Replica as _};
use crate::state::{Sink, State, Told};
use crate::tree::Event;

/// How long anything may take on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_mins(1);

/// Proposals that one client has under way.
const OUTSTANDING: usize = 16;

pub(super) type TestMember = Member<SimulatedDisk>;

/// What a member told: per origin and number, whether it was done.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) told: BTreeMap<(Origin, i64), bool>,
    pub(super) twice: Vec<(Origin, i64)>,
    pub(super) replaced: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ears(Arc<Mutex<Heard>>);

impl Ears {
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Ears {
    fn event(&mut self, _: &Event, _: i64) {}

    fn session_over(&mut self, _: i64) {}

    fn applied(&mut self, _: &State, told: Told<'_>) {
        let key = (told.origin, told.operation.sequence);
        let mut heard = self.heard();
        if heard.told.insert(key, told.result.is_ok()).is_some() {
            heard.twice.push(key);
        }
    }

    fn replaced(&mut self, _: &State) {
        self.heard().replaced += 1;
    }

    fn settled(&mut self) {}
}

pub(super) struct Running {
    pub(super) member: Arc<TestMember>,
    pub(super) ears: Ears,
    pub(super) clients: JoinSet<()>,
}

/// The ensemble, and what was promised to its clients.
pub(super) struct Ensemble {
    pub(super) network: MemoryNetwork,
    pub(super) disks: BTreeMap<u64, SimulatedDisk>,
    pub(super) running: BTreeMap<u64, Running>,
    pub(super) acknowledged: Arc<Mutex<BTreeSet<String>>>,
    pub(super) snapshots: Snapshots,
    /// Those that members are told of at their start; whoever starts is told of itself as well.
    pub(super) founders: BTreeMap<u64, &'static str>,
    seed: u64,
    clients: u64,
}

/// A clock that never shows the same time twice, as none does between two starts of a member.
fn time_ms() -> i64 {
    static PASSED: AtomicI64 = AtomicI64::new(0);
    1_700_000_000_000 + PASSED.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn address(member: u64) -> String {
    format!("member-{member}:1")
}

/// What the list of members says about one.
pub(super) fn line(member: u64, kind: &str) -> String {
    format!("{}:2:{kind};0.0.0.0:3", address(member))
}

pub(super) fn create(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    Request::Create(Create {
        path,
        data: Some(b"data"),
        acl: vec![Acl::OPEN],
        flags: 0,
    })
    .write(&mut body);
    body
}

/// Waits until something is so.
pub(super) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let wait = async {
        while !is() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

/// Proposes; the answer is the proposal's number.
pub(super) fn propose(member: &TestMember, session: i64, action: Action<'_>) -> i64 {
    let mut number = 0;
    let proposal = Proposal {
        session,
        identities: Vec::new(),
        action,
    };
    member.propose(proposal, &mut |sequence| number = sequence);
    number
}

struct Client {
    number: u64,
    made: u64,
    member: Weak<TestMember>,
    origin: Origin,
    ears: Ears,
    under_way: BTreeMap<i64, String>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
}

impl Client {
    async fn run(mut self) {
        while let Some(member) = self.member.upgrade() {
            while self.under_way.len() < OUTSTANDING {
                self.make(&member);
            }
            drop(member);
            self.hear();
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn make(&mut self, member: &TestMember) {
        self.made += 1;
        let path = format!("/{}-{}", self.number, self.made);
        let body = create(&path);
        let action = Action::Request {
            opcode: Opcode::Create,
            body: &body,
        };
        let sequence = propose(member, self.number.cast_signed(), action);
        self.under_way.insert(sequence, path);
    }

    fn hear(&mut self) {
        let heard = self.ears.heard();
        let mut acknowledged = lock(&self.acknowledged);
        self.under_way.retain(|&sequence, path| {
            let told = heard.told.get(&(self.origin, sequence));
            if let Some(&done) = told {
                assert!(done, "{path} was refused");
                acknowledged.insert(std::mem::take(path));
            }
            told.is_none()
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ensemble {
    pub(super) async fn of(count: u64, seed: u64) -> Self {
        println!("seed {seed}");
        let mut ensemble = Self::bare(count, seed);
        for id in 1..=count {
            ensemble.start(id).await;
        }
        ensemble
    }

    /// Nobody has started yet.
    pub(super) fn bare(count: u64, seed: u64) -> Self {
        Self {
            network: MemoryNetwork::default(),
            disks: (1..=count)
                .map(|id| (id, SimulatedDisk::new(seed ^ id)))
                .collect(),
            running: BTreeMap::new(),
            acknowledged: Arc::default(),
            snapshots: Snapshots::default(),
            founders: (1..=count).map(|id| (id, "participant")).collect(),
            seed,
            clients: 0,
        }
    }

    /// A member that nobody has heard of, with an empty disk.
    pub(super) async fn add(&mut self, id: u64) {
        let disk = SimulatedDisk::new(self.seed ^ (id << 8));
        self.disks.insert(id, disk);
        self.start(id).await;
    }

    pub(super) async fn start(&mut self, id: u64) {
        self.try_start(id).await.expect("it starts");
    }

    pub(super) async fn try_start(&mut self, id: u64) -> Result<(), MemberError> {
        let peer = |(&id, kind): (&u64, &&str)| {
            let peer = PeerConfig {
                address: address(id),
                line: line(id, kind),
            };
            (id, peer)
        };
        let mut listed = self.founders.clone();
        listed.entry(id).or_insert("participant");
        self.seed += 1;
        let config = MemberConfig {
            cluster: "test".to_owned(),
            member: id,
            members: listed.iter().map(peer).collect(),
            log: Limits {
                segment_bytes: 256 * 1_024,
                ahead_bytes: 16 * 1_024,
            },
            snapshots: self.snapshots,
            enforce_quota: true,
            seed: self.seed,
            time_ms,
        };
        let ears = Ears::default();
        let disk = self.disks[&id].clone();
        let host = self.network.host(&address(id));
        let member = Member::start(config, disk, host, ears.clone()).await?;
        let running = Running {
            member: Arc::new(member),
            ears,
            clients: JoinSet::new(),
        };
        self.running.insert(id, running);
        Ok(())
    }

    pub(super) fn member(&self, id: u64) -> &Arc<TestMember> {
        &self.running[&id].member
    }

    /// Pulls the plug of a member, with its disk; it can be started again.
    pub(super) fn kill(&mut self, id: u64) {
        let disk = self.disks[&id].reboot();
        self.disks.insert(id, disk);
        self.running.remove(&id);
    }

    /// Pulls all plugs at once.
    pub(super) async fn kill_all_and_start_again(&mut self) {
        let all: Vec<u64> = self.disks.keys().copied().collect();
        for &id in &all {
            self.kill(id);
        }
        for id in all {
            self.start(id).await;
            self.load(id);
        }
    }

    /// The one who leads, among those who run.
    pub(super) async fn leader(&self) -> u64 {
        let mut leader = None;
        until("one leads, and all know", || {
            let leads = |running: &&Running| running.member.standing().is_leader;
            leader = self
                .running
                .values()
                .find(leads)
                .and_then(|running| running.member.standing().leader);
            leader.is_some()
        })
        .await;
        leader.expect("it was there")
    }

    /// A client at a member, that makes nodes as fast as they are acknowledged, until it or the
    /// member ends.
    pub(super) fn load(&mut self, id: u64) {
        self.clients += 1;
        let running = self.running.get_mut(&id).expect("it runs");
        let client = Client {
            number: self.clients,
            made: 0,
            member: Arc::downgrade(&running.member),
            origin: running.member.origin(),
            ears: running.ears.clone(),
            under_way: BTreeMap::new(),
            acknowledged: Arc::clone(&self.acknowledged),
        };
        let open = Action::Open {
            timeout_ms: 10_000,
            password: [7; 16],
        };
        propose(&running.member, self.clients.cast_signed(), open);
        running.clients.spawn(client.run());
    }

    pub(super) fn acknowledged(&self) -> usize {
        lock(&self.acknowledged).len()
    }

    /// Waits until clients were told of so many more.
    pub(super) async fn progress(&self, more: usize) {
        let before = self.acknowledged();
        until("clients get on", || self.acknowledged() >= before + more).await;
    }

    /// Ends the load, waits until all that was proposed was told and all members are the same, and
    /// checks what was promised.
    pub(super) async fn settle(&mut self) {
        for running in self.running.values_mut() {
            running.clients.abort_all();
            while running.clients.join_next().await.is_some() {}
        }
        let lasts: BTreeMap<u64, i64> = self
            .running
            .iter()
            .map(|(&id, running)| (id, propose(&running.member, 0, Action::Close)))
            .collect();
        until("all that was proposed was applied everywhere", || {
            self.running.values().all(|at| {
                let state = at
                    .member
                    .state()
                    .read()
                    .unwrap_or_else(PoisonError::into_inner);
                self.running
                    .iter()
                    .all(|(id, of)| state.applied_of(of.member.origin()) == lasts[id])
            })
        })
        .await;
        let mut digests = BTreeSet::new();
        for (id, running) in &self.running {
            let member = &running.member;
            let state = member
                .state()
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            digests.insert((state.zxid(), state.tree().digest()));
            for path in &*self
                .acknowledged
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
            {
                let there = state.tree().stat(path).is_some();
                assert!(there, "{path} was acknowledged and is lost at {id}");
            }
            let heard = running.ears.heard();
            assert_eq!(heard.twice, [], "told twice at {id}");
            let own = (member.origin(), 1)..=(member.origin(), i64::MAX);
            let told: Vec<i64> = heard
                .told
                .range(own)
                .map(|((_, number), _)| *number)
                .collect();
            if heard.replaced == 0 {
                let all: Vec<i64> = (1..=lasts[id]).collect();
                assert_eq!(told, all, "each was told at {id}");
            }
        }
        assert_eq!(digests.len(), 1, "members differ: {digests:x?}");
    }
}
