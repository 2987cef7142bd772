//! The limit against a callee whose capacity is known, in virtual time.
//!
//! The callee has `servers`, each of which works at one call at a time for about `service`; what
//! does not fit queues there. Callers come at a rate; one that gets no permit goes away. Everything
//! is drawn from one seed.

extern crate std;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use std::vec::Vec;

use super::*;
use crate::random::Random;

const SEED: u64 = 20_261_123;

/// A callee and its callers.
struct World {
    limit: Adaptive,
    random: Random,
    now: u64,
    /// When each server is free again.
    servers: BinaryHeap<Reverse<u64>>,
    service: u64,
    /// After this long a caller gives up.
    timeout: u64,
    /// Ends of calls: when, started, and how.
    ends: BinaryHeap<Reverse<(u64, u64, bool)>>,
    next_call: u64,
    /// Calls that were served in time since last asked.
    served: u64,
}

/// What a stretch of time was like.
struct Seen {
    /// The limit at the end of each tenth of a second.
    limits: Vec<u32>,
    served_per_second: f64,
}

impl Seen {
    fn mean(&self) -> f64 {
        let sum: u32 = self.limits.iter().sum();
        f64::from(sum) / self.limits.len() as f64
    }
}

impl World {
    fn new(algorithm: Algorithm, servers: usize) -> Self {
        let config = AdaptiveConfig {
            algorithm,
            max: NonZeroU32::new(1_000).expect("positive"),
            window: Duration::from_millis(100),
            ..AdaptiveConfig::default()
        };
        Self {
            limit: Adaptive::new(&config, None, Instant::ORIGIN).expect("valid"),
            random: Random::seeded(SEED),
            now: 0,
            servers: (0..servers).map(|_| Reverse(0)).collect(),
            service: 20_000_000,
            timeout: 100_000_000,
            ends: BinaryHeap::new(),
            next_call: 0,
            served: 0,
        }
    }

    fn set_servers(&mut self, servers: usize) {
        while self.servers.len() > servers {
            self.servers.pop();
        }
        while self.servers.len() < servers {
            self.servers.push(Reverse(self.now));
        }
    }

    /// Lets `per_second` callers come for so long.
    fn run(&mut self, per_second: u64, duration: Duration) -> Seen {
        let until = self.now + nanos(duration);
        let mut limits = Vec::new();
        let mut look = self.now;
        self.served = 0;
        self.next_call = self.next_call.max(self.now);
        while self.now < until {
            let end = self.ends.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            self.now = end.min(self.next_call);
            while look < self.now {
                limits.push(self.limit.limit().get());
                look += 100_000_000;
            }
            if end <= self.next_call {
                self.end();
            } else {
                self.next_call += 1 + self.random.below(2_000_000_000 / per_second);
                self.begin();
            }
        }
        Seen {
            limits,
            served_per_second: self.served as f64 / duration.as_secs_f64(),
        }
    }

    fn begin(&mut self) {
        if self.limit.permits().enter().is_err() {
            return;
        }
        let Some(Reverse(free)) = self.servers.pop() else {
            return;
        };
        // Between half and one and a half times the mean.
        let work = self.service / 2 + self.random.below(self.service);
        let done = free.max(self.now) + work;
        self.servers.push(Reverse(done));
        let gives_up = self.now + self.timeout;
        let end = (done.min(gives_up), self.now, done <= gives_up);
        self.ends.push(Reverse(end));
    }

    fn end(&mut self) {
        let Some(Reverse((_, started, in_time))) = self.ends.pop() else {
            return;
        };
        let outcome = if in_time {
            self.served += 1;
            Outcome::Success
        } else {
            Outcome::Failure(Reason::Timeout)
        };
        let (started, now) = (Instant::from_nanos(started), Instant::from_nanos(self.now));
        let promote = self.limit.record(started, outcome, now);
        assert!(!promote, "nobody waits");
        let _nobody_waits = self.limit.permits().leave();
    }
}

