//! The work that clients do while members are broken under them.
//!
//! Prevents histories that nothing could be wrong in, and histories that nobody can check: values
//! are unique, keys are replaced after some operations, few clients write one key at a time.
//!
//! | worker | what it does | what it shows |
//! |---|---|---|
//! | [`register`] | set, compare-and-set, reads with and without a sync | order of writes, fresh reads |
//! | [`append`] | nodes with numbers that the store chooses | nothing lost, nothing doubled |
//! | [`watcher`] | watches nodes of the others | one event for each, before the new data |
//! | [`presence`] | ephemeral nodes whose sessions end in all ways | they go with their session |
//! | [`locker`] | a lock with fencing tokens | one holder at a time, tokens that grow |

mod append;
mod locker;
mod presence;
mod register;
mod watcher;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures_util::future::join_all;
use mainstay_core::random::Random;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use locker::LockLog;

use mainstay_zk_proto::Code;

use super::history::{Answer, Asked, Life, Path};
use super::session::{Client, Habit, Unknown, World};

/// Keys that are in use at a time.
const KEYS_AT_A_TIME: usize = 6;

/// Operations after which a key is replaced.
const OPERATIONS_PER_KEY: usize = 120;

/// Keys of a round. When all are used up, the last ones stay in use.
const KEYS: usize = 240;

/// How long clients may take for anything when all members are well.
const QUIET_MAX: Duration = Duration::from_mins(1);

/// The timeout that most sessions ask for.
const TIMEOUT_MS: i32 = 6_000;

/// The timeout of sessions that are left behind, so that nobody waits for their end for long.
const TIMEOUT_SHORT_MS: i32 = 2_000;

/// The clients of a drill, with their sessions.
#[derive(Debug)]
pub(crate) struct Clients {
    setup: Arc<Client>,
    registers: Vec<Arc<Client>>,
    appenders: Vec<Arc<Client>>,
    watchers: Vec<Arc<Client>>,
    presences: Vec<Arc<Client>>,
    lockers: Vec<Arc<Client>>,
    /// One per member, which goes nowhere else.
    faithful: Vec<Arc<Client>>,
    /// Drives their connections; ends them when it is dropped.
    _connections: JoinSet<()>,
}

impl Clients {
    /// Clients for `members` members.
    pub(crate) fn new(world: &World, members: usize, random: &Random) -> Self {
        let mut connections = JoinSet::new();
        let mut number = 0_usize;
        let mut client = |timeout_ms: i32, is_faithful: bool| {
            let habit = Habit {
                member: number % members,
                is_faithful,
                timeout_ms,
            };
            let random = random.fork(&format!("client {number}"));
            number += 1;
            let (client, driving) = Client::new(world.clone(), habit, random);
            connections.spawn(driving);
            Arc::new(client)
        };
        let faithful = (0..members).map(|_| client(TIMEOUT_MS, true)).collect();
        let registers = (0..2 * members).map(|_| client(TIMEOUT_MS, false));
        let registers = registers.collect();
        let watchers = (0..members).map(|_| client(TIMEOUT_MS, false)).collect();
        let mut few = |count: usize, timeout_ms| -> Vec<_> {
            (0..count).map(|_| client(timeout_ms, false)).collect()
        };
        let (appenders, lockers) = (few(2, TIMEOUT_MS), few(3, TIMEOUT_SHORT_MS));
        let presences = few(2, TIMEOUT_SHORT_MS);
        Self {
            setup: client(TIMEOUT_MS, false),
            registers,
            appenders,
            watchers,
            presences,
            lockers,
            faithful,
            _connections: connections,
        }
    }

    /// Asks each member for itself, behind a sync.
    ///
    /// # Errors
    /// A member does not answer in time.
    pub(crate) async fn read_at(
        &self,
        member: usize,
        wanted: &[Asked],
    ) -> anyhow::Result<Vec<Answer>> {
        let client = self
            .faithful
            .get(member)
            .context("there is such a member")?;
        let ask = async || -> Result<Vec<_>, Unknown> {
            let mut asks = vec![client.ask(Asked::Sync)];
            asks.extend(wanted.iter().cloned().map(|asked| client.ask(asked)));
            let told: Result<Vec<_>, _> = join_all(asks).await.into_iter().collect();
            Ok(told?.split_off(1))
        };
        // When its connection was lost: reads may be asked again.
        let mut told = Err(Unknown);
        let reading = async {
            while told.is_err() {
                told = ask().await;
            }
        };
        let silent = || format!("member {} does not answer reads", member + 1);
        let read = tokio::time::timeout(QUIET_MAX, reading).await;
        read.with_context(silent)?;
        told.map_err(|Unknown| anyhow!(silent()))
    }
}

/// What the workers of one round share.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The folder of the round.
    pub(crate) root: Path,
    /// The registers, in the order in which they are used.
    pub(crate) keys: Vec<Path>,
    /// Operations on registers so far.
    used: AtomicUsize,
    /// Values, each once in a drill.
    values: Arc<AtomicU64>,
    /// Paths of ephemeral nodes that will be made or were made.
    presences: Mutex<Vec<Path>>,
    /// What lockers saw.
    pub(crate) locks: Mutex<LockLog>,
    stop: CancellationToken,
}

