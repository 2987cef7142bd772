//! Breaking an ensemble, with proof that it broke and a promise that it is undone.
//!
//! Prevents results about faults that never happened. What cannot be undone here (a namespace's
//! rules, a stopped process) goes with the processes of the drill.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use tokio::time::sleep;

use super::ensemble::Ensemble;
use super::network::Cuts;
use super::plan::{Kind, PlannedFault};
use super::session::World;
use crate::process::{State, comes_true};

/// How long evidence may take to show.
const EVIDENCE_MAX: Duration = Duration::from_secs(2);

/// How long writes may take to go on while a majority is well.
const PROGRESS_MAX: Duration = Duration::from_secs(15);

/// What a fault did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inflicted {
    /// What was done.
    pub(crate) kind: Kind,
    /// To whom, counted from 0.
    pub(crate) members: Vec<usize>,
    /// When it began.
    pub(crate) began_us: u64,
    /// When it was undone.
    pub(crate) ended_us: u64,
    /// The proof that it bit, or what is missing.
    pub(crate) evidence: Result<String, String>,
}

/// Inflicts `fault` and undoes it at its end. Members that were killed run again afterwards.
///
/// # Errors
/// Nobody leads, or a member cannot be started again: the ensemble did not survive.
pub(crate) async fn inflict(
    ensemble: &mut Ensemble,
    fault: &PlannedFault,
    world: &World,
) -> anyhow::Result<Inflicted> {
    sleep(Duration::from_millis(fault.lead_ms)).await;
    let members = targets(ensemble, fault).await?;
    let began_us = world.clock.now_us();
    let last = last(fault, world, began_us);
    let evidence = match fault.kind {
        Kind::KillOne | Kind::KillLeader | Kind::KillTwo | Kind::KillAll => {
            kill(ensemble, (fault, &members), last).await
        },
        Kind::PauseLeader => pause(ensemble, members[0], last).await,
        Kind::CutLeader
        | Kind::CutFollower
        | Kind::DeafLeader
        | Kind::MuteLeader
        | Kind::Bridge => cut(ensemble, (fault, members[0]), last).await,
    };
    let ended_us = world.clock.now_us();
    ensemble.start_missing()?;
    Ok(Inflicted {
        kind: fault.kind,
        members,
        began_us,
        ended_us,
        evidence: evidence.map_err(|missing| format!("{missing:#}")),
    })
}

/// Waits as long as `fault` lasts. One that leaves a majority lasts until a write was asked for and
/// acknowledged in it, so that a busy machine is not taken for a store that stands still.
async fn last(fault: &PlannedFault, world: &World, began_us: u64) {
    sleep(Duration::from_millis(fault.for_ms)).await;
    if fault.kind.leaves_majority() {
        let wrote = || world.notes.wrote_since(began_us);
        // What it came to is in the history.
        comes_true(PROGRESS_MAX, wrote).await;
    }
}

/// The members that `fault` hits, in the order in which it does.
async fn targets(ensemble: &Ensemble, fault: &PlannedFault) -> anyhow::Result<Vec<usize>> {
    let count = ensemble.len();
    let choose = |among: usize| usize::try_from(fault.choice % among as u64).unwrap_or_default();
    let from = |first: usize, many: usize| (0..many).map(|step| (first + step) % count).collect();
    let leader = ensemble.leader().await?;
    Ok(match fault.kind {
        Kind::KillTwo => from(choose(count), 2),
        Kind::KillAll => from(choose(count), count),
        Kind::CutFollower => vec![(leader + 1 + choose(count - 1)) % count],
        // The member between the halves is a follower or the leader, as it comes.
        Kind::KillOne | Kind::Bridge => vec![choose(count)],
        Kind::KillLeader
        | Kind::PauseLeader
        | Kind::CutLeader
        | Kind::DeafLeader
        | Kind::MuteLeader => vec![leader],
    })
}

async fn kill(
    ensemble: &mut Ensemble,
    (fault, members): (&PlannedFault, &[usize]),
    last: impl Future<Output = ()>,
) -> anyhow::Result<String> {
    let mut gone = Vec::new();
    for (place, &member) in members.iter().enumerate() {
        if place > 0 {
            sleep(Duration::from_millis(fault.stagger_ms)).await;
        }
        gone.push(ensemble.kill(member).await?.to_string());
    }
    last.await;
    Ok(format!("process {} gone", gone.join(", ")))
}

async fn pause(
    ensemble: &Ensemble,
    member: usize,
    last: impl Future<Output = ()>,
) -> anyhow::Result<String> {
    let process = ensemble.process(member)?;
    process.signal(Signal::STOP)?;
    let stopped = comes_true(EVIDENCE_MAX, || process.state() == State::Stopped).await;
    last.await;
    let until_the_end = process.state() == State::Stopped;
    process.signal(Signal::CONT)?;
    let id = process.id();
    ensure!(stopped && until_the_end, "process {id} was not stopped");
    Ok(format!("process {id} in state T until the end"))
}

async fn cut(
    ensemble: &Ensemble,
    (fault, member): (&PlannedFault, usize),
    last: impl Future<Output = ()>,
) -> anyhow::Result<String> {
    let network = ensemble.network().context("there is no network to cut")?;
    let cuts = cuts(fault.kind, member, ensemble.len());
    network.cut(&cuts)?;
    network.knock(&cuts)?;
    last.await;
    let dropped = network.heal()?;
    if dropped == 0 {
        bail!("not one packet was dropped");
    }
    Ok(format!("{dropped} packets dropped"))
}

/// Which packets `kind` drops when it is about `member`.
fn cuts(kind: Kind, member: usize, count: usize) -> Cuts {
    let others: Vec<_> = (0..count).filter(|other| *other != member).collect();
    let to_member = others.iter().map(|&other| (other, member));
    let from_member = others.iter().map(|&other| (member, other));
    match kind {
        Kind::CutLeader | Kind::CutFollower => to_member.chain(from_member).collect(),
        Kind::DeafLeader => to_member.collect(),
        Kind::MuteLeader => from_member.collect(),
        Kind::Bridge => {
            let (left, right) = others.split_at(others.len() / 2);
            let pairs = left
                .iter()
                .flat_map(|&one| right.iter().map(move |&other| (one, other)));
            pairs
                .flat_map(|(one, other)| [(one, other), (other, one)])
                .collect()
        },
        Kind::KillOne | Kind::KillLeader | Kind::KillTwo | Kind::KillAll | Kind::PauseLeader => {
            Vec::new()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_drops_what_it_says_and_nothing_else() {
        let sorted = |kind| {
            let mut cuts = cuts(kind, 0, 3);
            cuts.sort_unstable();
            cuts
        };
        assert_eq!(sorted(Kind::CutLeader), [(0, 1), (0, 2), (1, 0), (2, 0)]);
        assert_eq!(sorted(Kind::DeafLeader), [(1, 0), (2, 0)]);
        assert_eq!(sorted(Kind::MuteLeader), [(0, 1), (0, 2)]);
        assert_eq!(sorted(Kind::Bridge), [(1, 2), (2, 1)]);
        assert_eq!(cuts(Kind::Bridge, 2, 5).len(), 8);
    }
}
