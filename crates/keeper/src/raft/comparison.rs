//! Members compare what they have, all the time.
//!
//! Prevents members that differ for days before somebody notices (etcd#13766, #12535): once a
//! second the leader names an entry of the log, and all say what their state amounted to behind it.
//! What a majority has is right. Who has something else is damaged, or has a bug that the others
//! have not: it does not answer clients from that state, nor does it vote, any longer.
//!
//! Always holds: nobody is judged by less than a majority, nor by members that count otherwise.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use mainstay_zk_proto::jute::{Jute, Malformed, Reader, read_all};
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::frame::Kind;
use super::machine::Progress;
use super::roster::Roster;
use crate::disk::SharedDisk;

/// How the state is counted up. Another way has another number, and is not compared with this one.
const FORM: i32 = 1;

/// How often members compare.
const EVERY: Duration = Duration::from_secs(1);

/// How long a member may take to apply the entry that was named.
const APPLY_MAX: Duration = Duration::from_secs(2);

/// How long the leader waits for a member's answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Entries behind which it is known what the state amounted to: more than the others are behind,
/// but for one that has other worries.
const POINTS: usize = 4_096;

/// What the state amounted to behind an entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    index: u64,
    digest: u64,
}

/// The latest points.
#[derive(Debug)]
pub(crate) struct Points(Mutex<Box<[Option<Point>]>>);

impl Default for Points {
    fn default() -> Self {
        Self(Mutex::new(vec![None; POINTS].into()))
    }
}

impl Points {
    fn place(index: u64) -> usize {
        usize::try_from(index % POINTS as u64).unwrap_or(0)
    }

    /// An entry was applied.
    pub(crate) fn note(&self, index: u64, digest: u64) {
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        points[Self::place(index)] = Some(Point { index, digest });
    }

    fn at(&self, index: u64) -> Option<u64> {
        let points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let point = points[Self::place(index)]?;
        (point.index == index).then_some(point.digest)
    }
}

/// What more than half of `voters` have, if they have the same.
fn majority(of: &BTreeMap<u64, u64>, voters: &[u64]) -> Option<u64> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for digest in voters.iter().filter_map(|voter| of.get(voter)) {
        *counts.entry(*digest).or_default() += 1;
    }
    let (digest, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (2 * count > voters.len()).then_some(digest)
}

/// What the leader says: which entry it asks for, and what a majority had behind an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    index: u64,
    agreed: Option<Point>,
}

impl<'a> Jute<'a> for Question {
    const SIZE_MIN: usize = 13;

    fn read(words: &mut Reader<'a>) -> Result<Self, Malformed> {
        let form: i32 = words.read()?;
        if form != FORM {
            return Err(Malformed::Unknown {
                what: "form of comparisons",
                value: form,
            });
        }
        let index = words.read::<i64>()?.cast_unsigned();
        let is_agreed: bool = words.read()?;
        let mut point = || {
            Ok(Point {
                index: words.read::<i64>()?.cast_unsigned(),
                digest: words.read::<i64>()?.cast_unsigned(),
            })
        };
        let agreed = is_agreed.then(&mut point).transpose()?;
        Ok(Self { index, agreed })
    }

    fn write(&self, out: &mut Vec<u8>) {
        FORM.write(out);
        self.index.cast_signed().write(out);
        self.agreed.is_some().write(out);
        if let Some(Point { index, digest }) = self.agreed {
            index.cast_signed().write(out);
            digest.cast_signed().write(out);
        }
    }
}

/// A member that compares.
pub(super) struct Comparison<D: SharedDisk> {
    roster: Arc<Roster<D>>,
    progress: watch::Receiver<Progress>,
    points: Arc<Points>,
    /// The entry behind which this member has what no majority has.
    differs: watch::Sender<Option<u64>>,
}

impl<D: SharedDisk> Comparison<D> {
    pub(super) fn new(
        roster: Arc<Roster<D>>,
        (progress, points): (watch::Receiver<Progress>, Arc<Points>),
    ) -> Self {
        Self {
            roster,
            progress,
            points,
            differs: watch::Sender::default(),
        }
    }

    /// The entry behind which this member has what no majority has, once that is known.
    pub(super) fn differs(&self) -> watch::Receiver<Option<u64>> {
        self.differs.subscribe()
    }

