//! Breaking a service on purpose, with proof that it broke and a promise that it is undone.
//!
//! Prevents results about faults that never happened: each kind gathers evidence from outside
//! the broken process. Prevents drills that break things for good: what a fault did is undone when
//! it ends, when the run fails, and (by the kernel, see [`crate::process`]) when the drill is
//! killed.

mod behaviour;
mod kill;
mod outage;
mod pause;

use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;

use crate::arm::{Arm, Replica};
use crate::clock::Clock;
use crate::plan::{Kind, PlannedFault, Target};
use crate::process::Process;

/// Before a fault its target is looked up and measured, for at most this long.
const PREPARE_MS: u64 = 500;

/// How long evidence may take to show.
const EVIDENCE_MAX: Duration = Duration::from_secs(1);

/// What a fault did to an arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inflicted {
    /// When it began, microseconds.
    pub(crate) began_us: u64,
    /// The proof that it bit, or what is missing.
    pub(crate) evidence: Result<String, String>,
    /// When no replica lived, microseconds.
    pub(crate) dark: Option<Range<u64>>,
}

/// A fault that went through, apart from its dark time.
struct Bitten {
    began_us: u64,
    evidence: String,
}

/// Inflicts `fault` on `arm` at its time and undoes it at its end.
pub(crate) async fn inflict(arm: &mut impl Arm, fault: &PlannedFault, clock: Clock) -> Inflicted {
    clock.until_ms(fault.at_ms.saturating_sub(PREPARE_MS)).await;
    let mut inflicted = match fault.target {
        Target::All => outage::inflict(arm, fault, clock).await,
        Target::Replica(index) => {
            let bitten = match target(arm, index).await {
                Ok(replica) => inflict_on(&replica, fault, clock).await,
                Err(error) => Err(error),
            };
            clock.until_ms(fault.ends_ms()).await;
            Inflicted::from_result(bitten, fault)
        },
    };
    if let Err(error) = arm.repair() {
        inflicted.evidence = Err(format!("what broke could not be repaired: {error:#}"));
    }
    inflicted
}

async fn inflict_on(
    replica: &Replica,
    fault: &PlannedFault,
    clock: Clock,
) -> anyhow::Result<Bitten> {
    match fault.kind {
        Kind::Kill => kill::inflict(replica, fault, clock).await,
        Kind::Pause => pause::inflict(replica, fault, clock).await,
        Kind::Error | Kind::Hang | Kind::Slow => behaviour::inflict(replica, fault, clock).await,
        Kind::Outage => anyhow::bail!("an outage has no single target"),
    }
}

async fn target(arm: &mut impl Arm, index: usize) -> anyhow::Result<Replica> {
    let replicas = arm.replicas().await?;
    let replica = replicas.into_iter().nth(index);
    replica.context("the target is not there")
}

/// The process of `replica`.
fn process(replica: &Replica) -> anyhow::Result<Process> {
    let pid = replica.pid;
    let pid = pid.with_context(|| format!("{} has no process to break", replica.name))?;
    Process::open(pid).with_context(|| format!("cannot reach process {pid} of {}", replica.name))
}

impl Inflicted {
    fn from_result(bitten: anyhow::Result<Bitten>, fault: &PlannedFault) -> Self {
        let (began_us, evidence) = match bitten {
            Ok(bitten) => (bitten.began_us, Ok(bitten.evidence)),
            Err(missing) => (fault.at_ms * 1_000, Err(format!("{missing:#}"))),
        };
        Self {
            began_us,
            evidence,
            dark: None,
        }
    }
}
