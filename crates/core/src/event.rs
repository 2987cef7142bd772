//! Everything that Mainstay tells about itself.
//!
//! Prevents a log, a metric and a dashboard that tell three different stories: code returns an
//! [`Event`], and `observe` alone turns it into all three. The name in the list is the JSON
//! `event`; the overview's formats are met field for field, further fields may follow.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::health::Verdict;
use crate::outcome::Reason;

/// Who wants to hear events. `()` hears nothing and costs nothing; `Arc<dyn Observe>` is one that
/// is chosen at run time.
///
/// Called on hot paths and under no lock of the caller: must return at once and never panic.
pub trait Observe: Send + Sync + 'static {
    /// Takes one event. Must return at once.
    fn observe(&self, event: Event);

    /// Whether anybody hears them. Where nobody does, an event is not even made; where that is
    /// known at compile time, nothing is left of it. Says yes unless overridden.
    #[inline]
    fn listens(&self) -> bool {
        true
    }

    /// Takes the event that `event` makes, if anybody hears it.
    #[inline]
    fn observe_with(&self, event: impl FnOnce() -> Event)
    where
        Self: Sized,
    {
        if self.listens() {
            self.observe(event());
        }
    }
}

impl Observe for () {
    #[inline]
    fn observe(&self, _: Event) {}

    #[inline]
    fn listens(&self) -> bool {
        false
    }
}

impl<O: Observe + ?Sized> Observe for Arc<O> {
    #[inline]
    fn observe(&self, event: Event) {
        (**self).observe(event);
    }

    #[inline]
    fn listens(&self) -> bool {
        (**self).listens()
    }
}

/// How much an event matters to the person on call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Severity {
    /// Regular signs of life: on the stream, not in the log.
    Debug,
    /// Something changed as it should.
    Info,
    /// A part failed, or came near its limit.
    Warn,
    /// Users see the failure, or somebody has to act.
    Error,
}

impl Severity {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One kind of event, for the generated reference and for metric labels.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The JSON `event`, in snake case.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it says, in one sentence; the documentation of its variant.
    pub summary: &'static str,
    /// Its fields with their meaning, in order.
    pub fields: &'static [(&'static str, &'static str)],
}

/// The value of one field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A name, or words.
    Text(&'a str),
    /// A count, or a time in the unit that the field's name ends in.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

macro_rules! field {
    ($($type:ty: |$value:ident| $field:expr;)*) => {
        $(impl<'a> From<&'a $type> for Field<'a> {
            fn from($value: &'a $type) -> Self {
                $field
            }
        })*
    };
}

field! {
    Arc<str>: |text| Self::Text(text);
    String: |text| Self::Text(text);
    Reason: |reason| Self::Text(reason.as_str());
    Verdict: |verdict| Self::Text(verdict.as_str());
    u64: |number| Self::Number(*number);
    u32: |number| Self::Number((*number).into());
    u16: |number| Self::Number((*number).into());
    bool: |flag| Self::Flag(*flag);
}

macro_rules! events {
    ($(
        #[doc = $summary:literal]
        $name:literal $severity:ident $variant:ident { $(
            #[doc = $help:literal]
            $field:ident: $type:ty,
        )* }
    )*) => {
        /// Something that happened.
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "event"))]
        #[non_exhaustive]
        pub enum Event { $(
            #[doc = $summary]
            #[cfg_attr(feature = "serde", serde(rename = $name))]
            $variant { $(
                #[doc = $help]
                $field: $type,
            )* },
        )* }

        impl Event {
            /// All kinds of events, in the order of the reference.
            pub const KINDS: &'static [Kind] = &[$(Kind {
                name: $name,
                severity: Severity::$severity,
                summary: $summary,
                fields: &[$((stringify!($field), $help),)*],
            },)*];

            /// The kind of this event.
            pub const fn kind(&self) -> &'static Kind {
                // The variants number the entries of `KINDS`: both come from one list.
                enum Index { $($variant,)* }
                match self { $(Self::$variant { .. } => &Self::KINDS[Index::$variant as usize],)* }
            }

            /// Shows each field, in the order of its [`Kind`], to `visit`.
            pub fn visit<'a>(&'a self, mut visit: impl FnMut(&'static str, Field<'a>)) {
                match self { $(Self::$variant { $($field,)* } => {
                    $(visit(stringify!($field), Field::from($field));)*
                },)* }
            }
        }
    };
}

