//! What the replicas look like right now.
//!
//! Prevents a status that lies: each replica's driver writes its own row after every step, and
//! readers get a copy. Rows never wait for each other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::health::Verdict;
use mainstay_core::time::Instant;

use crate::clock::Clock;
use crate::replica::{Phase, Plan, Replica};

/// One replica, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Its service.
    pub service: Arc<str>,
    /// Its name.
    pub replica: Arc<str>,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// The port it was told to listen on.
    pub port: u16,
    /// Where it is in its life.
    pub phase: Phase,
    /// Starts after the first.
    pub restarts: u32,
    /// Whether requests may be routed to it.
    pub ready: bool,
    /// What its heartbeat says.
    pub verdict: Verdict,
    /// How long phase and verdict have been as they are.
    pub since: Duration,
    /// What its last probe found, in words; empty before the first.
    pub last_check: String,
    /// How long ago that was.
    pub last_check_ago: Option<Duration>,
}

/// The rows of all replicas, in configuration order.
#[derive(Debug)]
pub(crate) struct Table {
    clock: Clock,
    rows: Vec<Mutex<Row>>,
}

#[derive(Debug)]
struct Row {
    /// Its durations are zero here; they are filled in when somebody asks.
    status: ReplicaStatus,
    changed: Instant,
    checked: Option<Instant>,
}

impl Table {
    /// Rows for replicas that did not start yet.
    pub(crate) fn new<'a>(clock: Clock, plans: impl Iterator<Item = &'a Plan>) -> Self {
        let row = |plan: &Plan| Row {
            status: ReplicaStatus {
                service: Arc::clone(&plan.service),
                replica: Arc::clone(&plan.replica),
                pid: None,
                port: plan.port,
                phase: Phase::Waiting,
                restarts: 0,
                ready: false,
                verdict: Verdict::Unhealthy,
                since: Duration::ZERO,
                last_check: String::new(),
                last_check_ago: None,
            },
            changed: clock.now(),
            checked: None,
        };
        Self {
            clock,
            rows: plans.map(|plan| Mutex::new(row(plan))).collect(),
        }
    }

    /// Writes down how `replica`, in row `index`, is at `now`.
    pub(crate) fn write(&self, index: usize, replica: &Replica, now: Instant) {
        let Some(row) = self.rows.get(index) else {
            return;
        };
        let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
        let Row {
            status,
            changed,
            checked,
        } = &mut *row;
        let before = (status.phase, status.verdict, status.restarts);
        status.pid = replica.pid();
        status.phase = replica.phase();
        status.restarts = replica.restarts();
        status.ready = replica.ready();
        status.verdict = replica.verdict();
        if before != (status.phase, status.verdict, status.restarts) {
            *changed = now;
        }
        let Some((at, detail)) = replica.last_check() else {
            return;
        };
        if *checked != Some(*at) {
            *checked = Some(*at);
            status.last_check.clone_from(detail);
        }
    }

    /// A copy of all rows.
    pub(crate) fn read(&self) -> Vec<ReplicaStatus> {
        let now = self.clock.now();
        let read = |row: &Mutex<Row>| {
            let row = row.lock().unwrap_or_else(PoisonError::into_inner);
            ReplicaStatus {
                since: now.since(row.changed),
                last_check_ago: row.checked.map(|at| now.since(at)),
                ..row.status.clone()
            }
        };
        self.rows.iter().map(read).collect()
    }
}
