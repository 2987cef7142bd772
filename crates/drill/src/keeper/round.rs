//! One round: clients work, members are broken, all is well again, and everybody is asked what is
//! left.
//!
//! Prevents a round that ends before its damage shows: a fault is followed by the demand that all
//! members come together and all clients get answers.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mainstay_core::random::Random;
use tokio::time::{Instant, sleep};

use super::ensemble::Ensemble;
use super::fault::{self, Inflicted};
use super::history::{Answer, Asked, Entry, History, Path};
use super::judge::{Evidence, Left};
use super::load::{Clients, Load, Stage};
use super::plan::{Kind, PlannedFault, Round};
use super::session::World;

/// The store has this long to find out that a session is over: its timeout twice, and what a busy
/// machine adds.
const EXPIRY_MAX: Duration = Duration::from_secs(30);

/// After the last fault, clients go on for so long.
const AFTERMATH: Duration = Duration::from_millis(500);

/// What clients saw of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What was done.
    pub(crate) inflicted: Inflicted,
    /// Writes that were asked for and acknowledged while it lasted.
    pub(crate) acknowledged: usize,
    /// The longest time without an acknowledged write that began when the fault did, or later.
    pub(crate) gap_us: Option<u64>,
    /// Until all members were together again.
    pub(crate) whole_us: u64,
    /// Connections to members that were not hit and ended all the same, and why the first did.
    pub(crate) lost: Vec<String>,
}

/// What a round went through.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What is judged.
    pub(crate) evidence: Evidence,
    /// Each fault.
    pub(crate) faults: Vec<Seen>,
    /// The nodes of the round.
    pub(crate) stage: Arc<Stage>,
}

/// All that rounds share.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The clients.
    pub(crate) clients: Clients,
    /// What they have in common.
    pub(crate) world: World,
    /// Values, each once in a drill.
    pub(crate) values: Arc<AtomicU64>,
}

/// Runs one round.
///
/// # Errors
/// The ensemble did not come back: members that do not get together, or clients without answers.
pub(crate) async fn run(
    round: &Round,
    ensemble: &mut Ensemble,
    setting: &Setting,
) -> anyhow::Result<Outcome> {
    let stage = Arc::new(Stage::new(round.number, &setting.values));
    let random = Random::seeded(round.seed);
    let load = Load::start(&setting.clients, Arc::clone(&stage), &random).await?;
    let mut broken = Vec::with_capacity(round.faults.len());
    for fault in &round.faults {
        broken.push(inflict(ensemble, fault, setting).await?);
    }
    sleep(AFTERMATH).await;
    load.stop(&setting.clients).await?;
    let left = left(&setting.clients, &stage, ensemble.len()).await?;
    let mut history = setting.world.notes.take();
    history.entries.retain(|entry| !is_late(entry, &stage.root));
    let faults = broken
        .into_iter()
        .map(|(inflicted, whole_us)| seen(&history, inflicted, whole_us));
    let faults = faults.collect();
    let locks = stage.locks.lock();
    let locks = locks.unwrap_or_else(PoisonError::into_inner).clone();
    let root = stage.root.clone();
    Ok(Outcome {
        evidence: Evidence {
            history,
            locks,
            left,
            root,
        },
        faults,
        stage,
    })
}

/// Whether it is an event of the round before: of a node whose session ended after that round, say.
/// The watch that it answers is in that round's history.
fn is_late(entry: &Entry, root: &str) -> bool {
    let Asked::Event { path } = &entry.asked else {
        return false;
    };
    let below = path.strip_prefix(root);
    !below.is_some_and(|rest| rest.starts_with('/'))
}

/// A fault, and when all members were together again.
async fn inflict(
    ensemble: &mut Ensemble,
    fault: &PlannedFault,
    setting: &Setting,
) -> anyhow::Result<(Inflicted, u64)> {
    let inflicted = fault::inflict(ensemble, fault, &setting.world).await?;
    let after = || format!("after {}", fault.kind);
    ensemble.ready().await.with_context(after)?;
    Ok((inflicted, setting.world.clock.now_us()))
}

