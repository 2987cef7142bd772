//! A thousand instances that fail at the same moment, and when they come back.

use std::ops::Range;
use std::time::Duration;

use mainstay_core::breaker::Config;
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::random::Random;
use mainstay_core::time::{Instant, nanos};

use crate::engine::{Circuit, Waits};

const INSTANCES: usize = 1_000;
const SEEDS: Range<u64> = 1..6;

/// Each instance makes a call this often, in milliseconds.
const CALL_EVERY: u64 = 20;

/// How long the callee stays dead, in milliseconds.
const END: u64 = 60_000;

/// Probes are counted in buckets of this many milliseconds.
const BUCKET: u64 = 100;

/// A thousand breakers with these seeds open at the same moment, on a callee that stays dead for a
/// minute; the probes in each bucket.
fn probes(seed_of: impl Fn(usize) -> u64) -> Vec<u32> {
    let config = Config::default();
    let mut buckets = vec![0; (END / BUCKET) as usize];
    for instance in 0..INSTANCES {
        let circuit = Circuit::new(&config, seed_of(instance));
        let mut millis = 0;
        while millis < END {
            let now = Instant::from_millis(millis);
            // Calls that are rejected in between are left out: they change nothing.
            let rejected = match circuit.acquire(now) {
                Ok(pass) => {
                    buckets[(millis / BUCKET) as usize] += 1;
                    circuit.record(pass, Outcome::Failure(Reason::Connect), now);
                    Duration::ZERO
                },
                Err(rejected) => rejected,
            };
            let calls = nanos(rejected).div_ceil(CALL_EVERY * 1_000_000).max(1);
            millis += calls * CALL_EVERY;
        }
    }
    // All of them have opened, after five calls; what follows are probes.
    let first_probe = (nanos(config.reopen) / 2_000_000 / BUCKET) as usize;
    assert_eq!(buckets[1..first_probe].iter().sum::<u32>(), 0);
    buckets.split_off(first_probe)
}

// Pitfall 20: failsafe-go, Polly and tower-resilience end all cooldowns in step (no jitter).
#[test]
fn a_thousand_breakers_that_opened_together_do_not_probe_in_step() {
    for seed in SEEDS {
        let mut random = Random::seeded(seed);
        let seeds: Vec<u64> = (0..INSTANCES).map(|_| random.bits()).collect();
        let buckets = probes(|instance| seeds[instance]);
        // Two probes fail per cooldown; the first ends between 2.5 s and 5 s: 80 a bucket on
        // average, and never more than half as many again, also with the calls' own rhythm.
        let peak = buckets.iter().max();
        assert!(
            peak.is_some_and(|&peak| peak <= 125),
            "seed {seed}: {peak:?}"
        );
    }
}

#[test]
fn breakers_of_one_seed_are_the_herd_that_jitter_prevents() {
    // The control: the same code, every instance with the same chance.
    for seed in SEEDS {
        let buckets = probes(|_| seed);
        let peak = buckets.iter().max();
        assert!(
            peak.is_some_and(|&peak| peak >= 1_000),
            "seed {seed}: {peak:?}"
        );
    }
}

/// A thousand calls fail at zero and are tried again four times; each attempt fails at once. The
/// attempts in each bucket of 10 ms, the first ones left out.
fn retries(mut wait: impl FnMut(u32) -> Duration) -> Vec<u32> {
    let mut buckets = vec![0; 400];
    for _ in 0..INSTANCES {
        let mut at = Duration::ZERO;
        for attempts_used in 1..=4 {
            at += wait(attempts_used);
            let bucket = usize::try_from(at.as_millis() / 10).expect("seconds");
            buckets[bucket] += 1;
        }
    }
    buckets
}

/// The highest bucket against the mean of those up to the last one in use.
fn peak_to_mean(buckets: &[u32]) -> f64 {
    let peak = buckets.iter().max().copied().unwrap_or_default();
    let used = buckets
        .iter()
        .rposition(|&retries| retries > 0)
        .unwrap_or_default()
        + 1;
    f64::from(peak) * used as f64 / f64::from(buckets.iter().sum::<u32>())
}

const WAITS: Waits = Waits {
    min: Duration::from_millis(200),
    max: Duration::from_secs(1),
};

#[test]
fn retries_with_full_jitter_spread_over_the_whole_time() {
    for seed in SEEDS {
        let mut random = Random::seeded(seed);
        let buckets = retries(|attempts_used| WAITS.jittered(attempts_used, &mut random));
        let ratio = peak_to_mean(&buckets);
        assert!(ratio < 8.0, "seed {seed}: {ratio}");
        // Of the thousand, a few dozen come in any 10 ms.
        assert!(buckets.iter().all(|&retries| retries < 150), "seed {seed}");
    }
}

#[test]
fn retries_without_jitter_come_as_one_herd_after_the_other() {
    // The control: the same bounds, each waited for in full.
    let buckets = retries(|attempts_used| WAITS.bound(attempts_used));
    let herds = buckets.iter().filter(|&&retries| retries == 1_000).count();
    assert_eq!(herds, 4);
    assert!(peak_to_mean(&buckets) > 50.0);
}
