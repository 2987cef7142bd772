//! What goes wrong, and how it is undone.

use std::time::Duration;

use mainstay_keeper::disk::simulated::{Failing, Pace};
use tokio::time::Instant;

use super::{Ensemble, Fault, Lost, Machine, MemberId, machine};
use crate::network::Latency;

/// How far a wall clock jumps.
const JUMP_MS_MAX: u64 = 3_600_000;

/// What makes up for a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Undo {
    Start(MemberId),
    GoOn(MemberId),
    MendDisk(MemberId),
    MendNetwork,
}

impl Ensemble {
    /// One of the faults that this run has.
    pub(super) fn something_bad(&mut self) {
        let count = self.swarm.faults.len() as u64;
        let dice = usize::try_from(self.random.below(count)).unwrap_or(0);
        let Some(&fault) = self.swarm.faults.get(dice) else {
            return;
        };
        if fault != Fault::WallClock {
            self.calm = None;
        }
        let victim = self.victim();
        let facts = self.ground.facts.clone();
        facts.trace.tell(format_args!("fault {fault:?} {victim}"));
        facts.met(name(fault));
        match fault {
            Fault::PowerCut => self.power_off(victim),
            Fault::PowerCutOfAll => {
                let all: Vec<MemberId> = self.machines.keys().copied().collect();
                for id in all {
                    self.power_off(id);
                }
            },
            Fault::Kill => self.kill(victim),
            Fault::SlowDisk => self.slow_disk(victim, 20..400),
            Fault::HungDisk => self.slow_disk(victim, 1_000..12_000),
            Fault::FailingDisk => self.fail_disk(victim, Failing::Sync),
            Fault::FullDisk => self.fail_disk(victim, Failing::Full),
            Fault::LostDisk => self.lose_disk(victim),
            Fault::Isolation | Fault::OneWay | Fault::Bridge | Fault::Split | Fault::ClientCut => {
                self.cut(fault, victim);
            },
            Fault::Delay => self.delay(),
            Fault::Reset => self.ground.network.reset(&machine::name(victim)),
            Fault::Pause => self.pause(victim),
            Fault::WallClock => self.move_wall_clock(victim),
            Fault::HandOver => {
                if let Some(leader) = self.leader.and_then(|id| self.machines.get_mut(&id)) {
                    leader.hand_over();
                }
            },
        }
    }

    /// Half of the time the leader.
    fn victim(&mut self) -> MemberId {
        let any = 1 + self.random.below(self.swarm.members);
        let leader = self.leader.filter(|_| self.random.below(2) == 0);
        leader.unwrap_or(any)
    }

    fn later(&mut self, least_ms: u64, most_ms: u64, undo: Undo) {
        let after = Duration::from_millis(least_ms + self.random.below(most_ms - least_ms + 1));
        self.undo_next += 1;
        self.undo
            .insert((Instant::now() + after, self.undo_next), undo);
    }

