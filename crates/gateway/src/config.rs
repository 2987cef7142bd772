//! What the gateway does, already validated: nothing behind this type checks again.
//!
//! `node` builds it from the TOML file; the defaults are the ones that protect. `None` means off,
//! zero never does.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_core::breaker;
use mainstay_observe::probe::Probe;

/// The whole gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads, each with a runtime, listeners and connections of its own.
    pub workers: NonZeroUsize,
    /// What clients may send.
    pub limits: Limits,
    /// How long requests in flight may take to finish once the gateway is told to stop.
    pub drain: Duration,
    /// The services, each behind an address of its own.
    pub services: Vec<Service>,
}

/// Limits against hostile and broken clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open client connections per worker; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Header fields in a request.
    pub headers_max: usize,
    /// A request's head must be complete this long after its first byte, and an idle connection
    /// is closed after as long.
    pub head_timeout: Duration,
    /// A body must keep moving: no progress for this long ends the request.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_bytes_max: 64 * 1024,
            headers_max: 100,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// One service and the policies around it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Where clients find it; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where it lives.
    pub endpoints: Vec<Endpoint>,
    /// Whether a supervisor says when an endpoint is in rotation; until it does, none is.
    pub supervised: bool,
    /// Active probes by the gateway; `None` where somebody else reports health (the supervisor).
    pub probe: Option<Probe>,
    /// A circuit breaker per endpoint. Its lease follows from the time of an attempt, and calls in
    /// flight are never slow there: how long a body takes is the client's doing as well.
    pub breaker: Option<breaker::Config>,
    /// Retries on another endpoint.
    pub retry: Option<Retry>,
    /// Time limits.
    pub timeout: Timeout,
    /// How many requests at a time.
    pub bulkhead: Option<Bulkhead>,
    /// What to answer when nothing else helps, first choice first.
    pub fallback: Vec<Fallback>,
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `payment-1` for a supervised replica, else the address.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How failed calls are tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: NonZeroU32,
    /// First backoff; doubles, with full jitter.
    pub backoff_min: Duration,
    /// Cap of the backoff.
    pub backoff_max: Duration,
    /// Retries allowed per request, on the average of ten seconds: 0.2 is 20 %.
    pub budget_ratio: f64,
    /// Retries per second that are always allowed.
    pub budget_floor: u32,
    /// Answers after which an idempotent request is tried again.
    pub on_status: ServerErrors,
    /// Body bytes kept for a second attempt; larger bodies are sent once.
    pub replay_bytes_max: usize,
}

/// A set of status codes from 500 to 599.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerErrors(u128);

impl ServerErrors {
    const FIRST: u16 = 500;
    const LAST: u16 = 599;

    /// The set of `codes`, or the first of them that is not from 500 to 599.
    ///
    /// # Errors
    /// That code.
    pub fn of(codes: &[u16]) -> Result<Self, u16> {
        let mut set = 0;
        for &code in codes {
            if !(Self::FIRST..=Self::LAST).contains(&code) {
                return Err(code);
            }
            set |= 1 << (code - Self::FIRST);
        }
        Ok(Self(set))
    }

    /// Whether `status` is one of them.
    pub const fn contains(self, status: http::StatusCode) -> bool {
        let code = status.as_u16();
        code >= Self::FIRST && code <= Self::LAST && self.0 >> (code - Self::FIRST) & 1 == 1
    }
}

/// Time limits of a request.
#[derive(Clone, Copy, Debug)]
pub struct Timeout {
    /// From the request's head to the answer's head, retries and queueing included.
    pub total: Duration,
    /// One attempt.
    pub attempt: Duration,
    /// Making a connection.
    pub connect: Duration,
    /// Waiting for an endpoint while none is in rotation but one is being started again; longer
    /// than a restart takes.
    pub endpoint: Duration,
}

/// How many requests may be worked on at a time.
#[derive(Clone, Copy, Debug)]
pub struct Bulkhead {
    /// Requests in flight.
    pub in_flight: NonZeroU32,
    /// Requests waiting for a place; none when `None`.
    pub queue: Option<NonZeroU32>,
    /// How long one may wait.
    pub queue_wait: Duration,
}

/// One way to answer without an endpoint.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// The last good answer to the same request, at most this long after it went stale.
    Stale(Duration),
    /// A fixed answer.
    Static {
        /// Its status.
        status: http::StatusCode,
        /// Its media type.
        content_type: &'static str,
        /// Its body.
        body: Bytes,
    },
}
