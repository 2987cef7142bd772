//! One run: trouble, then peace, then everything has to be well.
//!
//! Prevents an ensemble that is safe because it does nothing: after the last fault it has to have a
//! leader, serve all clients, and become the same everywhere (safety first, then liveness: as
//! `TigerBeetle`'s VOPR and openraft's simulation do).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_keeper::replica::Replica as _;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, Orders};
use crate::ensemble::Ensemble;
use crate::facts::{Facts, Violation};
use crate::history::History;
use crate::key::Key;
use crate::machine::Ground;
use crate::network::SimulatedNetwork;
use crate::plant::Plant;
use crate::swarm::Swarm;
use crate::trace::Trace;

/// How long what has to happen may take, once nothing is wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// Answers that each client has to get, once nothing is wrong.
const ANSWERS: u64 = 30;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Order {
    /// All of it comes from this.
    pub seed: u64,
    /// The bug that is planted.
    pub plant: Option<Plant>,
    /// Where every event goes as a line.
    pub trace: Option<PathBuf>,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// How long it took in there.
    pub virtual_ms: u64,
    /// Events.
    pub events: u64,
    /// Their hash: the same seed, the same hash.
    pub hash: String,
    /// Their hashes after every thousand.
    pub checkpoints: Vec<String>,
    /// Replies that clients got.
    pub replies: usize,
    /// What was met how often.
    pub met: BTreeMap<&'static str, u64>,
    /// The last faults, for whoever looks into it; only of runs that broke something.
    pub tail: Vec<String>,
}

/// Runs a seed.
///
/// # Errors
///
/// When the trace cannot be written or the runtime not be built.
pub fn run(order: &Order) -> io::Result<Report> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(
        &order.seed.to_le_bytes(),
    ));
    let runtime = builder.build()?;
    runtime.block_on(play(order))
}

/// Whether the same seed gives the same run: who chooses among what is ready is seeded.
pub const fn is_deterministic() -> bool {
    cfg!(tokio_unstable)
}

async fn play(order: &Order) -> io::Result<Report> {
    let started = Instant::now();
    order.plant.into_iter().for_each(Plant::plant);
    let swarm = Swarm::of(order.seed);
    let trace = Trace::new(order.trace.as_deref())?;
    let members = usize::try_from(swarm.members).unwrap_or(usize::MAX);
    let facts = Facts::new(members, trace.clone());
    trace.tell(format_args!("{swarm:?}"));
    let random = Random::seeded(order.seed);
    let network = random.fork("network");
    let ground = Ground {
        members: swarm.members,
        network: SimulatedNetwork::new(network, swarm.latency, trace.clone()),
        snapshots: swarm.snapshots,
        facts: facts.clone(),
        history: History::default(),
        disks_lie: order.plant == Some(Plant::LyingDisk),
    };
    let mut run = Run {
        ensemble: Ensemble::new(swarm.clone(), ground.clone(), &random),
        crowd: Crowd {
            orders: Arc::default(),
            answers: (0..swarm.clients).map(|_| Arc::default()).collect(),
            tasks: JoinSet::new(),
        },
        swarm,
        ground,
        random,
        is_fenced: order.plant != Some(Plant::LockWithoutFencing),
    };
    run.play().await;
    let history = run.ground.history.clone();
    drop(run);
    let (events, hash, checkpoints) = trace.sum();
    let violations = facts.violations();
    Ok(Report {
        seed: order.seed,
        virtual_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        events,
        hash: format!("{hash:016x}"),
        checkpoints: checkpoints
            .iter()
            .map(|hash| format!("{hash:016x}"))
            .collect(),
        replies: history.replies(),
        met: facts.all_met(),
        tail: if violations.is_empty() {
            Vec::new()
        } else {
            trace.tail()
        },
        violations,
    })
}

/// The clients.
#[derive(Debug)]
struct Crowd {
    orders: Arc<Orders>,
    answers: Vec<Arc<AtomicU64>>,
    tasks: JoinSet<()>,
}

impl Crowd {
    fn answers(&self) -> Vec<u64> {
        let answers = self.answers.iter();
        answers.map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

struct Run {
    swarm: Swarm,
    ground: Ground,
    random: Random,
    ensemble: Ensemble,
    crowd: Crowd,
    is_fenced: bool,
}

impl Run {
    fn client(&self, number: u64, answers: Arc<AtomicU64>) -> Client {
        let name = format!("c{number}");
        Client {
            number,
            host: self.ground.network.host(&name),
            members: self.swarm.members,
            random: self.random.fork(&name),
            facts: self.ground.facts.clone(),
            history: self.ground.history.clone(),
            orders: Arc::clone(&self.crowd.orders),
            answers,
            is_fenced: self.is_fenced,
        }
    }

    async fn play(&mut self) {
        self.ensemble.start();
        if !self.prepare().await {
            return;
        }
        for (number, answers) in (1..).zip(self.crowd.answers.clone()) {
            let client = self.client(number, answers);
            self.crowd.tasks.spawn(client.live());
        }
        self.ensemble.trouble().await;
        self.ensemble.heal();
        if !self.is_alive().await || !self.is_quiet().await {
            return;
        }
        if let Some(member) = self.ensemble.compare() {
            let state = member
                .state()
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            self.ground.history.check(&state, &self.ground.facts);
        }
    }

    /// Makes the nodes that are there from the beginning.
    async fn prepare(&mut self) -> bool {
        let client = self.client(self.swarm.clients + 1, Arc::default());
        let mut task = JoinSet::new();
        task.spawn(client.prepare());
        let mut made = 0;
        let all = Key::initial().count();
        self.ensemble
            .until("a new ensemble serves", PATIENCE, |_| {
                if let Some(Ok(count)) = task.try_join_next() {
                    made = count;
                }
                made == all
            })
            .await
    }

    /// Everybody is served again.
    async fn is_alive(&mut self) -> bool {
        let led = self
            .ensemble
            .until("there is a leader", PATIENCE, |all| all.is_led());
        if !led.await {
            return false;
        }
        let before = self.crowd.answers();
        let crowd = &self.crowd;
        let served = self
            .ensemble
            .until("all clients are served", PATIENCE, |_| {
                let now = crowd.answers();
                now.iter()
                    .zip(&before)
                    .all(|(now, before)| now - before >= ANSWERS)
            });
        served.await
    }

    /// Clients end, and all members become the same.
    async fn is_quiet(&mut self) -> bool {
        self.crowd.orders.over.store(true, Ordering::Relaxed);
        let tasks = &mut self.crowd.tasks;
        let ended = self.ensemble.until("clients end", PATIENCE, |_| {
            while tasks.try_join_next().is_some() {}
            tasks.is_empty()
        });
        if !ended.await {
            return false;
        }
        let settled = self
            .ensemble
            .until("members become the same", PATIENCE, |all| all.is_settled());
        settled.await
    }
}