    pub(super) fn power_off(&mut self, id: MemberId) {
        self.look_at_before_its_end(id);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.power_off();
            self.excused.remove(&id);
            self.later(100, 5_000, Undo::Start(id));
        }
    }

    fn kill(&mut self, id: MemberId) {
        self.look_at_before_its_end(id);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.kill();
            self.later(50, 2_000, Undo::Start(id));
        }
    }

    fn slow_disk(&mut self, id: MemberId, millis: std::ops::Range<u64>) {
        let most = Duration::from_millis(millis.start + self.random.below(millis.end));
        if let Some(machine) = self.machines.get(&id) {
            machine.disk().pace(Pace {
                least: most / 4,
                most,
            });
            self.later(500, 6_000, Undo::MendDisk(id));
        }
    }

    fn fail_disk(&mut self, id: MemberId, failing: Failing) {
        if let Some(machine) = self.machines.get(&id) {
            machine.disk().fail(Some(failing));
            self.excused.insert(id);
            self.later(200, 5_000, Undo::MendDisk(id));
        }
    }

    /// The disk goes, with its machine: what it had lies at the others, as long as one at a time is
    /// lost.
    fn lose_disk(&mut self, id: MemberId) {
        if self.lost.is_some() {
            return;
        }
        self.power_off(id);
        let facts = &self.ground.facts;
        facts.check(|properties, _| properties.lost(id));
        facts.met("disk lost");
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.replace_disk();
        }
        self.lost = Some(Lost {
            id,
            taken_out_by: None,
            taken_in_by: None,
        });
    }

    fn delay(&mut self) {
        let most = Duration::from_millis(20 + self.random.below(200));
        self.ground.network.latency(Latency {
            least: Duration::from_millis(1),
            most,
        });
        self.later(500, 5_000, Undo::MendNetwork);
    }

    fn pause(&mut self, id: MemberId) {
        if let Some(machine) = self.machines.get(&id) {
            machine.stop();
            self.later(50, 8_000, Undo::GoOn(id));
        }
    }

    fn move_wall_clock(&mut self, id: MemberId) {
        let far = self.random.below(2) == 0;
        let most = if far { JUMP_MS_MAX } else { 2_000 };
        let by_ms = i64::try_from(self.random.below(2 * most)).unwrap_or(0);
        let most = i64::try_from(most).unwrap_or(0);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.move_wall_clock(by_ms - most);
        }
    }

    fn cut(&mut self, fault: Fault, victim: MemberId) {
        let others: Vec<MemberId> = self.others(victim);
        let network = self.ground.network.clone();
        let both = |one: &str, other: &str| {
            network.cut(one, other);
            network.cut(other, one);
        };
        let victim = machine::name(victim);
        let dice = self.random.bits();
        let other = usize::try_from(dice).unwrap_or(0) % others.len().max(1);
        let other = others.get(other).copied().map(machine::name);
        match fault {
            Fault::Bridge => other.iter().for_each(|other| both(&victim, other)),
            Fault::OneWay if dice.is_multiple_of(2) => {
                let others = others.iter().copied().map(machine::name);
                others.for_each(|other| network.cut(&other, &victim));
            },
            Fault::OneWay => {
                let others = others.iter().copied().map(machine::name);
                others.for_each(|other| network.cut(&victim, &other));
            },
            Fault::Split => {
                let minority = self.machines.len() / 2;
                let (few, many) = others.split_at(minority.saturating_sub(1));
                let few = few.iter().copied().map(machine::name);
                let few: Vec<String> = few.chain([victim]).collect();
                let many = many.iter().copied().map(machine::name);
                many.for_each(|many| few.iter().for_each(|few| both(few, &many)));
            },
            Fault::ClientCut => {
                let client = 1 + dice % self.swarm.clients;
                both(&format!("c{client}"), &victim);
            },
            // What else cuts, cuts from everybody.
            Fault::Isolation
            | Fault::PowerCut
            | Fault::PowerCutOfAll
            | Fault::Kill
            | Fault::SlowDisk
            | Fault::HungDisk
            | Fault::FailingDisk
            | Fault::FullDisk
            | Fault::LostDisk
            | Fault::Delay
            | Fault::Reset
            | Fault::Pause
            | Fault::WallClock
            | Fault::HandOver => {
                let others = others.into_iter().map(machine::name);
                others.for_each(|other| both(&victim, &other));
            },
        }
        self.later(200, 6_000, Undo::MendNetwork);
    }

    fn others(&self, id: MemberId) -> Vec<MemberId> {
        let all = self.machines.keys().copied();
        all.filter(|other| *other != id).collect()
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        let facts = self.ground.facts.clone();
        facts.trace.tell(format_args!("undo {undo:?}"));
        match undo {
            Undo::Start(id) => {
                let off = self.machines.get_mut(&id);
                if let Some(machine) = off.filter(|machine| !machine.is_running()) {
                    machine.start();
                }
            },
            Undo::GoOn(id) => self.machines.get(&id).into_iter().for_each(Machine::go_on),
            Undo::MendDisk(id) => {
                self.machines
                    .get(&id)
                    .into_iter()
                    .for_each(Machine::mend_disk);
            },
            Undo::MendNetwork => {
                self.ground.network.heal();
                self.ground.network.latency(self.swarm.latency);
            },
        }
    }

    /// Nothing is wrong any more.
    pub fn heal(&mut self) {
        self.ground.facts.trace.tell(format_args!("all is well"));
        self.undo.clear();
        self.undo(Undo::MendNetwork);
        let all: Vec<MemberId> = self.machines.keys().copied().collect();
        for id in all {
            self.undo(Undo::MendDisk(id));
            self.undo(Undo::GoOn(id));
            self.undo(Undo::Start(id));
        }
    }
}

const fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::PowerCut => "fault: power cut",
        Fault::PowerCutOfAll => "fault: power cut of all",
        Fault::Kill => "fault: kill",
        Fault::SlowDisk => "fault: slow disk",
        Fault::HungDisk => "fault: hung disk",
        Fault::FailingDisk => "fault: failing disk",
        Fault::FullDisk => "fault: full disk",
        Fault::LostDisk => "fault: lost disk",
        Fault::Isolation => "fault: isolation",
        Fault::OneWay => "fault: one-way cut",
        Fault::Bridge => "fault: bridge",
        Fault::Split => "fault: split",
        Fault::ClientCut => "fault: client cut",
        Fault::Delay => "fault: delay",
        Fault::Reset => "fault: reset",
        Fault::Pause => "fault: pause",
        Fault::WallClock => "fault: wall clock",
        Fault::HandOver => "fault: hand over",
    }
}