impl Stage {
    /// A stage for round `number`.
    pub(crate) fn new(number: usize, values: &Arc<AtomicU64>) -> Self {
        let root: Path = format!("/drill-{number}").into();
        let keys = (0..KEYS).map(|key| format!("{root}/register-{key}").into());
        Self {
            keys: keys.collect(),
            root,
            used: AtomicUsize::new(0),
            values: Arc::clone(values),
            presences: Mutex::default(),
            locks: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    /// The folder of what is appended.
    pub(crate) fn set(&self) -> Path {
        format!("{}/set", self.root).into()
    }

    /// The folder of ephemeral nodes.
    pub(crate) fn presence(&self) -> Path {
        format!("{}/presence", self.root).into()
    }

    /// The folder of the lock.
    pub(crate) fn lock(&self) -> Path {
        format!("{}/lock", self.root).into()
    }

    /// A value that nobody else writes.
    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }

    /// A register that is in use now.
    fn key(&self, random: &mut Random) -> Path {
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        let group = used / (KEYS_AT_A_TIME * OPERATIONS_PER_KEY);
        let first = (group * KEYS_AT_A_TIME).min(KEYS - KEYS_AT_A_TIME);
        let at = first + usize::try_from(random.below(KEYS_AT_A_TIME as u64)).unwrap_or_default();
        Arc::clone(&self.keys[at])
    }

    /// Whether it is a register of this round.
    fn is_key(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&*self.root);
        rest.is_some_and(|rest| rest.starts_with("/register-"))
    }

    /// Announces an ephemeral node.
    fn announce(&self, path: &Path) {
        let mut known = self
            .presences
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.push(Arc::clone(path));
    }

    /// The ephemeral node that was announced last.
    fn announced(&self) -> Option<Path> {
        let known = self
            .presences
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.last().cloned()
    }

    /// Whether the workers go on.
    fn goes_on(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// Waits a little, or until all is over.
    async fn pause(&self, random: &mut Random, max: Duration) {
        let pause = random.up_to(max);
        tokio::select! {
            () = tokio::time::sleep(pause) => {},
            () = self.stop.cancelled() => {},
        }
    }
}

/// A running load.
#[derive(Debug)]
pub(crate) struct Load {
    stage: Arc<Stage>,
    workers: JoinSet<()>,
}

impl Load {
    /// Makes what the round needs, then sets all clients to work.
    ///
    /// # Errors
    /// The ensemble does not take writes although nothing is broken.
    pub(crate) async fn start(
        clients: &Clients,
        stage: Arc<Stage>,
        random: &Random,
    ) -> anyhow::Result<Self> {
        let folders = [
            stage.root.clone(),
            stage.set(),
            stage.presence(),
            stage.lock(),
        ];
        for folder in folders {
            make(&clients.setup, folder).await?;
        }
        let keys = stage.keys.iter().cloned();
        let made = join_all(keys.map(|key| make(&clients.setup, key))).await;
        made.into_iter().collect::<anyhow::Result<()>>()?;
        let mut workers = JoinSet::new();
        let mut number = 0;
        let mut random = || {
            number += 1;
            random.fork(&format!("worker {number}"))
        };
        for client in &clients.registers {
            let (client, stage) = (Arc::clone(client), Arc::clone(&stage));
            workers.spawn(register::work(client, stage, random()));
        }
        for client in &clients.appenders {
            let (client, stage) = (Arc::clone(client), Arc::clone(&stage));
            workers.spawn(append::work(client, stage, random()));
        }
        for client in &clients.watchers {
            let (client, stage) = (Arc::clone(client), Arc::clone(&stage));
            workers.spawn(watcher::work(client, stage, random()));
        }
        for client in &clients.presences {
            let (client, stage) = (Arc::clone(client), Arc::clone(&stage));
            workers.spawn(presence::work(client, stage, random()));
        }
        for client in &clients.lockers {
            let (client, stage) = (Arc::clone(client), Arc::clone(&stage));
            workers.spawn(locker::work(client, stage, random()));
        }
        Ok(Self { stage, workers })
    }

    /// Stops the workers when each has ended what it was doing; then writes every register once
    /// more, so that each watch that is left fires.
    ///
    /// # Errors
    /// A client gets no answer although all members are well.
    pub(crate) async fn stop(mut self, clients: &Clients) -> anyhow::Result<()> {
        self.stage.stop.cancel();
        let ending = async {
            while let Some(ended) = self.workers.join_next().await {
                ended?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(QUIET_MAX, ending)
            .await
            .context("clients get no answers although all members are well")??;
        let sets = self.stage.keys.iter().map(|path| {
            clients.setup.ask(Asked::Set {
                path: Arc::clone(path),
                value: self.stage.value(),
                expected: None,
            })
        });
        let last = tokio::time::timeout(QUIET_MAX, join_all(sets)).await;
        last.context("writes get no answers although all members are well")?;
        let settled = clients.watchers.iter().map(|client| {
            client.ask(Asked::Get {
                path: self.stage.keys[KEYS - 1].clone(),
                watch: false,
                synced: true,
            })
        });
        let settled = tokio::time::timeout(QUIET_MAX, join_all(settled)).await;
        settled.context("watchers get no answers although all members are well")?;
        Ok(())
    }
}

/// Makes a node whose first value is 0. It may have been made by an attempt of unknown end.
async fn make(client: &Client, path: Path) -> anyhow::Result<()> {
    let making = async {
        loop {
            let create = Asked::Create {
                path: Arc::clone(&path),
                value: 0,
                life: Life::Persistent,
            };
            match client.ask(create).await {
                Ok(Answer::Made { .. } | Answer::Refused(Code::NodeExists)) => {
                    return Ok(());
                },
                Ok(other) => bail!("{path} cannot be made: {other:?}"),
                Err(_) => {},
            }
        }
    };
    let made = tokio::time::timeout(QUIET_MAX, making).await;
    made.context("the ensemble takes no writes although nothing is broken")?
}
