//! A member that comes back with another data folder is taken in as the newcomer that it is.
//!
//! Prevents a lost disk from waking up an operator, and from costing what was acknowledged: the
//! leader takes the number out of the ensemble, by a step to which the new folder adds nothing, and
//! then in again, with a log to catch up with before it votes. That is what etcd's operators do by
//! hand. What the lost folder had voted for and stored counts for nobody any more after the first
//! step, since a quorum of the others has agreed to it. That step also notes who is absent, so that
//! another leader goes on with the second one when this one dies.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use mainstay_zk_proto::Code;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::engine::{self, Absent, Members};
use super::roster::{Reached, Roster, listed, wait};
use super::survey::{Account, account, ask_all};
use crate::disk::SharedDisk;
use crate::zoo_cfg::Member;

/// How often is looked who left.
const LEFT_EVERY: Duration = Duration::from_millis(100);

/// How often is looked who came back.
const BACK_EVERY: Duration = Duration::from_secs(1);

/// How long somebody who left may stay in the engine's list.
const GONE_MAX: Duration = Duration::from_secs(10);

/// The longest pause between tries to take somebody in who is not there: meanwhile clients can change
/// nothing about the members.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// When to try next to take somebody in.
struct Tries {
    next: Instant,
    pause: Duration,
}

impl Tries {
    fn fresh() -> Self {
        Self {
            next: Instant::now(),
            pause: BACK_EVERY,
        }
    }

    fn failed(&mut self) {
        self.next = Instant::now() + self.pause;
        self.pause = PAUSE_MAX.min(self.pause * 2);
    }
}

/// Whether somebody knows this folder under this number.
fn knows(account: Option<&Account>, id: u64, seat: i64) -> bool {
    account.is_some_and(|account| account.seats.get(&id) == Some(&seat))
}

/// Whether more than half say so, of at least one.
///
/// Who was away while a member was taken out and in again knows its old folder. It must not take the
/// new one for another loss if it leads, nor refuse it if that one leads: most of the others know it
/// only because the ensemble has agreed that the old one left.
fn is_majority(witnesses: &[bool]) -> bool {
    witnesses.iter().filter(|says| **says).count() * 2 > witnesses.len()
}

impl<D: SharedDisk> Roster<D> {
    /// Minds who has which folder, until it is dropped.
    pub(super) async fn mind_seats(self: Arc<Self>) {
        tokio::select! {
            biased;
            never = self.forget_seats() => match never {},
            never = self.place() => match never {},
        }
    }

