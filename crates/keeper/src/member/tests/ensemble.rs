//! An ensemble in one process: members on simulated disks and a network in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_zk_proto::Request;
use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::opcode::Opcode;
use mainstay_zk_proto::request::Create;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::disk::simulated::SimulatedDisk;
use crate::log::Limits;
use crate::member::{Member, MemberConfig, PeerConfig, Snapshots};
use crate::network::memory::MemoryNetwork;
use crate::proposal::{Action, Origin};
use crate::replica::{Proposal, Replica as _};
use crate::state::{Sink, State, Told};
use crate::tree::Event;

/// How long anything may take on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

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
    seed: u64,
    clients: u64,
}

fn time_ms() -> i64 {
    1_700_000_000_000
}

pub(super) fn address(member: u64) -> String {
    format!("member-{member}")
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

impl Ensemble {
    pub(super) async fn of(count: u64, seed: u64) -> Self {
        println!("seed {seed}");
        let mut ensemble = Self {
            network: MemoryNetwork::default(),
            disks: (1..=count)
                .map(|id| (id, SimulatedDisk::new(seed ^ id)))
                .collect(),
            running: BTreeMap::new(),
            acknowledged: Arc::default(),
            snapshots: Snapshots::default(),
            seed,
            clients: 0,
        };
        for id in 1..=count {
            ensemble.start(id).await;
        }
        ensemble
    }

    pub(super) async fn start(&mut self, id: u64) {
        let peer = |&id: &u64| {
            let peer = PeerConfig {
                address: address(id),
                line: String::new(),
            };
            (id, peer)
        };
        self.seed += 1;
        let config = MemberConfig {
            cluster: "test".to_owned(),
            member: id,
            members: self.disks.keys().map(peer).collect(),
            log: Limits {
                segment_bytes: 256 * 1_024,
                ahead_bytes: 16 * 1_024,
            },
            snapshots: self.snapshots,
            seed: self.seed,
            time_ms,
        };
        let ears = Ears::default();
        let disk = self.disks[&id].clone();
        let host = self.network.host(&address(id));
        let member = Member::start(config, disk, host, ears.clone()).await;
        let running = Running {
            member: Arc::new(member.expect("it starts")),
            ears,
            clients: JoinSet::new(),
        };
        self.running.insert(id, running);
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
        let (client, session) = (self.clients, self.clients.cast_signed());
        let acknowledged = Arc::clone(&self.acknowledged);
        let running = self.running.get_mut(&id).expect("it runs");
        let (member, ears) = (Arc::downgrade(&running.member), running.ears.clone());
        let origin = running.member.origin();
        let open = Action::Open {
            timeout_ms: 10_000,
            password: [7; 16],
        };
        propose(&running.member, session, open);
        running.clients.spawn(async move {
            let mut under_way: BTreeMap<i64, String> = BTreeMap::new();
            let mut number = 0;
            loop {
                while under_way.len() < OUTSTANDING {
                    let Some(member) = member.upgrade() else {
                        return;
                    };
                    number += 1;
                    let path = format!("/{client}-{number}");
                    let body = create(&path);
                    let action = Action::Request {
                        opcode: Opcode::Create,
                        body: &body,
                    };
                    under_way.insert(propose(&member, session, action), path);
                }
                under_way.retain(|&sequence, path| {
                    let heard = ears.heard();
                    let Some(done) = heard.told.get(&(origin, sequence)) else {
                        return true;
                    };
                    assert!(done, "{path} was refused");
                    let path = std::mem::take(path);
                    acknowledged
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(path);
                    false
                });
                sleep(Duration::from_millis(1)).await;
            }
        });
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
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
