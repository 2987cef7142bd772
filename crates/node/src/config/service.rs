//! Reads `[service.NAME]`: where a service lives, and the policies around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_core::breaker;
use mainstay_core::health::Hysteresis;
use mainstay_core::restart;
use mainstay_gateway::config as gateway;
use mainstay_observe::probe::Probe;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::Section;
use mainstay_core::unit;

/// One service as the file has it; ports of replicas are not chosen yet.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Where clients find it.
    pub listen: SocketAddr,
    /// Where it lives.
    pub source: Source,
    /// Active checks; `None` for none.
    pub health: Option<Probe>,
    /// A circuit breaker per endpoint.
    pub breaker: Option<breaker::Config>,
    /// Retries.
    pub retry: Option<gateway::Retry>,
    /// Time limits.
    pub timeout: gateway::Timeout,
    /// Requests at a time.
    pub bulkhead: Option<gateway::Bulkhead>,
    /// Substitute answers.
    pub fallback: Vec<gateway::Fallback>,
}

/// Where the endpoints of a service come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// They run elsewhere.
    Endpoints(Vec<SocketAddr>),
    /// This node runs them.
    Run(Run),
}

/// Replicas that this node runs.
#[derive(Clone, Debug)]
pub struct Run {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How many.
    pub replicas: u32,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub dir: Option<String>,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long a start may take.
    pub startup: Duration,
    /// Kills what fails it.
    pub liveness: Option<Probe>,
    /// How restarts are spaced.
    pub restart: restart::Policy,
}

/// Reads one service; `None` when it is too wrong to go on with, which is then reported.
pub(super) fn read(name: &str, section: &Section<'_, '_>) -> Option<Service> {
    if !is_name(name) {
        section.problem(
            "",
            format!("`{name}` cannot be the name of a service"),
            "use letters, digits, `-` and `_`",
            None,
        );
    }
    let listen = section.address("listen");
    if !section.has("listen") {
        section.missing("listen", "for example: listen = \"127.0.0.1:8080\"");
    }
    let source = source(section);
    let health = section.table_or_off("health", probe);
    let breaker = section.table_or_off("breaker", read_breaker);
    let retry = section.table_or_off("retry", read_retry);
    let timeout = read_timeout(&section.table("timeout"));
    let bulkhead = section.table_or_off("bulkhead", read_bulkhead);
    let fallback = fallbacks(section);
    Some(Service {
        name: Arc::from(name),
        listen: listen?,
        source: source?,
        health: health.ok()?,
        breaker: breaker.ok()?,
        retry: retry.ok()?,
        timeout: timeout?,
        bulkhead: bulkhead.ok()?,
        fallback,
    })
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

fn source(section: &Section<'_, '_>) -> Option<Source> {
    match (section.has("endpoints"), section.has("run")) {
        (true, false) => endpoints(section).map(Source::Endpoints),
        (false, true) => run(&section.table("run")).map(Source::Run),
        (true, true) => {
            // Both are read all the same, so that their own mistakes show in this run.
            endpoints(section);
            run(&section.table("run"));
            section.problem(
                "endpoints",
                format!("`{}` has both `endpoints` and `run`", section.path()),
                "either these",
                Some("keep `run` for replicas of this node, `endpoints` for all others"),
            );
            None
        },
        (false, false) => {
            section.missing(
                "endpoints",
                "say where it lives, endpoints = [\"10.0.0.1:9001\"], or what to run, \
                 run = { command = [\"program\", \"--port\", \"{port}\"] }",
            );
            None
        },
    }
}

fn endpoints(section: &Section<'_, '_>) -> Option<Vec<SocketAddr>> {
    let texts = section.text_list("endpoints")?;
    if texts.is_empty() {
        let message = format!("`{}.endpoints` is empty", section.path());
        section.problem("endpoints", message, "name at least one address", None);
        return None;
    }
    let mut addresses = Vec::with_capacity(texts.len());
    for (text, span) in texts {
        let problem = |label: &str| {
            section.problem_at(span.clone(), format!("endpoint {text:?} is wrong"), label);
        };
        match text.parse::<SocketAddr>() {
            Err(_) => problem("expected an address such as \"10.0.0.1:9001\""),
            Ok(address) if address.port() == 0 => problem("an endpoint has a port above zero"),
            Ok(address) if addresses.contains(&address) => problem("listed twice"),
            Ok(address) => addresses.push(address),
        }
    }
    Some(addresses)
}

fn run(section: &Section<'_, '_>) -> Option<Run> {
    let command = section.text_list("command");
    match &command {
        None if !section.has("command") => {
            section.missing(
                "command",
                "for example: command = [\"program\", \"--port\", \"{port}\"]",
            );
        },
        Some(words) if words.first().is_none_or(|(program, _)| program.is_empty()) => {
            let message = format!("`{}.command` names no program", section.path());
            section.problem("command", message, "the first word is the program", None);
        },
        _ => {},
    }
    let replicas = section.count("replicas");
    let env = section.texts("env");
    let dir = section.text("dir");
    let grace = section.duration("grace");
    let startup = section.duration("startup");
    let liveness = section.table_or_off("liveness", probe);
    Some(Run {
        command: command?.into_iter().map(|(word, _)| word).collect(),
        replicas: replicas?.get(),
        env,
        dir,
        grace: grace?,
        startup: startup?,
        liveness: liveness.ok()?,
        restart: restart::Policy::default(),
    })
}

fn probe(section: &Section<'_, '_>) -> Option<Probe> {
    let http_path = section.text("http");
    let tcp = section.flag("tcp").unwrap_or(false);
    if tcp && http_path.is_some() {
        let message = format!("`{}` asks by both `http` and `tcp`", section.path());
        section.problem("tcp", message, "remove this, or `http`", None);
    }
    if http_path.as_ref().is_some_and(|path| !is_path(path)) {
        let message = format!("`{}.http` is not a path", section.path());
        section.problem(
            "http",
            message,
            "a path starts with `/` and has no spaces",
            None,
        );
    }
    let every = section.duration("every");
    let timeout = section.duration("timeout");
    let rise = section.count("rise");
    let fall = section.count("fall");
    Some(Probe {
        http_path: http_path.map(Arc::from),
        every: every?,
        timeout: timeout?,
        hysteresis: Hysteresis {
            rise: rise?,
            fall: fall?,
        },
    })
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic())
}

