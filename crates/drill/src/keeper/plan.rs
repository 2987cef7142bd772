//! What a drill of an ensemble does, computed from the seed before anything runs.
//!
//! Prevents a failure that nobody can repeat: rounds, faults, their lengths and whom they hit
//! follow from the seed. Who leads at that moment does not, so a plan says "the leader" or gives
//! a number that chooses among those who are there.

use std::fmt;

use mainstay_core::random::Random;
use serde::Serialize;

/// Leaders that are killed one after another to measure how long nobody writes, at most.
const LEADER_KILLS_MAX: usize = 50;

/// So many of them in one round, so that its history stays small.
const LEADER_KILLS_PER_ROUND: usize = 10;

/// A way to break an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `kill -9` of any one member.
    KillOne,
    /// `kill -9` of the leader.
    KillLeader,
    /// `kill -9` of two members, one soon after the other.
    KillTwo,
    /// `kill -9` of all members, one soon after the other.
    KillAll,
    /// SIGSTOP of the leader for longer than its lease, then SIGCONT.
    PauseLeader,
    /// The leader and the others do not hear each other.
    CutLeader,
    /// A follower and the others do not hear each other.
    CutFollower,
    /// The leader does not hear the others; they hear it.
    DeafLeader,
    /// The others do not hear the leader; it hears them.
    MuteLeader,
    /// Two halves that do not hear each other, and one member that hears both.
    Bridge,
}

impl Kind {
    /// Kills: one in every round.
    const KILLS: [Self; 4] = [
        Self::KillOne,
        Self::KillLeader,
        Self::KillTwo,
        Self::KillAll,
    ];

    /// What else can be done, and what needs a network of one's own.
    const OTHERS: [Self; 6] = [
        Self::PauseLeader,
        Self::CutLeader,
        Self::Bridge,
        Self::DeafLeader,
        Self::CutFollower,
        Self::MuteLeader,
    ];

    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::KillOne,
        Self::KillLeader,
        Self::KillTwo,
        Self::KillAll,
        Self::PauseLeader,
        Self::CutLeader,
        Self::CutFollower,
        Self::DeafLeader,
        Self::MuteLeader,
        Self::Bridge,
    ];

    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillOne => "kill_one",
            Self::KillLeader => "kill_leader",
            Self::KillTwo => "kill_two",
            Self::KillAll => "kill_all",
            Self::PauseLeader => "pause_leader",
            Self::CutLeader => "cut_leader",
            Self::CutFollower => "cut_follower",
            Self::DeafLeader => "deaf_leader",
            Self::MuteLeader => "mute_leader",
            Self::Bridge => "bridge",
        }
    }

    /// Whether it needs a network of one's own.
    pub const fn is_partition(self) -> bool {
        match self {
            Self::KillOne
            | Self::KillLeader
            | Self::KillTwo
            | Self::KillAll
            | Self::PauseLeader => false,
            Self::CutLeader
            | Self::CutFollower
            | Self::DeafLeader
            | Self::MuteLeader
            | Self::Bridge => true,
        }
    }

    /// Whether it leaves a majority that lives and hears each other both ways, so that writes
    /// have to go on. A network that is open in one direction only is not such a thing: who
    /// cannot be heard still keeps others from choosing somebody else.
    pub(crate) const fn leaves_majority(self) -> bool {
        match self {
            Self::KillOne
            | Self::KillLeader
            | Self::PauseLeader
            | Self::CutLeader
            | Self::CutFollower => true,
            Self::KillTwo | Self::KillAll | Self::DeafLeader | Self::MuteLeader | Self::Bridge => {
                false
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One fault: what, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedFault {
    /// What is done.
    pub(crate) kind: Kind,
    /// How long all is well before it.
    pub(crate) lead_ms: u64,
    /// How long it lasts.
    pub(crate) for_ms: u64,
    /// How long after the first member the next one is hit.
    pub(crate) stagger_ms: u64,
    /// Chooses among the members that may be hit.
    pub(crate) choice: u64,
}

/// What one round does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// Counted from 1.
    pub(crate) number: usize,
    /// What everything random in its load derives from.
    pub(crate) seed: u64,
    /// One after another.
    pub(crate) faults: Vec<PlannedFault>,
    /// Whether it measures how long nobody writes.
    pub(crate) measures_gap: bool,
}

/// A drill as it will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In their order.
    pub(crate) rounds: Vec<Round>,
}

impl Plan {
    /// The plan that `seed` stands for: `rounds` rounds with a kill and something else in each,
    /// then half as many leaders that are killed.
    pub(crate) fn new(seed: u64, rounds: usize, has_network: bool) -> Self {
        let root = Random::seeded(seed);
        let mut random = root.fork("faults");
        let mut kills = Deck::new(&Kind::KILLS);
        let others = Kind::OTHERS
            .into_iter()
            .filter(|kind| has_network || !kind.is_partition());
        let mut others = Deck::new(&others.collect::<Vec<_>>());
        let mut plan: Vec<Round> = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let mut kinds = [kills.draw(&mut random), others.draw(&mut random)];
            if random.below(2) == 0 {
                kinds.reverse();
            }
            let faults = kinds.map(|kind| fault(kind, &mut random));
            plan.push(Round {
                number: plan.len() + 1,
                seed: random.bits(),
                faults: faults.to_vec(),
                measures_gap: false,
            });
        }
        let mut left = rounds.div_ceil(2).min(LEADER_KILLS_MAX);
        while left > 0 {
            let count = left.min(LEADER_KILLS_PER_ROUND);
            left -= count;
            let faults = (0..count).map(|_| PlannedFault {
                for_ms: 1_000,
                ..fault(Kind::KillLeader, &mut random)
            });
            plan.push(Round {
                number: plan.len() + 1,
                faults: faults.collect(),
                seed: random.bits(),
                measures_gap: true,
            });
        }
        Self { rounds: plan }
    }

    /// How many faults there are.
    pub(crate) fn faults(&self) -> usize {
        self.rounds.iter().map(|round| round.faults.len()).sum()
    }
}

