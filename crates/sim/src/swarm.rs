//! What one run is like: all of it from its seed.
//!
//! Prevents runs that are all alike: not only when faults come is left to chance, but how many
//! members there are, how fast everything is, and which faults there are at all. A fault that is
//! always on hides what only happens without it (Groce et al., "Swarm testing", ISSTA 2012).

use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_keeper::member::Snapshots;

use crate::network::Latency;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A machine loses its power.
    PowerCut,
    /// All machines do.
    PowerCutOfAll,
    /// A process is killed.
    Kill,
    /// A disk is slow.
    SlowDisk,
    /// A disk stops for seconds.
    HungDisk,
    /// A disk fails to sync.
    FailingDisk,
    /// A disk is full.
    FullDisk,
    /// A disk is gone, and an empty one takes its place.
    LostDisk,
    /// A member, mostly the leader, is cut off from all others.
    Isolation,
    /// A member is heard and does not hear, or the other way round.
    OneWay,
    /// Two members do not hear each other; all others hear both.
    Bridge,
    /// The ensemble falls apart in two.
    Split,
    /// A client does not reach a member.
    ClientCut,
    /// Everything is slow on its way.
    Delay,
    /// All connections of a member end.
    Reset,
    /// A process stops, and goes on later.
    Pause,
    /// A wall clock jumps.
    WallClock,
    /// The leader leaves the lead to another one.
    HandOver,
}

impl Fault {
    const ALL: [Self; 18] = [
        Self::PowerCut,
        Self::PowerCutOfAll,
        Self::Kill,
        Self::SlowDisk,
        Self::HungDisk,
        Self::FailingDisk,
        Self::FullDisk,
        Self::LostDisk,
        Self::Isolation,
        Self::OneWay,
        Self::Bridge,
        Self::Split,
        Self::ClientCut,
        Self::Delay,
        Self::Reset,
        Self::Pause,
        Self::WallClock,
        Self::HandOver,
    ];
}

/// What one run is like.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Members.
    pub members: u64,
    /// Clients.
    pub clients: u64,
    /// How long things go wrong.
    pub trouble: Duration,
    /// The longest time between two faults.
    pub gap: Duration,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// When snapshots are taken.
    pub snapshots: Snapshots,
    /// How fast the network is, while nothing is wrong with it.
    pub latency: Latency,
}

impl Swarm {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::seeded(seed).fork("swarm");
        let millis = |random: &mut Random, least: u64, most: u64| {
            Duration::from_millis(least + random.below(most - least + 1))
        };
        let most = millis(&mut random, 1, 8);
        let entries = 20 + random.below(200);
        Self {
            members: if random.below(4) == 0 { 5 } else { 3 },
            clients: 3 + random.below(4),
            trouble: millis(&mut random, 15_000, 30_000),
            gap: millis(&mut random, 500, 3_000),
            faults: Fault::ALL
                .into_iter()
                .filter(|_| random.below(5) < 3)
                .collect(),
            snapshots: Snapshots {
                entries,
                kept_entries: random.below(entries),
                ..Snapshots::default()
            },
            latency: Latency {
                least: Duration::from_micros(100),
                most,
            },
        }
    }
}