fn read_breaker(section: &Section<'_, '_>) -> Option<breaker::Config> {
    let error_rate = section.or_off("error_rate", |section| section.percent("error_rate"));
    let calls_min = section.count("calls_min");
    let consecutive = section.count_or_off("consecutive");
    let slow = section.table_or_off("slow", read_slow);
    let window = read_window(section);
    let reopen = section.duration("reopen");
    let reopen_max = section.duration("reopen_max");
    let probes = section.count("probes");
    let ramp = section.or_off("ramp", |section| section.duration("ramp"));
    let breaker = breaker::Config {
        error_rate: error_rate.ok()?,
        calls_min: calls_min?,
        consecutive: consecutive.ok()?,
        slow: slow.ok()?,
        window: window?,
        reopen: reopen?,
        reopen_max: reopen_max?,
        probes: probes?,
        ramp: ramp.ok()?,
        ..breaker::Config::default()
    };
    if let Err(error) = breaker.validate() {
        let message = format!("`{}` cannot work: {error}", section.path());
        section.problem(field(&error), message, "beyond what a breaker can do", None);
    }
    Some(breaker)
}

/// Calls in flight are left out: the gateway cannot tell a slow endpoint from a slow reader there.
fn read_slow(section: &Section<'_, '_>) -> Option<breaker::Slow> {
    for (name, example) in [("after", "after = \"1s\""), ("rate", "rate = \"50%\"")] {
        if !section.has(name) {
            section.missing(name, &format!("for example: {example}"));
        }
    }
    let after = section.duration("after");
    let rate = section.percent("rate");
    Some(breaker::Slow {
        after: after?,
        rate: rate?,
        in_flight: false,
    })
}

