//! One side of the comparison: a service of three replicas, its users' way in, and its ledger.
//!
//! Prevents arms that influence each other: each has replicas, ports, a ledger and a hold file of
//! its own; only the plan and the clock are shared.

mod baseline;
mod protected;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

pub(crate) use baseline::Baseline;
pub(crate) use protected::{EndpointStatus, Protected, fresh_status, status};

use crate::client::{Client, get};
use crate::clock::Clock;
use crate::fault::{self, Inflicted};
use crate::load::{self, Sample, Tally};
use crate::plan::{ACCOUNTS, Plan};

/// How long an arm may take to come up, and each account to be read once.
pub(crate) const START_MAX: Duration = Duration::from_secs(20);

/// How long one replica takes for a request while nothing is wrong. Long enough that ten times as
/// long stands out from what a busy machine adds.
pub(crate) const LATENCY: Duration = Duration::from_millis(10);

/// A replica as it is right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    /// Its name.
    pub(crate) name: String,
    /// Its process, when it has one.
    pub(crate) pid: Option<u32>,
    /// Where it listens, over restarts.
    pub(crate) address: SocketAddr,
}

/// What faults need of an arm.
pub(crate) trait Arm {
    /// Its replicas, in the order of their names.
    async fn replicas(&mut self) -> anyhow::Result<Vec<Replica>>;

    /// What is done about dead replicas once a fault has ended, when nobody else does.
    fn repair(&mut self) -> anyhow::Result<()>;

    /// Where things are.
    fn places(&self) -> &Places;
}

/// The files of an arm.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The program, for every process of the drill.
    pub(crate) mainstay: PathBuf,
    /// The arm's own folder.
    pub(crate) folder: PathBuf,
}

impl Places {
    /// Makes the folder of the arm called `name` in `folder`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn new(mainstay: &Path, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let mainstay = mainstay.to_owned();
        Ok(Self { mainstay, folder })
    }

    /// The charges.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    /// While this file exists no replica starts.
    pub(crate) fn hold(&self) -> PathBuf {
        self.folder.join("hold")
    }

    /// The arguments of a replica; `port` and `name` may be placeholders.
    pub(crate) fn replica_args(&self, port: &str, name: &str) -> Vec<String> {
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let args = [
            "payment",
            "--port",
            port,
            "--name",
            name,
            "--latency",
            &format!("{}ms", LATENCY.as_millis()),
        ];
        let mut args: Vec<_> = args.map(str::to_owned).into();
        args.extend(["--ledger".to_owned(), path(self.ledger())]);
        args.extend([
            "--hold".to_owned(),
            path(self.hold()),
            "--faults".to_owned(),
        ]);
        args
    }
}

/// What an arm went through.
#[derive(Debug)]
pub(crate) struct Observed {
    /// What its users saw.
    pub(crate) samples: Vec<Sample>,
    /// What was done to it, in the order of the plan.
    pub(crate) inflicted: Vec<Inflicted>,
}

impl Observed {
    /// The times in which none of its replicas lived, microseconds.
    pub(crate) fn dark(&self) -> Vec<std::ops::Range<u64>> {
        self.inflicted
            .iter()
            .filter_map(|inflicted| inflicted.dark.clone())
            .collect()
    }
}

/// Runs `plan` against `arm`: all of its load and all of its faults.
pub(crate) async fn observe(
    arm: &mut impl Arm,
    plan: &Plan,
    clock: Clock,
    client: &Arc<Client>,
    tally: &Tally,
) -> Observed {
    let faults = async {
        let mut inflicted = Vec::with_capacity(plan.faults.len());
        for fault in &plan.faults {
            inflicted.push(fault::inflict(arm, fault, clock).await);
        }
        inflicted
    };
    let (samples, inflicted) = tokio::join!(load::offer(plan, clock, client, tally), faults);
    Observed { samples, inflicted }
}

/// Reads every account once, so that connections are open and caches are filled before anything
/// is measured.
///
/// # Errors
/// An account gets no good answer in time.
pub(crate) async fn warm_up(client: &Client) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    let warming = async {
        for account in 0..ACCOUNTS {
            let path = format!("/accounts/{account}/balance");
            while !client
                .send(get(&path))
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    tokio::time::timeout(START_MAX, warming)
        .await
        .context("the service does not answer reads although nothing is broken yet")
}
