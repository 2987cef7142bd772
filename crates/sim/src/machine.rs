//! A machine: a disk, power, and the member that runs on it.
//!
//! Prevents a crash that is kinder than a real one: when the power goes, what was not synced is
//! lost or torn, and nobody is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_keeper::disk::simulated::{Failing, Pace, SimulatedDisk};
use mainstay_keeper::log::Limits;
use mainstay_keeper::member::{Member, MemberConfig, MemberError, PeerConfig, Snapshots};
use mainstay_keeper::network::{Listener as _, Network as _};
use mainstay_keeper::process::{Process, own, wall_ms};
use mainstay_keeper::serve::{Desk, Settings, attend, tend};
use tokio::task::JoinSet;

use crate::facts::Facts;
use crate::history::History;
use crate::network::{Incoming, SimulatedNetwork};
use crate::observer::Observer;
use crate::property::MemberId;

/// A disk as they usually are.
pub const DISK: Pace = Pace {
    least: Duration::from_micros(200),
    most: Duration::from_millis(3),
};

/// Files of the log are short, so that many are begun and removed.
const LOG: Limits = Limits {
    segment_bytes: 64 * 1_024,
    ahead_bytes: 8 * 1_024,
};

/// When the simulation begins, milliseconds since 1970.
pub const EPOCH_MS: i64 = 1_700_000_000_000;

/// The member of the simulation.
pub type SimulatedMember = Member<SimulatedDisk>;

/// What all machines of an ensemble share.
#[derive(Clone, Debug)]
pub struct Ground {
    /// All members' numbers are one to this.
    pub members: u64,
    /// The network between them, and to clients.
    pub network: SimulatedNetwork,
    /// When members take snapshots.
    pub snapshots: Snapshots,
    /// What is known.
    pub facts: Facts,
    /// What clients did.
    pub history: History,
    /// Whether disks lie about what they have synced.
    pub disks_lie: bool,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    id: MemberId,
    ground: Ground,
    random: Random,
    disk: SimulatedDisk,
    running: Option<Running>,
    /// By how much its wall clock is wrong.
    skew_ms: i64,
    started: tokio::time::Instant,
}

#[derive(Debug)]
struct Running {
    process: Process,
    stage: Arc<Mutex<Stage>>,
    tasks: JoinSet<()>,
}

/// How far a start has got.
#[derive(Clone, Debug)]
enum Stage {
    Starting,
    Up(Arc<SimulatedMember>),
    Failed(String),
}

/// The name of a member's machine.
pub fn name(member: MemberId) -> String {
    member.to_string()
}

/// Where a member listens for clients.
pub fn clients(member: MemberId) -> String {
    format!("{member}:clients")
}

/// Where a member listens for other members.
fn peers(member: MemberId) -> String {
    format!("{member}:1")
}

/// A member as a list of members names it, behind `server.N=`.
pub fn line(member: MemberId) -> String {
    format!("{member}:1:2:participant;0.0.0.0:3")
}

impl Machine {
    /// A machine that is off, with an empty disk.
    pub fn new(id: MemberId, ground: Ground, random: Random) -> Self {
        let disk = SimulatedDisk::new(random.fork("disk").bits());
        let machine = Self {
            id,
            ground,
            random,
            disk,
            running: None,
            skew_ms: 0,
            started: tokio::time::Instant::now(),
        };
        machine.mend_disk();
        machine
    }

    /// The disk does what it usually does.
    pub fn mend_disk(&self) {
        self.disk.pace(DISK);
        self.disk
            .fail(self.ground.disks_lie.then_some(Failing::Lie));
    }

    /// Its member, when that has started.
    pub fn member(&self) -> Option<Arc<SimulatedMember>> {
        match &*lock(&self.running.as_ref()?.stage) {
            Stage::Up(member) => Some(Arc::clone(member)),
            Stage::Starting | Stage::Failed(_) => None,
        }
    }

    /// Whether it is on, and its member has not failed.
    pub fn is_running(&self) -> bool {
        self.running.is_some() && self.failure().is_none()
    }

    /// Why its member does not run, though the machine does.
    pub fn failure(&self) -> Option<String> {
        match &*lock(&self.running.as_ref()?.stage) {
            Stage::Failed(why) => Some(why.clone()),
            Stage::Starting | Stage::Up(_) => None,
        }
    }