    /// Forgets the folders of those who left, until it is dropped.
    #[expect(
        clippy::infinite_loop,
        reason = "the type says that it does not end; the lint knows `!` only"
    )]
    async fn forget_seats(&self) -> Infallible {
        let mut look = interval(LEFT_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: BTreeSet<u64> = BTreeSet::new();
        loop {
            look.tick().await;
            let now: BTreeSet<u64> = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let members = metrics.committed_membership_config.membership();
                members.nodes().map(|(&id, _)| id).collect()
            };
            let left: BTreeSet<u64> = last.difference(&now).copied().collect();
            // Whoever left itself hears nothing of the others any more.
            let is_known = left.is_empty() || !now.contains(&self.member);
            if is_known || self.links.seats().forget(left).await.is_ok() {
                last = now;
            }
        }
    }

    /// Learns who has which folder, and takes in again who came back with another one, until it is
    /// dropped.
    #[expect(
        clippy::infinite_loop,
        reason = "the type says that it does not end; the lint knows `!` only"
    )]
    async fn place(&self) -> Infallible {
        let mut look = interval(BACK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tries = Tries::fresh();
        loop {
            look.tick().await;
            self.learn_seats().await;
            if let Some(id) = self.came_back() {
                self.take_out(id).await;
            }
            let absent = self.absent();
            if absent.is_empty() {
                tries = Tries::fresh();
            } else if tries.next <= Instant::now() && !self.take_in(absent).await {
                tries.failed();
            }
        }
    }

    /// Asks the others for the folders of members that were not met here, and of those that were
    /// refused: the leader may know that they left meanwhile, or most of the others do.
    async fn learn_seats(&self) {
        let seats = self.links.seats();
        let knocks = seats.knocks();
        let own = account(&self.raft, &self.links);
        let mut nodes = own.members.nodes();
        if knocks.is_empty() && nodes.all(|(&id, _)| seats.of(id) != 0) {
            return;
        }
        let leader = self.raft.metrics().borrow_watched().current_leader;
        let accounts = ask_all(&self.links).await;
        for (&id, &seat) in &knocks {
            let others = own.members.voter_ids().filter(|&other| other != id);
            let witnesses: Vec<bool> = others
                .filter(|&other| other != self.member)
                .map(|other| knows(accounts.get(&other), id, seat))
                .collect();
            let by_leader = leader.is_some_and(|leader| knows(accounts.get(&leader), id, seat));
            // A folder that is not written down is asked for again.
            if by_leader || is_majority(&witnesses) {
                drop(seats.replace(id, seat).await);
            }
        }
        for told in accounts.into_values() {
            if told.members_at == own.members_at {
                drop(seats.learn(told.seats).await);
            }
        }
    }

    /// A member that this leader refuses, and whose known folder is not there.
    fn came_back(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader != Some(self.member) {
            return None;
        }
        let present = listed(metrics.membership_config.membership());
        let connected = Reached::of(self.member, &metrics).connected;
        let knocks = self.links.seats().knocks();
        let mut back = knocks.into_keys();
        back.find(|id| present.0.contains_key(id) && !connected.contains(id))
    }

    /// Who was taken out, and has to be taken in again by this leader.
    fn absent(&self) -> Absent {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader == Some(self.member) {
            engine::absent(metrics.committed_membership_config.membership())
        } else {
            Absent::new()
        }
    }

    /// Waits until nobody who answers knows another folder under this number than this member does:
    /// whoever still did would refuse the new one as long as no leader tells it better.
    async fn wait_until_forgotten(&self, id: u64) {
        let end = Instant::now() + GONE_MAX;
        while Instant::now() < end {
            let known = self.links.seats().of(id);
            let told = ask_all(&self.links).await;
            let mut seats = told.values().filter_map(|told| told.seats.get(&id));
            if seats.all(|seat| *seat == known) {
                return;
            }
            sleep(LEFT_EVERY).await;
        }
    }

    /// The first step.
    async fn take_out(&self, id: u64) {
        let next = |present: &Members| {
            let mut next = listed(present);
            let member = next.0.remove(&id).ok_or(Code::NoNode)?;
            let mut absent = engine::absent(present);
            absent.insert(id, member.to_string());
            Ok((next, absent))
        };
        // Who is still refused is found again.
        drop(self.make(next).await);
    }

    /// The second step, for one after the other; says whether all are in again.
    async fn take_in(&self, absent: Absent) -> bool {
        for id in absent.into_keys() {
            let next = |present: &Members| {
                let mut absent = engine::absent(present);
                // Unless somebody decided otherwise meanwhile.
                let line = absent.remove(&id).ok_or(Code::NoNode)?;
                let member = Member::read(&line).map_err(|_words| Code::BadArguments)?;
                let mut next = listed(present);
                next.0.insert(id, member);
                Ok((next, absent))
            };
            if !self.is_forgotten(id).await || self.make(next).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until no list names it any more, and nobody knows the folder that it had; says whether the
    /// former came true.
    async fn is_forgotten(&self, id: u64) -> bool {
        let is_gone = || {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let known = &metrics.committed_membership_config;
            known.membership().get_node(&id).is_none()
        };
        if !wait(GONE_MAX, is_gone).await {
            return false;
        }
        let seats = self.links.seats();
        if seats.forget(BTreeSet::from([id])).await.is_err() {
            return false;
        }
        self.wait_until_forgotten(id).await;
        true
    }
}
