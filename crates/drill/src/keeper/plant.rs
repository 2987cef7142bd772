//! Broken promises on purpose, to see whether the drill notices.
//!
//! Prevents a drill that cannot fail: each plant breaks one promise, in the store or in what was
//! seen of it, and a verdict of pass with a plant is a mistake in the drill.

use std::collections::BTreeSet;

use mainstay_core::random::Random;

use super::ensemble::Ensemble;
use super::history::{Answer, Asked, History, Path, Reply};
use super::load::Clients;
use super::round::{self, Outcome, Setting};

/// A promise that is broken on purpose in the first round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// All members lose their disks: what was acknowledged is gone.
    WipedDisks,
    /// An acknowledged write is not in the history: its value was put there by nobody.
    ForgottenWrite,
    /// A read behind a sync shows the value before the last.
    StaleRead,
    /// An event is told twice.
    DoubledEvent,
}

impl Plant {
    /// All plants.
    pub const ALL: [Self; 4] = [
        Self::WipedDisks,
        Self::ForgottenWrite,
        Self::StaleRead,
        Self::DoubledEvent,
    ];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WipedDisks => "wiped-disks",
            Self::ForgottenWrite => "forgotten-write",
            Self::StaleRead => "stale-read",
            Self::DoubledEvent => "doubled-event",
        }
    }

    /// The plant of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plant| plant.as_str() == word)
    }

    /// Breaks the promise.
    ///
    /// # Errors
    /// Members cannot be killed or started.
    pub(crate) async fn harm(
        self,
        mut outcome: Outcome,
        ensemble: &mut Ensemble,
        setting: &Setting,
    ) -> anyhow::Result<Outcome> {
        match self {
            Self::WipedDisks => wipe(&mut outcome, ensemble, setting).await?,
            Self::ForgottenWrite => forget_write(&mut outcome.evidence.history),
            Self::StaleRead => read_the_past(&mut outcome.evidence.history),
            Self::DoubledEvent => double_event(&mut outcome.evidence.history),
        }
        Ok(outcome)
    }
}

/// The members lose all that they had, and start anew.
async fn wipe(
    outcome: &mut Outcome,
    ensemble: &mut Ensemble,
    setting: &Setting,
) -> anyhow::Result<()> {
    for member in 0..ensemble.len() {
        ensemble.kill(member).await?;
        ensemble.wipe(member)?;
    }
    ensemble.start_missing()?;
    ensemble.ready().await?;
    // Clients that have seen more than the members have are not served, and rightly so.
    let random = Random::seeded(0);
    let strangers = Clients::new(&setting.world, ensemble.len(), &random);
    outcome.evidence.left = round::left(&strangers, &outcome.stage, ensemble.len()).await?;
    Ok(())
}

/// The last acknowledged write whose value somebody read behind a sync.
fn seen_write(history: &History) -> Option<(usize, Path, u64)> {
    let entries = &history.entries;
    let seen = entries
        .iter()
        .filter_map(|entry| match (&entry.asked, &entry.reply) {
            (
                Asked::Get { synced: true, .. },
                Some(Reply {
                    answer:
                        Answer::Data {
                            value: Some(value), ..
                        },
                    ..
                }),
            ) => Some(*value),
            _ => None,
        });
    let seen: BTreeSet<u64> = seen.collect();
    let written = entries.iter().enumerate().filter_map(|(at, entry)| {
        let Asked::Set { path, value, .. } = &entry.asked else {
            return None;
        };
        let answer = entry.reply.as_ref().map(|reply| &reply.answer);
        let done = matches!(answer, Some(Answer::Version { .. }));
        (done && seen.contains(value)).then(|| (at, path.clone(), *value))
    });
    written.max_by_key(|(at, ..)| *at)
}

pub(super) fn forget_write(history: &mut History) {
    if let Some((at, ..)) = seen_write(history) {
        history.entries.remove(at);
    }
}

/// A read that came behind two writes of one node shows the first of them.
pub(super) fn read_the_past(history: &mut History) {
    let Some((_, path, value)) = seen_write(history) else {
        return;
    };
    let of_path = |asked: &Asked| matches!(asked, Asked::Set { path: set, .. } if *set == path);
    let sets = history.entries.iter().filter(|entry| of_path(&entry.asked));
    let older = sets.filter_map(|entry| match (&entry.asked, &entry.reply) {
        (
            Asked::Set { value: set, .. },
            Some(Reply {
                zxid,
                answer: Answer::Version { version, .. },
                ..
            }),
        ) if *set != value => Some((*zxid, *set, *version)),
        _ => None,
    });
    let Some((zxid, old, old_version)) = older.min() else {
        return;
    };
    for entry in &mut history.entries {
        if let Some(Reply {
            answer:
                Answer::Data {
                    value: shown,
                    version,
                    mzxid,
                },
            ..
        }) = &mut entry.reply
            && *shown == Some(value)
        {
            (*shown, *version, *mzxid) = (Some(old), old_version, zxid);
            return;
        }
    }
}

pub(super) fn double_event(history: &mut History) {
    let is_event = |asked: &Asked| matches!(asked, Asked::Event { .. });
    let event = history
        .entries
        .iter()
        .rposition(|entry| is_event(&entry.asked));
    if let Some(event) = event {
        let again = history.entries[event].clone();
        history.entries.insert(event + 1, again);
    }
}
