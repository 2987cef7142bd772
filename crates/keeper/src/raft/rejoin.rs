//! A member that comes back with another data folder is taken in as the newcomer that it is.
//!
//! Prevents a lost disk from waking up an operator, and from costing what was acknowledged: the
//! leader takes the number out of the ensemble, by a step to which the new folder adds nothing, and
//! then in again, with a log to catch up with before it votes. That is what etcd's operators do by
//! hand. What the lost folder had voted for and stored counts for nobody any more after the first
//! step, since a quorum of the others has agreed to it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::roster::{Reached, Refused, Roster, listed, wait};
use super::survey::{Account, account, ask_all};
use crate::disk::SharedDisk;
use crate::ensemble::{Change, Ensemble};

/// How often is looked who left.
const LEFT_EVERY: Duration = Duration::from_millis(100);

/// How often is looked who came back.
const BACK_EVERY: Duration = Duration::from_secs(1);

/// How long somebody who left may stay in the engine's list.
const GONE_MAX: Duration = Duration::from_secs(10);

/// How often taking in is tried, before it is left to an operator.
const TRIES_MAX: u32 = 30;

/// The change to this whole list.
fn to(members: &Ensemble) -> Change {
    let lines = members.0.iter();
    let lines: Vec<String> = lines
        .map(|(id, member)| format!("server.{id}={member}"))
        .collect();
    Change {
        members: Some(lines.join(",")),
        version: -1,
        voters_min: 1,
        is_allowed: true,
        ..Change::default()
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
        loop {
            look.tick().await;
            self.learn_seats().await;
            if let Some(id) = self.came_back() {
                self.take_in_again(id).await;
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

    fn present(&self) -> Ensemble {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        listed(metrics.membership_config.membership())
    }

    /// Waits until all who answer know no folder under this number any more: whoever still did
    /// would refuse the new one as long as no leader tells it better.
    async fn wait_until_forgotten(&self, id: u64) {
        let end = Instant::now() + GONE_MAX;
        while Instant::now() < end {
            let told = ask_all(&self.links).await;
            if told.values().all(|told| !told.seats.contains_key(&id)) {
                return;
            }
            sleep(LEFT_EVERY).await;
        }
    }

    async fn take_in_again(&self, id: u64) {
        let Some(line) = self.present().0.remove(&id) else {
            return;
        };
        let mut without = self.present();
        without.0.remove(&id);
        if self.change(&to(&without)).await.is_err() {
            return;
        }
        let is_gone = || {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let known = &metrics.committed_membership_config;
            known.membership().get_node(&id).is_none()
        };
        wait(GONE_MAX, is_gone).await;
        if is_gone()
            && self
                .links
                .seats()
                .forget(BTreeSet::from([id]))
                .await
                .is_err()
        {
            return;
        }
        self.wait_until_forgotten(id).await;
        for _ in 0..TRIES_MAX {
            let mut with = self.present();
            with.0.entry(id).or_insert_with(|| line.clone());
            match self.change(&to(&with)).await {
                Ok(_) | Err(Refused::NotLeader) => return,
                Err(Refused::Code(_)) => sleep(BACK_EVERY).await,
            }
        }
    }
}