    /// Answers a leader's question: what this member has, if it still knows.
    pub(super) async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, String> {
        let question: Question = read_all(question).map_err(|malformed| malformed.to_string())?;
        if let Some(agreed) = question.agreed {
            self.judge(agreed);
        }
        let there = |progress: &Progress| {
            progress
                .applied
                .is_some_and(|at| at.index >= question.index)
        };
        let mut progress = self.progress.clone();
        // One that is not there in time does not know.
        drop(timeout(APPLY_MAX, progress.wait_for(there)).await);
        let digest = self.points.at(question.index);
        let digest = digest.ok_or("this member knows of no such entry, or no more")?;
        Ok(digest.to_le_bytes().to_vec())
    }

    fn judge(&self, agreed: Point) {
        let own = self.points.at(agreed.index);
        if own.is_some_and(|own| own != agreed.digest) {
            self.differs.send_replace(Some(agreed.index));
        }
    }

    /// Asks all others, while this member leads; until it is dropped.
    #[expect(
        clippy::infinite_loop,
        reason = "the type says that it does not end; the lint knows `!` only"
    )]
    pub(super) async fn compare(self: Arc<Self>) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut agreed = None;
        loop {
            ticks.tick().await;
            if let Some(found) = self.ask(agreed).await {
                self.judge(found);
                agreed = Some(found);
            }
        }
    }

    /// What a majority has behind the last entry that was applied here.
    async fn ask(&self, agreed: Option<Point>) -> Option<Point> {
        let (voters, others) = {
            let metrics = self.roster.raft.metrics();
            let metrics = metrics.borrow_watched();
            if metrics.current_leader != Some(self.roster.member) {
                return None;
            }
            let members = metrics.membership_config.membership();
            let voters: Vec<u64> = members.voter_ids().collect();
            let all = members.nodes().map(|(id, _)| *id);
            (
                voters,
                all.filter(|id| *id != self.roster.member)
                    .collect::<Vec<u64>>(),
            )
        };
        let index = self.progress.borrow().applied?.index;
        let mut body = Vec::new();
        Question { index, agreed }.write(&mut body);
        let mut answers: FuturesUnordered<_> = others
            .iter()
            .filter_map(|id| Some((*id, self.roster.links.to(*id)?.control)))
            .map(|(id, link)| {
                let body = body.clone();
                async move { (id, link.call(Kind::Compare, body, DEADLINE).await) }
            })
            .collect();
        let mut of = BTreeMap::new();
        of.insert(self.roster.member, self.points.at(index)?);
        while let Some((id, answer)) = answers.next().await {
            if let Some(digest) = answer.ok().and_then(|body| body.first_chunk().copied()) {
                of.insert(id, u64::from_le_bytes(digest));
            }
        }
        let digest = majority(&of, &voters)?;
        Some(Point { index, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_voters_is_right_and_less_is_nothing() {
        let voters = [1, 2, 3];
        let of = |all: &[(u64, u64)]| majority(&all.iter().copied().collect(), &voters);
        assert_eq!(of(&[(1, 7), (2, 7), (3, 7)]), Some(7));
        assert_eq!(of(&[(1, 8), (2, 7), (3, 7)]), Some(7), "whoever leads");
        assert_eq!(of(&[(1, 7), (3, 7)]), Some(7));
        assert_eq!(of(&[(1, 7), (2, 8)]), None);
        assert_eq!(of(&[(1, 7), (2, 8), (3, 9)]), None);
        assert_eq!(of(&[(1, 7), (4, 7), (5, 7)]), None, "who has no vote");
        assert_eq!(majority(&[(1, 7)].into(), &[1]), Some(7));
        assert_eq!(majority(&[(1, 7), (2, 8)].into(), &[1, 2]), None);
    }

    #[test]
    fn the_latest_points_are_known_and_older_ones_are_not_guessed() {
        let points = Points::default();
        let all = POINTS as u64;
        for index in 1..=all + 3 {
            points.note(index, index * 10);
        }
        assert_eq!(points.at(3), None);
        assert_eq!(points.at(4), Some(40));
        assert_eq!(points.at(all + 3), Some(10 * all + 30));
        assert_eq!(points.at(all + 4), None);
    }

    #[test]
    fn a_question_is_understood_by_who_counts_the_same_way() {
        for agreed in [
            None,
            Some(Point {
                index: 3,
                digest: u64::MAX,
            }),
        ] {
            let question = Question { index: 9, agreed };
            let mut bytes = Vec::new();
            question.write(&mut bytes);
            assert_eq!(read_all(&bytes), Ok(question));
            bytes[3] += 1;
            assert!(read_all::<Question>(&bytes).is_err());
        }
    }
}
