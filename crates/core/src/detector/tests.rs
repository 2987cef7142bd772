//! Claims about detectors: who is accused when, and who is not.

use core::num::NonZeroU32;

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn hysteresis(rise: u32, fall: u32) -> Hysteresis {
    let of = |n| NonZeroU32::new(n).expect("positive");
    Hysteresis {
        rise: of(rise),
        fall: of(fall),
    }
}

fn by_timeout() -> Config {
    Config {
        method: Method::Timeout(ms(1_000)),
        hysteresis: hysteresis(1, 1),
    }
}

fn by_phi() -> Config {
    Config {
        method: Method::Phi(PhiConfig {
            pause_acceptable: Duration::ZERO,
            first_estimate: ms(200),
            ..PhiConfig::default()
        }),
        hysteresis: hysteresis(1, 1),
    }
}

fn local(score_max: u32) -> LocalHealth {
    let config = LocalHealthConfig {
        interval: ms(100),
        score_max: NonZeroU32::new(score_max),
    };
    LocalHealth::new(&config, at(0)).expect("valid")
}

/// A node that hears some peers every 200 ms and checks them every 100 ms. Heartbeats that arrive
/// while it stands still wait in a buffer.
struct Node {
    local: LocalHealth,
    peers: Vec<Peer>,
    accused: u32,
}

impl Node {
    fn new(config: &Config, score_max: u32) -> Self {
        let local = local(score_max);
        let peer = || Peer::new(config, &local, at(0)).expect("valid");
        Self {
            peers: (0..10).map(|_| peer()).collect(),
            local,
            accused: 0,
        }
    }

    fn hear(&mut self, now: u64) {
        for peer in &mut self.peers {
            peer.heartbeat(&mut self.local, at(now));
        }
    }

    fn check(&mut self, now: u64) {
        self.local.ticked(at(now));
        for peer in &mut self.peers {
            let verdict = peer.check(&self.local, at(now));
            self.accused += u32::from(verdict == Some(Verdict::Unhealthy));
        }
    }

