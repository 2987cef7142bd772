//! The textual form of each policy's configuration: typed strings, defaults for what is left out,
//! and no key that is not known.
#![cfg(feature = "serde")]
#![expect(
    clippy::expect_used,
    reason = "what surrounds the tests is a test as well"
)]

use std::fmt::Debug;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use mainstay::concurrency_limit::{AdaptiveConfig, Aimd, Algorithm, DelayConfig};
use mainstay::hedge::{Accept, Delay};
use mainstay::retry::{BackoffConfig, Growth, Jitter};
use mainstay::{cache, concurrency_limit, detector, fault, hedge, outlier, rate_limit, throttle};
use mainstay_core::detector::{LocalHealthConfig, Method, PhiConfig};
use mainstay_core::freshness;
use mainstay_core::health::Hysteresis;
use serde::de::DeserializeOwned;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `text` means `expected`, nothing means the defaults, and a key that nobody knows is refused.
fn means<C: DeserializeOwned + Default + PartialEq + Debug>(text: &str, expected: &C) {
    let read: C = toml::from_str(text).expect("it is the documented form");
    assert_eq!(read, *expected);
    let empty: C = toml::from_str("").expect("all keys have defaults");
    assert_eq!(empty, C::default());
    let error = toml::from_str::<C>(&format!("nobody_knows = 1\n{text}")).expect_err("unknown");
    assert!(error.to_string().contains("`nobody_knows`"), "{error}");
}

#[test]
fn a_rate_limit() {
    means(
        "per_period = 50\nperiod = '1m'\nburst = 5\nqueue = 'off'\nqueue_wait = '2s'",
        &rate_limit::Config {
            per_period: count(50),
            period: Duration::from_mins(1),
            burst: count(5),
            queue: None,
            queue_wait: millis(2_000),
        },
    );
}

#[test]
fn a_concurrency_limit() {
    let aimd = Aimd {
        latency_max: Some(millis(80)),
        ..Aimd::default()
    };
    means(
        "queue = 9
        [limit]
        algorithm = { aimd = { latency_max = '80ms' } }
        initial = 4
        relearn = 'off'
        [delay]
        interval = '200ms'",
        &concurrency_limit::Config {
            limit: AdaptiveConfig {
                algorithm: Algorithm::Aimd(aimd),
                initial: count(4),
                relearn: None,
                ..AdaptiveConfig::default()
            },
            queue: Some(count(9)),
            delay: DelayConfig {
                interval: millis(200),
                ..DelayConfig::default()
            },
        },
    );
}

#[test]
fn a_throttle() {
    means(
        "multiplier = 1.5\nwindow = '2m'\nrejection_max = '90%'",
        &throttle::Config {
            multiplier: 1.5,
            window: Duration::from_mins(2),
            rejection_max: 0.9,
            ..throttle::Config::default()
        },
    );
}

#[test]
fn a_cache_and_its_freshness() {
    means(
        "entries_max = 100\nweight_max = 4096\nfreshness = { fresh = '5s', stale_if_error = '1h', early = 1.0 }",
        &cache::Config {
            entries_max: count(100),
            weight_max: NonZeroU64::new(4_096),
            freshness: freshness::Config {
                fresh: millis(5_000),
                stale_if_error: Some(Duration::from_hours(1)),
                early: Some(1.0),
                ..freshness::Config::default()
            },
        },
    );
    means("negative = 'off'", &freshness::Config::default());
}

#[test]
fn faults() {
    means(
        "error = '10%'\nlatency = '5%'\nlatency_max = '1s'",
        &fault::Config {
            error: 0.1,
            latency: 0.05,
            latency_max: millis(1_000),
            ..fault::Config::default()
        },
    );
}

#[test]
fn a_hedge() {
    means(
        "copies = 3\naccept = 'first_answer'\ndelay = { fixed = '20ms' }",
        &hedge::Config {
            delay: Delay::Fixed(millis(20)),
            copies: count(3),
            accept: Accept::FirstAnswer,
            ..hedge::Config::default()
        },
    );
    means(
        "delay = { quantile = { quantile = '95%', min = '1ms', max = '1s' } }",
        &hedge::Config::default(),
    );
}

#[test]
fn an_outlier_detection() {
    means(
        "consecutive = 'off'\nfailure_gap = '20%'\nlatency_ratio = 2.5\nramp = 'off'\neject = '10s'",
        &outlier::Config {
            consecutive: None,
            failure_gap: Some(0.2),
            latency_ratio: Some(2.5),
            ramp: None,
            eject: millis(10_000),
            ..outlier::Config::default()
        },
    );
}

#[test]
fn a_detector() {
    means(
        "method = { phi = { threshold = 12.0 } }\nhysteresis = { rise = 1, fall = 3 }",
        &detector::Config {
            method: Method::Phi(PhiConfig {
                threshold: 12.0,
                ..PhiConfig::default()
            }),
            hysteresis: Hysteresis {
                rise: count(1),
                fall: count(3),
            },
        },
    );
    means(
        "method = { timeout = '5s' }",
        &detector::Config {
            method: Method::Timeout(millis(5_000)),
            ..detector::Config::default()
        },
    );
    means(
        "interval = '250ms'\nscore_max = 'off'",
        &LocalHealthConfig {
            interval: millis(250),
            score_max: None,
        },
    );
}

#[test]
fn a_backoff() {
    means(
        "base = '5ms'\nmax = '2s'\njitter = 'equal'\ngrowth = { exponential = { factor = 3.0 } }",
        &BackoffConfig {
            growth: Growth::Exponential { factor: 3.0 },
            base: millis(5),
            max: millis(2_000),
            jitter: Jitter::Equal,
        },
    );
    means(
        "growth = 'linear'",
        &BackoffConfig {
            growth: Growth::Linear,
            ..BackoffConfig::default()
        },
    );
}
