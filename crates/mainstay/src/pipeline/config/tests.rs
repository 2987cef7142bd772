//! Claims about the textual form of a pipeline.

use super::*;

/// The keys of the policies, from the service's table of the design, letter by letter.
#[cfg(feature = "serde")]
const DESIGN: &str = r#"
breaker   = { error_rate = "50%", reopen = "5s" }
retry     = { attempts = 3 }                          # idempotent only, another endpoint, full jitter, 20 % budget
timeout   = { total = "3s", attempt = "1s" }
bulkhead  = { in_flight = 256, queue = 64, queue_wait = "200ms" }
"#;

#[test]
fn the_defaults_make_a_pipeline() {
    let pipeline = Config::default().build("payment");
    assert_eq!(
        &**pipeline.expect("the defaults are valid").name(),
        "payment"
    );
}

#[test]
fn a_value_that_cannot_work_is_named_with_its_key() {
    let mut config = Config::default();
    let message = |config: &Config| {
        let error = config.build("payment").expect_err("it cannot work");
        error.to_string()
    };
    config.timeout.total = Some(Duration::ZERO);
    assert_eq!(
        message(&config),
        "deadline is 0ns; set more than zero and at most a year"
    );
    config = Config {
        breaker: Some(breaker::Config {
            error_rate: Some(f64::NAN),
            ..breaker::Config::default()
        }),
        ..Config::default()
    };
    assert_eq!(
        message(&config),
        "breaker: error_rate is NaN; set a share above 0 and at most 1"
    );
    config = Config {
        retry: Some(RetryConfig {
            budget: f64::INFINITY,
            ..RetryConfig::default()
        }),
        ..Config::default()
    };
    let expected = "retry: budget ratio is inf";
    assert!(
        message(&config).starts_with(expected),
        "{}",
        message(&config)
    );
    config = Config {
        retry: Some(RetryConfig {
            backoff: Duration::from_secs(1),
            ..RetryConfig::default()
        }),
        ..Config::default()
    };
    assert_eq!(
        message(&config),
        "retry: backoff_max is 250ms, below backoff, which is 1s; set it as long or longer"
    );
}

#[cfg(feature = "serde")]
mod text {
    use super::*;

    fn refused(table: &str) -> String {
        let config: Result<Config, _> = toml::from_str(table);
        config.expect_err("it is wrong").to_string()
    }

    #[test]
    fn the_table_of_the_design_is_read_letter_by_letter() {
        let config: Config = toml::from_str(DESIGN).expect("it is the documented table");
        let expected = Config {
            timeout: TimeoutConfig {
                total: Some(Duration::from_secs(3)),
                attempt: Some(Duration::from_secs(1)),
            },
            retry: Some(RetryConfig {
                attempts: NonZeroU32::MIN.saturating_add(2),
                ..RetryConfig::default()
            }),
            breaker: Some(breaker::Config {
                error_rate: Some(0.5),
                reopen: Duration::from_secs(5),
                ..breaker::Config::default()
            }),
            bulkhead: Some(bulkhead::Config {
                in_flight: NonZeroU32::MIN.saturating_add(255),
                queue: NonZeroU32::new(64),
                queue_wait: Duration::from_millis(200),
            }),
            ..Config::default()
        };
        assert_eq!(config, expected);
        config.build("payment").expect("it is valid");
    }

    #[test]
    fn what_is_left_out_protects_and_what_is_not_wanted_is_off() {
        let config: Config = toml::from_str("").expect("all keys have defaults");
        assert_eq!(config, Config::default());
        let config: Config = toml::from_str(
            "retry = 'off'\nbreaker = 'off'\nbulkhead = 'off'\ntimeout = { attempt = 'off' }",
        )
        .expect("each may be off");
        assert_eq!((config.retry, config.bulkhead), (None, None));
        assert_eq!(config.timeout.attempt, None);
        assert_eq!(config.timeout.total, Some(Duration::from_secs(3)));
        let config: Config = toml::from_str("bulkhead = { queue = 'off' }").expect("no queue");
        assert_eq!(config.bulkhead.expect("it is on").queue, None);
        let config: Config = toml::from_str("breaker = { consecutive = 'off' }").expect("by rate");
        assert_eq!(config.breaker.expect("it is on").consecutive, None);
    }

    #[test]
    fn what_only_its_user_can_decide_is_on_when_it_is_named() {
        let config: Config = toml::from_str(
            "
            rate_limit = { per_period = 50, period = '1s', burst = 10, queue = 'off' }
            concurrency_limit = { limit = { max = 64 }, delay = { target = '10ms' } }
            hedge = { delay = { fixed = '20ms' }, copies = 3 }
            retry = 'off'
            ",
        )
        .expect("all keys are known");
        let pipeline = config.build("payment").expect("it is valid");
        let stages = format!("{:?}", pipeline.stages());
        for name in ["RateLimiter", "ConcurrencyLimit", "Hedge"] {
            assert!(stages.contains(name), "{name}: {stages}");
        }
        for (table, said) in [
            ("hedge = { copies = 1 }", "hedge copies are 1"),
            ("rate_limit = { period = '500d' }", "rate_limit: period is"),
            (
                "concurrency_limit = { limit = { min = 9, max = 3 } }",
                "concurrency_limit: initial is",
            ),
        ] {
            let config: Config = toml::from_str(table).expect("all keys are known");
            let error = config.build("payment").expect_err("it cannot work");
            assert!(error.to_string().starts_with(said), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        assert!(refused("retries = { attempts = 3 }").contains("`retries`"));
        assert!(refused("retry = { attempt = 3 }").contains("`attempt`"));
        assert!(refused("breaker = { error_rte = '50%' }").contains("`error_rte`"));
        assert!(refused("timeout = { totl = '3s' }").contains("`totl`"));
        assert!(refused("bulkhead = { size = 3 }").contains("`size`"));
        assert!(refused("rate_limit = { rate = 3 }").contains("`rate`"));
        assert!(refused("concurrency_limit = { max = 3 }").contains("`max`"));
        assert!(refused("hedge = { after = '3ms' }").contains("`after`"));
    }

    #[test]
    fn a_wrong_value_is_shown_with_its_key_and_what_was_expected() {
        for (table, key, expected) in [
            (
                "breaker = { error_rate = 0.5 }",
                "error_rate",
                "a percentage",
            ),
            ("breaker = { reopen = 5 }", "reopen", "a duration"),
            ("breaker = { consecutive = 0 }", "consecutive", "nonzero"),
            ("retry = { attempts = 0 }", "attempts", "nonzero"),
            ("retry = { backoff = '0s' }", "backoff", "a duration"),
            ("retry = { budget = '120%' }", "budget", "a percentage"),
            ("timeout = { total = '3' }", "total", "a duration"),
            ("bulkhead = { in_flight = -1 }", "in_flight", "nonzero"),
            (
                "bulkhead = { queue_wait = 200 }",
                "queue_wait",
                "a duration",
            ),
        ] {
            let message = refused(table);
            assert!(message.contains(key), "{table}: {message}");
            assert!(message.contains(expected), "{table}: {message}");
        }
    }
}
