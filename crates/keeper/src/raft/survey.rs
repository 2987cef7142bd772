//! What the other members have: asked before an ensemble begins, and when nobody leads.
//!
//! Prevents a second ensemble: a member whose disk is empty begins one only with a majority of
//! members whose disks are empty too, and joins the one that is there otherwise. Prevents a member
//! that was removed from waiting for a leader that will never speak to it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_zk_proto::jute::{Jute as _, Malformed, Reader};
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::codec::{Word, decode};
use super::engine::{Engaged, Member, Members, members_of, to_members};
use super::frame::Kind;
use super::links::{Links, Peer};
use super::pulse::Pulse;
use super::roster::Roster;
use crate::disk::SharedDisk;

/// Between two questions to all.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A member that was led, and hears no leader for so long, asks whether it still belongs here.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// A member that is in no list for so long was removed: one that is taken in again, and did not
/// catch up in time, is between two tries of the leader.
const OUT_FOR: Duration = Duration::from_secs(10);

/// How often it looks whether that is so.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long one question may take.
const ASK_DEADLINE: Duration = Duration::from_millis(500);

/// What a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Whether its log is empty.
    pub(super) is_empty: bool,
    /// Where in the log the list of members is that it knows to be agreed on.
    pub(super) members_at: Option<u64>,
    /// That list.
    pub(super) members: Members,
    /// The data folders that it knows, by the members' numbers.
    pub(super) seats: BTreeMap<u64, i64>,
}

impl Word for Account {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_empty.write(out);
        let at = self.members_at.map_or(-1, u64::cast_signed);
        at.write(out);
        (&*members_of(&self.members)).write(out);
        let count = i32::try_from(self.seats.len()).unwrap_or(i32::MAX);
        count.write(out);
        for (member, seat) in &self.seats {
            member.cast_signed().write(out);
            seat.write(out);
        }
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, Malformed> {
        let is_empty = words.read()?;
        let at: i64 = words.read()?;
        let members = to_members(words.read()?)?;
        let count: i32 = words.read()?;
        let mut seats = BTreeMap::new();
        for _ in 0..count {
            seats.insert(words.read::<i64>()?.cast_unsigned(), words.read()?);
        }
        Ok(Self {
            is_empty,
            members_at: u64::try_from(at).ok(),
            members,
            seats,
        })
    }
}

/// What this member has.
pub(super) fn account<D: SharedDisk>(raft: &Engaged<D>, links: &Links) -> Account {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let known = &metrics.committed_membership_config;
    Account {
        is_empty: metrics.last_log_index.is_none(),
        members_at: known.log_id().as_ref().map(openraft::LogId::index),
        members: known.membership().clone(),
        seats: links.seats().known(),
    }
}

/// What all those have who answer.
pub(super) async fn ask_all(links: &Links) -> BTreeMap<u64, Account> {
    let asked = links.all().into_iter().map(ask);
    join_all(asked).await.into_iter().flatten().collect()
}

/// What one has; nothing when it does not answer. A function: the compiler of 1.95 breaks off over
/// a closure in its place when it builds for the second time.
async fn ask((id, peer): (u64, Peer)) -> Option<(u64, Account)> {
    let answer = peer.control.call(Kind::Survey, Vec::new(), ASK_DEADLINE);
    let account = decode(&answer.await.ok()?).ok()?;
    Some((id, account))
}

/// Whether `member` may begin an ensemble of `voters`, when the others have what they told.
fn may_begin(member: u64, voters: &BTreeSet<u64>, told: &BTreeMap<u64, Account>) -> bool {
    let is_one_there = told.values().any(|account| !account.is_empty);
    let others = told.keys().filter(|id| voters.contains(id)).count();
    voters.contains(&member) && !is_one_there && others + 1 > voters.len() / 2
}

