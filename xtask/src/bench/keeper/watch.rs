//! Many sessions that watch one node: what they weigh, and how soon all of them hear.

use anyhow::Result;

use super::Plan;
use super::ensemble::Ensemble;
use super::load;
use super::subject::Subject;
use super::tables::{Table, figure};
use crate::bench::report::Better;

/// Changes of the node.
const ROUNDS: u32 = 5;

/// Measures the subjects that have sessions with a connection each.
pub(super) fn measure(plan: &Plan, ensembles: &[Ensemble], table: &mut Table) -> Result<()> {
    let have = |one: &&Ensemble| one.subject != Subject::Etcd;
    for ensemble in ensembles.iter().filter(have) {
        let name = ensemble.subject.name();
        let before = ensemble.resident_mb()?;
        let (sessions, rounds) = (plan.sessions.to_string(), ROUNDS.to_string());
        let mut running = load::start(&["watch", &ensemble.addresses(), &sessions, &rounds])?;
        let with = running.when_ready(|| ensemble.resident_mb())?;
        let figures = running.end()?;
        let more = with - before;
        eprintln!("{name:<9} {} sessions: {more:.0} MB more", plan.sessions);
        table.add(
            name,
            figure("rss_10k_sessions", "MB", Better::Neither, more),
        );
        for &ms in figures.all("notified_ms")? {
            table.add(name, figure("notify_10k", "ms", Better::Lower, ms));
        }
    }
    Ok(())
}
