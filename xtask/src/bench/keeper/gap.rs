//! How long nobody can write after the leader is killed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Plan;
use super::ensemble::Ensemble;
use super::load;
use super::subject::MEMBERS;
use super::tables::{Table, figure};
use crate::bench::report::Better;
use crate::wait;

/// How long is written before the leader is killed.
const BEFORE: Duration = Duration::from_millis(500);
/// How long is written in all: long enough for the slowest election.
const MS: u32 = 5_000;
/// A gap that is longer did not end within the measurement.
const GAP_MAX_MS: f64 = 4_000.0;

/// Kills the leader of each ensemble several times, with clients at the other members.
pub(super) fn measure(plan: &Plan, ensembles: &mut [Ensemble], table: &mut Table) -> Result<()> {
    for round in 1..=plan.kills {
        for ensemble in &mut *ensembles {
            let name = ensemble.subject.name();
            eprint!("kill {round}/{}  ", plan.kills);
            let gap = once(ensemble).with_context(|| format!("{name} without its leader"))?;
            eprintln!("{name:<9} {gap:>6.0} ms without a write");
            table.add(name, figure("leader_kill_gap", "ms", Better::Lower, gap));
        }
    }
    Ok(())
}

fn once(ensemble: &mut Ensemble) -> Result<f64> {
    let leader = ensemble.leader()?;
    let others = (0..MEMBERS).filter(|&number| number != leader);
    let others = ensemble.addresses_of(others);
    let protocol = ensemble.subject.protocol();
    let running = load::start(&["gap", protocol, &others, &MS.to_string()])?;
    wait::pass(BEFORE);
    ensemble.kill_member(leader)?;
    let figures = running.end()?;
    let gap = figures.one("gap_ms")?;
    ensure!(gap < GAP_MAX_MS, "no write within {GAP_MAX_MS} ms");
    ensemble.start_member(leader)?;
    Ok(gap)
}
