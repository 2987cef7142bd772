//! Every key of the configuration file: its kind, its default and what it does.
//!
//! Prevents a reference that lies: parser, `explain`, `schema` and docs/reference/config.md all
//! read this one table. `*` stands for a name that the user chooses.

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table with keys of its own; `"off"` where [`Key::default`] or the help says so.
    Table,
    /// Any text.
    Text,
    /// A whole number above zero.
    Count,
    /// A typed string such as `"250ms"`, `"1m30s"`.
    Duration,
    /// A typed string such as `"250ms"`, or a whole number above zero of calls.
    Span,
    /// A typed string such as `"20%"`.
    Percent,
    /// A typed string such as `"64KiB"`.
    Size,
    /// `"127.0.0.1:8080"`; port 0 lets the system choose.
    Address,
    /// Several of something; the help says of what.
    List,
    /// `true` or `false`.
    Flag,
}

impl Kind {
    /// The kind in words, with an example where one helps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "a table",
            Self::Text => "a text",
            Self::Count => "a whole number above zero",
            Self::Duration => "a duration such as \"250ms\" or \"1m30s\"",
            Self::Span => "a duration such as \"10s\", or a number of calls such as 100",
            Self::Percent => "a percentage such as \"20%\"",
            Self::Size => "a size such as \"64KiB\"",
            Self::Address => "an address such as \"127.0.0.1:8080\"",
            Self::List => "a list",
            Self::Flag => "true or false",
        }
    }
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands, for instance `service.*.timeout.total`.
    pub path: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// The value when left out, as it would be written; empty when there is none.
    pub default: &'static str,
    /// What it does, and why one would change it.
    pub help: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        help,
    }
}