    /// Its disk.
    pub const fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    /// Starts it.
    pub fn start(&mut self) {
        let Ground { facts, network, .. } = &self.ground;
        facts.trace.tell(format_args!("member {} starts", self.id));
        facts.check(|properties, _| properties.started(self.id));
        network.power_on(&name(self.id));
        let since = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let process = Process::new(self.random.bits(), EPOCH_MS + since + self.skew_ms);
        let stage = Arc::new(Mutex::new(Stage::Starting));
        let run = Run {
            id: self.id,
            config: self.config(),
            disk: self.disk.clone(),
            ground: self.ground.clone(),
            stage: Arc::clone(&stage),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(process.run(run.run()));
        self.running = Some(Running {
            process,
            stage,
            tasks,
        });
    }

    fn config(&mut self) -> MemberConfig {
        let peer = |id| {
            let peer = PeerConfig {
                address: peers(id),
                line: line(id),
            };
            (id, peer)
        };
        MemberConfig {
            cluster: "simulated".to_owned(),
            member: self.id,
            members: (1..=self.ground.members)
                .map(peer)
                .collect::<BTreeMap<_, _>>(),
            log: LOG,
            snapshots: self.ground.snapshots,
            enforce_quota: false,
            seed: self.random.bits(),
            time_ms: wall_ms,
        }
    }

    /// The power goes: what was not synced is lost, and nobody is told.
    pub fn power_off(&mut self) {
        let facts = &self.ground.facts;
        facts
            .trace
            .tell(format_args!("member {} loses its power", self.id));
        self.ground.network.power_off(&name(self.id));
        self.end();
        let torn = self.disk.torn_writes();
        self.disk = self.disk.reboot();
        self.mend_disk();
        if self.disk.torn_writes() > torn {
            self.ground.facts.met("torn write");
        }
    }

    /// An empty disk takes the place of the one that is lost. The machine is off.
    pub fn replace_disk(&mut self) {
        self.disk = SimulatedDisk::new(self.random.bits());
        self.mend_disk();
    }

    /// The process is killed; the machine lives, and says goodbye for it.
    pub fn kill(&mut self) {
        let facts = &self.ground.facts;
        facts
            .trace
            .tell(format_args!("member {} is killed", self.id));
        self.end();
        self.disk.abandon();
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.process.end();
        }
    }

    /// Its process stops, as by SIGSTOP.
    pub fn stop(&self) {
        if let Some(running) = &self.running {
            running.process.stop();
        }
    }

    /// Its process goes on.
    pub fn go_on(&self) {
        if let Some(running) = &self.running {
            running.process.go_on();
        }
    }

    /// Its wall clock jumps.
    pub fn move_wall_clock(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
        if let Some(running) = &self.running {
            running.process.move_wall_clock(by_ms);
        }
    }

    /// Its member leaves the lead to another one.
    pub fn hand_over(&mut self) {
        if let Some(member) = self.member() {
            self.ask(async move { member.hand_over().await });
        }
    }

    /// Somebody asks its process for something.
    pub fn ask(&mut self, what: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &mut self.running {
            running.tasks.spawn(running.process.run(what));
        }
    }
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs on the machine.
struct Run {
    id: MemberId,
    config: MemberConfig,
    disk: SimulatedDisk,
    ground: Ground,
    stage: Arc<Mutex<Stage>>,
}

fn settings(members: u64) -> Settings {
    Settings {
        tick_ms: 400,
        timeout_min_ms: 800,
        timeout_max_ms: 8_000,
        connections_of_address_max: None,
        standalone: members == 1,
        ..Settings::default()
    }
}

impl Run {
    async fn run(self) {
        let error = match self.serve().await {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        };
        self.ground
            .facts
            .trace
            .tell(format_args!("member {} ended: {error}", self.id));
        *lock(&self.stage) = Stage::Failed(error);
    }

    async fn serve(&self) -> Result<Infallible, MemberError> {
        let Ground {
            members,
            network,
            facts,
            history,
            ..
        } = &self.ground;
        let host = network.host(&name(self.id));
        let desk = Desk::new(settings(*members));
        let observer = Observer::new(self.id, desk.sink(), facts.clone(), history.clone());
        let member = Member::start(
            self.config.clone(),
            self.disk.clone(),
            host.clone(),
            observer,
        );
        let member = Arc::new(member.await?);
        *lock(&self.stage) = Stage::Up(Arc::clone(&member));
        let address = clients(self.id);
        let incoming = host.listen(&address).await;
        let incoming = incoming.map_err(|error| MemberError::Listen(address, error))?;
        tokio::select! {
            biased;
            failed = member.failed() => Err(failed),
            never = tend(&desk, &*member) => match never {},
            () = accept(&desk, &member, incoming) => {
                Err(MemberError::Stopped("nobody can come any more".to_owned()))
            },
        }
    }
}

/// Serves those who come.
async fn accept(desk: &Arc<Desk>, member: &Arc<SimulatedMember>, mut incoming: Incoming) {
    let mut connections = JoinSet::new();
    let mut count: u16 = 0;
    loop {
        tokio::select! {
            biased;
            accepted = incoming.accept() => {
                let Ok(opening) = accepted else { return };
                count = count.wrapping_add(1);
                let peer = SocketAddr::from(([10, 0, 0, 1], count));
                let (desk, member) = (Arc::clone(desk), Arc::clone(member));
                connections.spawn(own(async move {
                    let Ok(stream) = opening.await else { return };
                    attend(&desk, &member, peer, tokio::io::split(stream)).await;
                }));
            },
            Some(_) = connections.join_next() => {},
        }
    }
}