/// A window of time, or of calls.
fn read_window(section: &Section<'_, '_>) -> Option<breaker::Span> {
    if section.has_number("window") {
        return section.count("window").map(breaker::Span::Calls);
    }
    section.duration("window").map(breaker::Span::Time)
}

/// The key of the file that an engine's complaint is about.
const fn field(error: &breaker::ConfigError) -> &'static str {
    match error {
        breaker::ConfigError::CallsMin { .. } => "calls_min",
        breaker::ConfigError::Consecutive(_) => "consecutive",
        breaker::ConfigError::Probes(_) => "probes",
        breaker::ConfigError::SlowRate(_) => "slow",
        breaker::ConfigError::WindowCalls(_) => "window",
        breaker::ConfigError::Duration { field, .. } => field,
        breaker::ConfigError::ReopenMax { .. } => "reopen",
        breaker::ConfigError::ErrorRate(_) | _ => "error_rate",
    }
}

fn read_retry(section: &Section<'_, '_>) -> Option<gateway::Retry> {
    let attempts = section.count("attempts");
    let backoff_min = section.duration("backoff");
    let backoff_max = section.duration("backoff_max");
    let budget_ratio = section.percent("budget");
    let budget_floor = section.count("budget_floor");
    let on_status = on_status(section);
    let replay_bytes_max = section.size("body");
    let retry = gateway::Retry {
        attempts: attempts?,
        backoff_min: backoff_min?,
        backoff_max: backoff_max?,
        budget_ratio: budget_ratio?,
        budget_floor: budget_floor?.get(),
        on_status: on_status?,
        replay_bytes_max: replay_bytes_max?,
    };
    not_above(
        section,
        ("backoff", retry.backoff_min),
        ("backoff_max", retry.backoff_max),
    );
    Some(retry)
}

/// The answers that are worth another attempt.
fn on_status(section: &Section<'_, '_>) -> Option<gateway::ServerErrors> {
    let expected = "expected status codes from 500 to 599, such as [502, 503, 504]";
    let Some(list) = section.list("on_status") else {
        section.record("on_status", "[502, 503, 504]".to_owned());
        return gateway::ServerErrors::of(&[502, 503, 504]).ok();
    };
    let code = |value: &Spanned<DeValue<'_>>| value.get_ref().as_integer()?.as_str().parse().ok();
    let codes: Option<Vec<u16>> = list.iter().map(code).collect();
    let set = codes.and_then(|codes| gateway::ServerErrors::of(&codes).ok());
    if set.is_none() {
        let message = format!("`{}.on_status` is wrong", section.path());
        section.problem("on_status", message, expected, None);
    }
    set
}

fn read_timeout(section: &Section<'_, '_>) -> Option<gateway::Timeout> {
    let total = section.duration("total");
    let attempt = section.duration("attempt");
    let connect = section.duration("connect");
    let endpoint = section.duration("endpoint");
    let mut timeout = gateway::Timeout {
        total: total?,
        attempt: attempt?,
        connect: connect?,
        endpoint: endpoint?,
    };
    // A shorter total with the other two left out shortens them: only what the user wrote can
    // contradict itself.
    if !section.has("attempt") {
        timeout.attempt = timeout.attempt.min(timeout.total);
    }
    if !section.has("connect") {
        timeout.connect = timeout.connect.min(timeout.attempt);
    }
    not_above(
        section,
        ("attempt", timeout.attempt),
        ("total", timeout.total),
    );
    not_above(
        section,
        ("connect", timeout.connect),
        ("attempt", timeout.attempt),
    );
    Some(timeout)
}

fn read_bulkhead(section: &Section<'_, '_>) -> Option<gateway::Bulkhead> {
    let in_flight = section.count("in_flight");
    let queue = section.count_or_off("queue");
    let queue_wait = section.duration("queue_wait");
    Some(gateway::Bulkhead {
        in_flight: in_flight?,
        queue: queue.ok()?,
        queue_wait: queue_wait?,
    })
}

