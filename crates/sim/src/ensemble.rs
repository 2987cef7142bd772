//! The machines of an ensemble, and what goes wrong with them.
//!
//! Prevents faults without an end: each has its undoing, and after the last one everything has to
//! work again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_keeper::log::LogId;
use mainstay_keeper::replica::Replica as _;
use tokio::time::{Instant, sleep_until};

use crate::machine::{self, Ground, Machine, SimulatedMember};
use crate::property::{Held, MemberId};
use crate::swarm::{Fault, Swarm};

mod trouble;

use trouble::Undo;

/// How often members are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Nothing is wrong after nothing was for so long.
const CALM_AFTER: Duration = Duration::from_secs(3);

/// A member whose disk was lost.
#[derive(Clone, Copy, Debug)]
struct Lost {
    id: MemberId,
    /// Who led when the list of members did not name it any more.
    taken_out_by: Option<MemberId>,
    /// Who led when the list named it again.
    taken_in_by: Option<MemberId>,
}

/// The machines, and what is wrong with them.
#[derive(Debug)]
pub struct Ensemble {
    swarm: Swarm,
    ground: Ground,
    random: Random,
    machines: BTreeMap<MemberId, Machine>,
    /// What will be undone when.
    undo: BTreeMap<(Instant, u64), Undo>,
    undo_next: u64,
    /// Members whose disk had to fail since they started.
    excused: BTreeSet<MemberId>,
    leader: Option<MemberId>,
    /// Whose disk was lost, until it is a member like the others again.
    lost: Option<Lost>,
    /// Since when nothing is wrong.
    calm: Option<Instant>,
    looked: Instant,
}

impl Ensemble {
    /// Machines that are off.
    pub fn new(swarm: Swarm, ground: Ground, random: &Random) -> Self {
        let machine = |id: MemberId| {
            let random = random.fork(&format!("machine {id}"));
            (id, Machine::new(id, ground.clone(), random))
        };
        Self {
            machines: (1..=swarm.members).map(machine).collect(),
            random: random.fork("trouble"),
            swarm,
            ground,
            undo: BTreeMap::new(),
            undo_next: 0,
            excused: BTreeSet::new(),
            leader: None,
            lost: None,
            calm: None,
            looked: Instant::now(),
        }
    }

    /// Starts all.
    pub fn start(&mut self) {
        self.machines.values_mut().for_each(Machine::start);
    }

    /// The members that are up.
    fn members(&self) -> Vec<(MemberId, Arc<SimulatedMember>)> {
        let members = self.machines.iter();
        let up = members.filter_map(|(&id, machine)| Some((id, machine.member()?)));
        up.collect()
    }

    /// Lets things go wrong for as long as the swarm says.
    pub async fn trouble(&mut self) {
        let end = Instant::now() + self.swarm.trouble;
        let mut next = Instant::now() + self.random.up_to(self.swarm.gap);
        while Instant::now() < end {
            self.tick().await;
            if Instant::now() >= next {
                self.something_bad();
                next = Instant::now() + self.random.up_to(self.swarm.gap);
            }
        }
    }

    /// Waits until something is so, or says after `patience` that it never was.
    pub async fn until(
        &mut self,
        what: &'static str,
        patience: Duration,
        mut is: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let end = Instant::now() + patience;
        while !is(self) {
            if Instant::now() >= end {
                let detail = format_args!("within {patience:?} after everything was well again");
                self.ground.facts.violated(what, detail);
                return false;
            }
            self.tick().await;
        }
        true
    }

    /// A moment passes: undoes what is due, and looks at everybody.
    pub async fn tick(&mut self) {
        sleep_until(self.looked + LOOK_EVERY).await;
        self.looked = Instant::now();
        while let Some(entry) = self.undo.first_entry()
            && entry.key().0 <= self.looked
        {
            let undo = entry.remove();
            self.undo(undo);
        }
        self.notice_failures();
        self.look();
        self.mind_the_lost();
        self.note_calm();
    }

    fn note_calm(&mut self) {
        let well = self.undo.is_empty() && self.machines.values().all(Machine::is_running);
        let was = self.calm;
        self.calm = well.then(|| was.unwrap_or(self.looked));
        let long = self.calm.map(|calm| calm + CALM_AFTER);
        self.ground
            .facts
            .check(|properties, _| properties.expiry.calm(long));
    }

    /// A member that failed is started again; it must have had a reason.
    fn notice_failures(&mut self) {
        let failed = self.machines.iter();
        let failed = failed.filter_map(|(&id, machine)| Some((id, machine.failure()?)));
        for (id, why) in failed.collect::<Vec<_>>() {
            // Whom the leader took out, and died, ends by itself until another one takes it in.
            let is_out = |lost: &Lost| lost.id == id && lost.taken_out_by.is_some();
            if !self.excused.contains(&id) && !self.lost.as_ref().is_some_and(is_out) {
                let detail = format_args!("member {id}: {why}");
                self.ground
                    .facts
                    .violated("members do not fail by themselves", detail);
            }
            self.ground.facts.met("member failed with its disk");
            self.power_off(id);
        }
    }