/// Begins an ensemble of those with a vote among `listed`, or waits until one takes this member in.
pub(super) async fn begin<D: SharedDisk>(roster: Arc<Roster<D>>, voters: BTreeMap<u64, Member>) {
    let Roster {
        member,
        raft,
        links,
        ..
    } = &*roster;
    let numbers: BTreeSet<u64> = voters.keys().copied().collect();
    while let Ok(false) = raft.is_initialized().await {
        let told = ask_all(links).await;
        // Who was here before with another folder waits until the others have agreed on it.
        if !links.seats().is_strange() && may_begin(*member, &numbers, &told) {
            // When another was faster, its log came here meanwhile.
            drop(raft.initialize(voters.clone()).await);
        } else {
            sleep(ASK_EVERY).await;
        }
    }
}

/// Says when this member, which followed a leader, does not belong to the ensemble any more; it
/// asks for no votes from then on.
pub(super) async fn notice_removal<D: SharedDisk>(
    roster: Arc<Roster<D>>,
    pulse: Arc<Pulse<D>>,
    removed: watch::Sender<bool>,
) {
    let Roster {
        member,
        raft,
        links,
        ..
    } = &*roster;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out_since = None;
    loop {
        look.tick().await;
        // A leader is heard by itself, and who was never led may be about to join.
        let leads = raft.metrics().borrow_watched().current_leader == Some(*member);
        let silence = pulse.heard.silence();
        if leads || silence.is_none_or(|silence| silence < SILENT_FOR) {
            out_since = None;
            continue;
        }
        if !is_removed(*member, &account(raft, links), &ask_all(links).await) {
            out_since = None;
            continue;
        }
        let since = *out_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= OUT_FOR {
            raft.runtime_config().elect(false);
            removed.send_replace(true);
            return;
        }
    }
}

/// Whether those who answered agree on a newer list of members than this member's, and it is not
/// in that.
pub(super) fn is_removed(member: u64, own: &Account, told: &BTreeMap<u64, Account>) -> bool {
    let known = told.values().chain([own]);
    let newest = known.max_by_key(|account| account.members_at);
    newest.is_some_and(|newest| {
        newest.members_at.is_some() && newest.members.get_node(&member).is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::super::codec::encode;
    use super::*;

    fn account(members_at: Option<u64>, members: &[u64]) -> Account {
        let nodes: BTreeMap<u64, Member> =
            members.iter().map(|&id| (id, Member::default())).collect();
        let voters: Vec<BTreeSet<u64>> = members_at
            .map(|_| nodes.keys().copied().collect())
            .into_iter()
            .collect();
        Account {
            is_empty: members_at.is_none(),
            members_at,
            members: Members::new(voters, nodes).expect("valid"),
            seats: BTreeMap::from([(1, 5), (2, 6)]),
        }
    }

    #[test]
    fn an_ensemble_begins_with_a_majority_of_empty_members_and_not_beside_another() {
        let voters = BTreeSet::from([1, 2, 3]);
        let empty = account(None, &[]);
        let old = account(Some(4), &[2, 3]);
        let told = |some: &[(u64, &Account)]| {
            some.iter()
                .map(|(id, account)| (*id, (*account).clone()))
                .collect()
        };
        assert!(!may_begin(1, &voters, &told(&[])));
        assert!(may_begin(1, &voters, &told(&[(2, &empty)])));
        assert!(!may_begin(1, &voters, &told(&[(4, &empty)])), "no voter");
        assert!(!may_begin(1, &voters, &told(&[(2, &empty), (3, &old)])));
        assert!(!may_begin(4, &voters, &told(&[(2, &empty), (3, &empty)])));
        assert!(may_begin(1, &BTreeSet::from([1]), &told(&[])));
    }

    #[test]
    fn who_is_not_in_the_newest_list_was_removed() {
        let own = account(Some(5), &[1, 2, 3]);
        let newer = account(Some(9), &[1, 2]);
        let older = account(Some(3), &[1, 2]);
        let told = |account: &Account| BTreeMap::from([(1, account.clone())]);
        assert!(is_removed(3, &own, &told(&newer)));
        assert!(!is_removed(3, &own, &told(&older)));
        assert!(!is_removed(2, &own, &told(&newer)));
        assert!(!is_removed(3, &account(None, &[]), &BTreeMap::new()));
        assert_eq!(decode(&encode(&newer)), Ok(newer));
    }
}
