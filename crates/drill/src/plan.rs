//! The plan of a drill: every request and every fault, computed from the seed before anything
//! runs.
//!
//! Prevents a comparison of two different experiments: both arms get the same plan, and the same
//! scenario with the same seed gives the same plan, byte for byte ([`Plan::to_bytes`]). Nothing
//! that happens during the run changes it.

use std::fmt;
use std::fmt::Write as _;

use mainstay_core::random::Random;
use serde::Serialize;

/// The scenarios there are.
pub const SCENARIOS: &[&str] = &["payment-outage"];

/// Replicas of the service in each arm.
pub(crate) const REPLICAS: usize = 3;

/// Accounts that are read. Few enough that each is read every second or so, so that a cache
/// which may answer for a dead service can hold all of them.
pub(crate) const ACCOUNTS: u32 = 64;

/// Reads per second, evenly spaced.
const READS_PER_S: u64 = 200;

/// Writes per second, evenly spaced, halfway between two reads. Every fifth request is a write,
/// and five has no factor in common with the replicas: round-robin takes writes to all of them.
const WRITES_PER_S: u64 = 50;

/// Nothing is broken for this long at first: the steady state that the faults are held against.
const STEADY_MS: u64 = 3_000;

/// Between the end of a fault and the next one, so that each fault meets a service that is whole.
const RECOVER_MS: u64 = 4_000;

/// Each fault starts up to this much later, so that it meets probes and timers in any phase.
const JITTER_MS_MAX: u64 = 500;

/// A way to break the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `kill -9` of one replica.
    Kill,
    /// SIGSTOP of one replica, then SIGCONT.
    Pause,
    /// One replica answers 500 to business requests, while its health check stays good.
    Error,
    /// One replica accepts and never answers.
    Hang,
    /// One replica takes ten times as long.
    Slow,
    /// All replicas are dead and cannot be started.
    Outage,
}

impl Kind {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Error => "error",
            Self::Hang => "hang",
            Self::Slow => "slow",
            Self::Outage => "outage",
        }
    }

    /// What happens to the target, in a few words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Kill => "killed with signal 9",
            Self::Pause => "stopped with SIGSTOP",
            Self::Error => "answers 500",
            Self::Hang => "accepts, never answers",
            Self::Slow => "10 times slower",
            Self::Outage => "dead, all of them",
        }
    }
}

/// Who a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One replica, counted from 0.
    Replica(usize),
    /// All replicas.
    All,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(index) => f.write_str(&replica_name(*index)),
            Self::All => f.write_str("all"),
        }
    }
}

/// What the replica at `index` (from 0) is called, in both arms.
pub(crate) fn replica_name(index: usize) -> String {
    format!("payment-{}", index + 1)
}

/// One fault: what, to whom, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// What is done.
    pub kind: Kind,
    /// To whom.
    pub target: Target,
    /// When it starts, milliseconds after the first request.
    pub at_ms: u64,
    /// How long it lasts, milliseconds.
    pub for_ms: u64,
}

impl PlannedFault {
    /// When it ends, milliseconds after the first request.
    pub const fn ends_ms(&self) -> u64 {
        self.at_ms + self.for_ms
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The balance of an account.
    Read {
        /// The account.
        account: u32,
    },
    /// A payment with an id of its own.
    Write {
        /// Which write of the plan it is; its id derives from it ([`Plan::write_id`]).
        number: u32,
    },
}

/// One request: what, and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it is due, microseconds after the start of the load. Latency is measured from here,
    /// whenever it is really sent.
    pub due_us: u64,
    /// What it asks for.
    pub ask: Ask,
}

/// A scenario as it will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: &'static str,
    /// What everything random in it derives from.
    pub seed: u64,
    /// How long the load lasts, milliseconds.
    pub length_ms: u64,
    /// The requests, in the order they are due.
    pub arrivals: Vec<Arrival>,
    /// The faults, one after another.
    pub faults: Vec<PlannedFault>,
}

impl Plan {
    /// The plan of `scenario` that `seed` stands for; `None` for a scenario that is not in
    /// [`SCENARIOS`].
    pub fn new(scenario: &str, seed: u64) -> Option<Self> {
        let scenario = SCENARIOS.iter().find(|known| **known == scenario)?;
        let root = Random::seeded(seed);
        let faults = faults(&mut root.fork("faults"));
        let last_end_ms = faults.last().map_or(STEADY_MS, PlannedFault::ends_ms);
        let length_ms = last_end_ms + RECOVER_MS;
        Some(Self {
            scenario,
            seed,
            length_ms,
            arrivals: arrivals(length_ms, &mut root.fork("accounts")),
            faults,
        })
    }