fn seen(history: &History, inflicted: Inflicted, whole_us: u64) -> Seen {
    let (began, ended) = (inflicted.began_us, inflicted.ended_us);
    let writes = history.entries.iter().filter_map(|entry| {
        let reply = entry.reply.as_ref()?;
        entry.is_done_write().then_some((entry.invoked, reply.at))
    });
    let mut acks: Vec<u64> = Vec::new();
    let mut acknowledged = 0;
    for (invoked, at) in writes {
        acknowledged += usize::from(invoked > began && at < ended);
        acks.push(at);
    }
    acks.sort_unstable();
    let hit = |member| inflicted.members.contains(&member);
    let partings = history.partings.iter();
    let near = partings.filter(|one| !hit(one.member) && (began..whole_us).contains(&one.at));
    let lost = near.filter_map(|one| {
        let why = one.why.as_ref()?;
        let ms = |since| one.at.saturating_sub(since) / 1_000;
        Some(format!(
            "{} ms after {}: session {} at member {}, there for {} ms, which said something {} ms \
             before: {why}",
            ms(began),
            inflicted.kind,
            one.session,
            one.member + 1,
            ms(one.since),
            ms(one.said),
        ))
    });
    let lost = lost.collect();
    Seen {
        acknowledged,
        gap_us: gap(&acks, began, whole_us),
        whole_us: whole_us.saturating_sub(ended),
        lost,
        inflicted,
    }
}

/// The longest time between two acknowledgements of which the second came between `began` and
/// `until`; `None` when there was none before or none in it.
fn gap(acks: &[u64], began: u64, until: u64) -> Option<u64> {
    let pairs = acks.windows(2).map(|pair| (pair[0], pair[1]));
    let during = pairs.filter(|(_, after)| (began..until).contains(after));
    during.map(|(before, after)| after - before).max()
}

/// Asks every member, behind a sync, what it has. Before that all sessions that were left have to
/// be over.
pub(crate) async fn left(
    clients: &Clients,
    stage: &Stage,
    members: usize,
) -> anyhow::Result<Vec<Left>> {
    let children = |path: Path| Asked::Children { path };
    let until = Instant::now() + EXPIRY_MAX;
    loop {
        let answers = clients.read_at(0, &[children(stage.presence())]).await?;
        let is_empty = matches!(answers.as_slice(), [Answer::Names(names)] if names.is_empty());
        if is_empty || Instant::now() > until {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let mut wanted = vec![children(stage.set()), children(stage.presence())];
    wanted.extend(stage.keys.iter().map(|path| Asked::Get {
        path: Arc::clone(path),
        watch: false,
        synced: false,
    }));
    let mut left = Vec::with_capacity(members);
    for member in 0..members {
        let answers = clients.read_at(member, &wanted).await?;
        left.push(understood(&stage.keys, &answers)?);
    }
    Ok(left)
}

fn understood(keys: &[Path], answers: &[Answer]) -> anyhow::Result<Left> {
    let [elements, presences, values @ ..] = answers else {
        bail!("a member did not answer all that it was asked");
    };
    // A folder that is gone has no children: what was in it is lost.
    let names = |answer: &Answer| {
        let Answer::Names(names) = answer else {
            return Vec::new();
        };
        let mut names = names.clone();
        names.sort_unstable();
        names
    };
    let held = |answer: &Answer| {
        if let Answer::Data { value, mzxid, .. } = answer {
            return Some((value.unwrap_or(u64::MAX), *mzxid));
        }
        None
    };
    let values = keys.iter().cloned().zip(values.iter().map(held));
    Ok(Left {
        values: values.collect::<BTreeMap<_, _>>(),
        elements: names(elements),
        presences: names(presences),
    })
}

/// The gaps of the faults that measure one, in milliseconds.
pub(crate) fn gaps_ms(faults: &[Seen]) -> impl Iterator<Item = f64> {
    let kills = faults
        .iter()
        .filter(|seen| seen.inflicted.kind == Kind::KillLeader);
    kills.filter_map(|seen| seen.gap_us.map(|us| us as f64 / 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_belongs_to_the_round_of_its_node() {
        let late = |path: &str, root| {
            let asked = Asked::Event { path: path.into() };
            let entry = Entry {
                session: 1,
                member: 0,
                invoked: 0,
                asked,
                reply: None,
            };
            is_late(&entry, root)
        };
        assert!(!late("/drill-10/lock/1-0000000001", "/drill-10"));
        assert!(late("/drill-10/lock/1-0000000001", "/drill-1"));
        assert!(late("/drill-9/lock/1-0000000001", "/drill-10"));
    }

    #[test]
    fn a_gap_is_the_longest_time_without_an_acknowledgement_that_a_fault_ends_in() {
        let acks = [10, 20, 90, 100, 400];
        assert_eq!(gap(&acks, 25, 200), Some(70));
        assert_eq!(gap(&acks, 100, 500), Some(300));
        assert_eq!(gap(&acks, 101, 300), None);
        assert_eq!(gap(&[], 0, 10), None);
    }
}