fn algorithms() -> [(&'static str, Algorithm); 3] {
    [
        ("gradient", Algorithm::Gradient(Gradient::default())),
        ("aimd", Algorithm::Aimd(Aimd::default())),
        ("vegas", Algorithm::Vegas(Vegas::default())),
    ]
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Twice what `servers` can do, at 50 calls per second and server.
const fn overload(servers: u32) -> u64 {
    servers as u64 * 100
}

/// How many times the servers, and how many more, an algorithm may let in flight: the gradient
/// tolerates half as much latency again, and drops come only when a call waits 100 ms for a
/// service of 20 ms.
const fn most(algorithm: &Algorithm) -> (f64, f64) {
    match algorithm {
        Algorithm::Gradient(_) => (1.6, 13.0),
        Algorithm::Aimd(_) => (5.0, 5.0),
        Algorithm::Vegas(_) => (1.1, 6.0),
    }
}

/// Claims that the limit of `seen` is right for `servers`: they are busy, and little queues there.
#[track_caller]
fn assert_settled(name: &str, algorithm: &Algorithm, servers: u32, seen: &Seen) {
    let servers = f64::from(servers);
    let busy = seen.served_per_second / (servers * 50.0);
    // Drops cost: the callee works for callers that have given up.
    let busy_min = match algorithm {
        Algorithm::Gradient(_) | Algorithm::Vegas(_) => 0.95,
        Algorithm::Aimd(_) => 0.85,
    };
    assert!(busy > busy_min, "{name}: busy {busy}, seed {SEED}");
    let (times, more) = most(algorithm);
    let mean = seen.mean();
    assert!(
        mean >= servers * 0.9 && mean <= servers * times + more,
        "{name}: the mean limit is {mean} for {servers} servers, seed {SEED}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn under_twice_the_load_each_limit_settles_where_the_callee_is_busy_and_stays_there() {
    for (name, algorithm) in algorithms() {
        for servers in [5, 20] {
            let mut world = World::new(algorithm, servers as usize);
            world.run(overload(servers), secs(25));
            let first = world.run(overload(servers), secs(25));
            world.run(overload(servers), secs(50));
            let last = world.run(overload(servers), secs(25));
            assert_settled(name, &algorithm, servers, &first);
            assert_settled(name, &algorithm, servers, &last);
            let drift = last.mean() / first.mean();
            assert!(
                (0.85..1.15).contains(&drift),
                "{name}: {drift}, seed {SEED}"
            );
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn each_limit_follows_a_capacity_that_falls_and_rises() {
    for (name, algorithm) in algorithms() {
        let mut world = World::new(algorithm, 20);
        world.run(overload(20), secs(20));
        world.set_servers(5);
        world.run(overload(20), secs(15));
        let fallen = world.run(overload(20), secs(20));
        assert_settled(name, &algorithm, 5, &fallen);
        world.set_servers(30);
        world.run(overload(30), secs(30));
        let risen = world.run(overload(30), secs(20));
        assert_settled(name, &algorithm, 30, &risen);
    }
}

// Pitfall 36: a callee that has become slower for good is no queueing (concurrency-limits #34: the
// smallest latency ever seen holds the limit down for ever).
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_callee_that_becomes_slower_for_good_is_used_in_full_again() {
    for (name, algorithm) in algorithms() {
        let mut world = World::new(algorithm, 20);
        world.run(overload(20), secs(20));
        world.service *= 2;
        world.timeout *= 2;
        world.run(overload(20), secs(40));
        let seen = world.run(overload(20), secs(20));
        let busy = seen.served_per_second / (20.0 * 25.0);
        assert!(busy > 0.9, "{name}: busy {busy}, seed {SEED}");
    }
}

// Pitfall 36: load that does not reach the limit must not raise it (tower-resilience's limit goes to
// its maximum).
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn load_that_does_not_reach_the_limit_does_not_raise_it() {
    for (name, algorithm) in algorithms() {
        let mut world = World::new(algorithm, 100);
        let seen = world.run(100, secs(60));
        let most = seen.limits.iter().max();
        assert_eq!(most, Some(&20), "{name}, seed {SEED}");
    }
}