/// All keys, in the order of the reference.
pub const KEYS: &[Key] = &[
    key(
        "version",
        Kind::Count,
        "",
        "The version of this file's format: 1.",
    ),
    key("node", Kind::Table, "", "This node."),
    key(
        "node.name",
        Kind::Text,
        "",
        "Its name in events and heartbeats; default: the host's name.",
    ),
    key(
        "node.data_dir",
        Kind::Text,
        "./mainstay-data",
        "Where the node keeps what outlives it.",
    ),
    key(
        "node.admin",
        Kind::Address,
        "127.0.0.1:9900",
        "Dashboard, /metrics, /livez, /readyz, /startupz and the API. On loopback, since it has no \
         login.",
    ),
    key(
        "node.log",
        Kind::Text,
        "info",
        "The least severity that is logged: debug, info, warn or error. Heartbeats are debug.",
    ),
    key("gateway", Kind::Table, "", "What all services share."),
    key(
        "gateway.workers",
        Kind::Count,
        "",
        "Worker threads; default: one per core.",
    ),
    key(
        "gateway.connections_max",
        Kind::Count,
        "10000",
        "Open client connections per worker; further ones wait in the kernel's backlog.",
    ),
    key(
        "gateway.head_bytes_max",
        Kind::Size,
        "64KiB",
        "Bytes of a request's head.",
    ),
    key(
        "gateway.headers_max",
        Kind::Count,
        "100",
        "Header fields in a request.",
    ),
    key(
        "gateway.head_timeout",
        Kind::Duration,
        "10s",
        "A request's head must be complete within this time; idle connections are closed after it.",
    ),
    key(
        "gateway.body_timeout",
        Kind::Duration,
        "30s",
        "A body that makes no progress for this long ends its request.",
    ),
    key(
        "gateway.drain",
        Kind::Duration,
        "20s",
        "On stop, requests in flight may take this long to finish.",
    ),
    key(
        "keeper",
        Kind::Table,
        "",
        "A member of a keeper, which clients of ZooKeeper can use; without this table there is none.",
    ),
    key(
        "keeper.listen",
        Kind::Address,
        "127.0.0.1:2181",
        "Where its clients come to. On loopback unless you say otherwise.",
    ),
    key(
        "keeper.member",
        Kind::Count,
        "1",
        "This member's number, 1 to 254. Never one that another member had.",
    ),
    key(
        "keeper.members",
        Kind::Table,
        "",
        "All members: { 1 = \"10.0.0.1:2888\", 2 = … }, each with the address where it listens for \
         the others, the same at each of them. Three survive the loss of one, five of two. Left \
         out, this one is alone.",
    ),
    key(
        "keeper.session_timeout_min",
        Kind::Duration,
        "4s",
        "Sessions that want a shorter timeout get this one.",
    ),
    key(
        "keeper.session_timeout_max",
        Kind::Duration,
        "40s",
        "Sessions that want a longer timeout get this one.",
    ),
    key(
        "keeper.message_bytes_max",
        Kind::Size,
        "1MiB",
        "Longest request of a client.",
    ),
    key(
        "service",
        Kind::Table,
        "",
        "The services, one table each: [service.NAME].",
    ),
    key("service.*", Kind::Table, "", "One service."),
    key(
        "service.*.listen",
        Kind::Address,
        "",
        "Where clients find the service. Required.",
    ),
    key(
        "service.*.endpoints",
        Kind::List,
        "",
        "Addresses of endpoints that run elsewhere. Either this or `run`.",
    ),
    key(
        "service.*.run",
        Kind::Table,
        "",
        "Replicas that this node starts and supervises.",
    ),
    key(
        "service.*.run.command",
        Kind::List,
        "",
        "Program and arguments; {port} and {replica} are filled in. Required.",
    ),
    key(
        "service.*.run.replicas",
        Kind::Count,
        "2",
        "How many to run.",
    ),
    key(
        "service.*.run.env",
        Kind::Table,
        "",
        "Variables added to the environment.",
    ),
    key(
        "service.*.run.dir",
        Kind::Text,
        "",
        "Working directory; default: the node's.",
    ),
    key(
        "service.*.run.grace",
        Kind::Duration,
        "10s",
        "Time between SIGTERM and SIGKILL when a replica is stopped.",
    ),
    key(
        "service.*.run.startup",
        Kind::Duration,
        "1m",
        "A replica must answer its health check for the first time within this time, or it is \
         killed and started again.",
    ),
    key(
        "service.*.run.liveness",
        Kind::Table,
        "off",
        "Stops and restarts a replica that fails this check; the keys are those of `health`.",
    ),
    key(
        "service.*.run.liveness.http",
        Kind::Text,
        "",
        "Path to ask for; 200 to 399 is well.",
    ),
    key(
        "service.*.run.liveness.tcp",
        Kind::Flag,
        "false",
        "Only connect.",
    ),
    key(
        "service.*.run.liveness.every",
        Kind::Duration,
        "5s",
        "Time between checks.",
    ),
    key(
        "service.*.run.liveness.timeout",
        Kind::Duration,
        "2s",
        "How long a check may take.",
    ),
    key(
        "service.*.run.liveness.rise",
        Kind::Count,
        "1",
        "Good checks in a row that count.",
    ),
    key(
        "service.*.run.liveness.fall",
        Kind::Count,
        "3",
        "Failed checks in a row that stop it.",
    ),
    key(
        "service.*.health",
        Kind::Table,
        "",
        "Active checks of every endpoint; default: connect by TCP. \"off\" trusts calls alone.",
    ),
    key(
        "service.*.health.http",
        Kind::Text,
        "",
        "Path to ask for; 200 to 399 is well.",
    ),
    key("service.*.health.tcp", Kind::Flag, "false", "Only connect."),
    key(
        "service.*.health.every",
        Kind::Duration,
        "1s",
        "Time between checks, jittered by a tenth.",
    ),
    key(
        "service.*.health.timeout",
        Kind::Duration,
        "1s",
        "How long a check may take.",
    ),
    key(
        "service.*.health.rise",
        Kind::Count,
        "2",
        "Good checks in a row that bring it back.",
    ),
    key(
        "service.*.health.fall",
        Kind::Count,
        "2",
        "Failed checks in a row that take it out.",
    ),
    key(
        "service.*.breaker",
        Kind::Table,
        "",
        "A circuit breaker per endpoint; \"off\" for none.",
    ),
    key(
        "service.*.breaker.error_rate",
        Kind::Percent,
        "50%",
        "Share of failed calls in the window that opens the circuit; \"off\" for no share.",
    ),
    key(
        "service.*.breaker.calls_min",
        Kind::Count,
        "20",
        "Calls in the window before the rate counts.",
    ),
    key(
        "service.*.breaker.consecutive",
        Kind::Count,
        "5",
        "Failures in a row that open the circuit, whatever the rate; \"off\" for no number.",
    ),
    key(
        "service.*.breaker.slow",
        Kind::Table,
        "off",
        "Calls that take too long open the circuit as well, whatever their result.",
    ),
    key(
        "service.*.breaker.slow.after",
        Kind::Duration,
        "",
        "A call whose answer's head took longer than this is slow. Required.",
    ),
    key(
        "service.*.breaker.slow.rate",
        Kind::Percent,
        "",
        "Share of slow calls in the window that opens the circuit. Required.",
    ),
    key(
        "service.*.breaker.window",
        Kind::Span,
        "10s",
        "How far back the rates look: a time, or the last so many calls, for endpoints that are \
         called rarely.",
    ),
    key(
        "service.*.breaker.reopen",
        Kind::Duration,
        "1s",
        "The first cooldown; doubles, with jitter, while probes fail.",
    ),
    key(
        "service.*.breaker.reopen_max",
        Kind::Duration,
        "30s",
        "The longest cooldown, also when the endpoint asks for a longer one with Retry-After.",
    ),
    key(
        "service.*.breaker.probes",
        Kind::Count,
        "1",
        "Calls let through to test the endpoint.",
    ),
    key(
        "service.*.breaker.ramp",
        Kind::Duration,
        "off",
        "Once the circuit has closed, calls come back little by little over this time: for \
         endpoints that are slow when they are cold. What it may not have yet goes to other \
         endpoints or, without any, is refused. \"off\": all at once.",
    ),
    key(
        "service.*.retry",
        Kind::Table,
        "",
        "Failed calls are tried again on another endpoint, when that is safe; \"off\" for never.",
    ),
    key(
        "service.*.retry.attempts",
        Kind::Count,
        "3",
        "Attempts in all, the first included.",
    ),
    key(
        "service.*.retry.backoff",
        Kind::Duration,
        "10ms",
        "First wait; doubles, full jitter.",
    ),
    key(
        "service.*.retry.backoff_max",
        Kind::Duration,
        "250ms",
        "The longest wait.",
    ),
    key(
        "service.*.retry.budget",
        Kind::Percent,
        "20%",
        "Retries allowed per request on the average of ten seconds.",
    ),
    key(
        "service.*.retry.budget_floor",
        Kind::Count,
        "10",
        "Retries per second that are always allowed.",
    ),
    key(
        "service.*.retry.on_status",
        Kind::List,
        "[502, 503, 504]",
        "Answers after which an idempotent request, or one with an Idempotency-Key, is tried \
         again; from 500 to 599.",
    ),
    key(
        "service.*.retry.body",
        Kind::Size,
        "64KiB",
        "Bytes of a request's body kept for another attempt; larger bodies are sent once.",
    ),
    key("service.*.timeout", Kind::Table, "", "Time limits."),
    key(
        "service.*.timeout.total",
        Kind::Duration,
        "3s",
        "Until the answer's head, retries included.",
    ),
    key(
        "service.*.timeout.attempt",
        Kind::Duration,
        "1s",
        "One attempt.",
    ),
    key(
        "service.*.timeout.connect",
        Kind::Duration,
        "250ms",
        "Making a connection.",
    ),
    key(
        "service.*.timeout.endpoint",
        Kind::Duration,
        "250ms",
        "Waiting while no endpoint is in rotation but a replica is being started again: longer \
         than a restart takes, so that users of a single replica do not notice one.",
    ),
    key(
        "service.*.bulkhead",
        Kind::Table,
        "",
        "How many requests at a time, so that one service cannot use up the node; \"off\" for no \
         limit.",
    ),
    key(
        "service.*.bulkhead.in_flight",
        Kind::Count,
        "512",
        "Requests worked on.",
    ),
    key(
        "service.*.bulkhead.queue",
        Kind::Count,
        "128",
        "Requests waiting; \"off\" for none.",
    ),
    key(
        "service.*.bulkhead.queue_wait",
        Kind::Duration,
        "200ms",
        "How long one may wait.",
    ),
    key(
        "service.*.fallback",
        Kind::List,
        "[]",
        "What to answer when nothing else helps, first choice first: \"stale 10m\" (the last good \
         answer), or { status = 200, json = … } or { status = 200, text = \"…\" }.",
    ),
];

/// The key at `pattern`, as in [`Key::path`].
pub fn find(pattern: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == pattern)
}

/// The names that may stand directly below `pattern`.
pub fn children(pattern: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let below = if pattern.is_empty() {
            key.path
        } else {
            key.path.strip_prefix(pattern)?.strip_prefix('.')?
        };
        (!below.contains('.')).then_some(below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_below_a_table() {
        for key in KEYS {
            if let Some((parent, _)) = key.path.rsplit_once('.') {
                let parent = find(parent).expect(key.path);
                assert_eq!(parent.kind, Kind::Table, "{}", key.path);
            }
        }
    }

    #[test]
    fn children_are_direct() {
        let names: Vec<_> = children("service.*.timeout").collect();
        assert_eq!(names, ["total", "attempt", "connect", "endpoint"]);
    }
}