/// Reports a smaller limit that is above the larger one.
fn not_above(section: &Section<'_, '_>, low: (&str, Duration), high: (&str, Duration)) {
    if low.1 <= high.1 {
        return;
    }
    let path = section.path();
    let message = format!("`{path}.{}` is longer than `{path}.{}`", low.0, high.0);
    let label = format!("{:?}, but `{}` is {:?}", low.1, high.0, high.1);
    let place = if section.has(low.0) { low.0 } else { high.0 };
    section.problem(
        place,
        message,
        &label,
        Some("shorten the first or lengthen the second"),
    );
}

fn fallbacks(section: &Section<'_, '_>) -> Vec<gateway::Fallback> {
    let Some(list) = section.list("fallback") else {
        if !section.has("fallback") {
            section.record("fallback", "[]".to_owned());
        }
        return Vec::new();
    };
    list.iter()
        .filter_map(|value| fallback(section, value))
        .collect()
}

fn fallback(section: &Section<'_, '_>, value: &Spanned<DeValue<'_>>) -> Option<gateway::Fallback> {
    let expected = "\"stale 10m\" or { status = 200, json = … } or { status = 200, text = \"…\" }";
    let wrong = |label: &str| {
        section.problem_at(
            value.span(),
            format!("a fallback of `{}` is wrong", section.path()),
            label,
        );
    };
    match value.get_ref() {
        DeValue::String(text) => {
            let stale = text
                .strip_prefix("stale ")
                .and_then(|age| unit::duration(age.trim_start()).ok())
                .map(gateway::Fallback::Stale);
            if stale.is_none() {
                wrong(&format!("expected {expected}"));
            }
            stale
        },
        DeValue::Table(table) => match fixed(table) {
            Ok(fallback) => Some(fallback),
            Err(label) => {
                wrong(&label);
                None
            },
        },
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => {
            wrong(&format!("expected {expected}"));
            None
        },
    }
}

/// A fixed answer, or why there is none.
fn fixed(table: &DeTable<'_>) -> Result<gateway::Fallback, String> {
    for (name, _) in table {
        if !["status", "json", "text"].contains(&name.get_ref().as_ref()) {
            return Err(format!(
                "unknown key `{}`; known here: status, json, text",
                name.get_ref()
            ));
        }
    }
    let status = table
        .get("status")
        .and_then(|status| status.get_ref().as_integer())
        .and_then(|status| status.as_str().parse::<u16>().ok())
        .filter(|status| (200..600).contains(status))
        .and_then(|status| http::StatusCode::from_u16(status).ok())
        .ok_or("needs `status`, a number from 200 to 599")?;
    let (content_type, body) = match (table.get("json"), table.get("text")) {
        (Some(json), None) => ("application/json", json_of(json.get_ref()).to_string()),
        (None, Some(text)) => {
            let text = text.get_ref().as_str().ok_or("`text` is not a text")?;
            ("text/plain; charset=utf-8", text.to_owned())
        },
        (Some(_), Some(_)) => return Err("has both `json` and `text`".to_owned()),
        (None, None) => return Err("needs `json` or `text`".to_owned()),
    };
    Ok(gateway::Fallback::Static {
        status,
        content_type,
        body: Bytes::from(body),
    })
}

fn json_of(value: &DeValue<'_>) -> serde_json::Value {
    use serde_json::Value;
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        },
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(list) => list.iter().map(|value| json_of(value.get_ref())).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(name, value)| (name.get_ref().to_string(), json_of(value.get_ref())))
            .collect(),
    }
}

impl Service {
    /// Takes from `other` what may change while the service runs.
    pub(crate) fn take_live(&mut self, other: &Self) {
        if let (Source::Endpoints(_), Source::Endpoints(_)) = (&self.source, &other.source) {
            self.source = other.source.clone();
            self.health.clone_from(&other.health);
        }
        self.breaker.clone_from(&other.breaker);
        self.retry.clone_from(&other.retry);
        self.timeout = other.timeout;
        self.bulkhead = other.bulkhead;
        self.fallback.clone_from(&other.fallback);
    }
}