fn fault(kind: Kind, random: &mut Random) -> PlannedFault {
    let (for_min_ms, for_max_ms) = match kind {
        // The dead come back before clients have given up their sessions.
        Kind::KillOne | Kind::KillLeader => (1_500, 3_000),
        Kind::KillTwo | Kind::KillAll => (200, 2_000),
        // Longer than any lease, and than the time that a leader is waited for.
        Kind::PauseLeader
        | Kind::CutLeader
        | Kind::CutFollower
        | Kind::DeafLeader
        | Kind::MuteLeader
        | Kind::Bridge => (2_500, 4_000),
    };
    PlannedFault {
        kind,
        lead_ms: 500 + random.below(1_000),
        for_ms: for_min_ms + random.below(for_max_ms - for_min_ms + 1),
        stagger_ms: random.below(300),
        choice: random.bits(),
    }
}

/// All cards come up before one comes up again, in an order that chance decides.
struct Deck {
    cards: Vec<Kind>,
    left: Vec<Kind>,
}

impl Deck {
    fn new(cards: &[Kind]) -> Self {
        Self {
            cards: cards.to_vec(),
            left: Vec::new(),
        }
    }

    fn draw(&mut self, random: &mut Random) -> Kind {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
        }
        let at = usize::try_from(random.below(self.left.len() as u64)).unwrap_or_default();
        self.left.swap_remove(at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn kinds(plan: &Plan) -> BTreeSet<Kind> {
        let faults = plan.rounds.iter().flat_map(|round| &round.faults);
        faults.map(|fault| fault.kind).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_one_another() {
        assert_eq!(Plan::new(7, 10, true), Plan::new(7, 10, true));
        assert_ne!(Plan::new(7, 10, true), Plan::new(8, 10, true));
    }

    #[test]
    fn six_rounds_break_an_ensemble_in_every_way() {
        assert_eq!(kinds(&Plan::new(1, 6, true)), Kind::ALL.into());
    }

    #[test]
    fn a_hundred_rounds_kill_a_hundred_times_and_fifty_leaders_for_the_gap() {
        let plan = Plan::new(1, 100, true);
        let kills = |round: &Round| {
            let kills = round.faults.iter();
            kills
                .filter(|fault| Kind::KILLS.contains(&fault.kind))
                .count()
        };
        let (gap, others): (Vec<_>, Vec<_>) =
            plan.rounds.iter().partition(|round| round.measures_gap);
        assert_eq!(others.iter().map(|round| kills(round)).sum::<usize>(), 100);
        assert_eq!(gap.iter().map(|round| kills(round)).sum::<usize>(), 50);
        assert_eq!(plan.faults(), 250);
    }

    #[test]
    fn without_a_network_of_its_own_nothing_is_partitioned() {
        assert!(
            kinds(&Plan::new(1, 6, false))
                .iter()
                .all(|kind| !kind.is_partition())
        );
    }
}
