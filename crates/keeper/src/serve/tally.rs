//! Counts of what was asked and answered, for operators.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use mainstay_zk_proto::Opcode;
use mainstay_zk_proto::header::RequestHeader;
use tokio::time::{Duration, Instant};

use super::expiry::Crowd;

/// What one connection, or all of them, asked and were told. Latencies are in microseconds.
#[derive(Debug)]
pub(super) struct Tally {
    received: AtomicU64,
    sent: AtomicU64,
    latency_count: AtomicU64,
    latency_sum: AtomicU64,
    latency_min: AtomicU64,
    latency_max: AtomicU64,
    /// The last request's `xid` and operation.
    last_xid: AtomicI32,
    last_opcode: AtomicI32,
}

/// Sessions that were silent for too long.
#[derive(Debug, Default)]
pub(super) struct Silences {
    overdue: AtomicU64,
    /// How often so many were at once that it is worth a look, and the last time.
    crowds: Mutex<(u64, Option<Crowd>)>,
}

impl Silences {
    /// So many are ended now.
    pub(super) fn note(&self, overdue: usize, crowd: Option<Crowd>) {
        self.overdue.fetch_add(overdue as u64, Ordering::Relaxed);
        if crowd.is_some() {
            let mut crowds = self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
            *crowds = (crowds.0 + 1, crowd);
        }
    }

    pub(super) fn overdue(&self) -> u64 {
        self.overdue.load(Ordering::Relaxed)
    }

    pub(super) fn crowds(&self) -> (u64, Option<Crowd>) {
        *self.crowds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Latency {
    pub(super) min: u64,
    pub(super) mean: f64,
    pub(super) max: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            latency_count: AtomicU64::new(0),
            latency_sum: AtomicU64::new(0),
            latency_min: AtomicU64::new(u64::MAX),
            latency_max: AtomicU64::new(0),
            last_xid: AtomicI32::new(0),
            last_opcode: AtomicI32::new(0),
        }
    }
}

impl Tally {
    /// This is asked now.
    pub(super) fn note(&self, header: RequestHeader) {
        self.last_xid.store(header.xid, Ordering::Relaxed);
        self.last_opcode.store(header.opcode, Ordering::Relaxed);
    }

    pub(super) fn last_xid(&self) -> i32 {
        self.last_xid.load(Ordering::Relaxed)
    }

    /// The last operation, in ZooKeeper's four letters.
    pub(super) fn last_operation(&self) -> &'static str {
        let opcode = Opcode::from_wire(self.last_opcode.load(Ordering::Relaxed));
        opcode.map_or("NA", letters)
    }

    pub(super) fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn send(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that came at `since` was answered.
    pub(super) fn answer(&self, since: Instant) {
        self.send();
        let elapsed: Duration = since.elapsed();
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.latency_count.fetch_add(1, Ordering::Relaxed);
        self.latency_sum.fetch_add(micros, Ordering::Relaxed);
        // Most answers are neither the fastest nor the slowest so far: looking is cheaper.
        if micros < self.latency_min.load(Ordering::Relaxed) {
            self.latency_min.fetch_min(micros, Ordering::Relaxed);
        }
        if micros > self.latency_max.load(Ordering::Relaxed) {
            self.latency_max.fetch_max(micros, Ordering::Relaxed);
        }
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn latency(&self) -> Latency {
        let count = self.latency_count.load(Ordering::Relaxed);
        if count == 0 {
            return Latency::default();
        }
        let sum = self.latency_sum.load(Ordering::Relaxed);
        Latency {
            min: self.latency_min.load(Ordering::Relaxed) / 1_000,
            mean: sum as f64 / count as f64 / 1_000.0,
            max: self.latency_max.load(Ordering::Relaxed) / 1_000,
        }
    }

    /// Counts from nothing again.
    pub(super) fn reset(&self) {
        for count in [
            &self.received,
            &self.sent,
            &self.latency_count,
            &self.latency_sum,
            &self.latency_max,
        ] {
            count.store(0, Ordering::Relaxed);
        }
        self.latency_min.store(u64::MAX, Ordering::Relaxed);
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "for all others ZooKeeper has no letters"
)]
const fn letters(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::Create | Opcode::CreateContainer | Opcode::CreateTtl | Opcode::Create2 => "CREA",
        Opcode::Delete => "DELE",
        Opcode::Exists => "EXIS",
        Opcode::GetData => "GETD",
        Opcode::SetData => "SETD",
        Opcode::GetAcl => "GETA",
        Opcode::SetAcl => "SETA",
        Opcode::GetChildren | Opcode::GetChildren2 => "GETC",
        Opcode::Sync => "SYNC",
        Opcode::Ping => "PING",
        Opcode::Multi => "MULT",
        Opcode::MultiRead => "MLTR",
        Opcode::Reconfig => "RECO",
        Opcode::CheckWatches => "CHKW",
        Opcode::RemoveWatches => "REMW",
        Opcode::SetWatches => "SETW",
        Opcode::SetWatches2 => "STW2",
        Opcode::AddWatch => "ADDW",
        Opcode::GetEphemerals => "GETE",
        Opcode::GetAllChildrenNumber => "GETACN",
        Opcode::WhoAmI => "HOMI",
        Opcode::CloseSession => "CLOS",
        _ => "NA",
    }
}
