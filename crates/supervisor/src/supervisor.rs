//! The supervisor: all replicas, the warden, the heartbeats, and one way to end them all.
//!
//! Prevents half a start and half a stop: everything that can be wrong with a command is found
//! before the first process exists, and [`Supervisor::run`] returns when nothing is left.

use std::hash::BuildHasher;
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::{Event, Observe};
use mainstay_core::random::Random;
use mainstay_observe::Observer;
use tokio::task::JoinSet;
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::command::{Command, StartError};
use crate::config::{Leash, Service};
use crate::driver::{Driver, Shared};
use crate::replica::{Change, End, Plan, Replica};
use crate::spawner::Spawner;
use crate::status::{ReplicaStatus, Table};
use crate::warden::watch::Watch;

/// How often each replica's heartbeat is emitted.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// Hears of each change the moment it is known, before it is logged or acted upon. Called from
/// the supervisor's tasks: must return at once and never panic.
pub type Listener = Arc<dyn Fn(Change) + Send + Sync>;

/// Keeps the replicas of some services running.
///
/// Dropping it, or the future of [`Supervisor::run`], kills whatever it started.
pub struct Supervisor {
    drivers: Vec<Driver>,
    watch: Watch,
    observer: Observer,
    handle: Handle,
    stop: CancellationToken,
}

/// Looks at the replicas of a running supervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    table: Arc<Table>,
    kill: CancellationToken,
}

/// What a finished supervisor had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Replicas that did not end within their grace period and were killed.
    pub killed: usize,
    /// Replicas that even SIGKILL did not end: stuck in the kernel, or another user's.
    pub left: usize,
}

impl Stopped {
    const fn count(&mut self, end: End) {
        match end {
            End::Graceful => {},
            End::Killed => self.killed += 1,
            End::Left => self.left += 1,
        }
    }
}

impl Handle {
    /// The replicas as they are now, in configuration order.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        self.table.read()
    }

    /// Ends everything at once, without grace. [`Supervisor::run`] returns soon after.
    pub fn kill_now(&self) {
        self.kill.cancel();
    }
}

impl Supervisor {
    /// Checks all commands and starts the warden. Replicas start with [`Supervisor::run`].
    ///
    /// # Errors
    /// The first command that cannot run, or what is missing to supervise at all.
    pub fn start(
        services: Vec<Service>,
        leash: Leash,
        observer: Observer,
        listener: Listener,
    ) -> Result<Self, StartError> {
        let clock = Clock::start();
        let Leash { exec, warden } = leash;
        let mut replicas = Vec::new();
        for service in services {
            for plan in Plan::of(&service) {
                let command = Command::new(&service, &plan, &exec)?;
                command.check()?;
                replicas.push((plan, command));
            }
        }
        let random = Random::seeded(seed());
        let spawner = Spawner::start().map_err(|source| StartError::Thread { source })?;
        let watch = Watch::start(&warden, random.fork("warden"))?;
        let handle = Handle {
            table: Arc::new(Table::new(clock, replicas.iter().map(|(plan, _)| plan))),
            kill: CancellationToken::new(),
        };
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            spawner,
            warden: watch.warden(),
            observer: observer.clone(),
            listener,
            clock,
            table: Arc::clone(&handle.table),
            stop: stop.clone(),
            kill: handle.kill.clone(),
        });
        let driver = |(row, (plan, command)): (usize, (Plan, Command))| Driver {
            replica: {
                let random = random.fork(&plan.replica);
                Replica::new(plan, random, clock.now())
            },
            command,
            row,
            shared: Arc::clone(&shared),
        };
        let drivers = replicas.into_iter().enumerate().map(driver).collect();
        Ok(Self {
            drivers,
            watch,
            observer,
            handle,
            stop,
        })
    }

    /// A way to look at the replicas, and to end them at once.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Keeps the replicas running until `shutdown`, then stops them: SIGTERM, the grace period,
    /// SIGKILL, each to the whole process group. Returns when nothing is left.
    pub async fn run(self, shutdown: CancellationToken) -> Stopped {
        let closing = CancellationToken::new();
        let mut attendants = JoinSet::new();
        attendants.spawn(self.watch.run(self.observer.clone(), closing.clone()));
        attendants.spawn(heartbeats(
            self.handle.clone(),
            self.observer.clone(),
            closing.clone(),
        ));
        let mut drivers = JoinSet::new();
        for driver in self.drivers {
            drivers.spawn(driver.run());
        }
        let mut stopped = Stopped::default();
        // Without replicas there is still a supervisor, until it is told to stop.
        loop {
            let end = tokio::select! {
                () = shutdown.cancelled(), if !self.stop.is_cancelled() => None,
                () = self.handle.kill.cancelled(), if !self.stop.is_cancelled() => None,
                end = drivers.join_next(), if !drivers.is_empty() => end,
                else => break,
            };
            match end {
                None => self.stop.cancel(),
                Some(Ok(end)) => stopped.count(end),
                Some(Err(bug)) => rethrow(bug),
            }
        }
        closing.cancel();
        while let Some(end) = attendants.join_next().await {
            end.unwrap_or_else(rethrow);
        }
        stopped
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// A panic in a task is a bug of ours, and must be as loud as one here.
fn rethrow(end: tokio::task::JoinError) {
    if let Ok(bug) = end.try_into_panic() {
        panic::resume_unwind(bug);
    }
}

/// Emits the heartbeat of each replica once a second.
async fn heartbeats(handle: Handle, observer: Observer, closing: CancellationToken) {
    let mut ticks = time::interval(HEARTBEAT_EVERY);
    // A machine that slept owes nobody the heartbeats of that time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _tick = ticks.tick() => {},
        }
        let timestamp = mainstay_observe::clock::unix_seconds();
        for replica in handle.replicas() {
            observer.observe(Event::Heartbeat {
                node_id: replica.replica,
                status: replica.verdict,
                timestamp,
            });
        }
    }
}

/// A seed that differs between processes: the standard library draws its hash keys from the
/// operating system.
fn seed() -> u64 {
    std::hash::RandomState::new().hash_one(0)
}