    /// Runs as it should.
    fn run(&mut self, millis: core::ops::Range<u64>) {
        for now in millis.step_by(100) {
            if now % 200 == 0 {
                self.hear(now);
            }
            self.check(now);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_process_that_paused_for_ten_seconds_accuses_nobody() {
    for config in [by_timeout(), by_phi()] {
        for check_first in [true, false] {
            // Without the multiplier too: cutting out the stall is enough.
            for score_max in [8, 0] {
                let mut node = Node::new(&config, score_max);
                node.run(0..10_000);
                // Stopped from 10 s to 20 s; the heartbeats of that time are read in a burst.
                (0..u64::from(check_first)).for_each(|_| node.check(20_000));
                (0..50).for_each(|n| node.hear(20_000 + n / 10));
                node.run(20_100..60_000);
                assert_eq!(node.accused, 0, "{config:?} {check_first} {score_max}");
            }
        }
    }
}

#[test]
fn without_local_health_the_same_pause_accuses_everybody() {
    // The control: a detector that sees the plain clock.
    let mut detector = Detector::new(by_timeout().method, at(0)).expect("valid");
    detector.heartbeat(at(9_900));
    assert!(detector.suspicion(at(20_000), 1).is_reached());
}

#[test]
fn after_its_own_pause_a_process_still_finds_the_peer_that_died_meanwhile() {
    for config in [by_timeout(), by_phi()] {
        let mut node = Node::new(&config, 8);
        node.run(0..10_000);
        node.check(20_000);
        // Nobody beats any more. The multiplier is back at 1 after 8 checks in time.
        (201..240).for_each(|tick| node.check(tick * 100));
        assert_eq!(node.accused, 10, "{config:?}");
    }
}

#[test]
fn the_burst_after_a_pause_teaches_phi_nothing() {
    let mut node = Node::new(&by_phi(), 8);
    node.run(0..60_000);
    let before = node.peers[0].clone();
    node.check(70_000);
    (0..50).for_each(|n| node.hear(70_000 + n));
    let (Detector::Phi(before), Detector::Phi(after)) = (&before.detector, &node.peers[0].detector)
    else {
        panic!("both are phi");
    };
    assert_eq!(before.mean(), after.mean());
    assert_eq!(before.std_deviation(), after.std_deviation());
}

#[test]
fn awake_time_never_runs_backwards_nor_faster_than_the_clock() {
    let mut local = local(8);
    let mut random = crate::random::Random::seeded(7);
    let (mut now, mut awake) = (0, 0);
    for step in 0..10_000 {
        let passed = random.below(if step % 10 == 0 { 900 } else { 120 });
        now += passed;
        // Reading first, then noticing, must not make a difference.
        let read = local.awake(at(now)).as_nanos();
        match random.below(3) {
            0 => local.ticked(at(now)),
            1 => local.woke(at(now)),
            _ => {},
        }
        let noticed = local.awake(at(now)).as_nanos();
        assert_eq!(read, noticed, "seed 7, step {step}");
        assert!(noticed >= awake && noticed - awake <= passed * 1_000_000);
        awake = noticed;
    }
    assert!(local.stalled() > ms(1_000));
}

#[test]
fn the_score_grows_with_each_interval_missed_and_heals_with_each_check_in_time() {
    let mut local = local(8);
    local.ticked(at(100));
    assert_eq!(local.stretch(), 1);
    // Due at 200, awake until 300: three intervals missed.
    local.ticked(at(600));
    assert_eq!(local.score(), 3);
    assert_eq!(local.stalled(), ms(300));
    let scores = [700, 800, 900, 1_000].map(|now| {
        local.ticked(at(now));
        local.score()
    });
    assert_eq!(scores, [2, 1, 0, 0]);
    local.ticked(at(3_600_000));
    assert_eq!(local.score(), 8);
}

#[test]
fn own_probes_that_fail_stretch_the_timeouts_of_all() {
    let mut local = local(8);
    let mut peer = Peer::new(&by_timeout(), &local, at(0)).expect("valid");
    peer.heartbeat(&mut local, at(0));
    (1..=10).for_each(|tick| local.ticked(at(tick * 100)));
    assert!(peer.suspicion(&local, at(1_000)).is_reached());
    local.probed(false);
    local.probed(false);
    assert!(!peer.suspicion(&local, at(1_000)).is_reached());
    local.probed(true);
    local.probed(true);
    assert!(peer.suspicion(&local, at(1_000)).is_reached());
}

#[test]
fn a_verdict_falls_and_rises_with_hysteresis() {
    let config = Config {
        hysteresis: hysteresis(2, 3),
        ..by_timeout()
    };
    let mut local = local(8);
    let mut peer = Peer::new(&config, &local, at(0)).expect("valid");
    let mut check = |peer: &mut Peer, now: u64, beats: bool| {
        if beats {
            peer.heartbeat(&mut local, at(now));
        }
        local.ticked(at(now));
        peer.check(&local, at(now))
    };
    assert_eq!(check(&mut peer, 100, false), None);
    assert_eq!(peer.verdict(), Verdict::Unknown);
    assert_eq!(check(&mut peer, 200, true), Some(Verdict::Healthy));
    let fell = (3..20).find(|n| check(&mut peer, n * 100, false).is_some());
    assert_eq!((fell, peer.verdict()), (Some(14), Verdict::Unhealthy));
    assert_eq!(check(&mut peer, 1_500, true), None);
    assert_eq!(check(&mut peer, 1_600, false), Some(Verdict::Healthy));
}

#[test]
fn a_peer_that_was_never_heard_of_is_accused_in_the_end() {
    let mut local = local(8);
    let mut peer = Peer::new(&by_timeout(), &local, at(0)).expect("valid");
    let mut check = |n: u64| {
        local.ticked(at(n * 100));
        peer.check(&local, at(n * 100))
    };
    assert_eq!((1..10).find_map(&mut check), None);
    assert_eq!(check(10), Some(Verdict::Unhealthy));
}

#[test]
fn a_peer_that_joins_after_a_stall_is_not_believed_for_the_length_of_the_stall() {
    let mut local = local(0);
    local.ticked(at(60_000));
    let mut peer = Peer::new(&by_timeout(), &local, at(60_000)).expect("valid");
    let verdict = (601..620).find_map(|tick| {
        local.ticked(at(tick * 100));
        peer.check(&local, at(tick * 100))
    });
    assert_eq!(verdict, Some(Verdict::Unhealthy));
}

#[test]
fn the_level_of_a_timeout_is_the_share_that_has_passed() {
    let mut timeout = Timeout::new(ms(200), at(0)).expect("valid");
    timeout.heartbeat(at(1_000));
    timeout.heartbeat(at(900));
    let level = |now, stretch| timeout.suspicion(at(now), stretch).level;
    let levels = [(1_050, 1), (1_200, 1), (1_200, 4), (500, 1)].map(|(now, n)| level(now, n));
    assert_eq!(
        levels.map(f64::to_bits),
        [0.25, 1.0, 0.25, 0.0].map(f64::to_bits)
    );
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for limit in [Duration::ZERO, Duration::MAX] {
        let refused = Timeout::new(limit, at(0)).expect_err("must be refused");
        assert!(matches!(refused, ConfigError::Duration { .. }), "{refused}");
    }
    let config = LocalHealthConfig {
        score_max: NonZeroU32::new(65),
        ..LocalHealthConfig::default()
    };
    let refused = LocalHealth::new(&config, at(0)).expect_err("must be refused");
    assert_eq!(refused.to_string(), "score_max is 65; set at most 64");
}

// Pitfall 4: resilience4j, Polly, failsafe-go and Hystrix mistake a clock that is set back.
#[test]
fn a_clock_that_runs_backwards_accuses_nobody_and_blinds_for_no_longer_than_that() {
    for config in [by_timeout(), by_phi()] {
        let mut node = Node::new(&config, 8);
        node.run(10_000..20_000);
        // Two seconds back, and on from there.
        node.run(18_000..30_000);
        assert_eq!(node.accused, 0, "{config:?}");
        (300..340).for_each(|tick| node.check(tick * 100));
        assert_eq!(node.accused, 10, "{config:?}");
    }
}