    /// The id that the write with this `number` carries.
    pub fn write_id(&self, number: u32) -> String {
        format!("w-{:016x}-{number}", self.seed)
    }

    /// When the fault after the one at `index` starts, or the load ends: until then what users
    /// see is put down to the one at `index`.
    pub fn window_end_ms(&self, index: usize) -> u64 {
        self.faults
            .get(index + 1)
            .map_or(self.length_ms, |next| next.at_ms)
    }

    /// When the first fault starts, milliseconds.
    pub fn steady_ms(&self) -> u64 {
        self.faults
            .first()
            .map_or(self.length_ms, |first| first.at_ms)
    }

    /// The whole plan as text, one line per fault and request: equal plans give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::with_capacity(24 * self.arrivals.len());
        // Writing into a String cannot fail.
        writeln!(text, "mainstay.plan/v1 {} {}", self.scenario, self.seed).ok();
        writeln!(text, "length_ms {}", self.length_ms).ok();
        for fault in &self.faults {
            let (kind, target) = (fault.kind.as_str(), fault.target);
            writeln!(
                text,
                "fault {kind} {target} {} {}",
                fault.at_ms, fault.for_ms
            )
            .ok();
        }
        for Arrival { due_us, ask } in &self.arrivals {
            match ask {
                Ask::Read { account } => writeln!(text, "read {due_us} {account}").ok(),
                Ask::Write { number } => writeln!(text, "write {due_us} {number}").ok(),
            };
        }
        text.into_bytes()
    }

    /// A fingerprint of [`Plan::to_bytes`] (64-bit FNV-1a, in hexadecimal): two runs with the
    /// same fingerprint offered the same load and the same faults.
    pub fn fingerprint(&self) -> String {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let hash = self.to_bytes().iter().fold(OFFSET, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
        });
        format!("{hash:016x}")
    }
}

/// How long each fault lasts, in the order they come. The operator of the baseline needs these
/// four seconds to start a dead replica again.
const FAULTS_MS: [(Kind, u64); 6] = [
    (Kind::Kill, 4_000),
    (Kind::Pause, 5_000),
    (Kind::Error, 4_000),
    (Kind::Hang, 4_000),
    (Kind::Slow, 4_000),
    (Kind::Outage, 3_000),
];

fn faults(random: &mut Random) -> Vec<PlannedFault> {
    let mut free_ms = STEADY_MS;
    let mut previous = below(random, REPLICAS);
    let mut faults = Vec::with_capacity(FAULTS_MS.len());
    for (kind, for_ms) in FAULTS_MS {
        let at_ms = free_ms + random.below(JITTER_MS_MAX + 1);
        free_ms = at_ms + for_ms + RECOVER_MS;
        // Never the same replica twice in a row: what is seen of it belongs to one fault.
        previous = (previous + 1 + below(random, REPLICAS - 1)) % REPLICAS;
        let target = match kind {
            Kind::Outage => Target::All,
            Kind::Kill | Kind::Pause | Kind::Error | Kind::Hang | Kind::Slow => {
                Target::Replica(previous)
            },
        };
        faults.push(PlannedFault {
            kind,
            target,
            at_ms,
            for_ms,
        });
    }
    faults
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap_or_default()
}

fn arrivals(length_ms: u64, random: &mut Random) -> Vec<Arrival> {
    const READ_EVERY_US: u64 = 1_000_000 / READS_PER_S;
    const WRITE_EVERY_US: u64 = 1_000_000 / WRITES_PER_S;
    let length_us = length_ms * 1_000;
    let reads = (0..length_us / READ_EVERY_US).map(|n| {
        let account = u32::try_from(random.below(u64::from(ACCOUNTS))).unwrap_or_default();
        Arrival {
            due_us: n * READ_EVERY_US,
            ask: Ask::Read { account },
        }
    });
    let writes = (0_u32..)
        .map(|number| Arrival {
            due_us: u64::from(number) * WRITE_EVERY_US + READ_EVERY_US / 2,
            ask: Ask::Write { number },
        })
        .take_while(|write| write.due_us < length_us);
    let mut arrivals: Vec<_> = reads.chain(writes).collect();
    arrivals.sort_by_key(|arrival| arrival.due_us);
    arrivals
}

#[cfg(test)]
mod tests;