    /// Looks at everybody.
    fn look(&mut self) {
        for (id, member) in self.members() {
            self.look_at(id, &member);
        }
        let facts = &self.ground.facts;
        facts.check(super::property::Properties::looked);
        let leads = |(id, member): (MemberId, Arc<SimulatedMember>)| {
            member.standing().is_leader.then_some(id)
        };
        let leader = self.members().into_iter().find_map(leads);
        if leader.is_some_and(|leader| self.knows_less(leader)) {
            facts.met("follower knew before its leader");
        }
        if leader.is_some() && leader != self.leader {
            self.ground.facts.met("leader changed");
            self.leader = leader;
        }
    }

    /// Whether somebody who follows `leader` knows more entries to be committed.
    fn knows_less(&self, leader: MemberId) -> bool {
        let mut applied: BTreeMap<_, _> = self
            .members()
            .into_iter()
            .filter_map(|(id, member)| Some((id, member.inspect(u64::MAX).applied?)))
            .collect();
        let Some(of_leader) = applied.remove(&leader) else {
            return false;
        };
        let is_ahead = |at: &LogId| at.term == of_leader.term && at.index > of_leader.index;
        applied.values().any(is_ahead)
    }

    /// Looks whether who lost its disk is back.
    fn mind_the_lost(&mut self) {
        let Some(Lost {
            id,
            taken_out_by,
            taken_in_by,
        }) = self.lost
        else {
            return;
        };
        let leader = self.leader.and_then(|id| self.machines.get(&id)?.member());
        let Some(leader) = leader.filter(|leader| leader.standing().is_leader) else {
            return;
        };
        let list = {
            let state = leader.state().read();
            let state = state.unwrap_or_else(PoisonError::into_inner);
            state.tree().config().to_owned()
        };
        if !list.contains(&format!("server.{id}=")) {
            self.lost = Some(Lost {
                id,
                taken_out_by: taken_out_by.or(self.leader),
                taken_in_by: None,
            });
            return;
        }
        let taken_in_by = taken_in_by.or(self.leader);
        self.lost = Some(Lost {
            id,
            taken_out_by,
            taken_in_by,
        });
        let member = self.machines.get(&id).and_then(Machine::member);
        let applied = |member: &SimulatedMember| member.inspect(u64::MAX).applied;
        let committed = leader.inspect(u64::MAX).committed;
        let is_back = member.is_some_and(|member| {
            let standing = member.standing();
            standing.leader.is_some() && !standing.is_observer && applied(&member) >= committed
        });
        if is_back && taken_out_by.is_some() {
            self.ground.facts.met("lost disk made up for");
            if taken_out_by != taken_in_by {
                self.ground.facts.met("member taken in by a later leader");
            }
            self.lost = None;
        }
    }

    fn look_at(&self, id: MemberId, member: &SimulatedMember) {
        let facts = &self.ground.facts;
        let from = facts.check(|properties, _| properties.wanted_from(id));
        let held = Held::from(member.inspect(from));
        if held.facts.snapshot.is_some() {
            facts.met("snapshot seen");
        }
        if held.facts.purged.is_some() {
            facts.met("purge seen");
        }
        let state = member
            .state()
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        facts.check(|properties, findings| {
            properties.look(id, &held, findings);
            properties.state(id, &state, findings);
        });
    }

    fn look_at_before_its_end(&self, id: MemberId) {
        if let Some(member) = self.machines.get(&id).and_then(Machine::member) {
            self.look_at(id, &member);
        }
    }

    /// One who leads, and all others know it.
    pub fn is_led(&self) -> bool {
        let members = self.members();
        let leaders: BTreeSet<_> = members
            .iter()
            .map(|(_, member)| member.standing().leader)
            .collect();
        members.len() == self.machines.len()
            && leaders.len() == 1
            && leaders.first().is_some_and(Option::is_some)
    }

    /// Whether all members have applied the same, and no session is left.
    pub fn is_settled(&self) -> bool {
        let members = self.members();
        let marks: BTreeSet<_> = members
            .iter()
            .map(|(_, member)| {
                let state = member
                    .state()
                    .read()
                    .unwrap_or_else(PoisonError::into_inner);
                let applied = member.inspect(u64::MAX).applied.map(|id| id.index);
                (applied, state.zxid(), state.sessions().len())
            })
            .collect();
        members.len() == self.machines.len()
            && marks.len() == 1
            && marks.first().is_some_and(|(.., sessions)| *sessions == 0)
    }

    /// Compares all that all members hold; the answer is one of them.
    pub fn compare(&self) -> Option<Arc<SimulatedMember>> {
        let members = self.members();
        let sums: BTreeSet<u64> = members
            .iter()
            .map(|(_, member)| {
                let state = member
                    .state()
                    .read()
                    .unwrap_or_else(PoisonError::into_inner);
                state.digest()
            })
            .collect();
        if sums.len() > 1 {
            let detail = format_args!("digests of whole states: {sums:x?}");
            self.ground
                .facts
                .violated("all members are the same at the end", detail);
        }
        members.into_iter().next().map(|(_, member)| member)
    }
}