events! {
    #[doc = "A node or a replica is alive and says how it is, once a second."]
    "heartbeat" Debug Heartbeat {
        #[doc = "the node or replica"]
        node_id: Arc<str>,
        #[doc = "`healthy`, `unhealthy` or `unknown`"]
        status: Verdict,
        #[doc = "wall time, seconds since 1970"]
        timestamp: u64,
    }
    #[doc = "A circuit opened: calls to the endpoint are rejected until the cooldown ends."]
    "circuit_open" Warn CircuitOpen {
        #[doc = "the service, or the name of the breaker"]
        service: Arc<str>,
        #[doc = "why the last call failed"]
        reason: Reason,
        #[doc = "the endpoint behind the breaker; empty where there is none"]
        endpoint: Arc<str>,
        #[doc = "how long the circuit stays open, in milliseconds; 0 when it was opened by hand, which no time ends"]
        retry_after_ms: u64,
    }
    #[doc = "A cooldown ended: a few probes may pass."]
    "circuit_half_open" Info CircuitHalfOpen {
        #[doc = "the service, or the name of the breaker"]
        service: Arc<str>,
        #[doc = "the endpoint behind the breaker; empty where there is none"]
        endpoint: Arc<str>,
    }
    #[doc = "Probes succeeded: the circuit is closed and calls pass again."]
    "circuit_closed" Info CircuitClosed {
        #[doc = "the service, or the name of the breaker"]
        service: Arc<str>,
        #[doc = "the endpoint behind the breaker; empty where there is none"]
        endpoint: Arc<str>,
    }
    #[doc = "An endpoint entered the rotation."]
    "endpoint_healthy" Info EndpointHealthy {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the endpoint"]
        endpoint: Arc<str>,
    }
    #[doc = "An endpoint left the rotation."]
    "endpoint_unhealthy" Warn EndpointUnhealthy {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the endpoint"]
        endpoint: Arc<str>,
        #[doc = "what took it out"]
        reason: Reason,
        #[doc = "the failed check in words"]
        detail: String,
    }
    #[doc = "The retry budget of a service ran dry: failures are no longer retried."]
    "retry_budget_exhausted" Warn RetryBudgetExhausted {
        #[doc = "the service"]
        service: Arc<str>,
    }
    #[doc = "The retry budget of a service allows retries again."]
    "retry_budget_restored" Info RetryBudgetRestored {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "retries denied in between"]
        denied: u64,
    }
    #[doc = "A bulkhead is full: requests are being rejected."]
    "bulkhead_full" Warn BulkheadFull {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "requests in flight"]
        in_flight: u32,
        #[doc = "requests waiting"]
        queued: u32,
    }
    #[doc = "A bulkhead has room again."]
    "bulkhead_recovered" Info BulkheadRecovered {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "requests rejected in between"]
        rejected: u64,
    }
    #[doc = "A rate limit is reached: calls are being rejected."]
    "rate_limit_reached" Warn RateLimitReached {
        #[doc = "the service, or the name of the limiter"]
        service: Arc<str>,
    }
    #[doc = "Calls are within the rate limit again."]
    "rate_limit_recovered" Info RateLimitRecovered {
        #[doc = "the service, or the name of the limiter"]
        service: Arc<str>,
        #[doc = "calls rejected in between"]
        rejected: u64,
    }
    #[doc = "More calls than can be served in time: load is being shed."]
    "load_shed_started" Warn LoadShedStarted {
        #[doc = "the service, or the name of the limit"]
        service: Arc<str>,
        #[doc = "calls in flight"]
        in_flight: u32,
        #[doc = "calls that the limit allows in flight"]
        limit: u32,
    }
    #[doc = "All calls are served in time again."]
    "load_shed_ended" Info LoadShedEnded {
        #[doc = "the service, or the name of the limit"]
        service: Arc<str>,
        #[doc = "calls rejected in between"]
        rejected: u64,
    }
    #[doc = "An endpoint stands out by failures or latency and is left out for a while."]
    "endpoint_ejected" Warn EndpointEjected {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the endpoint"]
        endpoint: Arc<str>,
        #[doc = "what it stands out by"]
        reason: Reason,
        #[doc = "how long it is left out, in milliseconds"]
        ejected_ms: u64,
    }
    #[doc = "An ejected endpoint may take calls again."]
    "endpoint_returned" Info EndpointReturned {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the endpoint"]
        endpoint: Arc<str>,
    }
    #[doc = "Redundant answers differ: at least one replica is wrong."]
    "answers_disagreed" Warn AnswersDisagreed {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "answers that agree with the one chosen; 0 when none was chosen"]
        agreed: u32,
        #[doc = "answers that differ from it"]
        differed: u32,
    }
    #[doc = "A service answers with fallbacks: stale or static answers instead of fresh ones."]
    "fallback_started" Warn FallbackStarted {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "why a fresh answer was not to be had"]
        reason: Reason,
    }
    #[doc = "A service gives fresh answers again."]
    "fallback_ended" Info FallbackEnded {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "answers given from a fallback in between"]
        served: u64,
    }
    #[doc = "A replica's process was started."]
    "replica_started" Info ReplicaStarted {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
        #[doc = "its process"]
        pid: u32,
        #[doc = "the port it was told to listen on"]
        port: u16,
    }
    #[doc = "A replica passed its readiness probe."]
    "replica_ready" Info ReplicaReady {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
    }
    #[doc = "A running replica fails its readiness probe and gets no requests."]
    "replica_unready" Warn ReplicaUnready {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
        #[doc = "the failed probe in words"]
        detail: String,
    }
    #[doc = "A replica's process ended, or could not be started."]
    "replica_exited" Warn ReplicaExited {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
        #[doc = "always `exited`"]
        reason: Reason,
        #[doc = "exit status, signal, or why it could not be started, in words"]
        detail: String,
    }
    #[doc = "A replica will be started again after a delay."]
    "replica_restarting" Info ReplicaRestarting {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
        #[doc = "the delay in milliseconds"]
        delay_ms: u64,
        #[doc = "exits in a row"]
        exits: u32,
    }
    #[doc = "A replica keeps ending soon after its start."]
    "replica_crash_loop" Error ReplicaCrashLoop {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
        #[doc = "exits in a row"]
        exits: u32,
        #[doc = "how the last one ended, in words"]
        detail: String,
    }
    #[doc = "A replica failed its startup or liveness probe and is being killed."]
    "replica_killed" Warn ReplicaKilled {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
        #[doc = "which probe failed, and how, in words"]
        detail: String,
    }
    #[doc = "A replica was stopped on purpose."]
    "replica_stopped" Info ReplicaStopped {
        #[doc = "the service"]
        service: Arc<str>,
        #[doc = "the replica"]
        replica: Arc<str>,
        #[doc = "whether it had to be killed after the grace period"]
        killed: bool,
    }
    #[doc = "The process that cleans up should this node be killed ended; it is started again."]
    "warden_exited" Warn WardenExited {
        #[doc = "how it ended, or why it could not be started, in words"]
        detail: String,
        #[doc = "the delay before its next start, in milliseconds"]
        delay_ms: u64,
    }
    #[doc = "The node is up: everything it was told to run is running."]
    "node_started" Info NodeStarted {
        #[doc = "the version of Mainstay"]
        version: Arc<str>,
        #[doc = "where the dashboard and the API are"]
        admin: Arc<str>,
    }
    #[doc = "The node finishes requests in flight and accepts no new connections."]
    "node_draining" Info NodeDraining {
        #[doc = "what asked for it, in words"]
        detail: String,
    }
    #[doc = "The node stopped and left nothing behind."]
    "node_stopped" Info NodeStopped {
        #[doc = "requests that were cut off when the drain ran out of time"]
        cut_off: u64,
    }
    #[doc = "A member of the keeper listens for clients."]
    "keeper_started" Info KeeperStarted {
        #[doc = "its number"]
        member: u64,
        #[doc = "where its clients come to"]
        listen: String,
    }
    #[doc = "A member of the keeper has another part in the ensemble: it leads or follows."]
    "keeper_role_changed" Info KeeperRoleChanged {
        #[doc = "its number"]
        member: u64,
        #[doc = "`leader`, `follower` or `observer`"]
        role: String,
        #[doc = "who leads"]
        leader: u64,
        #[doc = "the term in which that is so"]
        term: u64,
    }
    #[doc = "A member of the keeper knows no leader: writes wait until a majority of members agrees again."]
    "keeper_quorum_lost" Warn KeeperQuorumLost {
        #[doc = "its number"]
        member: u64,
    }
    #[doc = "A member of the keeper takes no writes: its disk is full, or makes nothing durable. It goes on by itself when that is over."]
    "keeper_disk_blocked" Error KeeperDiskBlocked {
        #[doc = "its number"]
        member: u64,
        #[doc = "what happened, and what to do"]
        detail: String,
    }
    #[doc = "The disk of a member of the keeper keeps again what it is told."]
    "keeper_disk_recovered" Info KeeperDiskRecovered {
        #[doc = "its number"]
        member: u64,
    }
    #[doc = "A member of the keeper stopped because it could not keep what it promised."]
    "keeper_failed" Error KeeperFailed {
        #[doc = "its number"]
        member: u64,
        #[doc = "what happened, and what to do"]
        detail: String,
    }
    #[doc = "A member of the keeper stopped as it was told to."]
    "keeper_stopped" Info KeeperStopped {
        #[doc = "its number"]
        member: u64,
    }
    #[doc = "A new configuration is in force."]
    "config_reloaded" Info ConfigReloaded {
        #[doc = "the file"]
        path: String,
        #[doc = "changed keys that take effect only after a restart; empty when there are none"]
        restart_needed: String,
    }
    #[doc = "A new configuration is wrong; the old one stays in force."]
    "config_rejected" Error ConfigRejected {
        #[doc = "the file"]
        path: String,
        #[doc = "all mistakes, as `mainstay config validate` prints them"]
        detail: String,
    }
    #[doc = "Log lines were dropped because the log's reader is too slow, or its disk is full."]
    "log_dropped" Warn LogDropped {
        #[doc = "lines dropped since the last such event"]
        lines: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_carry_the_names_of_their_own_variants() {
        let event = Event::NodeStopped { cut_off: 0 };
        assert_eq!(event.kind().name, "node_stopped");
        let fields = event.kind().fields;
        assert_eq!(fields[0].0, "cut_off");
    }

    #[test]
    fn the_fields_of_an_event_are_those_of_its_kind() {
        let event = Event::CircuitOpen {
            service: "payment".into(),
            reason: Reason::Timeout,
            endpoint: "payment-1".into(),
            retry_after_ms: 5_000,
        };
        let mut fields = alloc::vec::Vec::new();
        event.visit(|name, field| fields.push((name, field)));
        let expected = [
            ("service", Field::Text("payment")),
            ("reason", Field::Text("timeout")),
            ("endpoint", Field::Text("payment-1")),
            ("retry_after_ms", Field::Number(5_000)),
        ];
        assert_eq!(fields, expected);
        let named = event.kind().fields.iter().map(|(name, _)| *name);
        assert!(named.eq(fields.iter().map(|(name, _)| *name)));
    }

    #[cfg(feature = "serde")]
    mod json {
        use serde_json::json;

        use super::*;

        #[test]
        fn a_heartbeat_has_the_fields_of_the_overview() {
            let heartbeat = Event::Heartbeat {
                node_id: "n1".into(),
                status: Verdict::Healthy,
                timestamp: 1_634_567_890,
            };
            let json = serde_json::to_value(heartbeat).expect("events are plain data");
            assert_eq!(
                json,
                json!({"event": "heartbeat", "node_id": "n1", "status": "healthy",
                       "timestamp": 1_634_567_890}),
            );
        }

        #[test]
        fn a_failure_log_has_the_fields_of_the_overview() {
            let open = Event::CircuitOpen {
                service: "payment".into(),
                reason: Reason::Timeout,
                endpoint: "payment-1".into(),
                retry_after_ms: 5_000,
            };
            let json = serde_json::to_string(&open).expect("events are plain data");
            let overview = r#"{"event":"circuit_open","service":"payment","reason":"timeout""#;
            assert!(json.starts_with(overview), "{json}");
        }

        #[test]
        fn a_vector_clock_has_the_form_of_the_overview() {
            let mut clock = crate::vector_clock::VectorClock::new();
            clock.tick(&"n1".into());
            assert_eq!(
                serde_json::to_value(clock).expect("a clock is plain data"),
                json!({"n1": 1}),
            );
        }
    }
}
