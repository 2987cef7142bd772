//! Drives one replica: brings the state machine what happens, and does what it says.
//!
//! Prevents decisions at the edge: nothing here branches on the state of the replica. The exit of
//! the process is looked at before anything else, so that routing hears of it first.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use mainstay_core::event::Observe;
use mainstay_observe::Observer;
use mainstay_observe::probe::Checked;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::command::Command;
use crate::process::Process;
use crate::replica::{Action, End, Input, ProbeKind, Replica};
use crate::spawner::Spawner;
use crate::status::Table;
use crate::supervisor::Listener;
use crate::warden::watch::Warden;

/// Drives one replica.
pub(crate) struct Driver {
    pub(crate) replica: Replica,
    pub(crate) command: Command,
    /// Its row in the table.
    pub(crate) row: usize,
    pub(crate) shared: Arc<Shared>,
}

/// What all drivers of a supervisor work with.
pub(crate) struct Shared {
    pub(crate) spawner: Spawner,
    pub(crate) warden: Warden,
    pub(crate) observer: Observer,
    pub(crate) listener: Listener,
    pub(crate) clock: Clock,
    pub(crate) table: Arc<Table>,
    /// Stop with grace.
    pub(crate) stop: CancellationToken,
    /// Stop at once.
    pub(crate) kill: CancellationToken,
}

/// Work that ends with something to tell the state machine. At most one start or one clearing,
/// and one of each kind of probe.
type Job = Pin<Box<dyn Future<Output = Done> + Send>>;

enum Done {
    Spawned(io::Result<Process>),
    Cleared,
    Probed(ProbeKind, Checked),
}

/// What is going on around the state machine.
struct Edge {
    process: Option<Process>,
    jobs: Vec<Job>,
    /// Tokens stay cancelled; each is told once.
    told_stop: bool,
    told_kill: bool,
}

impl Driver {
    /// Keeps the replica running until it is stopped.
    pub(crate) async fn run(mut self) -> End {
        let mut edge = Edge {
            process: None,
            jobs: Vec::new(),
            told_stop: false,
            told_kill: false,
        };
        loop {
            let input = edge.next(&self).await;
            let now = self.shared.clock.now();
            for action in self.replica.on(input, now) {
                self.act(action, &mut edge);
            }
            self.shared.table.write(self.row, &self.replica, now);
            if let Some(end) = self.replica.end() {
                return end;
            }
        }
    }

    fn act(&self, action: Action, edge: &mut Edge) {
        match action {
            Action::Spawn => edge.jobs.push(self.spawn()),
            Action::Terminate => edge.signal(|process| process.group().terminate()),
            Action::Kill => edge.signal(|process| process.group().kill()),
            Action::Clear => edge.clear(),
            Action::Abandon => edge.process = None,
            Action::Probe(kind) => edge.jobs.extend(self.probe(kind)),
            Action::Tell(change) => (self.shared.listener)(change),
            Action::Observe(event) => self.shared.observer.observe(event),
        }
    }

    fn spawn(&self) -> Job {
        let command = self.command.clone();
        let shared = Arc::clone(&self.shared);
        let replica = Arc::clone(&self.replica.plan().replica);
        Box::pin(async move {
            // Looked at before each start: what the leash says of a missing program ends up in
            // the replica's log, what we say is the reason of the failure.
            let checked = command.check().map_err(io::Error::other);
            let spawned = match checked {
                Ok(()) => Process::spawn(&shared, command.leashed(), &replica).await,
                Err(error) => Err(error),
            };
            Done::Spawned(spawned)
        })
    }

    fn probe(&self, kind: ProbeKind) -> Option<Job> {
        let plan = self.replica.plan();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, plan.port));
        let probe = plan.probe(kind)?.clone();
        Some(Box::pin(async move {
            Done::Probed(kind, probe.check(address).await)
        }))
    }
}

impl Edge {
    /// Waits for whatever happens next.
    async fn next(&mut self, driver: &Driver) -> Input {
        let done = tokio::select! {
            biased;
            detail = exited(self.process.as_ref()) => return Input::Exited { detail },
            () = driver.shared.kill.cancelled(), if !self.told_kill => {
                self.told_kill = true;
                return Input::KillNow;
            },
            () = driver.shared.stop.cancelled(), if !self.told_stop => {
                self.told_stop = true;
                return Input::Stop;
            },
            done = first_done(&mut self.jobs) => done,
            () = driver.shared.clock.reaches(driver.replica.timer()) => return Input::Timer,
        };
        match done {
            Done::Spawned(Ok(process)) => {
                let pid = process.pid();
                self.process = Some(process);
                Input::Spawned { pid }
            },
            Done::Spawned(Err(error)) => Input::SpawnFailed {
                detail: format!("could not be started: {error}"),
            },
            Done::Cleared => Input::Cleared,
            Done::Probed(kind, checked) => Input::Probed { kind, checked },
        }
    }

    fn signal(&self, signal: impl FnOnce(&Process)) {
        if let Some(process) = &self.process {
            signal(process);
        }
    }

    fn clear(&mut self) {
        // Probes of this process must not answer for the next one.
        self.jobs.clear();
        let process = self.process.take();
        self.jobs.push(Box::pin(async move {
            if let Some(process) = process {
                process.clear().await;
            }
            Done::Cleared
        }));
    }
}

async fn exited(process: Option<&Process>) -> String {
    match process {
        Some(process) => process.exited().await,
        None => std::future::pending().await,
    }
}

/// The first of `jobs` that is done, taken out of them. Waits for ever when there are none.
async fn first_done(jobs: &mut Vec<Job>) -> Done {
    std::future::poll_fn(|context| {
        for index in 0..jobs.len() {
            let Some(job) = jobs.get_mut(index) else {
                break;
            };
            if let Poll::Ready(done) = job.as_mut().poll(context) {
                drop(jobs.swap_remove(index));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}
