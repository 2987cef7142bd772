//! Three members in one process, each with the client edge: simulated disks, a network in memory.

use std::collections::BTreeMap;

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::disk::simulated::SimulatedDisk;
use crate::log::Limits;
use crate::member::{Member, MemberConfig, PeerConfig, Snapshots};
use crate::network::memory::MemoryNetwork;

/// The shortest timeout here: long enough for a busy machine, short enough to wait for.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Running {
    pub(super) desk: Arc<Desk>,
    pub(super) member: Arc<Member<SimulatedDisk>>,
    /// All that is done for it is done here, by one thread.
    runtime: Option<Runtime>,
}

impl Running {
    /// Nothing is done for it for so long, as if its process had been stopped.
    pub(super) fn stall(&self, how_long: Duration) {
        if let Some(runtime) = &self.runtime {
            #[expect(
                clippy::disallowed_methods,
                reason = "to block the runtime is the point"
            )]
            let stalls = async move { std::thread::sleep(how_long) };
            drop(runtime.spawn(stalls));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) struct Ensemble {
    pub(super) network: MemoryNetwork,
    pub(super) disks: BTreeMap<u64, SimulatedDisk>,
    pub(super) running: BTreeMap<u64, Running>,
    seed: u64,
}

pub(super) fn address(member: u64) -> String {
    format!("member-{member}")
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

impl Ensemble {
    pub(super) async fn of_three(seed: u64) -> Self {
        println!("seed {seed}");
        let disks = (1..=3).map(|id| (id, SimulatedDisk::new(seed ^ id)));
        let mut ensemble = Self {
            network: MemoryNetwork::default(),
            disks: disks.collect(),
            running: BTreeMap::new(),
            seed,
        };
        for id in 1..=3 {
            ensemble.start(id).await;
        }
        ensemble.leader().await;
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
            snapshots: Snapshots::default(),
            enforce_quota: true,
            seed: self.seed,
            time_ms: wall_ms,
        };
        let timeout_ms = i32::try_from(TIMEOUT.as_millis()).expect("short");
        let desk = Desk::new(Settings {
            words: None,
            tick_ms: 400,
            timeout_min_ms: timeout_ms,
            timeout_max_ms: 10 * timeout_ms,
            standalone: false,
            ..Settings::default()
        });
        let disk = self.disks[&id].clone();
        let host = self.network.host(&address(id));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let starts = Member::start(config, disk, host, desk.sink());
        let member = runtime.spawn(starts).await.expect("no panic");
        let member = Arc::new(member.expect("it starts"));
        desk.begin(member.origin(), wall_ms());
        let (its_desk, its_member) = (Arc::clone(&desk), Arc::clone(&member));
        drop(runtime.spawn(async move { match tend(&its_desk, &*its_member).await {} }));
        let running = Running {
            desk,
            member,
            runtime: Some(runtime),
        };
        self.running.insert(id, running);
    }

    /// Pulls the plug of a member, with its disk; it can be started again.
    pub(super) fn kill(&mut self, id: u64) {
        let disk = self.disks[&id].reboot();
        self.disks.insert(id, disk);
        if let Some(running) = self.running.remove(&id) {
            for line in running.desk.connections() {
                line.hang_up();
            }
        }
    }

    /// The one who leads, among those who run.
    pub(super) async fn leader(&self) -> u64 {
        let mut leader = None;
        until("one leads, and all know", || {
            let standings = self.running.values().map(|at| at.member.standing());
            let leads: Vec<Option<u64>> = standings.map(|standing| standing.leader).collect();
            leader = leads[0];
            leader.is_some() && leads.iter().all(|one| *one == leader)
        })
        .await;
        leader.expect("it was there")
    }

    /// One who runs and does not lead.
    pub(super) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        let mut others = self.running.keys().filter(|&&id| id != leader);
        *others.next().expect("there are more")
    }

    /// A connection to a member.
    pub(super) fn connect(&self, id: u64) -> Client {
        let Running {
            desk,
            member,
            runtime,
        } = &self.running[&id];
        let _entered = runtime.as_ref().map(Runtime::enter);
        Client::connect(desk, member)
    }

    /// A connection to a member, and a session that begins there.
    pub(super) async fn begin(&self, id: u64) -> (Client, i64, Vec<u8>) {
        self.begin_with(id, TIMEOUT).await
    }

    /// The same; the session may be silent for so long.
    pub(super) async fn begin_with(&self, id: u64, allowed: Duration) -> (Client, i64, Vec<u8>) {
        let mut client = self.connect(id);
        client.wanted_ms = i32::try_from(allowed.as_millis()).expect("short");
        client.shake(0, &[0; 16], 0).await;
        let (session, password, timeout_ms) = client.shaken().await;
        assert_eq!(timeout_ms, client.wanted_ms);
        (client, session, password)
    }

    /// Nothing gets to a member from the others, nor back.
    pub(super) fn cut_off(&self, id: u64) {
        for other in self.disks.keys().filter(|&&other| other != id) {
            self.network.part(&[&address(id)], &[&address(*other)]);
        }
    }

    /// A session goes on at a member; `false` when it hears that it is over.
    pub(super) async fn attach(&self, id: u64, session: i64, password: &[u8]) -> (Client, bool) {
        let mut client = self.connect(id);
        client.shake(session, password, 0).await;
        let goes_on = client.shaken().await.0 == session;
        (client, goes_on)
    }

    /// What a member has.
    pub(super) fn see<T>(&self, id: u64, ask: impl FnOnce(&State) -> T) -> T {
        look(self.running[&id].member.state(), ask)
    }

    pub(super) fn has_session(&self, id: u64, session: i64) -> bool {
        self.see(id, |state| state.sessions().get(session).is_some())
    }

    pub(super) fn has_node(&self, id: u64, path: &str) -> bool {
        self.see(id, |state| state.tree().stat(path).is_some())
    }
}

/// Says that it lives, for so long, and hears the answers.
pub(super) async fn ping_for(client: &mut Client, how_long: Duration) {
    let end = Instant::now() + how_long;
    while Instant::now() < end {
        client.ask(XID_PING, &Request::Ping).await;
        assert_eq!(client.next().await, "-2");
        sleep(TIMEOUT / 6).await;
    }
}
