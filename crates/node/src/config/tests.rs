//! Claims about configuration files.

use std::time::Duration;

use mainstay_core::breaker::Span;

use super::problem::Style;
use super::*;

fn machine() -> Machine {
    Machine {
        name: "here".to_owned(),
        cores: NonZeroUsize::MIN,
    }
}

fn parse(source: &str) -> Result<Config, Problems> {
    Config::parse("mainstay.toml", source, &machine())
}

fn messages(source: &str) -> Vec<String> {
    let problems = parse(source).expect_err("the file is wrong");
    problems
        .located()
        .iter()
        .map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message))
        .collect()
}

const SMALLEST: &str = "\
version = 1
[service.payment]
listen = \"127.0.0.1:8080\"
endpoints = [\"127.0.0.1:9001\", \"127.0.0.1:9002\"]
";

/// The example of the design, with the parts that stand in comments there.
const WHOLE: &str = r#"
version = 1
[node]
name     = "n1"
data_dir = "./mainstay-data"
admin    = "127.0.0.1:9900"
[gateway]
workers = 2
[service.payment]
listen    = "127.0.0.1:8080"
run       = { command = ["payment", "--port", "{port}"], replicas = 3 }
health    = { http = "/healthz", every = "1s" }
breaker   = { error_rate = "50%", reopen = "5s" }
retry     = { attempts = 3 }
timeout   = { total = "3s", attempt = "1s" }
bulkhead  = { in_flight = 256, queue = 64, queue_wait = "200ms" }
fallback  = ["stale 10m", { status = 200, json = { status = "queued" } }]
"#;

#[test]
fn the_example_of_the_design_is_right() {
    let config = parse(WHOLE).expect("the design's own example");
    let service = &config.services[0];
    assert_eq!(service.timeout.total, Duration::from_secs(3));
    assert_eq!(service.fallback.len(), 2);
    let Source::Run(run) = &service.source else {
        panic!("it runs replicas")
    };
    assert_eq!(run.replicas, 3);
}

#[test]
fn what_is_left_out_has_the_defaults_that_protect() {
    let config = parse(SMALLEST).expect("the smallest file");
    let service = &config.services[0];
    assert!(config.admin.ip().is_loopback());
    assert!(service.breaker.is_some() && service.retry.is_some() && service.bulkhead.is_some());
    assert!(
        service
            .health
            .as_ref()
            .is_some_and(|health| health.http_path.is_none())
    );
    assert_eq!(config.name, "here");
}

#[test]
fn every_default_can_be_read_back() {
    let config = parse(&format!("{SMALLEST}[keeper]\n")).expect("the smallest file");
    for key in key::KEYS.iter().filter(|key| !key.default.is_empty()) {
        let path = key.path.replace('*', "payment");
        let below_off = path.contains(".liveness.") || path.contains(".run.");
        let known = config.effective.iter().any(|value| value.path == path);
        assert!(
            known || below_off || path.contains(".health.tcp"),
            "{path} is not in force"
        );
    }
}

#[test]
fn off_turns_a_policy_off_and_zero_does_not() {
    let off = format!(
        "{SMALLEST}breaker = \"off\"\nretry = \"off\"\nbulkhead = \"off\"\nhealth = \"off\"\n"
    );
    let config = parse(&off).expect("off is a value");
    let service = &config.services[0];
    assert!(service.breaker.is_none() && service.retry.is_none());
    assert!(service.bulkhead.is_none() && service.health.is_none());

    let zero = format!("{SMALLEST}retry = {{ attempts = 0 }}\n");
    assert_eq!(
        messages(&zero),
        ["5:22 `service.payment.retry.attempts` is wrong"]
    );
}

#[test]
fn a_breaker_takes_what_its_engine_offers() {
    let source = format!(
        "{SMALLEST}breaker = {{ error_rate = \"off\", slow = {{ after = \"1s\", rate = \"40%\" }}, \
         ramp = \"10s\", window = 100 }}\n"
    );
    let config = parse(&source).expect("these are keys of a breaker");
    let breaker = config.services[0].breaker.as_ref().expect("it is on");
    let slow = breaker.slow.expect("it looks at slow calls");
    assert_eq!(slow.after, Duration::from_secs(1));
    assert!((slow.rate - 0.4).abs() < 1e-9 && !slow.in_flight);
    assert_eq!(breaker.ramp, Some(Duration::from_secs(10)));
    assert!(matches!(breaker.window, Span::Calls(calls) if calls.get() == 100));
    assert_eq!(breaker.error_rate, None);

    let plain = parse(SMALLEST).expect("the smallest file");
    let breaker = plain.services[0].breaker.as_ref().expect("it is on");
    assert!(breaker.slow.is_none() && breaker.ramp.is_none());
    assert!(matches!(breaker.window, Span::Time(time) if time == Duration::from_secs(10)));
}

#[test]
fn all_mistakes_are_reported_in_one_run_with_their_places() {
    let source = "\
version = 2
[node]
admni = \"127.0.0.1:9900\"
log = \"loud\"
[service.payment]
listen = \"8080\"
endpoints = [\"127.0.0.1:9001\", 5]
timeout = { total = \"3\", attempt = \"1s\" }
colour = 1
";
    assert_eq!(
        messages(source),
        [
            "1:11 this version of the file's format is not known",
            "3:1 unknown key `admni` in `node`",
            "4:7 `node.log` is not a severity: \"loud\"",
            "6:10 `service.payment.listen` is wrong",
            "7:32 `service.payment.endpoints` is wrong",
            "8:21 `service.payment.timeout.total` is wrong",
            "9:1 unknown key `colour` in `service.payment`",
        ],
    );
}

#[test]
fn a_mistake_is_shown_with_snippet_and_nearest_key() {
    let problems =
        parse("version = 1\n[service.a]\nlisen = \"127.0.0.1:1\"\nendpoints = [\"127.0.0.1:2\"]\n")
            .expect_err("a misspelt key");
    let text = problems.render(Style::Plain);
    assert!(text.contains("mainstay.toml:3:1"), "{text}");
    assert!(text.contains("lisen = \"127.0.0.1:1\""), "{text}");
    assert!(text.contains("did you mean `listen`?"), "{text}");
}

#[test]
fn broken_toml_is_reported_beside_other_mistakes() {
    let source = "version = 1\n[node\nlog = \"loud\"\n[service.a]\nlisten = = 3\n";
    let messages = messages(source);
    assert!(
        messages
            .iter()
            .filter(|message| message.contains("not TOML"))
            .count()
            >= 2,
        "{messages:?}"
    );
}

#[test]
fn combinations_that_cannot_be_are_mistakes() {
    let cases = [
        (
            "run = { command = [\"x\"] }\n",
            "has both `endpoints` and `run`",
        ),
        (
            "timeout = { total = \"1s\", attempt = \"2s\" }\n",
            "is longer than",
        ),
        ("health = { http = \"/h\", tcp = true }\n", "by both"),
        ("health = { http = \"healthz\" }\n", "is not a path"),
        (
            "breaker = { reopen = \"1m\", reopen_max = \"1s\" }\n",
            "below reopen",
        ),
        ("breaker = { probes = 1000 }\n", "set at most"),
        ("breaker = { window = \"1ms\" }\n", "window"),
        (
            "breaker = { window = 10 }\n",
            "calls_min is 20; set at most 10",
        ),
        ("breaker = { window = 0 }\n", "window` is wrong"),
        ("breaker = { slow = {} }\n", "lacks the key `after`"),
        (
            "breaker = { slow = { after = \"1s\" } }\n",
            "lacks the key `rate`",
        ),
        (
            "breaker = { slow = { after = \"1s\", rate = \"50%\", in_flight = true } }\n",
            "unknown key `in_flight`",
        ),
        ("breaker = { ramp = \"1us\" }\n", "ramp is"),
        (
            "breaker = { error_rate = \"off\", consecutive = \"off\" }\n",
            "nothing opens it",
        ),
        ("fallback = [\"stale\"]\n", "a fallback"),
        ("fallback = [{ status = 200 }]\n", "a fallback"),
    ];
    for (line, expected) in cases {
        let messages = messages(&format!("{SMALLEST}{line}"));
        assert!(
            messages.iter().any(|message| message.contains(expected)),
            "{line}: {messages:?}"
        );
    }
}

#[test]
fn an_address_is_used_once() {
    let source = format!(
        "{SMALLEST}[service.other]\nlisten = \"127.0.0.1:8080\"\nendpoints = [\"127.0.0.1:8080\"]\n"
    );
    let messages = messages(&source);
    assert!(
        messages
            .iter()
            .any(|message| message.contains("already taken")),
        "{messages:?}"
    );
    assert!(
        messages
            .iter()
            .any(|message| message.contains("own `listen`")),
        "{messages:?}"
    );
}

#[test]
fn a_shorter_total_shortens_what_is_left_out() {
    let config =
        parse(&format!("{SMALLEST}timeout = {{ total = \"200ms\" }}\n")).expect("a short total");
    let timeout = config.services[0].timeout;
    assert_eq!(
        (timeout.attempt, timeout.connect),
        (timeout.total, timeout.total)
    );
}

#[test]
fn any_text_is_read_without_a_panic() {
    use proptest::prelude::*;
    let mut runner = proptest::test_runner::TestRunner::default();
    let word = prop_oneof![
        Just("version = 1\n".to_owned()),
        Just("[service.a]\n".to_owned()),
        Just("listen = ".to_owned()),
        Just("\"127.0.0.1:0\"\n".to_owned()),
        Just("run = { command = [] }\n".to_owned()),
        Just("fallback = [\"stale 1s\", {}, 3]\n".to_owned()),
        "[ -~\n]{0,12}",
        "\\PC{0,3}",
    ];
    let file = proptest::collection::vec(word, 0..12).prop_map(|words| words.concat());
    runner
        .run(&file, |source| {
            if let Err(problems) = parse(&source) {
                prop_assert!(
                    problems.count() > 0,
                    "rejected without a reason: {source:?}"
                );
                problems.render(Style::Plain);
                problems.located();
            }
            Ok(())
        })
        .expect("reading never panics and never fails silently");
}

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/config.md"
    );
    if std::env::var_os("MAINSTAY_WRITE_REFERENCE").is_some() {
        std::fs::write(path, reference::markdown()).expect("docs/reference is writable");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == reference::markdown(),
        "run `cargo xtask tidy --fix`"
    );
}

#[test]
fn a_keeper_needs_no_service_and_keeps_its_data_below_the_nodes() {
    let config = parse(
        "version = 1\n[node]\ndata_dir = \"/d\"\n[keeper]\nmember = 2\n\
         members = { 1 = \"a:2888\", 2 = \"[::1]:2889\" }\nsession_timeout_min = \"1s\"\n",
    )
    .expect("it is right");
    let keeper = config.keeper.expect("it is there");
    assert_eq!(keeper.member, 2);
    assert_eq!(keeper.zoo.client_port, Some(2_181));
    assert_eq!(keeper.zoo.timeout_min_ms, 1_000);
    assert_eq!(keeper.folder(), Path::new("/d/keeper/mainstay"));
    let second = &keeper.zoo.members[&2];
    assert_eq!((&*second.host, second.quorum_port), ("::1", 2_889));
}

#[test]
fn every_mistake_about_the_members_of_a_keeper_is_told() {
    let wrong = |keeper: &str| messages(&format!("{SMALLEST}[keeper]\n{keeper}"));
    for (keeper, part) in [
        ("member = 255\n", "`keeper.member` is 255"),
        ("members = { 0 = \"a:1\" }\n", "member \"0\""),
        ("members = { 1 = \"a\" }\n", "member \"1\""),
        ("members = { 2 = \"a:1\" }\n", "does not name member 1"),
        ("session_timeout_min = \"1m\"\n", "longer than"),
    ] {
        let told = wrong(keeper);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(part), "{told:?}");
    }
}
